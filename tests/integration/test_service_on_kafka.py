"""The whole service between feed, Kafka and a real registry: what a reader finds in the topics."""

import asyncio
import json
import re

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer

from connector.kite.wire.models import Exchange
from connector.schemas import load
from connector.simulator import wire
from tests.integration.streaming import INSTRUMENTS, SECONDS, SPARE, streaming
from tests.support.reading import read_topic

pytestmark = pytest.mark.integration

PRICE = 1_234_567_890
"""On the wire; what it means rests on the exchange."""
DIVISORS = {Exchange.CDS: 10_000_000, Exchange.BCD: 10_000, Exchange.NCO: 10_000}
ORDER = {
    "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY",
    "order_type": "MARKET", "product": "CNC", "quantity": "1",
}  # fmt: skip
FIELD = {"name": "later", "type": ["null", "long"], "default": None}


@pytest.fixture
def registry(registry_url):
    """Any client of Confluent's API: nothing of the connector is in it."""
    with SchemaRegistryClient({"url": registry_url}) as client:
        yield client


def service(tmp_path, bootstrap_servers, registry_url, **changes):
    return streaming(
        tmp_path,
        bootstrap_servers,
        updates_per_second=2,
        registry={"url": registry_url},
        topics={"replication_factor": 1},
        **changes,
    )


def token_of(exchange):
    return 999_999 << 8 | exchange.value


async def test_orders_that_changed_while_nobody_was_there_are_found_later(
    bootstrap_servers, registry_url, registry, tmp_path
):
    async with service(tmp_path, bootstrap_servers, registry_url) as run:
        account = run.server.config.accounts[0]
        (replica,) = await run.start(1)
        brought = run.server.place_order(account, "regular", ORDER)
        await run.until_accounted(replica, orders=len(brought))
        await run.stop(replica)
        missed = run.server.place_order(account, "regular", ORDER)[-1]
        (replica,) = await run.start(1)
        await run.until_accounted(replica, orders=1, orders_reconciled=1)
        await run.stop(replica)
        messages = await asyncio.to_thread(read_topic, bootstrap_servers, run.topics.orders)
        decode = AvroDeserializer(registry)
        orders = await asyncio.to_thread(lambda: [decode(one.value(), None) for one in messages])
    told = [(one["order_id"], one["status"], one["source"]) for one in orders]
    assert sorted(told) == sorted(
        [
            *((one["order_id"], one["status"], "feed") for one in brought),
            (missed["order_id"], missed["status"], "reconciled"),
        ]
    )


async def test_whatever_the_feed_sends_is_read_with_the_registrys_schemas(
    bootstrap_servers, registry_url, registry, tmp_path
):
    master = {"load": True}
    async with service(tmp_path, bootstrap_servers, registry_url, instrument_master=master) as run:
        (replica,) = await run.start(1)
        server, topics = run.server, run.topics
        first = server.sockets[0].number
        packets = [wire.ltp_packet(token_of(exchange), PRICE) for exchange in Exchange]
        await server.send_frame(wire.encode_frame(packets), sockets=[first])
        await server.send_frame(b"\x00\x01\x07", sockets=[first])
        updates = server.place_order(server.config.accounts[0], "regular", ORDER)
        await run.until_accounted(replica, orders=len(updates), instruments=INSTRUMENTS)
        await run.stop(replica)

        prefix = f"{topics.prefix}."
        avro = {*topics.all_ticks().values(), topics.orders, topics.events, topics.instruments}
        subjects = await asyncio.to_thread(registry.get_subjects)
        assert {one for one in subjects if one.startswith(prefix)} == {f"{t}-value" for t in avro}
        decode = AvroDeserializer(registry)

        def read():
            found = {topic: read_topic(bootstrap_servers, topic) for topic in avro}
            return {
                topic: [(message.key().decode(), decode(message.value(), None)) for message in all_]
                for topic, all_ in found.items()
            }

        records = await asyncio.to_thread(read)
        dead = await asyncio.to_thread(read_topic, bootstrap_servers, topics.deadletter)
        assert sum(map(len, records.values())) + len(dead) == run.delivered

        symbols = {one.instrument_token: one.tradingsymbol for one in server.universe.listings}
        carried = set()
        for exchange, topic in topics.all_ticks().items():
            made = [tick for key, tick in records[topic] if key == str(token_of(exchange))]
            assert [tick["last_price"] for tick in made] == [PRICE / DIVISORS.get(exchange, 100)]
            for key, tick in records[topic]:
                assert (key, tick["exchange"]) == (str(tick["instrument_token"]), exchange.name)
                assert tick["tradingsymbol"] == symbols.get(tick["instrument_token"])
                carried.add(tick["instrument_token"])
        assert len(carried & symbols.keys()) == INSTRUMENTS - SPARE
        assert [json.loads(one["payload"]) for _, one in records[topics.orders]] == updates
        assert {key for key, _ in records[topics.instruments]} == {str(token) for token in symbols}
        connected = {key for key, one in records[topics.events] if one["type"] == "connected"}
        assert connected == {"0", "1", "2"}
        (letter,) = dead
        assert (letter.key().decode(), letter.value()) == (f"{prefix}ticks", b"\x07")
        assert dict(letter.headers())["reason"] == b"truncated_frame"


async def test_an_incompatible_schema_stops_the_start(
    bootstrap_servers, registry_url, registry, tmp_path
):
    async with service(tmp_path, bootstrap_servers, registry_url) as run:
        subject = f"{run.topics.orders}-value"
        theirs = load("order_update")
        theirs["fields"].append({"name": "needed", "type": "string"})
        schema = Schema(json.dumps(theirs), "AVRO")
        await asyncio.to_thread(registry.register_schema, subject, schema)
        process = await run.fleet.start(0)
        assert await run.fleet.ended(process, SECONDS) == 1
        last = process.lines()[-1]["message"]
        assert subject in last
        assert re.search("(?i)incompatible", last)
        assert not run.watch.sockets
        versions = await asyncio.to_thread(registry.get_versions, subject)
        assert versions == [1]


async def test_a_newer_compatible_schema_stops_nothing(
    bootstrap_servers, registry_url, registry, tmp_path
):
    async with service(tmp_path, bootstrap_servers, registry_url) as run:
        topic = run.topics.ticks(Exchange.NSE)
        theirs = load("tick")
        theirs["fields"].append(FIELD)
        schema = Schema(json.dumps(theirs), "AVRO")
        newer = await asyncio.to_thread(registry.register_schema, f"{topic}-value", schema)
        (replica,) = await run.start(1)
        await run.until_delivered()
        await run.stop(replica)
        messages = await asyncio.to_thread(read_topic, bootstrap_servers, topic)
        (own,) = {int.from_bytes(message.value()[1:5], "big") for message in messages}
        assert own != newer
        # who knows the newer one reads the older one with it
        decode = AvroDeserializer(registry, json.dumps(theirs))
        ticks = await asyncio.to_thread(
            lambda: [decode(message.value(), None) for message in messages]
        )
        assert {tick["later"] for tick in ticks} == {None}
