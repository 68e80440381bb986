"""Puts ticks into ClickHouse in batches, several times as fast as its Kafka engine does.

    python insert.py --url http://localhost:8123
    python insert.py --in-process tables.sql bars.sql

The engine makes all columns anew for each record. An INSERT parses a whole batch: the values of
records, one behind the other, are what the format AvroConfluent reads, in any version of the
schema.

The table is that of `kite-connector schemas clickhouse`, without its queue; its columns `kafka_…`
stay empty. Offsets are committed when the rows are there: after a crash some come again, and are
one row, as repeats are. Without a server (chdb; a try or a test) what the topics hold now is put
into the tables of the first script, and the others ask for it.
"""

import argparse
import os
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException

AT_ONCE = 10_000


class Server:
    """ClickHouse over HTTP; user and password are in the environment."""

    def __init__(self, url: str, registry_url: str) -> None:
        asked = urllib.parse.urlencode(
            {
                "query": "INSERT INTO ticks FORMAT AvroConfluent",
                "format_avro_schema_registry_url": registry_url,
                # what a record of an older version lacks is null
                "input_format_avro_allow_missing_fields": 1,
            }
        )
        self._url = f"{url}/?{asked}"
        self._headers = {
            "X-ClickHouse-User": os.environ.get("CLICKHOUSE_USER", "default"),
            "X-ClickHouse-Key": os.environ.get("CLICKHOUSE_PASSWORD", ""),
        }

    def insert(self, values: list[bytes]) -> None:
        """Put the ticks into the table `ticks`."""
        request = urllib.request.Request(self._url, b"".join(values), self._headers)
        try:
            with urllib.request.urlopen(request, timeout=60):
                pass
        except urllib.error.HTTPError as error:
            sys.exit(f"ClickHouse: {error.read().decode(errors='replace')}")


class InProcess:
    """A ClickHouse in this process, with the tables of a script."""

    def __init__(self, tables: Path, registry_url: str) -> None:
        import chdb
        from run_sql import VIEW, statements

        self._database = chdb.connect(":memory:")
        for statement in statements(tables.read_text("utf-8")):
            if "ENGINE = Kafka" not in statement and not VIEW.fullmatch(statement):
                self._database.query(statement)
        columns = (
            "SELECT name, type FROM system.columns WHERE database = currentDatabase()"
            " AND table = 'ticks' AND name NOT LIKE 'kafka_%' ORDER BY position"
        )
        read = self._database.query(columns, "TSVRaw").bytes().decode().splitlines()
        names = ", ".join(line.split("\t")[0] for line in read)
        declared = ", ".join(line.replace("\t", " ") for line in read).replace("'", r"\'")
        self._insert = (
            f"INSERT INTO ticks ({names}) SELECT * FROM file('%s', AvroConfluent, '{declared}')"
            f" SETTINGS format_avro_schema_registry_url = '{registry_url}',"
            " input_format_avro_allow_missing_fields = 1"
        )

    def insert(self, values: list[bytes]) -> None:
        """Put the ticks into the table `ticks`."""
        with tempfile.NamedTemporaryFile() as batch:
            batch.writelines(values)
            batch.flush()
            self._database.query(self._insert.replace("%s", batch.name))

    def ask(self, script: Path) -> None:
        """Print what the statements of a script find, as lines of JSON."""
        from run_sql import statements

        for statement in statements(script.read_text("utf-8")):
            sys.stdout.write(str(self._database.query(statement, "JSONEachRow")))


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
                values.append(message.value())
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


def commit(consumer: Consumer) -> None:
    """Where the partitions have gone to another one meanwhile, the rows are put in once more."""
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        print(f"Kafka: not committed: {error.args[0].str()}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument(
        "--registry-url", default="http://localhost:8081", help="as seen from ClickHouse"
    )
    parser.add_argument("--topic-pattern", default=r"kite\.ticks\..*")
    parser.add_argument("--group", default="clickhouse-kite-inserts")
    parser.add_argument("--rows", type=int, default=100_000, help="of a batch, at most")
    parser.add_argument("--seconds", type=float, default=1.0, help="after which it is put in")
    parser.add_argument("--url", default="http://localhost:8123", help="ClickHouse's HTTP port")
    parser.add_argument("--until-end", action="store_true", help="stop when everything was read")
    parser.add_argument(
        "--in-process", nargs="+", type=Path, metavar="SCRIPT",
        help="without a server: SQL files, the tables' first; implies --until-end",
    )  # fmt: skip
    chosen = parser.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": chosen.bootstrap_servers,
            "group.id": chosen.group + ("-in-process" if chosen.in_process else ""),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # new topics of the pattern are seen that fast
            "topic.metadata.refresh.interval.ms": 10_000,
        }
    )
    tables, *asked = chosen.in_process or [None]
    target: InProcess | Server
    if tables:
        target = InProcess(tables, chosen.registry_url)
    else:
        target = Server(chosen.url, chosen.registry_url)
    until_end = chosen.until_end or tables is not None
    try:
        for values in batches(
            consumer, chosen.topic_pattern, chosen.rows, chosen.seconds, until_end=until_end
        ):
            target.insert(values)
            # what is in this process is gone with it
            if tables is None:
                commit(consumer)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    for script in asked:
        target.ask(script)


if __name__ == "__main__":
    main()
