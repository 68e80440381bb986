"""Runs the ClickHouse tables in this process, by chdb: reads what the topics hold, then asks.

A try without a server. In chdb no materialized view follows a queue, since nothing runs in its
background (and creating a queue reports "Shutdown was called", though the queue is there). So what
each view would do is done here until the queue hands out nothing from before the start: while a
connector writes, it is never empty.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import chdb
from chdb.state.sqlitelike import Connection

VIEW = re.compile(
    r"CREATE MATERIALIZED VIEW IF NOT EXISTS `\w+_from_queue` TO (?P<table>`\w+`) AS\n"
    r"(?P<select>.*)",
    re.DOTALL,
)
GROUP = re.compile(r"kafka_group_name = '[^']*")
IN_A_QUEUE = "SETTINGS stream_like_engine_allow_direct_select = 1, stream_flush_interval_ms = 500"


def statements(script: str) -> list[str]:
    """A statement ends with a semicolon at the end of a line."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [part.strip() for part in re.split(r";(?:\n|$)", "\n".join(lines)) if part.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="+", type=Path, help="SQL files, the tables' first")
    parser.add_argument("--idle-reads", type=int, default=3, help="empty reads that are the end")
    chosen = parser.parse_args()
    database = chdb.connect(":memory:")
    now_ms = time.time_ns() // 1_000_000
    fillings = []
    for script in chosen.scripts:
        for statement in statements(script.read_text("utf-8")):
            if view := VIEW.fullmatch(statement):
                fillings.append((view["table"], view["select"]))
            elif statement.startswith("SELECT"):
                for table, select in fillings:
                    fill(database, table, select, chosen.idle_reads, now_ms)
                fillings = []
                sys.stdout.write(str(database.query(statement, "JSONEachRow")))
            else:
                create(database, statement, f"run-{now_ms}")


def create(database: Connection, statement: str, run: str) -> None:
    # a select takes a block of 65 409 records, and the next one goes on behind what was committed:
    # in groups of this run alone, since a server's would miss what was taken here
    statement = statement.replace(
        "ENGINE = Kafka\nSETTINGS\n", "ENGINE = Kafka\nSETTINGS\n  kafka_commit_on_select = 1,\n"
    )
    statement = GROUP.sub(rf"\g<0>-{run}", statement)
    try:
        database.query(statement)
    except RuntimeError as error:
        if "ENGINE = Kafka" not in statement or "Shutdown was called" not in str(error):
            raise


def fill(database: Connection, table: str, select: str, idle_reads: int, until_ms: int) -> None:
    """Put into a table what its queue hands out, until several reads bring nothing so old.

    Args:
        database: where the queue and the table are.
        table: to be filled.
        select: what the view makes of the queue.
        idle_reads: so many reads in a row that bring nothing are the end.
        until_ms: what was written later does not count, UTC milliseconds.
    """
    idle = 0
    rows = count(database, table, until_ms)
    while idle < idle_reads:
        database.query(f"INSERT INTO {table} {select} {IN_A_QUEUE}")
        before, rows = rows, count(database, table, until_ms)
        idle = idle + 1 if rows == before else 0


def count(database: Connection, table: str, until_ms: int) -> int:
    """Rows of records that were written before a time."""
    query = f"SELECT count() FROM {table} WHERE kafka_time < fromUnixTimestamp64Milli({until_ms})"
    return int(str(database.query(query, "TSV")))


if __name__ == "__main__":
    main()
