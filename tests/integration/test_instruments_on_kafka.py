"""The instrument master in a compacted topic of a real Kafka."""

import asyncio
import threading
import uuid
from datetime import date

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from connector.kafka.avro_records import RecordEncoder
from connector.kafka.instruments import WHOLE, InstrumentPublisher, read_latest
from connector.kafka.producer import RecordProducer
from connector.kafka.topics import TopicNames
from connector.kite.feed.wait import cancelled
from connector.kite.web.instruments import InstrumentMaster
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.simulator.rest import instruments_csv
from connector.simulator.universe import Universe
from connector.testing import until

pytestmark = pytest.mark.integration

PARTITIONS = 3
LISTINGS = Universe(5000, date(2026, 1, 5)).listings


@pytest.fixture
def topics(bootstrap_servers):
    """Names of topics, of which that of the instruments is there."""
    names = TopicNames(f"it-{uuid.uuid4().hex[:8]}")
    config = {"cleanup.policy": "compact"}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    topic = NewTopic(names.instruments, PARTITIONS, 1, config=config)
    admin.create_topics([topic])[names.instruments].result(30)
    return names


@pytest.fixture
def kafka(bootstrap_servers):
    return KafkaSettings(bootstrap_servers=bootstrap_servers)


@pytest.fixture
async def producer(kafka):
    producer = RecordProducer(kafka, SpoolSettings(), client_id="it")
    await producer.start()
    yield producer
    assert await producer.close(30)


async def publish(kafka, topics, producer, listings):
    """By a leader that knows nothing of those before; returns how many records it wrote."""
    written = []

    def produce(changes, whole):
        written.extend(changes)
        for key, value in changes:
            producer.produce(topics.instruments, value, key, headers=[WHOLE] if whole else None)

    publisher = InstrumentPublisher(
        RecordEncoder(topics, {topics.instruments: 1}).instrument,
        lambda stop: read_latest(kafka, topics.instruments, stop, hash),
        produce,
        lambda: producer.counts,
        lambda: True,
        room=1000,
    )
    publisher.set_instruments(InstrumentMaster.from_csv(instruments_csv(listings)))
    task = asyncio.create_task(publisher.run())
    try:
        await until(lambda: publisher.done, 60)
    finally:
        await cancelled(task)
    assert await producer.flush(30)
    return len(written)


async def test_only_changes_are_written_whoever_led_before(kafka, topics, producer):
    # one of them a second time: the list is whole
    assert await publish(kafka, topics, producer, LISTINGS) == len(LISTINGS) + 1
    assert await publish(kafka, topics, producer, LISTINGS) == 0
    # the row that said so may have been among those that went
    assert await publish(kafka, topics, producer, LISTINGS[1000:]) == 1000 + 1

    keys = {b"%d" % listing.instrument_token for listing in LISTINGS[1000:]}
    held = await asyncio.to_thread(read_latest, kafka, topics.instruments, threading.Event(), hash)
    assert held.whole
    assert set(held.rows) == keys
    assert await publish(kafka, topics, producer, LISTINGS) == 1000
