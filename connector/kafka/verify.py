"""Reading the topics once, to say whether they hold every tick that was counted.

The events are read first, then the dead letters, then the ticks: what a count speaks of was
produced before the count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from confluent_kafka import Message, TopicPartition

from connector.codec import identity_of
from connector.errors import BrokerUnreachableError
from connector.kafka.avro_records import RecordDecoder
from connector.kafka.completeness import Completeness, Place, SessionReport, SessionVerdict
from connector.kafka.reader import BEGINNING, END, Reader
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings

_POLL_SECONDS: Final = 0.2  # of one wait for a record
_PROGRESS_EVERY: Final = 5000
_SILENT_SECONDS: Final = 30.0  # without a word from the brokers, reading has failed


@dataclass(slots=True)
class Verification:
    """What one reading of the topics has found."""

    sessions: list[SessionReport] = field(default_factory=list)
    ticks: int = 0
    """How many records of ticks were read."""
    unreadable: int = 0
    """How many records were none of this connector's, or none that could be read."""

    @property
    def complete(self) -> bool:
        """Whether every session is."""
        return all(session.verdict is SessionVerdict.COMPLETE for session in self.sessions)


class Verifier:
    """One verification; blocks. `run` it once.

    Args:
        reader: of this verification alone; the caller closes it.
        kafka: named where the brokers fall silent.
        names: of the topics.
        ticks: the tick topics to read; all of them when not given.
        since_ms: what was received before, UTC milliseconds, is not judged.
        wait_seconds: so long without a tick that is missing, and it is taken for missing.
        progress: called now and then with how many records were read, and how many there are.
    """

    def __init__(
        self,
        reader: Reader,
        kafka: KafkaSettings,
        names: TopicNames,
        *,
        ticks: Collection[str] | None = None,
        since_ms: int | None = None,
        wait_seconds: float = 5.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._reader = reader
        self._kafka = kafka
        self._names = names
        every = list(names.all_ticks().values())
        self._topics = every if ticks is None else list(ticks)
        # only then do numbers without a count prove anything: they run over all exchanges
        self._whole = set(self._topics) == set(every)
        self._since_ms = since_ms
        self._wait_seconds = wait_seconds
        self._progress = progress
        self._found = Verification()

    def run(self) -> Verification:
        """Read all that there is now, and say what is missing.

        Raises:
            BrokerUnreachableError: no broker answers, or reading has stopped.
            TopicError: a topic is not there, or may not be read.
            KafkaError: there are too many sessions to hold.
        """
        # a request a partition: asked once
        self._bounds = {topic: self._reader.bounds(topic) for topic in self._topics}
        places = [place for topic in self._topics for place in self._starts(topic)]
        kept_from = self._kept_from(places)
        known = Completeness(self._names, kept_from, whole=self._whole)
        finite = [kept for kept in kept_from.values() if math.isfinite(kept)]
        since_ms = int(min(finite, default=0)) or None
        decoder = RecordDecoder(self._names)
        # all counts first: a tick is ticked off against what its count has announced
        for message in self._records(self._names.events, since_ms):
            try:
                known.event(decoder.decode(self._names.events, message.value()).value)
            except ValueError:
                known.unreadable += 1
        for message in self._records(self._names.deadletter, since_ms):
            self._dead_letter(known, message)
        self._ticks(known, places)
        self._found.sessions = list(known.report(time.time_ns() // 1_000_000))
        self._found.unreadable = known.unreadable
        return self._found

    def _starts(self, topic: str) -> list[TopicPartition]:
        bounds = self._bounds[topic]
        if self._since_ms is None:
            return [TopicPartition(topic, n, first) for n, (first, _) in enumerate(bounds)]
        places = []
        for place in self._reader.at_time(topic, self._since_ms):
            first, end = bounds[place.partition]
            # a number, since how many there are is counted from it
            offset = {BEGINNING: first, END: end}.get(place.offset, place.offset)
            places.append(TopicPartition(topic, place.partition, offset))
        return places

    def _kept_from(self, places: list[TopicPartition]) -> dict[Place, float]:
        """Since when each partition has all of its ticks: a retention may have taken the first."""
        kept: dict[Place, float] = {
            (place.topic, place.partition): self._since_ms or 0 for place in places
        }
        for topic in self._topics:
            cut = [(n, first, end) for n, (first, end) in enumerate(self._bounds[topic]) if first]
            # nothing is left of these: no part of any session can be judged there
            kept |= {(topic, n): math.inf for n, first, end in cut if first >= end}
            times = self._first_times(
                [TopicPartition(topic, n, first) for n, first, end in cut if first < end]
            )
            kept |= {place: max(kept[place], at_ms) for place, at_ms in times.items()}
        return kept

    def _first_times(self, places: list[TopicPartition]) -> dict[Place, float]:
        """The time of the first record of each of these partitions, which have one."""
        times: dict[Place, float] = {}
        reader = self._reader
        for place in places:
            reader.tail_from([place])
            message = next(self._to_end(), None)
            times[place.topic, place.partition] = (
                message.timestamp()[1] if message is not None else math.inf
            )
        return times

    def _records(self, topic: str, since_ms: int | None) -> Iterator[Message]:
        reader = self._reader
        reader.tail_from(
            reader.every(topic, BEGINNING) if since_ms is None else reader.at_time(topic, since_ms)
        )
        yield from self._to_end()

    def _to_end(self) -> Iterator[Message]:
        """Yield what is there now of all that is assigned."""
        heard = time.monotonic()
        while left := len(self._reader.unfinished):
            message = self._reader.next(_POLL_SECONDS)
            if message is not None:
                yield message
                heard = time.monotonic()
            elif len(self._reader.unfinished) < left:  # of one partition: others may still be read
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENT_SECONDS:
                raise BrokerUnreachableError(
                    self._kafka.bootstrap_servers, "the topics could not be read to their ends"
                )

    def _dead_letter(self, known: Completeness, message: Message) -> None:
        topic = (message.key() or b"").decode(errors="replace")
        value = message.value()
        if topic not in self._topics or value is None:
            return
        try:
            identity = identity_of(value)
        except ValueError:
            return  # bytes of the feed that never were a tick
        headers = dict(cast("list[tuple[str, bytes | None]]", message.headers() or []))
        reason = (headers.get("reason") or b"").decode(errors="replace")
        known.dead_letter(topic, identity, reason)

    def _ticks(self, known: Completeness, places: list[TopicPartition]) -> None:
        ends = (self._bounds[place.topic][place.partition][1] for place in places)
        total = sum(max(0, end - place.offset) for end, place in zip(ends, places, strict=True))
        self._reader.tail_from(places)
        for message in self._to_end():
            self._tick(known, message, total)
        # the last ones may be on their way still
        since = time.monotonic()
        while known.wanted and time.monotonic() - since < self._wait_seconds:
            late = self._reader.next(_POLL_SECONDS)
            if late is not None:
                wanted = known.wanted
                self._tick(known, late, total)
                # only a tick that was missing is worth waiting on for
                since = time.monotonic() if known.wanted < wanted else since
        self._tell(total)

    def _tick(self, known: Completeness, message: Message, total: int) -> None:
        self._found.ticks += 1
        try:
            identity = identity_of(cast("Any", message.value()) or b"")
        except ValueError:
            known.unreadable += 1
        else:
            known.tick((str(message.topic()), message.partition() or 0), *identity)
        if self._found.ticks % _PROGRESS_EVERY == 0:
            self._tell(total)

    def _tell(self, total: int) -> None:
        if self._progress is not None:
            self._progress(self._found.ticks, max(total, self._found.ticks))
