"""Reading topics between two times, all partitions merged by the times of their records.

A partition's records between two times are those from its first record of `from_ms` or later up to
its first one of `to_ms` or later, as Kafka's own offsets by time have it. So ranges that follow one
another have every record once, also one that came late out of a spool: it counts to the time at
which it stands in its partition.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final

from confluent_kafka import Message, TopicPartition

from connector.errors import BrokerUnreachableError
from connector.kafka.reader import BEGINNING, END, Reader
from connector.settings.models import KafkaSettings

MAX_HELD: Final = 50_000
"""With so many records held, of all partitions together, those that run ahead have to wait: what
has its share of them is not read on until it has half of that. So twice as many are the most."""
_FETCHING: Final = {
    # in small parts: with larger ones some partitions run far ahead
    "fetch.message.max.bytes": 256 * 1024,
    # a partition that goes on again waits for the request under way
    "fetch.wait.max.ms": 20,
}
_POLL_SECONDS: Final = 0.2

_Place = tuple[str, int]


def time_order_reader(kafka: KafkaSettings, name: str, purpose: str) -> Reader:
    """Return a reader for a `TimeOrder`; to be closed."""
    return Reader(kafka, name, purpose, **_FETCHING)


class TimeOrder:
    """The records of topics between two times, in order of time as far as partitions are; blocks.

    Each partition's records keep their order; one that is late comes as soon as it may. Iterate it
    once.

    Args:
        reader: `time_order_reader` makes it; of this reading alone, the caller closes it.
        kafka: named where the brokers fall silent.
        topics: their names.
        from_ms: UTC milliseconds; None: from the oldest record.
        to_ms: UTC milliseconds. What is written from now on is left out in any case.
        stop: asked now and then; true ends the iteration early.
        max_held: bounds memory.
        silent_seconds: without a word from the brokers, reading has failed.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic is not there, or may not be read.
    """

    def __init__(
        self,
        reader: Reader,
        kafka: KafkaSettings,
        topics: Collection[str],
        *,
        from_ms: int | None,
        to_ms: int,
        stop: Callable[[], bool],
        max_held: int = MAX_HELD,
        silent_seconds: float = 30.0,
    ) -> None:
        self._reader = reader
        self._kafka = kafka
        self._from_ms = -1 if from_ms is None else from_ms
        self._to_ms = to_ms
        self._stop = stop
        self._silent_seconds = silent_seconds
        self._heard = time.monotonic()  # when the brokers were last heard of
        # where each partition ended at the start: what is written later is not read
        self._ends: dict[_Place, int] = {}
        self._starts: list[TopicPartition] = []  # of those that have anything to read
        for topic in topics:
            self._find(topic, from_ms)
        self._max_held = max_held
        self._count = 0  # records held, of all partitions
        self._share = max(2, max_held // max(1, len(self._starts)))
        self._begun: set[_Place] = set()  # a record of the range was seen: those behind it count
        self._open: set[_Place] = set()  # partitions that are read on
        self._held: dict[_Place, deque[Message]] = {}  # read and not yielded, in order
        self._heads: list[tuple[int, _Place]] = []
        """A heap: the time of the first record held, of each partition that has one."""
        self._awaited: set[_Place] = set()
        """Partitions that go on and have no record held: the next of all may be theirs."""
        self._paused: set[_Place] = set()

    def end_ms(self) -> int:
        """Return the end of the range, or the time behind its newest record where that is less.

        Reads the last record of each partition: to be called before the iteration.
        """
        places = [(one.topic, one.partition) for one in self._starts]
        self._reader.tail_from([TopicPartition(*place, self._ends[place] - 1) for place in places])
        self._heard = time.monotonic()
        newest_ms, missing = 0, set(places)
        while missing and not self._stop():
            message = self._next()
            if message is not None:
                newest_ms = max(newest_ms, message.timestamp()[1] + 1)
                missing.discard(_place_of(message))
            missing &= self._reader.unfinished
        return min(self._to_ms, newest_ms) if newest_ms else self._to_ms

    def __iter__(self) -> Iterator[Message]:
        self._reader.tail_from(self._starts)
        self._held = {(one.topic, one.partition): deque() for one in self._starts}
        self._open = set(self._held)
        self._awaited = set(self._held)
        while (self._awaited or self._heads) and not self._stop():
            if not self._awaited:  # of each partition the next one is known: so is the first of all
                yield self._first()
                self._heard = time.monotonic()  # whoever takes it may have taken long
                continue
            message = self._next()
            if message is not None:
                self._take(message)
            # behind the record: it may be the last one of its partition
            self._open &= self._reader.unfinished
            self._awaited &= self._open

    def _find(self, topic: str, from_ms: int | None) -> None:
        """Note where each partition that has anything to read begins, and where it ends now."""
        bounds = self._reader.bounds(topic)
        offsets = {n: first for n, (first, _) in enumerate(bounds)}
        if from_ms is not None:
            places = self._reader.at_time(topic, from_ms)
            offsets |= {one.partition: one.offset for one in places if one.offset != BEGINNING}
        for number, offset in offsets.items():
            end = bounds[number][1]
            if END != offset < end:
                self._starts.append(TopicPartition(topic, number, offset))
                self._ends[topic, number] = end

    def _next(self) -> Message | None:
        """Wait a moment for the next record of any partition."""
        unfinished = len(self._reader.unfinished)
        message = self._reader.next(_POLL_SECONDS)
        now = time.monotonic()
        if message is not None or len(self._reader.unfinished) < unfinished:
            self._heard = now
        elif now - self._heard > self._silent_seconds:
            raise BrokerUnreachableError(
                self._kafka.bootstrap_servers, "the topics could not be read to their ends"
            )
        return message

    def _take(self, message: Message) -> None:
        place, time_ms, offset = _place_of(message), message.timestamp()[1], message.offset() or 0
        # fetched ahead of the pause that ended its partition
        if place not in self._open:
            return
        held = self._held[place]
        # where a broker cannot look a time up, reading begins too early
        if place in self._begun or time_ms >= self._from_ms:
            self._begun.add(place)
            if time_ms >= self._to_ms or offset >= self._ends[place]:
                self._end(place)
                return
            if not held:
                heapq.heappush(self._heads, (time_ms, place))
                self._awaited.discard(place)
            held.append(message)
            self._count += 1
        if offset + 1 >= self._ends[place]:
            self._end(place)
        elif self._count >= self._max_held and len(held) >= self._share:
            self._paused.add(place)
            self._reader.consumer.pause([TopicPartition(*place)])

    def _end(self, place: _Place) -> None:
        """Read no more of a partition."""
        self._open.discard(place)
        self._reader.consumer.pause([TopicPartition(*place)])

    def _first(self) -> Message:
        """Take the record of the earliest time."""
        _, place = self._heads[0]
        held = self._held[place]
        message = held.popleft()
        self._count -= 1
        if held:
            heapq.heapreplace(self._heads, (held[0].timestamp()[1], place))
        else:
            heapq.heappop(self._heads)
            if place in self._open:
                self._awaited.add(place)
        if place in self._paused and len(held) <= self._share // 2:
            self._paused.discard(place)
            self._reader.consumer.resume([TopicPartition(*place)])
        return message


def _place_of(message: Message) -> _Place:
    return str(message.topic()), message.partition() or 0
