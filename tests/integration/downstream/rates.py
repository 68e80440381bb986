"""How fast each reader takes the same ticks, and whether all find the same sums in them.

    make downstream TICKS=10000000

The tape is written again and again, each time later, in both versions of the schema, without
its repeats; a reader decodes every tick and adds it up. The time is that of the whole program, with
its start; broker and reader share the machine. A topic that was filled before is used again. What
was written goes with the containers. Readers come one after the other; one that fails, finds other
sums or takes longer than an hour is told, and the next one follows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from connector import schemas
from connector.cli.clickhouse import clickhouse_tables
from connector.cli.downstream import flink_tables, topic_pattern
from connector.codec.rows import moved
from connector.kafka.registry import register_schemas
from connector.kafka.topics import TopicNames
from connector.settings.models import RegistrySettings
from tests.integration.containers import kafka_container, registry_container
from tests.integration.downstream import market
from tests.integration.downstream.bars import ticks
from tests.integration.downstream.clickhouse import of_ticks
from tests.integration.downstream.conftest import register_ticks
from tests.integration.downstream.engines import (
    ROOT,
    documented,
    in_environment,
    python_of,
    spark,
    typed,
    user_folder,
)

PARTITIONS = 3
SECOND_DAY_MS = market.START_MS + market.DAY_MS - 10_000
DAY_PART_MS = 5 * 60_000
"""Longer than what the tape has of a day. Its two days follow one another, again and again, so that
a minute has no more ticks than a market's."""
LONGEST_SECONDS = 3600.0
# the engines are compiled as well as in production, within bounds
JVM = ("-XX:+UseSerialGC", "-Xmx1g")
HERE = Path(__file__).parent
Sums = dict[str, int]
SUMS_SQL = {
    "ticks": "COUNT(*)",
    "volume": "SUM(volume_traded)",
    "paise": "SUM(CAST(ROUND(last_price * 100) AS BIGINT))",
    "no_volume": "SUM(CASE WHEN volume_traded IS NULL THEN 1 ELSE 0 END)",
    "no_ohlc": "SUM(CASE WHEN ohlc IS NULL THEN 1 ELSE 0 END)",
    "no_depth": "SUM(CASE WHEN depth IS NULL THEN 1 ELSE 0 END)",
    "no_best_bid": "SUM(CASE WHEN best_bid_price IS NULL THEN 1 ELSE 0 END)",
    "bid_level_1": "SUM(depth.buy[{first}].quantity)",
}


BOOKLESS = ("no_ohlc", "no_depth", "bid_level_1")
"""Sums over columns that a table of fewer columns has not."""


class Topics(NamedTuple):
    """What is read."""

    servers: str
    registry: str
    prefix: str

    @property
    def pattern(self) -> str:
        """Of Java's and Python's form."""
        return topic_pattern("tick", self.prefix)


def sums_of(received: list[dict]) -> Sums:
    """What a reader has to find."""
    return {
        "ticks": len(received),
        "volume": sum(tick["volume_traded"] or 0 for tick in received),
        "paise": sum(round(tick["last_price"] * 100) for tick in received),
        "no_volume": sum(tick["volume_traded"] is None for tick in received),
        "no_ohlc": sum(tick["ohlc"] is None for tick in received),
        "no_depth": sum(tick["depth"] is None for tick in received),
        "no_best_bid": sum(tick.get("best_bid_price") is None for tick in received),
        "bid_level_1": sum(t["depth"]["buy"][0]["quantity"] for t in received if t["depth"]),
    }


