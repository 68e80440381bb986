"""The producer on a real Kafka: end to end, and while the broker comes and goes."""

import asyncio
import random
import uuid

import pytest

from connector.kafka.avro_records import RecordEncoder
from connector.kafka.producer import RecordProducer
from connector.kafka.registry import register_schemas
from connector.kafka.tail import tail
from connector.kafka.topics import TopicNames, ensure_topics
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.settings.models import KafkaSettings, RegistrySettings, SpoolSettings, TopicSettings
from connector.testing import until
from tests.support.producers import balanced, producers
from tests.support.reading import by_key, read_topic

pytestmark = pytest.mark.integration

TIME_MS = 1_767_585_600_000
KEYS = 100
HEADERS = [("h", b"1")]
QUICK = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500}


def topics():
    # records of a fixed day: whatever topic they go to must not let them go as too old
    return TopicSettings(
        prefix=f"it-{uuid.uuid4().hex[:8]}",
        replication_factor=1,
        tick_retention_hours=1e6,
        order_retention_hours=1e6,
        event_retention_hours=1e6,
        deadletter_retention_hours=1e6,
    )


@pytest.fixture
async def start(tmp_path):
    async with producers() as started:

        async def start(kafka, **options):
            return await started(
                RecordProducer(kafka, SpoolSettings(directory=tmp_path), client_id="it", **options)
            )

        yield start


class Feed:
    """Numbered records over some keys, at a steady pace; every call checks the accounting."""

    def __init__(self, producer, topic):
        self.producer = producer
        self.topic = topic
        self.made = 0

    def send(self, count):
        numbers = range(self.made, self.made + count)
        self.made += count
        self.producer.produce_all(
            [(self.topic, b"%d" % (n % KEYS), b"%07d" % n + bytes(250)) for n in numbers], TIME_MS
        )
        balanced(self.producer)

    async def go_on(self, stop):
        while not stop.is_set():
            self.send(20)
            await asyncio.sleep(0.005)


def all_in_order(messages, made):
    """Every record is there, each key's in order.

    Some may be there twice: librdkafka takes a new producer id when a broker forgot the old one,
    and sends what was under way again.
    """
    for key, values in by_key(messages).items():
        numbers = dict.fromkeys(int(value[:7]) for value in values)
        assert list(numbers) == list(range(int(key), made, KEYS))


async def test_records_come_back_by_the_registrys_schema(bootstrap_servers, registry_url, start):
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    registry = RegistrySettings(url=registry_url)
    shape = topics()
    names = TopicNames(shape.prefix)
    await ensure_topics(kafka, shape, slots=3)
    ids = await register_schemas(registry, names)
    encoder = RecordEncoder(names, ids)
    producer = await start(kafka)
    for slot in range(3):
        event = ConnectionEvent(EventType.CONNECTED, slot=slot, time_ms=TIME_MS, reason="ü")
        value = encoder.event(event, account="main")
        producer.produce(names.events, value, b"%d" % slot, TIME_MS)
    producer.produce(
        names.deadletter, b"\xb8", b"kite.ticks.nse", TIME_MS, [("reason", b"unknown_length")]
    )
    assert await producer.close(30)
    assert producer.counts.delivered == 4
    records = [
        record
        async for record in tail(
            kafka, registry, names, [names.events, names.deadletter], start="earliest", follow=False
        )
    ]
    events = [record for record in records if record.topic == names.events]
    assert [record.value["slot"] for record in events] == [0, 1, 2]
    assert {(r.schema_id, r.source, r.timestamp_ms, r.value["reason"]) for r in events} == {
        (ids[names.events], "registry", TIME_MS, "ü")
    }
    (dead,) = [record for record in records if record.topic == names.deadletter]
    assert (dead.key, dead.value, dead.headers) == (
        "kite.ticks.nse", b"\xb8", {"reason": "unknown_length"},
    )  # fmt: skip


