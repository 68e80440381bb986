"""Which ticks Kafka has, held against the counts that the connector wrote of them.

Pure: whoever reads the topics feeds it, the events first. A count says how many ticks of a part of
a session went to each partition; a tick that is there ticks one number of that part off, and a
part with all its numbers is forgotten. So memory goes with what is missing or not yet read, not
with the ticks.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias

from connector.errors import KafkaError
from connector.kafka.topics import TopicNames
from connector.kite.clock import IST

Place: TypeAlias = tuple[str, int]
"""One partition, as its topic and number."""

MAX_SESSIONS: Final = 100_000
"""More than that are not held: read less of the past."""
MAX_TICKS_IN_A_PART: Final = 2**27
"""A count of more is none, and a tick so far behind the last count is of no session."""
SILENT_MS: Final = 180_000
"""A session without a count for so long does not go on."""
MAX_EXPLANATIONS: Final = 10_000
"""So many gaps and losses are remembered as reasons; later ones are only counted."""


class SessionVerdict(StrEnum):
    """What is known of a session."""

    COMPLETE = "complete"
    """Every tick that was counted is there; of one that goes on, up to the last count."""
    MISSING = "missing"
    """Some are not there."""
    UNPROVEN = "unproven"
    """What was counted is there, but its end was not counted: the process was killed, say."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Ticks of one partition, or of an uncounted part of a session, that are not there."""

    topic: str | None
    """None where nobody counted to which one they went."""
    partition: int | None
    ticks: int
    expected: int | None
    first_sequence: int
    last_sequence: int
    """Their numbers are within these two."""
    from_ms: int | None
    to_ms: int | None
    explained_by: list[str]
    """Words from `kite.events` and `kite.deadletter`; empty: they may be late, or are lost."""


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What there is of one opening of one connection."""

    slot: int
    session_id: int
    verdict: SessionVerdict
    ended: bool
    """Whether its last count was read."""
    ticks: int
    """How many different ones were held against counts, or came behind the last one."""
    repeats: int
    counted_to: int
    """The last number that a count has; 0 without any."""
    partitions: dict[Place, int]
    """How many ticks of the session each partition has, those before the counts too."""
    missing: list[Missing]
    explained_by: list[str]
    """What is said of the end of a session that is unproven."""


class _Part:
    """What one count counted."""

    __slots__ = (
        "begin_ms", "dead", "end_ms", "expected", "first", "judged", "last", "left", "seen",
        "skipped", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        first: int,
        last: int,
        begin_ms: int | None,
        end_ms: int,
        expected: Mapping[Place, int],
        skipped: Collection[Place],
        wanted: int,
    ) -> None:
        self.first = first
        self.last = last
        self.begin_ms = begin_ms  # None: nobody knows
        self.end_ms = end_ms
        self.expected = expected  # of the partitions that are judged; empty where nobody counted
        self.skipped = skipped  # those that are not
        self.left: Counter[Place] = Counter(expected)
        self.wanted = wanted  # how many are still to come
        self.judged = wanted > 0  # at the start: later on `wanted` is 0 of whole ones too
        self.dead: Counter[tuple[str, str]] = Counter()  # (topic, reason) of dead letters
        self.seen: bytearray | None = None  # a bit for each number; made with the first tick


@dataclass(slots=True)
class _Session:
    parts: list[_Part] = field(default_factory=list)
    lasts: list[int] = field(default_factory=list)  # of each part, to search in
    ended: bool = False
    last_count_ms: int | None = None
    ticks: int = 0
    repeats: int = 0
    partitions: Counter[Place] = field(default_factory=Counter)
    # behind the last count
    tail: bytearray = field(default_factory=bytearray)
    tail_ticks: int = 0
    tail_last: int = 0


class Completeness:
    """Gathers counts, then ticks, and says what is missing.

    Args:
        topics: names of the tick topics.
        kept_from: the partitions that are read, and since when (UTC milliseconds) each has all of
            its ticks: 0 where it still has the first one. Parts of a session that began before are
            not judged there.
        whole: whether all partitions of all tick topics are read: then numbers prove something
            where nothing was counted.
    """

    def __init__(
        self, topics: TopicNames, kept_from: Mapping[Place, float], *, whole: bool = True
    ) -> None:
        self.unreadable = 0
        """How many events and ticks could not be read, or are of no session that could be."""
        self._topic_of = {exchange.name: topic for exchange, topic in topics.all_ticks().items()}
        self._kept_from = kept_from
        self._whole = whole
        self._sessions: dict[tuple[int, int], _Session] = {}  # by (slot, session_id)
        # slot → the session_id of its newest session: by its number, which is a time, and by where
        # its first count stands. They differ where the owners' clocks do, or where an owner was cut
        # off from Kafka and its counts came later
        self._newest: dict[int, int] = {}
        self._last_counted: dict[int, int] = {}
        # slot → (from_ms, to_ms, session_id, words)
        self._losses: defaultdict[int, list[tuple[int, int, int | None, str]]] = defaultdict(list)
        self._gaps: dict[tuple[int, int], str] = {}  # of the session that came after it
        self._explanations = 0  # asked for so far, remembered or not

    @property
    def wanted(self) -> int:
        """How many ticks are counted and not there yet."""
        return sum(part.wanted for _, session in self._all() for part in session.parts)

    # what is read

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in an event of `kite.events`, decoded; in the topic's order, before the ticks."""
        try:
            kind, slot, session_id = _about(event)
            if kind == "count":
                self._count(slot, session_id, event)
            elif kind == "dropped":
                self._explain(slot, session_id, event)
            elif kind == "gap" and session_id is not None and self._room():
                self._gaps[slot, session_id] = _gap_words(event)
        # the last one: of a time at the end of the calendar, which India's has not
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.unreadable += 1

    def dead_letter(self, topic: str, identity: tuple[int, int, int], reason: str) -> None:
        """Note that a tick is a dead letter: it explains one that is missing in its topic."""
        slot, session_id, sequence = identity
        session = self._sessions.get((slot, session_id))
        part = None if session is None else _part_of(session, sequence)
        # a reason may be another program's words: some twenty for each topic are enough
        if part is not None and len(part.dead) < len(self._topic_of) * 20:
            part.dead[topic, reason] += 1

    def tick(self, place: Place, slot: int, session_id: int, sequence: int) -> None:
        """Tick a number off."""
        session = self._sessions.get((slot, session_id)) or self._session(slot, session_id)
        session.partitions[place] += 1
        part = _part_of(session, sequence)
        if part is not None:
            self._tick_off(session, part, place, sequence)
        else:
            self._behind(session, sequence)

    def _count(self, slot: int, session_id: int | None, event: Mapping[str, Any]) -> None:
        if session_id is None:
            raise ValueError("a count of no session")
        count, time_ms = event["count"], _millis(event["time"])
        first, last = count["first_sequence"], count["last_sequence"]
        expected = {
            (self._topic_of[one["exchange"]], one["partition"]): one["ticks"]
            for one in count["partitions"]
        }
        # last + 1: a count of no tick, as a session that ends has one
        if not 0 < first <= last + 1 or sum(expected.values()) != last - first + 1:
            raise ValueError("a count that does not add up")
        if last - first >= MAX_TICKS_IN_A_PART:
            raise ValueError("a count of too much")
        if (slot, session_id) not in self._sessions:
            self._last_counted[slot] = session_id
        session = self._session(slot, session_id)
        begin_ms = session.last_count_ms
        if begin_ms is None and first == 1:
            begin_ms = session_id
        session.last_count_ms = time_ms
        session.ended |= count["session_ended"]
        before = session.lasts[-1] if session.lasts else None
        if last < first or (before is not None and first <= before):
            return  # no tick, or a count that was written twice: Kafka has it at least once
        # a count is missing between two, or the first one: its numbers are known, though not where
        # its ticks went
        next_sequence = 1 if before is None else before + 1
        if next_sequence < first:
            lost_from_ms = session_id if before is None else begin_ms
            self._lost_count(session, next_sequence, first - 1, lost_from_ms, time_ms)
        skipped = {place for place in expected if not self._judged(place, begin_ms)}
        judged = {place: ticks for place, ticks in expected.items() if place not in skipped}
        _append(
            session,
            _Part(first, last, begin_ms, time_ms, judged, skipped, sum(judged.values())),
        )

    def _lost_count(
        self, session: _Session, first: int, last: int, begin_ms: int | None, end_ms: int
    ) -> None:
        """Expect all numbers of a part whose count is not there, wherever they are."""
        judged = self._whole and all(self._judged(place, begin_ms) for place in self._kept_from)
        wanted = last - first + 1 if judged and last - first < MAX_TICKS_IN_A_PART else 0
        _append(session, _Part(first, last, begin_ms, end_ms, {}, (), wanted))

    def _judged(self, place: Place, begin_ms: int | None) -> bool:
        kept_from = self._kept_from.get(place)
        if kept_from is None:
            return False
        # ticks of a part that began before may have been taken by retention, rightly
        return kept_from <= 0 or (begin_ms is not None and begin_ms >= kept_from)

    def _tick_off(self, session: _Session, part: _Part, place: Place, sequence: int) -> None:
        if place in part.skipped:
            return
        if part.wanted == 0:
            # all of them are there, so this one has come again
            session.repeats += part.judged
            return
        if part.seen is None:
            part.seen = bytearray((part.last - part.first >> 3) + 1)
        if not _set(part.seen, sequence - part.first):
            session.repeats += 1
            return
        session.ticks += 1
        part.left[place] -= 1
        part.wanted -= 1
        if part.wanted == 0:
            part.seen = None  # whole: its bits are of no more use

    def _behind(self, session: _Session, sequence: int) -> None:
        number = sequence - (session.lasts[-1] if session.lasts else 0) - 1
        if number >= MAX_TICKS_IN_A_PART or number < 0:
            self.unreadable += 1
            return
        if number >> 3 >= len(session.tail):
            # a KiB more than is needed, 8192 ticks: not for each of them
            session.tail.extend(bytes((number >> 3) + 1024 - len(session.tail)))
        if not _set(session.tail, number):
            session.repeats += 1
            return
        session.ticks += 1
        session.tail_ticks += 1
        session.tail_last = max(session.tail_last, sequence)

    def _session(self, slot: int, session_id: int) -> _Session:
        session = self._sessions.get((slot, session_id))
        if session is None:
            if len(self._sessions) >= MAX_SESSIONS:
                raise KafkaError(f"more than {MAX_SESSIONS} sessions: verify less of the past")
            session = self._sessions[slot, session_id] = _Session()
            self._newest[slot] = max(session_id, self._newest.get(slot, session_id))
        return session

    def _explain(self, slot: int, session_id: int | None, event: Mapping[str, Any]) -> None:
        time_ms = _millis(event["time"])
        from_ms = time_ms if event["gap_from"] is None else _millis(event["gap_from"])
        to_ms = time_ms if event["gap_to"] is None else _millis(event["gap_to"])
        if self._room():
            words = f"dropped: {event['reason']}"
            self._losses[slot].append((from_ms, to_ms, session_id, words))

    def _room(self) -> bool:
        self._explanations += 1
        return self._explanations <= MAX_EXPLANATIONS

    # what comes of it

    def report(self, now_ms: int) -> Iterator[SessionReport]:
        """Yield what is known of each session at this time, by slot and time."""
        for (slot, session_id), session in self._all():
            yield self._report(slot, session_id, session, now_ms)

    def _all(self) -> list[tuple[tuple[int, int], _Session]]:
        return sorted(self._sessions.items(), key=lambda item: item[0])

    def _report(self, slot: int, session_id: int, session: _Session, now_ms: int) -> SessionReport:
        missing = [
            found
            for part in session.parts
            if part.wanted
            for found in self._missing(slot, session_id, part)
        ]
        if self._whole:
            missing += self._uncounted(slot, session_id, session)
        verdict, explained = SessionVerdict.COMPLETE, []
        if missing:
            verdict = SessionVerdict.MISSING
        elif not self._proven(slot, session_id, session, now_ms):
            verdict = SessionVerdict.UNPROVEN
            explained = self._said_after(slot, session_id)
        return SessionReport(
            slot,
            session_id,
            verdict,
            session.ended,
            session.ticks,
            session.repeats,
            session.lasts[-1] if session.lasts else 0,
            dict(sorted(session.partitions.items())),
            missing,
            explained,
        )

    def _proven(self, slot: int, session_id: int, session: _Session, now_ms: int) -> bool:
        """Whether what was counted is all there was, but for the last minute of one that goes on.

        A session that goes on has a count each minute. One that has none by now, or that another
        one followed, ended with its process, and nobody said how much it had received.
        """
        if session.ended:
            return True
        said_ms = session_id if session.last_count_ms is None else session.last_count_ms
        # three counts in a row may be late: then it has ended
        goes_on = session_id in (self._newest[slot], self._last_counted.get(slot))
        return goes_on and now_ms - said_ms <= SILENT_MS and (bool(session.parts) or self._whole)

    def _missing(self, slot: int, session_id: int, part: _Part) -> Iterator[Missing]:
        explained = self._said(slot, session_id, part.begin_ms, part.end_ms)
        if not part.expected:
            yield Missing(
                None, None, part.wanted, None, part.first, part.last, part.begin_ms, part.end_ms,
                explained,
            )  # fmt: skip
            return
        by_topic: defaultdict[str, list[Place]] = defaultdict(list)
        for place in part.left:
            by_topic[place[0]].append(place)
        for topic, places in by_topic.items():
            if sum(part.left[place] for place in places) == 0:
                continue  # in other partitions of the topic than counted, which was extended
            dead = [
                f"{count} dead letters: {reason}"
                for (name, reason), count in part.dead.items()
                if name == topic
            ]
            for place in sorted(places):
                if part.left[place] > 0:
                    yield Missing(
                        *place, part.left[place], part.expected[place], part.first, part.last,
                        part.begin_ms, part.end_ms, [*explained, *dead],
                    )  # fmt: skip

    def _uncounted(self, slot: int, session_id: int, session: _Session) -> Iterator[Missing]:
        """Numbers behind the last count that are not there, although higher ones are."""
        last = session.lasts[-1] if session.lasts else 0
        begin_ms = session.last_count_ms if session.lasts else session_id
        # wherever they went: a retention may have taken them from any partition
        if not all(self._judged(place, begin_ms) for place in self._kept_from):
            return
        count = session.tail_last - last - session.tail_ticks if session.tail_ticks else 0
        if count > 0:
            explained = self._said(slot, session_id, session.last_count_ms, None)
            explained += self._said_after(slot, session_id)
            yield Missing(
                None, None, count, None, last + 1, session.tail_last, session.last_count_ms, None,
                explained,
            )  # fmt: skip

    def _said(
        self, slot: int, session_id: int, from_ms: int | None, to_ms: int | None
    ) -> list[str]:
        """The losses that may be of this session and time, each once."""
        begin = session_id if from_ms is None else from_ms
        found = [
            words
            for lost_from, lost_to, of_session, words in self._losses[slot]
            if of_session == session_id
            or (lost_to >= begin and (to_ms is None or lost_from <= to_ms))
        ]
        return list(dict.fromkeys(found))

    def _said_after(self, slot: int, session_id: int) -> list[str]:
        """The gap between this session and the next one of its slot."""
        later = [other for of_slot, other in self._gaps if of_slot == slot and other > session_id]
        return [self._gaps[slot, min(later)]] if later else []


