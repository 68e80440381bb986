import asyncio

import pytest
from confluent_kafka import Producer

from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.records import RecordEncoder
from connector.kafka.registry import register_schemas
from connector.kafka.tail import tail
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import ConnectionEvent, EventType
from connector.settings.models import KafkaSettings, RegistrySettings

NAMES = TopicNames("kite")
TIME_MS = 1_700_000_000_000


@pytest.fixture
def broker():
    with EmbeddedBroker({NAMES.events: 2, NAMES.control: 1, NAMES.deadletter: 1}) as broker:
        yield broker


@pytest.fixture
async def registry():
    async with EmbeddedRegistry() as registry:
        yield RegistrySettings(url=registry.url)


def kafka(broker):
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


async def write(broker, *records):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for topic, key, value, headers in records:
        producer.produce(topic, value, key, timestamp=TIME_MS, headers=headers)
    assert await asyncio.to_thread(producer.flush, 10) == 0


def event(encoder, slot):
    event = ConnectionEvent(EventType.CONNECTED, slot=slot, time_ms=TIME_MS)
    return (NAMES.events, b"%d" % slot, encoder.event(event), [])


async def all_of(broker, registry, *topics):
    return [
        record
        async for record in tail(
            kafka(broker), registry, NAMES, topics, start="earliest", follow=False
        )
    ]


async def test_what_is_there_is_read_and_decoded(broker, registry):
    ids = await register_schemas(registry, NAMES)
    encoder = RecordEncoder(NAMES, ids)
    await write(broker, *(event(encoder, slot) for slot in range(6)))
    await write(
        broker,
        (NAMES.control, b"c", b'{"id": "1"}', []),
        (NAMES.deadletter, b"kite.ticks.nse", b"\xb8", [("reason", b"unknown_length")]),
        (NAMES.control, b"c", None, []),
    )
    records = await all_of(broker, registry, NAMES.events, NAMES.control, NAMES.deadletter)
    events = [record for record in records if record.topic == NAMES.events]
    assert sorted(record.value["slot"] for record in events) == list(range(6))
    assert {(r.schema_id, r.source, r.timestamp_ms) for r in events} == {
        (ids[NAMES.events], "registry", TIME_MS)
    }
    assert [r.value for r in records if r.topic == NAMES.control] == [{"id": "1"}, None]
    (dead,) = [record for record in records if record.topic == NAMES.deadletter]
    assert (dead.key, dead.value) == ("kite.ticks.nse", b"\xb8")
    assert dead.headers == {"reason": "unknown_length"}


async def test_without_a_registry(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, event(encoder, 1))
    (record,) = await all_of(broker, None, NAMES.events)
    assert (record.value["slot"], record.source) == (1, "shipped")


async def test_a_value_of_somebody_else_ends_nothing(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, (NAMES.events, b"1", b"not avro", []), event(encoder, 1))
    records = await all_of(broker, registry, NAMES.events)
    (bad,) = [record for record in records if record.problem]
    assert bad.value == b"not avro"
    assert "framing" in bad.problem
    assert len(records) == 2


async def test_following_sees_only_what_comes(broker, registry):
    encoder = RecordEncoder(NAMES, await register_schemas(registry, NAMES))
    await write(broker, event(encoder, 1))
    seen = []
    following = asyncio.Event()

    async def follow():
        async for record in tail(kafka(broker), registry, NAMES, [NAMES.events, NAMES.control]):
            seen.append(record.value)
            following.set()

    task = asyncio.create_task(follow())
    while not following.is_set():
        # until the reader stands at the end: what was written before is not shown
        await write(broker, (NAMES.control, b"c", b'"now"', []))
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(seen) == {"now"}


async def test_a_topic_that_is_not_there(broker):
    with pytest.raises(TopicError, match=r"kite\.orders: is not there"):
        await all_of(broker, None, NAMES.orders)


async def test_a_broker_that_is_away(broker):
    broker.set_down()
    reading = tail(kafka(broker), None, NAMES, [NAMES.events], timeout_seconds=0.3)
    with pytest.raises(BrokerUnreachableError):
        await anext(reading)
