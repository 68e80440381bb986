"""Puts ticks into ClickHouse in batches, many times as fast as its Kafka engine does.

    python insert.py --url http://localhost:8123
    python insert.py --in-process tables.sql bars.sql

The engine makes all columns anew for each record. Here they are made once for a whole batch, by
`values_to_arrow` of kite-connector[arrow], and ClickHouse takes them as they are, while the next
batch is read. No registry is asked.

The table is that of `kite-connector schemas clickhouse --ticks-by-inserts`; its columns `kafka_…`
stay empty. Offsets are committed when the rows are there: after a crash some come again, and are
one row, as repeats are. Without a server (chdb; a try or a test) what the topics hold now is put
into the tables of the first script, and the others ask for it.
"""

import argparse
import gc
import os
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connector import values_to_arrow

AT_ONCE = 1000  # so many messages stay in the CPU's cache
COLUMNS = (
    "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'ticks'"
    " AND name NOT LIKE 'kafka_%' ORDER BY position"
)
# else repeats within a batch are looked for at once, which costs more than all the rest: FINAL and
# the merges of parts see to them
SETTINGS = {"optimize_on_insert": 0}


class Server:
    """ClickHouse over HTTP; user and password are in the environment."""

    source = "input('{structure}')"
    format = " FORMAT ArrowStream"

    def __init__(self, url: str) -> None:
        self._url = url
        self._headers = {
            "X-ClickHouse-User": os.environ.get("CLICKHOUSE_USER", "default"),
            "X-ClickHouse-Key": os.environ.get("CLICKHOUSE_PASSWORD", ""),
        }

    def ask(self, query: str) -> str:
        """What a query finds, as lines with tabs."""
        return self._post({"query": f"{query} FORMAT TSVRaw"}, b"")

    def insert(self, statement: str, table: pa.Table) -> None:
        """Put rows into the table `ticks`."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        self._post({"query": statement, **SETTINGS}, sink.getvalue())

    def _post(self, asked: dict, body: bytes | pa.Buffer) -> str:
        url = f"{self._url}/?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, memoryview(body), self._headers), timeout=60
            ) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            sys.exit(f"ClickHouse: {error.read().decode(errors='replace')}")
        except urllib.error.URLError as error:
            sys.exit(f"ClickHouse at {self._url}: {error.reason}")


class InProcess:
    """A ClickHouse in this process, with the tables of a script."""

    source = "file('%s', ArrowStream, '{structure}')"
    format = " SETTINGS " + ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())

    def __init__(self, tables: Path) -> None:
        import chdb
        from run_sql import VIEW, statements

        self._database = chdb.connect(":memory:")
        for statement in statements(tables.read_text("utf-8")):
            if "ENGINE = Kafka" not in statement and not VIEW.fullmatch(statement):
                self._database.query(statement)

    def ask(self, query: str, form: str = "TSVRaw") -> str:
        """What a query finds."""
        return str(self._database.query(query, form))

    def insert(self, statement: str, table: pa.Table) -> None:
        """Put rows into the table `ticks`."""
        with tempfile.NamedTemporaryFile() as file:
            with pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table)
            file.flush()
            self._database.query(statement.replace("%s", file.name))


def statement_for(target: Server | InProcess) -> tuple[str, list[str]]:
    """The INSERT for the columns that the table has, and the flat ones that it takes them from."""
    lines = target.ask(COLUMNS).splitlines()
    if not lines:
        sys.exit(
            "ClickHouse has no table `ticks`: make those of `kite-connector schemas clickhouse`"
        )
    kinds = dict(line.split("\t") for line in lines)
    names = list(kinds)
    nested = {
        "ohlc": [f"ohlc_{price}" for price in ("open", "high", "low", "close")],
        "depth": [name for side in ("buy", "sell") for level in _levels(side) for name in level],
    }
    flat = [name for column in names for name in nested.get(column, [column])]
    for name in set(flat) - set(names):
        is_price = name.startswith("ohlc_") or name.endswith("_price")
        kinds[name] = f"Nullable({'Float64' if is_price else 'Int64'})"
    made = {"ohlc": _unless_null(nested["ohlc"][0], _tuple(nested["ohlc"]))}
    sides = (f"[{', '.join(map(_tuple, _levels(side)))}]" for side in ("buy", "sell"))
    made["depth"] = _unless_null(nested["depth"][0], f"tuple({', '.join(sides)})")
    structure = ", ".join(f"{name} {kinds[name]}" for name in flat).replace("'", r"\'")
    selected = ", ".join(made.get(name, name) for name in names)
    source = target.source.format(structure=structure)
    statement = f"INSERT INTO ticks ({', '.join(names)}) SELECT {selected} FROM {source}"
    return statement + target.format, flat


def _unless_null(column: str, made: str) -> str:
    return f"if(isNull({column}), NULL, {made})"


def _tuple(columns: list[str]) -> str:
    return f"tuple({', '.join(f'assumeNotNull({name})' for name in columns)})"


def _levels(side: str) -> list[list[str]]:
    what = ("quantity", "price", "orders")
    return [[f"depth_{side}_{level}_{one}" for one in what] for level in range(1, 6)]


def batches(
    consumer: Consumer, pattern: str, rows: int, seconds: float, *, until_end: bool
) -> Iterator[list[bytes]]:
    """Values of so many records, or of so long a time."""
    at_end: set[tuple[str, int]] = set()
    assigned: set[tuple[str, int]] = set()
    values: list[bytes] = []

    def assign(_consumer: Consumer, partitions: list) -> None:
        assigned.update((one.topic, one.partition) for one in partitions)

    # librdkafka takes a name for a pattern when it begins with a caret
    consumer.subscribe([f"^{pattern}$"], on_assign=assign)
    due = time.monotonic() + seconds
    ended = False
    while not ended:
        for message in consumer.consume(min(AT_ONCE, rows - len(values)), 0.2):
            error = message.error()
            if error is None:
                values.append(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                at_end.add((message.topic(), message.partition()))
            elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and not until_end:
                print(f"Kafka: {error.str()}; waiting for it", file=sys.stderr)
            elif not error.retriable():
                raise KafkaException(error)
        ended = until_end and bool(assigned) and assigned == at_end
        if values and (ended or len(values) >= rows or time.monotonic() >= due):
            yield values
            values, due = [], time.monotonic() + seconds


def table_of(values: list[bytes], columns: list[str]) -> pa.Table:
    """The ticks; what is none is left out, and told."""
    try:
        return values_to_arrow(values, columns)
    except ValueError:
        ticks = [value for value in values if _is_tick(value)]
    print(f"{len(values) - len(ticks)} records are no ticks, and are left out", file=sys.stderr)
    return values_to_arrow(ticks, columns)


def _is_tick(value: bytes) -> bool:
    try:
        values_to_arrow([value], [])
    except ValueError:
        return False
    return True


def commit(consumer: Consumer, offsets: list[TopicPartition]) -> None:
    """Where the partitions have gone to another one meanwhile, the rows are put in once more."""
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        print(f"Kafka: not committed: {error.args[0].str()}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9094")
    parser.add_argument("--topic-pattern", default=r"kite\.ticks\..*")
    parser.add_argument("--group", default="clickhouse-kite-inserts")
    parser.add_argument("--rows", type=int, default=200_000, help="of a batch, at most")
    parser.add_argument("--seconds", type=float, default=1.0, help="after which it is put in")
    parser.add_argument("--url", default="http://localhost:8123", help="ClickHouse's HTTP port")
    parser.add_argument("--until-end", action="store_true", help="stop when everything was read")
    parser.add_argument(
        "--in-process", nargs="+", type=Path, metavar="SCRIPT",
        help="without a server: SQL files, the tables' first; implies --until-end",
    )  # fmt: skip
    chosen = parser.parse_args()
    # no message is part of a cycle, and looking for cycles among so many takes its time
    gc.disable()
    tables, *asked = chosen.in_process or [None]
    target = InProcess(tables) if tables else Server(chosen.url)
    statement, columns = statement_for(target)
    consumer = Consumer(
        {
            "bootstrap.servers": chosen.bootstrap_servers,
            "group.id": chosen.group + ("-in-process" if tables else ""),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # else librdkafka asks a partition for more only a second after its queue was full
            "fetch.queue.backoff.ms": 10,
            # so few stay in the CPU's cache
            "queued.min.messages": 20_000,
            # new topics of the pattern are seen that fast
            "topic.metadata.refresh.interval.ms": 10_000,
        }
    )
    under_way: Future | None = None
    offsets: list[TopicPartition] = []

    def finish() -> None:
        if under_way is not None:
            under_way.result()
            # what is in this process is gone with it
            if tables is None and offsets:
                commit(consumer, offsets)

    inserting = ThreadPoolExecutor(1)
    try:
        for values in batches(
            consumer, chosen.topic_pattern, chosen.rows, chosen.seconds,
            until_end=chosen.until_end or tables is not None,
        ):  # fmt: skip
            table = table_of(values, columns)
            finish()
            # no offset is known of a partition that has had no record yet
            offsets = [one for one in consumer.position(consumer.assignment()) if one.offset >= 0]
            under_way = inserting.submit(target.insert, statement, table)
        finish()
    except KeyboardInterrupt:
        pass
    finally:
        inserting.shutdown()
        consumer.close()
    for script in asked:
        from run_sql import statements

        for query in statements(script.read_text("utf-8")):
            sys.stdout.write(target.ask(query, "JSONEachRow"))


if __name__ == "__main__":
    main()