def _part_of(session: _Session, sequence: int) -> _Part | None:
    at = bisect.bisect_left(session.lasts, sequence)
    if at == len(session.lasts) or session.parts[at].first > sequence:
        return None
    return session.parts[at]


def _append(session: _Session, part: _Part) -> None:
    session.parts.append(part)
    session.lasts.append(part.last)


def _set(bits: bytearray, number: int) -> bool:
    """Set a bit; False where it was set."""
    mask = 1 << (number & 7)
    if bits[number >> 3] & mask:
        return False
    bits[number >> 3] |= mask
    return True


def _about(event: Mapping[str, Any]) -> tuple[Any, int, int | None]:
    """Return the kind, slot and session of an event.

    Raises:
        TypeError: they are none: another program wrote it, by another schema.
    """
    slot, session_id = event["slot"], event["session_id"]
    if not isinstance(slot, int) or not isinstance(session_id, int | None):
        raise TypeError("an event of another schema")
    return event["type"], slot, session_id


def _gap_words(event: Mapping[str, Any]) -> str:
    from_ms = "the owner before" if event["gap_from"] is None else _time(event["gap_from"])
    return f"gap: nothing was received from {from_ms} to {_time(event['gap_to'])}"


def _millis(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _time(time: datetime) -> str:
    return time.astimezone(IST).isoformat(" ", timespec="milliseconds")
