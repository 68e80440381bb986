import asyncio

import pytest

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.last_words import send_last
from connector.kafka.spool import Record
from connector.settings.models import KafkaSettings
from tests.support.reading import read_topic

RECORDS = [Record("t", b"%d" % number, b"value", 1_700_000_000_000 + number) for number in range(3)]


@pytest.fixture
def broker():
    with EmbeddedBroker({"t": 3}) as broker:
        yield broker


async def test_they_are_acknowledged(broker):
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    assert await asyncio.to_thread(send_last, kafka, "test", RECORDS, 20)
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    assert sorted((m.key(), m.value(), m.timestamp()[1]) for m in messages) == [
        (record.key, record.value, record.timestamp_ms) for record in RECORDS
    ]


async def test_a_broker_that_is_away_is_not_waited_for(broker):
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    broker.set_down()
    assert not await asyncio.to_thread(send_last, kafka, "test", RECORDS, 0.1)


async def test_properties_that_librdkafka_refuses_are_no_end_of_the_service():
    kafka = KafkaSettings(client={"no.such.property": 1})
    assert not await asyncio.to_thread(send_last, kafka, "test", RECORDS, 0.1)
