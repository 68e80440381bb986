"""The tape of ticks, read by the documented Python consumer: what all readers agree on."""

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from connector import schemas
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.topics import TopicNames
from tests.integration.downstream import market
from tests.integration.downstream.checksum import agreed, checksum
from tests.integration.downstream.conftest import register_ticks

CONSUMER = Path(__file__).parents[2] / "examples/consumers/python/consume.py"
NAMES = TopicNames("tape")


@dataclass
class Served:
    bootstrap_servers: str
    registry_url: str


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
                broker.create_topic(topic, 3)
            producer = Producer(
                {"bootstrap.servers": broker.bootstrap_servers, "compression.type": "lz4"}
            )
            for record in market.tape(NAMES, newer, older):
                producer.produce(record.topic, record.value, record.key)
            assert producer.flush(30) == 0
            yield Served(broker.bootstrap_servers, registry.url)


async def test_the_python_consumer_makes_of_the_tape_what_all_readers_do():
    async with asyncio.timeout(180), tape() as served:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CONSUMER), "--from-beginning", "--until-end",
            "--bootstrap-servers", served.bootstrap_servers,
            "--registry-url", served.registry_url, "--topic-pattern", r"tape\.ticks\..*",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert checksum(map(json.loads, output.splitlines())) == agreed()


@pytest.mark.parametrize("name", ["ticks", "volume", "nulls", "bars"])
def test_the_agreed_result_says_something(name):
    found = agreed()[name]
    assert found
    if name == "nulls":
        # neither none nor all, and the flat book is null where version 1 had depth
        assert all(0 < count < agreed()["ticks"] for count in found.values())
        assert found["best_bid_price"] > found["depth"] == found["depth.buy[1].price"]
        assert found["ohlc"] == found["ohlc.open"]
