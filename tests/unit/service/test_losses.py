import pytest
from structlog.testing import capture_logs

from connector.kafka.spool import Dropped
from connector.service.losses import Losses
from tests.support.producing import RecordingProducer, pipeline


@pytest.fixture
def producer():
    return RecordingProducer()


@pytest.fixture
def slots(producer):
    slots = pipeline(producer)
    slots.handler(0)
    slots.handler(1)
    return slots


@pytest.fixture
def losses(sent):
    return Losses(sent.send)


@pytest.fixture
def sent():
    """What goes out after the producer was closed; `sent.reached` says whether it arrives."""

    class Sent(list):
        reached = True

        async def send(self, records):
            self.extend(records)
            return self.reached

    return Sent()


def test_losses_are_told_once_a_second_and_slot(losses, slots, producer):
    losses.add("spool_full", Dropped(5, 100, 200))
    losses.add("spool_full", Dropped(7, 200, 300))
    assert not producer.records
    losses.report(slots)
    losses.report(slots)
    assert [record.key for record in producer.records] == [b"0", b"1"]
    assert {record.value[:14] for record in producer.records} == {b"event dropped "}
    assert slots.events == 2


def test_losses_before_there_is_a_pipeline_are_told_once_there_is(losses, slots, producer):
    losses.add("spool_unreadable", Dropped(1, 0, 0))
    losses.report(slots)
    assert len(producer.records) == 2


async def test_what_the_end_itself_loses_is_told_where_a_broker_answers(
    losses, slots, producer, sent
):
    losses.add("ephemeral_spool", Dropped(5, 100, 200))
    await losses.report_last(slots, reachable=True)
    assert [(record.topic, record.key) for record in sent] == [
        ("kite.events", b"0"),
        ("kite.events", b"1"),
    ]
    # they are not part of what was received, which is balanced already
    assert slots.events == 0
    assert not producer.records


async def test_nobody_is_asked_where_no_broker_answers_or_nothing_was_lost(losses, slots, sent):
    losses.add("ephemeral_spool", Dropped(5, 100, 200))
    await losses.report_last(slots, reachable=False)
    await losses.report_last(slots, reachable=True)
    assert not sent


async def test_last_words_that_do_not_arrive_are_in_the_log(losses, slots, sent):
    sent.reached = False
    losses.add("ephemeral_spool", Dropped(5, 100, 200))
    with capture_logs() as lines:
        await losses.report_last(slots, reachable=True)
    assert [(line["event"], line["reasons"]) for line in lines] == [
        ("last_losses_not_in_events", ["ephemeral_spool"])
    ]
