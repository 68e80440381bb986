"""The tape of ticks, read by the documented Python programs and by ClickHouse in one of them: what
all readers agree on.
"""

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, Producer, TopicPartition

from connector import schemas
from connector.cli.clickhouse import CLICKHOUSE, clickhouse_tables
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.topics import TopicNames
from tests.integration.downstream import market
from tests.integration.downstream.checksum import agreed, checksum
from tests.integration.downstream.clickhouse import COUNTS, found, of_ticks
from tests.integration.downstream.conftest import register_ticks
from tests.support.http_serving import Handler, HttpServing
from tests.support.processes import ended

EXAMPLES = Path(__file__).parents[2] / "examples"
CONSUMER = EXAMPLES / "consumers/python/consume.py"
INSERTS = EXAMPLES / "clickhouse/insert.py"
QUEUE = EXAMPLES / "clickhouse/run_sql.py"
BARS = EXAMPLES / "clickhouse/bars.sql"
NAMES = TopicNames("tape")
PARTITIONS = 3


@dataclass
class Served:
    bootstrap_servers: str
    registry_url: str
    records: int

    def committed(self, group):
        """How many records a group has done with."""
        reader = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": group})
        places = [
            TopicPartition(topic, n)
            for topic in NAMES.all_ticks().values()
            for n in range(PARTITIONS)
        ]
        found = reader.committed(places, timeout=30)
        reader.close()
        return sum(one.offset for one in found if one.offset != OFFSET_INVALID)

    async def run(self, program, *arguments):
        """Exit code and what a program printed and said, with these addresses."""
        return await run(
            program, *arguments,
            "--bootstrap-servers", self.bootstrap_servers,
            "--topic-pattern", r"tape\.ticks\..*",
        )  # fmt: skip

    def scripts(self, folder):
        """The generated tables of ticks and bars with these addresses, and what is asked of them.

        Those of other schemas have no topics here.
        """
        every = clickhouse_tables(self.bootstrap_servers, self.registry_url, prefix=NAMES.prefix)
        tables, counts = folder / "tables.sql", folder / "counts.sql"
        tables.write_text(of_ticks(every), "utf-8")
        counts.write_text(f"SELECT {COUNTS} FROM ticks FINAL;\n", "utf-8")
        return tables, BARS, counts


async def run(program, *arguments):
    """Exit code and what a program printed and said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with ended(process):
        printed, said = await process.communicate()
    return process.returncode, printed.decode(), said.decode()


def _declared():
    return ["\t".join(column) for column in CLICKHOUSE.columns(schemas.load("tick")).items()]


@dataclass
class Inserts:
    """Takes what a program puts into ClickHouse, which cannot be had here as a server."""

    url: str
    refusal: str = ""
    columns: list[str] = field(default_factory=_declared)
    taken: list[tuple[dict, bytes]] = field(default_factory=list)

    def ticks(self):
        """The rows of the tables of Arrow, as the schema nests them."""
        for _, batch in self.taken:
            for row in pa.ipc.open_stream(batch).read_all().to_pylist():
                has_ohlc, has_depth = row["ohlc_open"] is not None, row["depth_buy_1_price"]
                yield row | {
                    "ohlc": {"open": row["ohlc_open"]} if has_ohlc else None,
                    "depth": {side: _levels(row, side) for side in ("buy", "sell")}
                    if has_depth is not None
                    else None,
                }


def _levels(row, side):
    return [
        {what: row[f"depth_{side}_{level}_{what}"] for what in ("quantity", "price", "orders")}
        for level in range(1, 6)
    ]


@contextlib.contextmanager
def inserts():
    class Inserting(Handler):
        def answer(self):
            batch = self.body()
            asked = parse_qs(urlsplit(self.path).query)
            is_question = "system.columns" in asked["query"][0]
            said = "\n".join(into.columns) if is_question else into.refusal
            if not said and not is_question:
                into.taken.append((asked, batch))
            self.reply(200 if is_question or not said else 500, said.encode())

    serving = HttpServing(Inserting)
    into = Inserts(serving.url("127.0.0.1"))
    try:
        yield into
    finally:
        serving.close()


@contextlib.asynccontextmanager
async def tape():
    """A broker and a registry with the tape's topics, in both versions of the schema."""
    async with EmbeddedRegistry() as registry:
        with EmbeddedBroker() as broker:
            older, newer = [
                await register_ticks(registry.url, NAMES, schema)
                for schema in (market.older_schema(), schemas.load("tick"))
            ]
            for topic in NAMES.all_ticks().values():
                broker.create_topic(topic, PARTITIONS)
            producer = Producer(
                {"bootstrap.servers": broker.bootstrap_servers, "compression.type": "lz4"}
            )
            records = market.tape(NAMES, newer, older)
            for record in records:
                producer.produce(record.topic, record.value, record.key)
            assert producer.flush(30) == 0
            yield Served(broker.bootstrap_servers, registry.url, len(records))


async def test_the_python_consumer_makes_of_the_tape_what_all_readers_do():
    async with asyncio.timeout(180), tape() as served:
        code, output, said = await served.run(
            CONSUMER, "--from-beginning", "--until-end", "--registry-url", served.registry_url
        )
    assert code == 0, said
    assert checksum(map(json.loads, output.splitlines())) == agreed()


async def test_inserts_into_clickhouse_are_the_tape_and_are_committed_where_it_took_them():
    refusal = "Code: 241. DB::Exception: Memory limit exceeded"
    async with asyncio.timeout(180), tape() as served:
        with inserts() as into:
            run = ("--until-end", "--rows", "7000", "--url", into.url)
            into.refusal = refusal
            refused = await served.run(INSERTS, *run, "--group", "refused")
            into.refusal = ""
            taken = await served.run(INSERTS, *run, "--group", "taken")
            into.columns = []
            without = await served.run(INSERTS, *run, "--group", "without")
        assert refused == (1, "", f"ClickHouse: {refusal}\n")
        assert served.committed("refused") == 0
        assert taken == (0, "", "")
        assert len(into.taken) > 1
        assert checksum(into.ticks()) == agreed()
        for asked, _ in into.taken:
            assert asked["query"][0].startswith("INSERT INTO ticks (event_time, receive_time_us, ")
            assert asked["query"][0].endswith(" FORMAT ArrowStream")
            assert asked["optimize_on_insert"] == ["0"]
        assert served.committed("taken") == served.records
        assert without[0] == 1
        assert "no table `ticks`" in without[2]
        assert served.committed("without") == 0


@pytest.mark.parametrize("program", [QUEUE, INSERTS], ids=["queue", "inserts"])
async def test_clickhouse_makes_of_the_tape_what_all_readers_do(program, tmp_path):
    async with asyncio.timeout(180), tape() as served:
        scripts = served.scripts(tmp_path)
        if program == QUEUE:
            code, output, said = await run(program, *scripts, "--idle-reads", 2)
        else:
            code, output, said = await served.run(program, "--in-process", *scripts)
    assert code == 0, said
    *bars, counts = map(json.loads, output.splitlines())
    assert found(bars, counts) == agreed()


@pytest.mark.parametrize("name", ["ticks", "volume", "nulls", "bars"])
def test_the_agreed_result_says_something(name):
    found = agreed()[name]
    assert found
    if name == "nulls":
        # neither none nor all, and the flat book is null where version 1 had depth
        assert all(0 < count < agreed()["ticks"] for count in found.values())
        assert found["best_bid_price"] > found["depth"] == found["depth.buy[1].price"]
        assert found["ohlc"] == found["ohlc.open"]
