import asyncio
from datetime import date
from types import SimpleNamespace

import pytest

from connector.errors import BrokerUnreachableError
from connector.kafka.instruments import (
    PAUSE_SECONDS,
    POLL_SECONDS,
    RETRY_SECONDS,
    TAKE_OVER_SECONDS,
    InstrumentPublisher,
    Published,
    differences,
)
from connector.kite.feed.wait import cancelled
from connector.kite.web.instrument_csv import Instrument


def instrument(token, symbol, **more):
    row = Instrument(
        token, token >> 8, symbol, "", 0.0, date(2026, 1, 29), 0.0, 0.05, 1, "FUT", "NFO", "NFO"
    )
    return row._replace(**more)


def encode(row):
    return repr(row).encode()


def held(*rows):
    return {b"%d" % row.instrument_token: hash(encode(row)) for row in rows}


A, B, C = instrument(258, "A"), instrument(514, "B"), instrument(770, "C")
NEW_B = B._replace(tradingsymbol="OTHER")


@pytest.mark.parametrize(
    ("topic", "wanted", "changes"),
    [
        ([], [A, B], [A, B]),
        ([A, B], [B, A], []),
        ([A, B], [A, NEW_B], [NEW_B]),  # the token is used again
        ([A, B, C], [C], [258, 514]),
        ([A, B], [B._replace(expiry=None), C], [B._replace(expiry=None), C, 258]),
    ],
)
def test_only_what_differs_is_written(topic, wanted, changes):
    expected = [
        (b"%d" % row, None) if isinstance(row, int) else (b"%d" % row.instrument_token, encode(row))
        for row in changes
    ]
    before = held(*topic)
    for rows in (1, 2, 50):
        found = list(differences(wanted, encode, before, rows))
        assert [change for part in found for change in part] == expected
        assert max(map(len, found)) <= rows
        # a part for each so many rows, even where nothing changed: it is the time to let others in
        assert len(found) > len(wanted) // rows
    assert before == held(*topic)


class Backlog(SimpleNamespace):
    """The producer's counts, to be changed while it runs."""

    @property
    def waiting(self):
        return self.in_flight + self.spooled


class Kafka:
    """The topic and the producer, and the time; ends the publisher when `until` holds."""

    def __init__(self):
        self.topic = {}
        self.whole = True
        self.produced = []
        self.reads = 0
        self.sleeps = []
        self.took_over = 0
        """How often it paused since it was new."""
        self.leads = True
        self.fails = []
        self.counts = Backlog(produced=0, in_flight=0, spooled=0)
        self.during_sleep = []
        self.publisher = InstrumentPublisher(
            encode, self.read, self.produce, lambda: self.counts, lambda: self.leads,
            room=100, sleep=self.sleep,
        )  # fmt: skip

    def read(self, stop):
        assert not stop.is_set()
        self.reads += 1
        if self.fails:
            raise self.fails.pop(0)
        return Published(dict(self.topic), self.whole)

    def produce(self, changes, whole):
        assert whole or not self.whole
        self.whole = whole
        self.produced.append(list(changes))
        for key, value in changes:
            if value is None:
                del self.topic[key]
            else:
                self.topic[key] = hash(value)

    async def sleep(self, seconds):
        if seconds == TAKE_OVER_SECONDS:
            self.took_over += 1
            return
        self.sleeps.append(seconds)
        if self.during_sleep:
            self.during_sleep.pop(0)()
        elif seconds != PAUSE_SECONDS:
            raise asyncio.CancelledError

    async def run(self, *during_sleep):
        """Run until a sleep that is no pause and in which nothing happens."""
        self.during_sleep = list(during_sleep)
        with pytest.raises(asyncio.CancelledError):
            await self.publisher.run()

    @property
    def keys(self):
        return [[int(key) for key, _ in part] for part in self.produced]


@pytest.fixture
def kafka():
    return Kafka()


def nothing():
    pass