def fill(topics: Topics, at_least: int) -> tuple[Sums, int]:
    """Write so many ticks or some more, unless they are there; their sums, and their bytes."""
    names = TopicNames(topics.prefix)
    older = asyncio.run(register_ticks(topics.registry, names, market.older_schema()))
    newer = asyncio.run(register_schemas(RegistrySettings(url=topics.registry), names))
    tape = list(dict.fromkeys(market.tape(names, newer, older)))
    rounds = -(-at_least // len(tape))
    writers = dict.fromkeys(newer.values(), schemas.load("tick"))
    writers |= dict.fromkeys(older.values(), market.older_schema())
    decoded = ticks(tape, writers)
    expected = {name: value * rounds for name, value in sums_of(decoded).items()}
    held = _held(topics, list(names.all_ticks().values()))
    if held == 0:
        _write(topics, tape, rounds)
    elif held != expected["ticks"]:
        raise SystemExit(f"{topics.prefix} holds {held} ticks, not {expected['ticks']}")
    return expected, sum(len(record.value or b"") for record in tape) * rounds


def _held(topics: Topics, names: list[str]) -> int:
    """How many records the topics hold; they are made where they are not."""
    admin = AdminClient({"bootstrap.servers": topics.servers})
    known = admin.list_topics(timeout=30).topics
    kept = {"retention.ms": "-1", "compression.type": "producer"}
    new = [NewTopic(name, PARTITIONS, 1, config=kept) for name in names if name not in known]
    for made in (admin.create_topics(new) if new else {}).values():
        made.result(30)
    places = [TopicPartition(name, number) for name in names for number in range(PARTITIONS)]
    latest = dict.fromkeys(places, OffsetSpec.latest())
    deadline = time.monotonic() + 30
    while True:
        try:
            found = admin.list_offsets(latest, request_timeout=30).values()
            return sum(one.result().offset for one in found)
        except KafkaException:
            # made a moment ago, a partition has no leader yet
            if time.monotonic() > deadline:
                raise


def _write(topics: Topics, tape: list[market.Record], rounds: int) -> None:
    producer = Producer(
        {
            "bootstrap.servers": topics.servers, "partitioner": "murmur2_random",
            "compression.type": "lz4", "linger.ms": 20, "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 500_000,
        }
    )  # fmt: skip
    for number in range(rounds):
        for record in tape:
            by = number * 2 * DAY_PART_MS
            if record.timestamp_ms >= SECOND_DAY_MS:
                by += DAY_PART_MS - market.DAY_MS
            value, at = moved(record.value or b"", by), record.timestamp_ms + by
            while True:
                try:
                    producer.produce(record.topic, value, record.key, timestamp=at)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0


def _sums_in(printed: str) -> Sums:
    """The only line of JSON that a reader printed."""
    (line,) = [line for line in printed.splitlines() if line.startswith("{")]
    return {name: int(value) for name, value in json.loads(line).items()}


def _select(first: int, without: Collection[str] = ()) -> str:
    return ", ".join(
        f"{sql.format(first=first)} AS {name}"
        for name, sql in SUMS_SQL.items()
        if name not in without
    )


def clickhouse(topics: Topics, folder: Path) -> Callable[[], Sums]:
    """Into the MergeTree table of the generated script by its queue, then summed up there."""
    _clickhouse_scripts(topics, folder)
    lines = documented("docs/downstream.md", "## ClickHouse")
    return lambda: _sums_in(in_environment("clickhouse", folder, lines, seconds=LONGEST_SECONDS))


def clickhouse_inserts(topics: Topics, folder: Path) -> Callable[[], Sums]:
    """Into the same table by INSERTs of many records each."""
    return _inserts(topics, folder, None, "")


def clickhouse_inserts_of_fewer_columns(topics: Topics, folder: Path) -> Callable[[], Sums]:
    """Into one with the columns of the bars and the top of book."""
    return _inserts(topics, folder, ("best_bid_quantity", "best_ask_quantity"), " --rows 1000000")


def _inserts(
    topics: Topics, folder: Path, columns: Collection[str] | None, more: str
) -> Callable[[], Sums]:
    _clickhouse_scripts(topics, folder, columns)
    make, _ = documented("docs/downstream.md", "## ClickHouse")
    _, line, _ = documented("docs/downstream.md", "An INSERT of many records")
    lines = [make, _with_addresses(line.rstrip(), topics) + more]
    return lambda: _sums_in(in_environment("clickhouse", folder, lines, seconds=LONGEST_SECONDS))


def _clickhouse_scripts(
    topics: Topics, folder: Path, columns: Collection[str] | None = None
) -> None:
    # installed before the time is taken
    python_of("clickhouse")
    tables = clickhouse_tables(
        topics.servers, topics.registry, prefix=topics.prefix, columns=columns
    )
    scripts = folder / "examples/clickhouse"
    (scripts / "tables.sql").write_text(of_ticks(tables))
    asked = _select(1, BOOKLESS if columns else ())
    asked = asked.replace("depth.buy[1]", "if(depth IS NULL, NULL, depth.buy[1])")
    asked = asked.replace("BIGINT", "Int64").replace(
        "depth.buy[1]).quantity", "depth.buy[1].quantity)"
    )
    (scripts / "bars.sql").write_text(f"SELECT {asked} FROM ticks;\n")


def flink(topics: Topics, folder: Path) -> Callable[[], Sums]:
    """The generated table, and a query over it."""
    scripts = folder / "examples/flink"
    bounded = {"scan.bounded.mode": "latest-offset"}
    tables = flink_tables(topics.servers, topics.registry, prefix=topics.prefix, options=bounded)
    (scripts / "tables.sql").write_text(tables)
    declared = ", ".join(f"{name} BIGINT" for name in SUMS_SQL)
    (scripts / "bars.sql").write_text(
        # else there is an update for each tick
        "SET 'table.exec.mini-batch.enabled' = 'true';\n"
        "SET 'table.exec.mini-batch.allow-latency' = '5 s';\n"
        "SET 'table.exec.mini-batch.size' = '100000';\n"
        f"CREATE TABLE sums ({declared}) WITH ('connector' = 'print');\n"
        f"INSERT INTO sums SELECT {_select(1)} FROM ticks;\n"
    )
    build, start = documented("docs/downstream.md", "## Flink")
    typed(folder, [build])

    def read() -> Sums:
        printed = _long_typed(folder, [start])
        *_, last = re.findall(r"\+[IU]\[(.*)\]$", printed, re.MULTILINE)
        values = last.split(", ")
        return dict(zip(SUMS_SQL, map(int, values), strict=True))

    return read


def spark_batch(topics: Topics, folder: Path) -> Callable[[], Sums]:
    """`decode` of the generated reader over a batch."""
    (folder / "examples/spark/sums.py").write_text(
        "import json, sys\n"
        "from pyspark.sql import SparkSession\n"
        "from ticks import decode, writer_schemas\n"
        "servers, registry, pattern, asked = sys.argv[1:]\n"
        "spark = SparkSession.builder.config('spark.sql.session.timeZone', 'UTC').getOrCreate()\n"
        "source = spark.read.format('kafka').options(**{'kafka.bootstrap.servers': servers,\n"
        "    'subscribePattern': pattern}).load()\n"
        "decode(source, writer_schemas(registry, pattern)).createOrReplaceTempView('ticks')\n"
        "print(json.dumps(spark.sql('SELECT ' + asked + ' FROM ticks').first().asDict()))\n"
    )
    _, build, start = documented("docs/downstream.md", "## Spark")
    python_of("spark")
    typed(folder, [build])
    start = start.partition("examples/spark/bars.py")[0]
    asked = _select(0)
    line = f"{start} examples/spark/sums.py {topics.servers} {topics.registry} '{topics.pattern}'"
    line += f" '{asked}'"
    return lambda: _sums_in(spark(folder, [line], jvm=JVM, seconds=LONGEST_SECONDS))


def kafka_streams(topics: Topics, folder: Path) -> Callable[[], Sums]:
    """A topology of one processor that adds up."""
    build, *_ = documented("docs/downstream.md", "## Kafka Streams")
    classes = "examples/kafka-streams/build/classes:examples/kafka-streams/build/lib/*"
    typed(folder, [build, f"javac -cp '{classes}' -d {folder}/sums {HERE / 'StreamsSums.java'}"])
    line = (
        f"java -Djava.io.tmpdir={folder} -cp '{folder}/sums:{classes}' StreamsSums "
        f"{topics.servers} {topics.registry} '{topics.pattern}' sums-{time.time_ns()} "
    )
    return lambda: _sums_in(_long_typed(folder, [line + str(_expected_ticks(topics))]))


def _expected_ticks(topics: Topics) -> int:
    return _held(topics, list(TopicNames(topics.prefix).all_ticks().values()))


def _plain(section: str, more: str) -> Callable[[Topics, Path], Callable[[], Sums]]:
    """A program of the examples: the lines before the last build it."""

    def prepared(topics: Topics, folder: Path) -> Callable[[], Sums]:
        *build, line = documented("docs/downstream.md", section)
        line = _with_addresses(line, topics)
        line += " " + more.format(**topics._asdict(), pattern=topics.pattern)
        if build:
            # the first time librdkafka is compiled
            typed(folder, build, seconds=LONGEST_SECONDS)
        return lambda: _sums_in(_long_typed(folder, [line]))

    return prepared


def _with_addresses(line: str, topics: Topics) -> str:
    for default, ours in {
        "localhost:9094": topics.servers,
        "http://localhost:8081/apis/ccompat/v7": topics.registry,
        r"kite\.ticks\.": topics.prefix + r"\.ticks\.",
    }.items():
        line = line.replace(default, ours)
    return line


def _long_typed(folder: Path, lines: list[str]) -> str:
    return typed(folder, lines, jvm=JVM, seconds=LONGEST_SECONDS)


PYTHON = (
    "--until-end --sums --bootstrap-servers {servers} --registry-url {registry} "
    "--topic-pattern '{pattern}' 2>/dev/null"
)
POM = "examples/{}/pom.xml"


class Reader(NamedTuple):
    """One that is compared."""

    prepare: Callable[[Topics, Path], Callable[[], Sums]]
    libraries: dict[str, str]  # name to the file that pins it
    without: tuple[str, ...] = ()  # sums that it cannot find

    @property
    def versions(self) -> str:
        """Of its libraries, as pinned."""
        return ", ".join(
            f"{name.removesuffix('.version')} {_pinned(name, file)}"
            for name, file in self.libraries.items()
        )


def _pinned(name: str, file: str) -> str:
    text = (ROOT / file).read_text("utf-8")
    found = re.search(re.escape(name) + r"\W[^\d\n]*\n?[^\d\n]*(\d+\.[\w.-]*\w)", text)
    assert found, f"{file} pins no {name}"
    return found[1]


# engines first, and last what takes longest
_INSERTS = dict.fromkeys(["chdb-core", "confluent-kafka"], "requirements/clickhouse.txt")
READERS = {
    "ClickHouse by INSERTs of 15 columns": Reader(
        clickhouse_inserts_of_fewer_columns, _INSERTS, BOOKLESS
    ),
    "ClickHouse by INSERTs": Reader(clickhouse_inserts, _INSERTS),
    "Flink": Reader(
        flink, dict.fromkeys(["flink.version", "flink.kafka.version"], POM.format("flink"))
    ),
    "Spark": Reader(spark_batch, {"pyspark": "requirements/spark.txt"}),
    "Kafka Streams": Reader(
        kafka_streams, dict.fromkeys(["kafka-streams", "avro"], POM.format("kafka-streams"))
    ),
    "Go": Reader(
        _plain("## Go", "-sums"),
        dict.fromkeys(["franz-go", "hamba/avro/v2"], "examples/consumers/go/go.mod"),
    ),
    "Java": Reader(
        _plain("## Java", "until-end sums"),
        dict.fromkeys(["kafka-clients", "avro"], POM.format("consumers/java")),
    ),
    "Rust": Reader(
        _plain("## Rust", "--sums"),
        dict.fromkeys(["rdkafka", "apache-avro"], "examples/consumers/rust/Cargo.toml"),
    ),
    "Node": Reader(
        _plain("## Node", "--sums"),
        dict.fromkeys(["@platformatic/kafka", "avsc"], "examples/consumers/node/package.json"),
    ),
    "Python": Reader(
        _plain("## Python", PYTHON),
        dict.fromkeys(["confluent-kafka", "fastavro"], "requirements/run.txt"),
    ),
    "ClickHouse's Kafka engine": Reader(clickhouse, {"chdb-core": "requirements/clickhouse.txt"}),
}


@contextlib.contextmanager
def services(servers: str | None, registry: str | None) -> Iterator[tuple[str, str]]:
    """The ones that were named, else containers."""
    with contextlib.ExitStack() as stack:
        if servers is None:
            servers = stack.enter_context(kafka_container()).bootstrap_servers
        if registry is None:
            registry = stack.enter_context(registry_container())
        yield servers, registry


def main() -> int:
    """Print a row for each reader; 1 where one finds other sums or fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--bootstrap-servers")
    parser.add_argument("--registry-url")
    chosen = parser.parse_args()
    wrong = 0
    with services(chosen.bootstrap_servers, chosen.registry_url) as (servers, registry):
        topics = Topics(servers, registry, f"rates-{chosen.ticks}")
        began = time.monotonic()
        expected, size = fill(topics, chosen.ticks)
        took = time.monotonic() - began
        print(f"{expected['ticks']} ticks, {size / 1e6:.0f} MB of values, {took:.0f} s: {expected}")
        print("| reader | versions | seconds | CPU seconds | ticks a second | sums |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in chosen.readers:
            wrong += not _run(name, topics, expected)
    return 1 if wrong else 0


def _run(name: str, topics: Topics, expected: Sums) -> bool:
    """Print the row of a reader; whether its sums are the expected ones."""
    reader = READERS[name]
    expected = {name: value for name, value in expected.items() if name not in reader.without}
    found, failure = None, ""
    with TemporaryDirectory() as place:
        before, began = _cpu_seconds(), time.monotonic()
        try:
            read = reader.prepare(topics, user_folder(Path(place)))
            before, began = _cpu_seconds(), time.monotonic()
            found = read()
        except AssertionError as error:
            failure = str(error)
        took, spent = time.monotonic() - began, _cpu_seconds() - before
    rate = f"{expected['ticks'] / took:,.0f}" if found else "–"
    said = "equal" if found == expected else "differ" if found else "did not end"
    print(
        f"| {name} | {reader.versions} | {took:.1f} | {spent:.1f} | {rate} | {said} |", flush=True
    )
    if found != expected:
        print(f"{name}: {failure or found}", file=sys.stderr)
    return found == expected


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
