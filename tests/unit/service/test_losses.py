import pytest
from structlog.testing import capture_logs

from connector.kafka.spool import Dropped, Record
from connector.service.losses import MAX_TOLD, TELL_SECONDS, Losses
from connector.service.pipeline import MAX_LOST_NAMED
from connector.simulator.wire import quote_packet
from connector.testing import FakeClock
from tests.support.producing import TOPICS, PlainEncoder, RecordingProducer, pipeline, tick_records

INFY, TCS = 408065, 2953217


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
def clock():
    return FakeClock()


@pytest.fixture
def losses(sent, clock):
    return Losses(sent.send, TOPICS, clock.monotonic)


@pytest.fixture
def sent():
    """What goes out after the producer was closed; `sent.reached` says whether it arrives."""

    class Sent(list):
        reached = True

        async def send(self, records):
            self.extend(records)
            return self.reached

    return Sent()


def test_losses_are_told_once_a_slot(losses, slots, producer):
    losses.add("spool_full", Dropped(5, 100, 200))
    losses.add("spool_full", Dropped(7, 200, 300))
    assert not producer.records
    losses.report(slots)
    losses.report(slots)
    assert [record.key for record in producer.records] == [b"0", b"1"]
    assert {record.value[:14] for record in producer.records} == {b"event dropped "}
    assert slots.events == 2


def test_a_loss_that_goes_on_is_told_again_after_a_while_and_at_the_end(
    losses, slots, producer, clock
):
    losses.add("spool_full", Dropped(1, 100, 200))
    losses.report(slots)
    losses.add("spool_full", Dropped(2, 200, 300))
    losses.add("spool_write", Dropped(2, 200, 300))
    losses.report(slots)
    assert slots.events == 4
    clock.now += TELL_SECONDS
    losses.add("spool_full", Dropped(3, 300, 400))
    losses.report(slots)
    assert slots.events == 6
    losses.add("spool_full", Dropped(4, 400, 500))
    losses.report(slots)
    assert slots.events == 6
    losses.report(slots, at_last=True)
    assert slots.events == 8


def lost_file(slots, *records):
    now_ms = slots.time_us() // 1000
    return Dropped(5, now_ms, now_ms, Dropped.of(records).examples)


class Reasons(PlainEncoder):
    """Keeps what events of slot 0 say of why and when."""

    def __init__(self):
        self.told = []

    def event(self, event, *, account):
        if event.slot == 0:
            self.told.append((event.reason, event.gap_from_ms, event.gap_to_ms))
        return super().event(event, account=account)


EVENT = Record(TOPICS.events, b"0", b"event", 5)


def test_what_an_event_told_that_is_lost_itself_is_told_again(losses, slots, producer, clock):
    slots.encoder = Reasons()
    producer.in_flight = 100
    losses.add("spool_full", Dropped(7, 100, 200, ()))
    losses.add("spool_write", Dropped(2, 150, 160, ()))
    losses.report(slots)
    clock.now += TELL_SECONDS
    losses.add("spool_full", lost_file(slots, EVENT))
    losses.report(slots)
    now_ms = slots.time_us() // 1000
    assert slots.encoder.told == [
        ("spool_full: 7 records over all slots", 100, 200),
        ("spool_write: 2 records over all slots", 150, 160),
        ("spool_full: 12 records over all slots", 100, now_ms),
        ("spool_write: 2 records over all slots", 150, 160),
    ]


def test_what_an_event_told_is_not_told_again_where_that_is_not_lost(
    losses, slots, producer, clock
):
    slots.encoder = Reasons()
    told = "spool_full: 7 records over all slots", 100, 200
    losses.add("spool_full", Dropped(7, 100, 200, ()))
    losses.report(slots)
    clock.now += TELL_SECONDS
    producer.in_flight = 100
    # of ticks alone, and of a time before
    losses.add("spool_full", lost_file(slots, *tick_records(0, quote_packet(INFY, 1))))
    losses.add("spool_full", Dropped(1, 1, 2, (EVENT,)))
    losses.report(slots)
    clock.now += TELL_SECONDS
    # the event is with Kafka meanwhile
    producer.in_flight = 0
    losses.add("other", Dropped(1, 300, 300, ()))
    losses.report(slots)
    assert [one for one in slots.encoder.told if one == told] == [told]
    assert [one[0][:13] for one in slots.encoder.told] == [
        "spool_full: 7",
        "spool_full: 6",
        "other: 1 reco",
    ]


def test_more_than_is_remembered_is_told_again_as_one(losses, slots, producer, clock):
    slots.encoder = Reasons()
    producer.in_flight = 10_000
    for number in range(MAX_TOLD + 5):
        losses.add("spool_full", Dropped(1, 100 + number, 100 + number, ()))
        losses.report(slots)
        clock.now += TELL_SECONDS
    assert len(losses._told["spool_full"]) == MAX_TOLD
    losses.add("spool_full", Dropped(1, 1, slots.time_us(), (EVENT,)))
    losses.report(slots)
    assert slots.encoder.told[-1][0] == f"spool_full: {MAX_TOLD + 6} records over all slots"


class Named(PlainEncoder):
    """Keeps what events say of instruments."""

    def __init__(self):
        self.told = []

    def event(self, event, *, account):
        self.told.append((event.slot, account, event.instruments, event.tokens))
        return super().event(event, account=account)


@pytest.fixture
def told(slots):
    slots.encoder = Named()
    return slots.encoder.told


def test_lost_ticks_are_told_of_their_slot_by_name(losses, slots, told):
    losses.add(
        "spool_full", Dropped.of(tick_records(1, quote_packet(TCS, 1), quote_packet(INFY, 1)))
    )
    losses.report(slots)
    assert told == [(1, "account-0", 2, (INFY, TCS))]


def test_lost_ticks_of_a_process_before_are_told_too(losses, slots, told):
    losses.add("spool_full", Dropped.of(tick_records(7, quote_packet(INFY, 1))))
    losses.report(slots)
    assert told == [(7, "account-2", 1, (INFY,))]


def test_where_no_tick_was_lost_each_event_says_so(losses, slots, told):
    slots.handler(0).expect([INFY])
    losses.add("dead_letter_refused", Dropped.of([Record(TOPICS.deadletter, b"t", b"", 5)]))
    losses.report(slots)
    assert told == [(0, "account-0", 0, ()), (1, "account-0", 0, ())]


def test_where_nobody_knows_each_slot_names_all_it_has(losses, slots, told):
    handler = slots.handler(0)
    handler.opened(1000)
    handler.expect([INFY, TCS])
    handler.forget([TCS])
    losses.add("spool_unreadable", Dropped(5, 100, 200))
    losses.report(slots)
    # the second one has not asked for any yet: which it may have had is not known
    assert told == [(0, "account-0", 1, (INFY,)), (1, "account-0", None, ())]


def test_instruments_of_a_socket_before_are_not_named(losses, slots, told):
    handler = slots.handler(0)
    handler.expect([TCS])
    handler.opened(1000)
    handler.expect([INFY])
    losses.add("spool_unreadable", Dropped(5, 100, 200))
    losses.report(slots)
    assert told[0] == (0, "account-0", 1, (INFY,))


def test_more_instruments_than_a_connection_can_have_had_are_only_counted(losses, slots, told):
    slots.handler(0).expect(range(MAX_LOST_NAMED + 1))
    losses.add("spool_unreadable", Dropped(5, 100, 200))
    losses.report(slots)
    assert told[0] == (0, "account-0", MAX_LOST_NAMED + 1, ())


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
