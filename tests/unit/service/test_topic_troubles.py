import asyncio

import pytest
from structlog.testing import capture_logs

from connector.errors import TopicError
from connector.kafka.broker_health import BrokerHealth
from connector.kafka.producer_state import RecordCounts
from connector.kafka.refusals import TopicTrouble
from connector.kafka.topics import TopicsReport
from connector.kite.feed.wait import cancelled
from connector.service.topic_troubles import TopicTroubles
from connector.settings.models import KafkaSettings
from connector.testing import RecordingProducer, until

MISSING = TopicTrouble("kite.ticks.nse", "UNKNOWN_TOPIC_OR_PART", "Unknown topic", 0.0)


async def at_once(_seconds):
    await asyncio.sleep(0)


class Throttle:
    broker_name = "broker-1"

    def __init__(self, seconds):
        self.throttle_time = seconds


class Log:
    def warning(self, *_, **__):
        pass


class Producer(RecordingProducer):
    def __init__(self, *troubles):
        self.now = 0.0
        health = BrokerHealth(Log(), lambda: self.now)
        super().__init__(*troubles, counts=RecordCounts(in_flight=3, spooled=4), health=health)
        self.waiting_of = {"kite.ticks.nse": 7}


def reasons(producer, make=None):
    return TopicTroubles(producer, KafkaSettings(), make).reasons()


def test_no_trouble_has_no_reason():
    assert reasons(Producer()) == []


def test_a_missing_topic_is_named_with_what_helps():
    (reason,) = reasons(Producer(MISSING))
    assert reason == (
        "kite.ticks.nse does not exist: create kite.ticks.nse, or turn topics.create on "
        "(7 records for kite.ticks.nse wait)"
    )
    assert "it is being made again" in reasons(Producer(MISSING), make=lambda _: None)[0]


def test_a_quota_is_named_as_long_as_it_throttles():
    producer = Producer()
    producer.health.throttled(Throttle(0.8))
    (reason,) = reasons(producer)
    assert "a quota of the brokers holds this client back, for 0.8 s" in reason
    assert "7 records wait" in reason
    assert "producer_byte_rate" in reason
    producer.now += 0.8 + 5.0
    assert reasons(producer) == []
    producer.health.throttled(Throttle(0.2))
    producer.health.throttled(Throttle(0))
    assert reasons(producer) == []
    assert producer.health.throttled_seconds == pytest.approx(1.0)


async def test_whatever_making_a_topic_fails_with_it_is_told_and_tried_again():
    producer = Producer(MISSING)
    answers = [KeyError("kite.ticks.nse"), RuntimeError("a client's"), None]
    told = []

    async def make(_topics):
        told.append(troubles.reasons())
        if (answer := answers.pop(0)) is not None:
            raise answer
        producer.troubles = ()
        return TopicsReport()

    troubles = TopicTroubles(producer, KafkaSettings(), make, sleep=at_once)
    running = asyncio.create_task(troubles.run())
    await until(lambda: not producer.troubles or running.done())
    await cancelled(running)
    assert answers == []
    assert "it is being made again" in told[0][0]
    assert "a client's" in told[2][0]


async def test_a_missing_topic_is_made_again():
    producer = Producer(MISSING, TopicTrouble("kite.orders", "TOPIC_AUTHORIZATION_FAILED", "", 0.0))
    made = []
    answers = [TopicError("kite.ticks.nse", "no"), TopicError("kite.ticks.nse", "no"), None]

    async def make(topics):
        made.append(topics)
        answer = answers.pop(0) if answers else None
        if answer is not None:
            assert "no" in answer.reason
            raise answer
        producer.troubles = ()
        return TopicsReport(created=["kite.ticks.nse"])

    troubles = TopicTroubles(producer, KafkaSettings(), make, sleep=at_once)
    with capture_logs() as lines:
        running = asyncio.create_task(troubles.run())
        await until(lambda: not producer.troubles)
        await cancelled(running)
    assert made == [{"kite.ticks.nse"}] * 3
    assert [line["event"] for line in lines] == ["topic_not_recreated", "topic_recreated"]


@pytest.mark.parametrize("created", [["kite.control"], []])
async def test_what_other_parts_find_missing_is_named_made_and_told_by_who_made_it(created):
    missing, made, told = {"kite.control"}, [], []

    async def make(topics):
        made.append(set(topics))
        missing.clear()
        return TopicsReport(created=created)

    troubles = TopicTroubles(
        Producer(),
        KafkaSettings(),
        make,
        others=lambda: missing,
        on_made=told.append,
        sleep=at_once,
    )
    assert troubles.reasons() == ["kite.control does not exist: it is being made again"]
    running = asyncio.create_task(troubles.run())
    await until(lambda: not missing)
    await asyncio.sleep(0)
    await cancelled(running)
    assert (made, troubles.reasons(), told) == ([{"kite.control"}], [], created)
