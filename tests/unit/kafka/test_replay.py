"""When a recorded tick is due, by how much it moves, and what is written where."""

import math

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from connector.embedded.broker import EmbeddedBroker
from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.archive import ArchivedTick
from connector.kafka.reader import Reader, bytes_of
from connector.kafka.replay import (
    ReplayedTick,
    TickReplay,
    due_seconds,
    from_archive,
    from_topics,
    shift_ms,
)
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings
from tests.support.packets import NFO, NSE, ltp
from tests.support.recorded import SESSION, START_MS, recorded
from tests.support.ticks import decode

INTO = TopicNames("copy")
TIMES = st.integers(0, 2**41)
SPEEDS = st.one_of(st.floats(0.001, 1_000_000), st.just(math.inf))


@given(TIMES, st.lists(TIMES), SPEEDS)
def test_ticks_are_due_in_order_of_time_and_the_first_at_once(first_ms, times_ms, speed):
    due = [due_seconds(first_ms, time_ms, speed) for time_ms in sorted([first_ms, *times_ms])]
    assert due == sorted(due)
    assert min(due) == 0 == due_seconds(first_ms, first_ms, speed)


@given(TIMES, st.integers(0, 10**9), st.floats(0.001, 1_000_000))
def test_speed_divides_what_is_between_ticks(first_ms, later_ms, speed):
    due = due_seconds(first_ms, first_ms + later_ms, speed)
    assert due * speed == pytest.approx(later_ms / 1000)
    assert due_seconds(first_ms, first_ms + later_ms, math.inf) == 0


@given(TIMES, st.integers(0, 10**10), SPEEDS, TIMES)
def test_moved_ticks_are_never_ahead_of_the_clock_and_one_is_nearly_there(
    first_ms, length_ms, speed, now_ms
):
    by_ms = shift_ms(first_ms, first_ms + length_ms, speed, now_ms)
    assert by_ms % 1000 == 0
    behind_ms = [
        now_ms + due_seconds(first_ms, time_ms, speed) * 1000 - (time_ms + by_ms)
        for time_ms in (first_ms, first_ms + length_ms // 2, first_ms + length_ms)
    ]
    assert min(behind_ms) > -0.01  # of a float's making
    assert min(behind_ms) < 1001


class Clock:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker(dict.fromkeys(INTO.all_ticks().values(), 1)) as running:
        yield running


def replay(broker, ticks, *, speed=1.0, end_ms=None, stop=lambda: False, now_ms=START_MS):
    clock = Clock()
    run = TickReplay(
        KafkaSettings(bootstrap_servers=broker.bootstrap_servers), "t", INTO,
        speed=speed, end_ms=end_ms, stop=stop, monotonic=clock.monotonic,
        now_ms=lambda: now_ms, sleep=clock.sleep,
    )  # fmt: skip
    run.run(ticks)
    return run, clock.now - 100


def ticks_of(records):
    return [ReplayedTick(time_ms, value) for _, value, time_ms in records]


def newest(broker, exchange, count):
    """The last records of a topic."""
    topic = f"copy.ticks.{exchange}"
    kafka = KafkaSettings(
        bootstrap_servers=broker.bootstrap_servers, client=dict(EmbeddedBroker.client)
    )
    with Reader(kafka, "k", "t") as reader:
        found = [
            (bytes_of(one.key()), bytes_of(one.value()), one.timestamp()[1])
            for one in reader.read_to_end(topic)
        ]
    return found[len(found) - count :]


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 4.0), (10.0, 0.4), (0.5, 8.0), (math.inf, 0)])
def test_ticks_come_as_fast_as_asked_for_and_as_they_were(broker, speed, seconds):
    records = recorded([ltp(NSE), ltp(NFO), ltp(NSE)], [START_MS, START_MS + 1000, START_MS + 4000])
    run, took = replay(broker, ticks_of(records), speed=speed)
    assert took == pytest.approx(seconds)
    assert (run.written, run.left_out, run.reached_ms) == (3, 0, START_MS + 4000)
    assert newest(broker, "nse", 2) == [records[0], records[2]]
    assert newest(broker, "nfo", 1) == [records[1]]


def test_moved_ticks_have_the_present_time_and_a_session_of_their_own(broker):
    records = recorded([ltp(NSE), ltp(NSE)], [START_MS, START_MS + 1500])
    now_ms = START_MS + 86_400_250
    replay(broker, ticks_of(records), end_ms=START_MS + 1500, now_ms=now_ms)
    found = newest(broker, "nse", 2)
    assert [time_ms for _, _, time_ms in found] == [START_MS + 86_400_000, START_MS + 86_401_500]
    for (_, value, time_ms), (_, old, _) in zip(found, records, strict=True):
        tick, before = decode(value)[1], decode(old)[1]
        assert tick["receive_time_us"] // 1000 == time_ms
        assert tick["session_id"] == SESSION + 86_400_000
        assert tick["sequence"] == before["sequence"]