async def test_the_topic_becomes_the_list(kafka):
    kafka.topic = held(A, B)
    kafka.publisher.set_instruments([NEW_B, C])
    await kafka.run()
    assert kafka.topic == held(NEW_B, C)
    assert kafka.keys == [[514, 770], [258]]
    assert kafka.reads == 1
    assert kafka.sleeps == [PAUSE_SECONDS, PAUSE_SECONDS, POLL_SECONDS]


async def test_a_topic_is_whole_once_all_of_a_list_is_written_and_acknowledged(kafka):
    def under_way():
        kafka.counts.produced, kafka.counts.in_flight = 2, 2

    def written():
        assert kafka.keys == [[258, 514]]
        assert not kafka.whole
        kafka.counts.in_flight = 0

    kafka.whole = False
    kafka.publisher.set_instruments([A, B])
    await kafka.run(under_way, nothing, written)
    # a row once more: readers of the topic know nothing else
    assert kafka.keys == [[258, 514], [258]]
    assert kafka.whole
    assert kafka.topic == held(A, B)
    # it stays so while the next list is written
    kafka.publisher.set_instruments([NEW_B, C])
    await kafka.run(nothing)
    assert kafka.keys[2:] == [[514, 770], [258]]


async def test_a_topic_stays_whole_where_rows_are_only_removed(kafka):
    kafka.topic = held(A, B)
    kafka.publisher.set_instruments([B])
    await kafka.run(nothing)
    # the row that went may have been the only one that said so
    assert kafka.keys == [[258], [514]]
    assert kafka.topic == held(B)


@pytest.mark.parametrize("left", [[], [A], [A, B]])
async def test_what_a_leader_left_halfway_the_next_one_completes(kafka, left):
    kafka.whole, kafka.topic = False, held(*left)
    kafka.publisher.set_instruments([A, B])
    await kafka.run(nothing)
    assert kafka.whole
    assert kafka.topic == held(A, B)


async def test_who_leads_no_more_calls_nothing_whole(kafka):
    def lose():
        kafka.leads = False

    kafka.whole = False
    kafka.publisher.set_instruments([A, B])
    await kafka.run(lose)
    assert (kafka.whole, kafka.topic) == (False, held(A, B))


async def test_a_long_list_is_written_piece_by_piece(kafka):
    kafka.publisher.set_instruments([instrument(256 * n + 2, f"S{n}") for n in range(1, 121)])
    await kafka.run()
    assert [len(part) for part in kafka.produced] == [50, 50, 20]
    assert kafka.sleeps == [PAUSE_SECONDS] * 3 + [POLL_SECONDS]


async def test_while_it_writes_it_tells_how_many_rows_are_left(kafka):
    rows = [instrument(number << 8 | 1, f"X{number}") for number in range(1, 111)]
    kafka.publisher.set_instruments(rows)
    left = []
    await kafka.run(*[lambda: left.append(kafka.publisher.rows_left)] * 3)
    assert left == [110, 60, 10]
    assert kafka.publisher.rows_left == 0


async def test_a_publication_that_is_given_up_leaves_nothing(kafka):
    def lose():
        kafka.leads = False

    kafka.publisher.set_instruments(
        [instrument(number << 8 | 1, f"X{number}") for number in range(1, 121)]
    )
    await kafka.run(lose)
    assert kafka.publisher.rows_left == 0


async def test_the_same_list_is_not_looked_at_again(kafka):
    assert not kafka.publisher.done
    kafka.publisher.set_instruments([A])
    await kafka.run(nothing, nothing, nothing)
    assert kafka.reads == 1
    assert kafka.publisher.done
    await kafka.run(lambda: kafka.publisher.set_instruments([A, B]))
    assert kafka.keys == [[258], [514]]
    assert kafka.reads == 2


async def test_an_empty_list_does_not_empty_the_topic(kafka):
    kafka.topic = held(A)
    kafka.publisher.set_instruments([])
    await kafka.run(nothing)
    assert kafka.reads == 0


