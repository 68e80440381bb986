"""The tape of ticks, read by the documented Python programs: what all readers agree on."""

import asyncio
import contextlib
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import fastavro
import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, Producer, TopicPartition

from connector import schemas
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.topics import TopicNames
from tests.integration.downstream import market
from tests.integration.downstream.checksum import agreed, checksum
from tests.integration.downstream.conftest import register_ticks
from tests.support.http_serving import Handler, HttpServing
from tests.support.processes import ended

EXAMPLES = Path(__file__).parents[2] / "examples"
CONSUMER = EXAMPLES / "consumers/python/consume.py"
INSERTS = EXAMPLES / "clickhouse/insert.py"
NAMES = TopicNames("tape")
PARTITIONS = 3


@dataclass
class Served:
    bootstrap_servers: str
    registry_url: str
    writers: dict[int, dict]
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
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), *arguments,
            "--bootstrap-servers", self.bootstrap_servers,
            "--registry-url", self.registry_url, "--topic-pattern", r"tape\.ticks\..*",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with ended(process):
            printed, said = await process.communicate()
        return process.returncode, printed.decode(), said.decode()


@dataclass
class Inserts:
    """Takes what a program puts into ClickHouse, which cannot be had here as a server."""

    url: str
    refusal: str = ""
    taken: list[tuple[dict, bytes]] = field(default_factory=list)

    def ticks(self, writers):
        """The values, which stand one behind the other in each batch."""
        for _, batch in self.taken:
            values = io.BytesIO(batch)
            while values.tell() < len(batch):
                assert values.read(1) == b"\x00"
                schema = writers[int.from_bytes(values.read(4), "big")]
                yield fastavro.schemaless_reader(values, schema, None)


@contextlib.contextmanager
def inserts():
    class Inserting(Handler):
        def answer(self):
            batch = self.body()
            if not into.refusal:
                into.taken.append((parse_qs(urlsplit(self.path).query), batch))
            self.reply(500 if into.refusal else 200, into.refusal.encode())

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
            writers = dict.fromkeys(older.values(), fastavro.parse_schema(market.older_schema()))
            writers |= dict.fromkeys(newer.values(), fastavro.parse_schema(schemas.load("tick")))
            yield Served(broker.bootstrap_servers, registry.url, writers, len(records))


async def test_the_python_consumer_makes_of_the_tape_what_all_readers_do():
    async with asyncio.timeout(180), tape() as served:
        code, output, said = await served.run(CONSUMER, "--from-beginning", "--until-end")
    assert code == 0, said
    assert checksum(map(json.loads, output.splitlines())) == agreed()


async def test_inserts_into_clickhouse_are_the_tape_and_are_committed_where_it_took_them():
    refusal = "Code: 60. DB::Exception: Table default.ticks does not exist"
    async with asyncio.timeout(180), tape() as served:
        with inserts() as into:
            run = ("--until-end", "--rows", "7000", "--url", into.url)
            into.refusal = refusal
            refused = await served.run(INSERTS, *run, "--group", "refused")
            into.refusal = ""
            taken = await served.run(INSERTS, *run, "--group", "taken")
        assert refused == (1, "", f"ClickHouse: {refusal}\n")
        assert served.committed("refused") == 0
        assert taken == (0, "", "")
        assert len(into.taken) > 1
        assert checksum(into.ticks(served.writers)) == agreed()
        for asked, _ in into.taken:
            assert asked["query"] == ["INSERT INTO ticks FORMAT AvroConfluent"]
            assert asked["format_avro_schema_registry_url"] == [served.registry_url]
            assert asked["input_format_avro_allow_missing_fields"] == ["1"]
        assert served.committed("taken") == served.records


@pytest.mark.parametrize("name", ["ticks", "volume", "nulls", "bars"])
def test_the_agreed_result_says_something(name):
    found = agreed()[name]
    assert found
    if name == "nulls":
        # neither none nor all, and the flat book is null where version 1 had depth
        assert all(0 < count < agreed()["ticks"] for count in found.values())
        assert found["best_bid_price"] > found["depth"] == found["depth.buy[1].price"]
        assert found["ohlc"] == found["ohlc.open"]