def test_records_that_are_no_ticks_are_counted_and_left_out(broker):
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    # zeros can be read as a tick's numbers
    wrong = [b"", b"{}", bytes(300)]
    ticks = [ReplayedTick(START_MS, one) for one in [*wrong, value]]
    for end_ms in (None, START_MS):
        run, _ = replay(broker, ticks, end_ms=end_ms, now_ms=START_MS + 5000)
        assert (run.written, run.left_out) == (1, len(wrong))


@pytest.mark.parametrize("time_ms", [-1, -(10**15), 10**15, 2**52])
def test_a_tick_of_no_time_at_all_is_left_out_and_holds_nobody_up(broker, time_ms):
    good, other = recorded([ltp(NSE), ltp(NSE)], [START_MS, START_MS + 1000])
    ticks = [ReplayedTick(time_ms, good[1]), *ticks_of([good, other])]
    run, took = replay(broker, ticks)
    assert (run.written, run.left_out, run.reached_ms) == (2, 1, START_MS + 1000)
    assert took == pytest.approx(1)


def test_the_key_is_the_tokens_whatever_it_was(broker):
    records = recorded([ltp(NFO), ltp(NFO), ltp(NFO)], [START_MS] * 3)
    keys = [None, b"x", b"%d" % NSE]
    broker.create_topic("copied", 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for key, (_, value, time_ms) in zip(keys, records, strict=True):
        producer.produce("copied", value, key, timestamp=time_ms)
    assert producer.flush(10) == 0
    kafka = KafkaSettings(
        bootstrap_servers=broker.bootstrap_servers, client=dict(EmbeddedBroker.client)
    )
    with Reader(kafka, "k", "t") as reader:
        run, _ = replay(broker, from_topics(reader.read_to_end("copied")))
    assert (run.written, run.left_out) == (3, 0)
    assert newest(broker, "nfo", 3) == records


def test_it_stops_where_it_is_and_has_written_what_it_says(broker):
    records = recorded([ltp(NSE)] * 5, [START_MS + 1000 * number for number in range(5)])
    seen = []

    def ticks():
        for tick in ticks_of(records):
            seen.append(tick)
            yield tick

    run, took = replay(broker, ticks(), stop=lambda: len(seen) > 3)
    assert (run.written, run.reached_ms, took) == (3, START_MS + 2000, pytest.approx(2.0))


def test_a_refused_record_ends_it_with_the_topics_name():
    with EmbeddedBroker({"copy.ticks.nse": 1}) as alone:
        alone.push_errors(0, *[87] * 5)  # Produce: INVALID_RECORD
        records = recorded([ltp(NSE)] * 3, [START_MS] * 3)
        with pytest.raises(TopicError, match=r"copy\.ticks\.nse"):
            replay(alone, ticks_of(records))


def test_a_record_that_is_too_long_for_the_client_ends_it_with_the_topics_name(broker):
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    long = ReplayedTick(START_MS, value + bytes(1_100_000))
    with pytest.raises(TopicError, match=r"copy\.ticks\.nse.*[Ll]arge"):
        replay(broker, [ReplayedTick(START_MS, value), long])


def test_brokers_that_acknowledge_nothing_end_it(monkeypatch):
    monkeypatch.setattr("connector.kafka.replay.SILENT_SECONDS", 0.3)
    with EmbeddedBroker({"copy.ticks.nse": 1}) as alone:
        alone.push_errors(0, *[6] * 10_000)  # Produce: NOT_LEADER_OR_FOLLOWER, for ever
        records = recorded([ltp(NSE)] * 3, [START_MS] * 3)
        with pytest.raises(BrokerUnreachableError, match=r"acknowledged nothing for 0\.3 s"):
            replay(alone, ticks_of(records))


def test_the_queue_is_bounded_and_waited_for(broker):
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, queue_max_messages=1000)
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    run = TickReplay(kafka, "t", INTO, speed=math.inf, end_ms=None, stop=lambda: False)
    run.run(ReplayedTick(START_MS, value) for _ in range(5000))
    assert run.written == 5000


def test_ticks_of_a_file_are_framed_for_the_topics_that_they_go_to():
    ids = {topic: number for number, topic in enumerate(INTO.all_ticks().values(), 70_000)}
    ((_, value, _),) = recorded([ltp(NFO)], [START_MS])
    (tick,) = from_archive([ArchivedTick(START_MS, NFO, value[5:])], INTO, ids)
    assert decode(tick.value) == (ids["copy.ticks.nfo"], decode(value)[1])