async def test_only_the_leader_writes(kafka):
    def lead():
        kafka.leads = True

    kafka.leads = False
    kafka.publisher.set_instruments([A])
    await kafka.run(nothing, nothing)
    assert kafka.reads == 0
    await kafka.run(lead)
    assert kafka.keys == [[258]]

    def lose():
        kafka.leads = False

    def another_writes_and_leadership_comes_back():
        kafka.topic = held(B)
        kafka.leads = True

    await kafka.run(lose, another_writes_and_leadership_comes_back)
    assert kafka.topic == held(A)
    assert kafka.reads == 2


async def test_a_new_leader_does_what_is_more_urgent_first(kafka):
    def lose():
        assert kafka.took_over == 1
        kafka.leads = False

    def lead():
        kafka.leads = True

    kafka.publisher.set_instruments([A])
    await kafka.run(lose, nothing, lead)
    assert kafka.took_over == 2


async def test_lost_leadership_ends_it_at_once(kafka):
    def lose():
        kafka.leads = False

    kafka.publisher.set_instruments([instrument(256 * n + 2, f"S{n}") for n in range(1, 121)])
    await kafka.run(lose)
    assert len(kafka.topic) == 50


async def test_a_newer_list_ends_the_older_ones_publication(kafka):
    kafka.publisher.set_instruments([instrument(256 * n + 2, f"S{n}") for n in range(1, 121)])
    await kafka.run(lambda: kafka.publisher.set_instruments([A]), nothing)
    assert [len(part) for part in kafka.produced] == [50, 1, 49]
    assert kafka.topic == held(A)


async def test_ticks_have_the_queue_first(kafka):
    def spool():
        kafka.counts.spooled = 1

    def fill():
        kafka.counts.spooled, kafka.counts.in_flight = 0, 100

    def empty():
        assert len(kafka.produced) == 1
        kafka.counts.in_flight = 99

    kafka.publisher.set_instruments([instrument(256 * n + 2, f"S{n}") for n in range(1, 121)])
    await kafka.run(spool, nothing, fill, empty)
    assert kafka.sleeps[1:4] == [POLL_SECONDS] * 3
    assert len(kafka.topic) == 120


async def test_what_is_under_way_is_waited_for_before_the_topic_is_read(kafka):
    def more():
        # what comes later need not be waited for
        kafka.counts.produced, kafka.counts.in_flight = 14, 6

    def done():
        assert kafka.reads == 0
        kafka.counts.in_flight = 4

    kafka.counts.produced, kafka.counts.in_flight, kafka.counts.spooled = 10, 4, 0
    kafka.publisher.set_instruments([A])
    await kafka.run(nothing, more, done)
    assert kafka.reads == 1
    assert kafka.sleeps[:3] == [POLL_SECONDS] * 3


async def test_a_topic_that_cannot_be_read_is_tried_again(kafka):
    kafka.fails = [BrokerUnreachableError("kafka:9092", "gone")]
    kafka.publisher.set_instruments([A])
    await kafka.run()
    assert kafka.sleeps == [RETRY_SECONDS]
    assert "gone" in kafka.publisher.error
    await kafka.run()
    assert kafka.topic == held(A)
    assert kafka.publisher.error is None


async def test_a_reader_is_told_when_nobody_waits_for_it_any_more(kafka):
    loop = asyncio.get_running_loop()
    reading, stopped = asyncio.Event(), []

    def read(stop):
        loop.call_soon_threadsafe(reading.set)
        stopped.append(stop.wait(20))
        return Published({}, True)

    kafka.publisher = InstrumentPublisher(
        encode, read, kafka.produce, lambda: kafka.counts, lambda: True, room=1
    )
    kafka.publisher.set_instruments([A])
    task = asyncio.create_task(kafka.publisher.run())
    await reading.wait()
    await cancelled(task)
    await loop.shutdown_default_executor()
    assert stopped == [True]
