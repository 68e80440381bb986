"""Reading topics by assignment: to the end that they have now, or on from a place.

No group is joined and nothing is committed: a reader leaves nothing behind on the brokers. What
librdkafka tries again by itself is passed over; whatever else a consumer is told ends the reading.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Self, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
)

from connector.errors import BrokerUnreachableError, KafkaError, SettingsError, TopicError
from connector.kafka.config import ClientLog, client_properties, is_embedded, refused_properties
from connector.kafka.diagnosis import Complaints, passing
from connector.kafka.groups import reader_group
from connector.kafka.logins import Borrowed, follow
from connector.kafka.renewals import standing
from connector.settings.models import KafkaSettings

ADDED_SECONDS: Final = 30.0
"""Who reads for long asks so often whether topics have been given more partitions."""

_T = TypeVar("_T")

TIMEOUT_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2  # until it is looked at whether somebody wants the reading to stop
LOOK_SECONDS: Final = 0.02
"""It is looked first after so long whether there is a message, then each time after twice as long,
up to this:"""
LOOK_LESS_SECONDS: Final = 0.1
"""Fifty looks a second of each reader would be most of what wakes an idle service."""
AT_ONCE: Final = 500
"""So many messages are taken from librdkafka by one call: each call lets go of the interpreter's
lock, which other threads want, and 20 000 records took 0.8 s one by one, 0.57 s so."""
_OF_THE_GROUP: Final = frozenset({"GROUP_AUTHORIZATION_FAILED"})
"""What librdkafka hears when it looks for the group's coordinator, which no reader needs: it never
joins, and accounts that only read have no right to a group of this name."""
BEGINNING: Final = OFFSET_BEGINNING
END: Final = OFFSET_END
# librdkafka's RD_KAFKA_OFFSET_TAIL(n), n records before the end, is this less n; where a partition
# has fewer, it begins with the first
_TAIL_BASE: Final = -2000


class Reader:
    """One consumer; blocks, and belongs to one thread at a time. A context manager, or `close` it.

    Args:
        kafka: how brokers are reached.
        name: the connector's, with which the group begins that librdkafka wants of everybody.
        purpose: who reads: tail, ctl, instruments, leader; the end of its name in brokers' logs.
        timeout_seconds: for each answer of the brokers, and without a word from them.
        own: librdkafka properties of this reader.

    Raises:
        SettingsError: librdkafka refuses a property.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        name: str,
        purpose: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        **own: Any,
    ) -> None:
        self.at_end = False
        """Whether the last thing that came was the end of a partition."""
        self.unfinished: set[tuple[str, int]] = set()
        """(topic, partition) of those assigned whose end was not reached yet."""
        self._kafka = kafka
        self._timeout_seconds = timeout_seconds
        self._complaints = Complaints(kafka)
        self._purpose = purpose
        self._own: dict[str, Any] = {
            "group.id": reader_group(name, purpose),
            "client.id": f"{name}-{purpose}",
            "error_cb": self._complaints,
            # nothing is left behind: the group is one that nobody joins
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # where what was asked for is deleted already: on from what there is, not from the end
            "auto.offset.reset": "earliest",
            # what a leader's aborted transaction wrote is no state
            "isolation.level": "read_committed",
            # the only word that there is nothing more: an idle topic looks like a slow one
            "enable.partition.eof": True,
            **own,
        }
        # taken from librdkafka, and not returned yet
        self._taken: deque[Message] = deque()
        # where partitions are read from that have given nothing yet
        self._places: dict[tuple[str, int], int] = {}
        # the ends that partitions had when their first record came
        self._ends: dict[tuple[str, int], int] = {}
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        # before the files are read: of two that change, each is seen
        self._standing = standing(self._kafka)
        properties = client_properties(self._kafka, **self._own)
        with refused_properties(self._kafka):
            self.consumer = Consumer(properties, logger=ClientLog(self._purpose))
        self._login = Borrowed(self.consumer)
        follow(self._kafka, self._login)

    def _renew(self) -> None:
        """Go on with a consumer that has read the files anew, behind the last record returned."""
        old, login = self.consumer, self._login
        places = old.position(old.assignment())
        for place in places:
            if place.offset < 0:  # nothing was read there yet: position() knows no place
                place.offset = self._places[place.topic, place.partition]
        try:
            self._open()
        except SettingsError:  # replaced once more, and not whole yet: the old one does till then
            return
        self.consumer.assign(places)
        login.give_back()
        old.close()

    def close(self) -> None:
        """Let the consumer go."""
        self._login.give_back()
        self.consumer.close()

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicError: the topic is not there, or may not be read.
        """
        try:
            found = self.consumer.list_topics(topic, timeout=self._timeout_seconds).topics[topic]
        except KafkaException as exc:
            raise self._complaints.unreachable(exc, self.consumer) from exc
        if found.error is not None:
            raise _unreadable(topic, found.error)
        return len(found.partitions)

    def ends(self, topic: str) -> list[TopicPartition]:
        """Return the end of each partition, as a place to read on from.

        Raises:
            BrokerUnreachableError, TopicError: as `partitions`.
        """
        return [
            TopicPartition(topic, number, end) for number, (_, end) in enumerate(self.bounds(topic))
        ]

    def bounds(self, topic: str) -> list[tuple[int, int]]:
        """Return (first, end) of each partition: its first record still there, and its end.

        Raises:
            BrokerUnreachableError, TopicError: as `partitions`.
        """
        return [self._watermarks(topic, number) for number in range(self.partitions(topic))]

    def every(self, topic: str, offset: int) -> list[TopicPartition]:
        """Return the same place of each partition: an offset, `BEGINNING` or `END`.

        Raises:
            BrokerUnreachableError, TopicError: as `partitions`.
        """
        return [TopicPartition(topic, number, offset) for number in range(self.partitions(topic))]

    def near(self, topic: str, offset: int) -> list[TopicPartition]:
        """Return an offset of each partition, within what it holds; below 0: before its end.

        That many before the end librdkafka finds by itself, of all partitions at once: to ask for
        the ends, one after the other, takes seconds where there are many.

        Raises:
            BrokerUnreachableError, TopicError: as `partitions`.
        """
        if offset < 0:
            return self.every(topic, _TAIL_BASE + offset)
        return [
            TopicPartition(topic, number, min(max(offset, first), end))
            for number, (first, end) in enumerate(self.bounds(topic))
        ]

    def at_time(self, topic: str, time_ms: int) -> list[TopicPartition]:
        """Return, for each partition, the first record of this time or later; else its end.

        The embedded broker cannot tell, and answers with the beginning.

        Args:
            topic: its name.
            time_ms: UTC milliseconds.

        Raises:
            BrokerUnreachableError, TopicError: as `partitions`.
        """
        wanted = self.every(topic, time_ms)
        try:
            if is_embedded(self.consumer.list_topics(topic, timeout=self._timeout_seconds)):
                return self.every(topic, BEGINNING)
            found = self.consumer.offsets_for_times(wanted, timeout=self._timeout_seconds)
        except KafkaException as exc:
            raise self._complaints.unreachable(exc, self.consumer) from exc
        for place in found:
            if place.error is not None:
                raise _unreadable(topic, place.error)
        return found

    def _watermarks(self, topic: str, number: int) -> tuple[int, int]:
        """Return the offsets of the first record and of the end of a partition."""
        place = TopicPartition(topic, number)
        try:
            return self.consumer.get_watermark_offsets(place, timeout=self._timeout_seconds)
        except KafkaException as exc:
            raise self._complaints.unreachable(exc, self.consumer) from exc

    def tail_from(self, places: Iterable[TopicPartition]) -> None:
        """Read on from these places, and from no others."""
        places = list(places)
        self.at_end = False
        self._taken.clear()
        self._places = {(place.topic, place.partition): place.offset for place in places}
        self._ends.clear()
        self.unfinished = set(self._places)
        self.consumer.assign(places)

    def topics(self) -> list[str]:
        """Return the topics that are read."""
        return list(dict.fromkeys(topic for topic, _ in self._places))

    def follow_added(self, topic: str) -> None:
        """Read partitions that a topic has been given since, each from its beginning too.

        Raises:
            BrokerUnreachableError, TopicError: as `partitions`.
        """
        known = sum(one == topic for one, _ in self._places)
        added = [
            TopicPartition(topic, number, BEGINNING)
            for number in range(known, self.partitions(topic))
        ]
        if added:
            self._places |= {(place.topic, place.partition): BEGINNING for place in added}
            self.consumer.incremental_assign(added)

    def next(self, timeout_seconds: float = 0.0) -> Message | None:
        """Return the next record; None when none came in time, or an end was reached first.

        Raises:
            TopicError: a topic cannot be read any more.
        """
        # the consumer's position is behind what was taken of it
        if self._standing.outdated and not self._taken:
            self._renew()
        message = self._message(timeout_seconds)
        while message is not None:
            error = message.error()
            if error is None:
                self.at_end = False
                if self.unfinished:
                    self._note_end(message)
                return message
            topic = str(message.topic())
            if error.name() == "_PARTITION_EOF":
                self.at_end = True
                place = (topic, message.partition() or 0)
                # of a partition that gave no record: where a renewed consumer goes on
                self._places[place] = message.offset() or 0
                self.unfinished.discard(place)
            elif not (passing(error) or error.name() in _OF_THE_GROUP):
                raise _unreadable(topic, error)
            message = self._message(0)  # behind it there may be a record already
        return None

    def _note_end(self, message: Message) -> None:
        """Count a partition as finished behind what it held when its first record came.

        librdkafka tells of an end only where a request for more was answered with nothing: of a
        partition into which somebody writes all the time it never does.
        """
        place = str(message.topic()), message.partition() or 0
        if place not in self.unfinished:
            return
        if place not in self._ends:
            # as the answer said in which the record came; asks nobody
            _, end = self.consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if end < 0:
                return
            self._ends[place] = end
        if (message.offset() or 0) + 1 >= self._ends[place]:
            self.unfinished.discard(place)

    def _message(self, timeout_seconds: float) -> Message | None:
        if not self._taken:
            self._taken.extend(fetched(self.consumer, timeout_seconds))
        return self._taken.popleft() if self._taken else None

    def read_to_end(self, topic: str, stop: threading.Event | None = None) -> Iterator[Message]:
        """Yield all that a topic holds now, each partition in order.

        Args:
            topic: its name.
            stop: ends it early, with an error.

        Raises:
            BrokerUnreachableError: the end was not reached; trying again may help.
            TopicError: the topic is not there, or may not be read.
            KafkaError: it was stopped.
        """
        self.tail_from(self.every(topic, BEGINNING))
        heard = time.monotonic()
        while self.unfinished:
            if stop is not None and stop.is_set():
                raise KafkaError(f"{topic} was not read to its end")
            left = len(self.unfinished)
            message = self.next(_POLL_SECONDS)
            if message is not None:
                yield message
            # an end that was reached is a word of the brokers, as a record is
            if message is not None or len(self.unfinished) < left:
                heard = time.monotonic()
            elif time.monotonic() - heard > self._timeout_seconds:
                raise BrokerUnreachableError(
                    self._kafka.bootstrap_servers, f"{topic} could not be read to its end"
                )


def fetched(
    consumer: Consumer, timeout_seconds: float, look_seconds: float = LOOK_SECONDS
) -> list[Message]:
    """Wait for a message, and take with it what is there already, up to `AT_ONCE`.

    The wait is here and not in librdkafka (2.16), which waits until a time of day: were the clock
    set back by an hour meanwhile, it would come back an hour later, or with the next message, and
    the end of the service would be held up until then.

    Args:
        consumer: of this thread.
        timeout_seconds: for the first message.
        look_seconds: it is looked first after so long, then less often.
    """
    first = consumer.poll(0)
    end = time.monotonic() + timeout_seconds
    while first is None and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, look_seconds))
        look_seconds = min(2 * look_seconds, LOOK_LESS_SECONDS)
        first = consumer.poll(0)
    # `consume` alone would wait for all of them, or for the end of the time
    return [] if first is None else [first, *consumer.consume(AT_ONCE - 1, 0)]


async def in_thread(read: Callable[[threading.Event], _T]) -> _T:
    """Read in a thread; when this is cancelled, the event is set and the thread ends soon."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(read, stop)
    finally:
        stop.set()


def _unreadable(topic: str, error: Any) -> TopicError:
    if error.name() == "UNKNOWN_TOPIC_OR_PART":
        return TopicError(topic, "is not there; has the connector been started?")
    return TopicError(topic, error.str())


def text_of(key: str | bytes | None) -> str:
    """Return a record's key as text; what is no UTF-8 in it is replaced."""
    return key.decode(errors="replace") if isinstance(key, bytes) else key or ""


def bytes_of(value: str | bytes | None) -> bytes | None:
    """Return a record's value as bytes, whatever the client's types allow."""
    return value.encode() if isinstance(value, str) else value