async def test_a_record_too_large_for_the_broker_is_told(bootstrap_servers, start):
    shape = topics()
    names = TopicNames(shape.prefix)
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap_servers, client={"message.max.bytes": 5_000_000}
    )
    await ensure_topics(kafka, shape, slots=3)
    failed = []
    producer = await start(kafka, on_failed=failed.append)
    producer.produce(names.orders, b"before", b"k", TIME_MS)
    producer.produce(names.orders, random.Random(1).randbytes(4_000_000), b"k", TIME_MS, HEADERS)
    producer.produce(names.orders, b"after", b"k", TIME_MS)
    await until(lambda: failed, 40)
    assert await producer.flush(30)
    assert producer.counts.failed == {"msg_size_too_large": 1}
    assert (failed[0].record.topic, failed[0].record.headers) == (names.orders, HEADERS)
    assert await producer.close(5)
    messages = await asyncio.to_thread(read_topic, bootstrap_servers, names.orders)
    assert [message.value() for message in messages] == [b"before", b"after"]


@pytest.fixture
async def feed(own_kafka, start):
    """A feed into a Kafka of its own, whose small queue soon needs the spool."""
    shape = topics()
    kafka = KafkaSettings(
        bootstrap_servers=own_kafka.bootstrap_servers, queue_max_messages=2000, client=QUICK
    )
    await ensure_topics(kafka, shape, slots=3)
    return Feed(await start(kafka), f"{shape.prefix}.ticks.nse")


async def through(feed, own_kafka, trouble):
    """Feed before, during and after some trouble of the broker, then compare."""
    stop = asyncio.Event()
    feeding = asyncio.create_task(feed.go_on(stop))
    await until(lambda: feed.producer.counts.delivered > 500, 60)
    await asyncio.to_thread(trouble)
    after = feed.made
    await until(lambda: feed.producer.counts.delivered > after, 60)
    stop.set()
    await feeding
    assert await feed.producer.flush(60)
    counts = feed.producer.counts
    assert (counts.delivered, counts.failed, counts.dropped) == (feed.made, {}, {})
    messages = await asyncio.to_thread(read_topic, own_kafka.bootstrap_servers, feed.topic)
    all_in_order(messages, feed.made)


async def test_a_restart_of_the_broker_loses_nothing(feed, own_kafka):
    def restart():
        own_kafka.stop_broker()
        own_kafka.start_broker()

    await through(feed, own_kafka, restart)
    assert feed.producer._spool.peak_bytes > 0  # the queue alone would not have done


async def test_a_crash_of_the_broker_loses_nothing(feed, own_kafka):
    def crash():
        own_kafka.kill_broker()
        own_kafka.start_broker()

    await through(feed, own_kafka, crash)


async def test_a_broker_that_hangs_loses_nothing(feed, own_kafka):
    loop = asyncio.get_running_loop()
    spooled = asyncio.Event()

    async def until_spooled():
        await until(lambda: feed.producer.counts.spooled > 500, 60)
        spooled.set()

    waiting = asyncio.create_task(until_spooled())

    def hang():
        with own_kafka.paused():
            asyncio.run_coroutine_threadsafe(spooled.wait(), loop).result(60)

    await through(feed, own_kafka, hang)
    await waiting


async def test_closed_during_an_outage_and_started_again(feed, own_kafka, start):
    feed.send(500)
    assert await feed.producer.flush(30)
    with own_kafka.paused():
        for _ in range(250):
            feed.send(20)
        assert await feed.producer.close(0.5)
    assert feed.producer.counts.spooled == 5000
    second = await start(feed.producer._kafka)
    feed.producer = second
    feed.send(500)
    assert await second.flush(60)
    assert second.counts.delivered == second.counts.produced == 5500
    assert await second.close(5)
    messages = await asyncio.to_thread(read_topic, own_kafka.bootstrap_servers, feed.topic)
    all_in_order(messages, feed.made)
