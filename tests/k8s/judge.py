"""What a consumer can know of the ticks: nothing missing, nothing out of order, every gap told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

KEPT_SECONDS = 1.0
"""A gap may begin so much before the last tick: an owner keeps its last frame's time once a
second."""
UNACKNOWLEDGED_SECONDS = 2.0


class Tick(NamedTuple):
    slot: int
    session_id: int
    sequence: int
    token: int
    receive_time_us: int


@dataclass
class Verdict:
    """Of the ticks of a stretch of time."""

    gaps_seconds: dict[int, float] = field(default_factory=dict)
    """slot → the longest time between two of its ticks."""
    sessions: dict[int, int] = field(default_factory=dict)
    """slot → how many were begun."""
    ticks: int = 0
    repeats: int = 0
    lost: int = 0
    """Numbers missing at the end of a killed process's sessions: what was not acknowledged."""
    faults: list[str] = field(default_factory=list)

    @property
    def slowest_seconds(self) -> float:
        return max(self.gaps_seconds.values())


class Judge:
    """Takes what a consumer reads, in its order."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.events: list[dict[str, Any]] = []
        self.reached_us: dict[str, int] = {}
        """Partition → when the last tick that was read of it was received."""

    def read(
        self,
        ticks: Iterable[list[int]],
        events: Iterable[dict[str, Any]],
        reached_us: Mapping[str, int],
    ) -> None:
        self.ticks += map(Tick._make, ticks)
        self.events += events
        self.reached_us.update(reached_us)

    def complete_us(self) -> int:
        """Until when everything has been read: up to there each partition with ticks was."""
        return min(self.reached_us.values(), default=0)

    def verdict(self, begin_us: int = 0, end_us: int = 2**63, *, killed: bool = False) -> Verdict:
        """Judge the ticks received from `begin_us` on and before `end_us`.

        A number is missing when a later one of its session is there: to be asked once everything
        up to `end_us` has been read.

        Args:
            begin_us: UTC microseconds.
            end_us: UTC microseconds.
            killed: a process was, and took with it what Kafka had not acknowledged: it may lack in
                the last `UNACKNOWLEDGED_SECONDS` of sessions that another one follows.
        """
        result = Verdict()
        sequences: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        latest: dict[tuple[int, int, int], int] = {}
        for tick in self.ticks:
            if not begin_us <= tick.receive_time_us < end_us:
                continue
            seen = sequences[tick.slot, tick.session_id]
            result.ticks += 1
            if tick.sequence in seen:
                result.repeats += 1
                continue
            seen[tick.sequence] = tick.receive_time_us
            place = tick.slot, tick.session_id, tick.token
            if tick.sequence < latest.get(place, 0):
                result.faults.append(f"{place}: {tick.sequence} after {latest[place]}")
            latest[place] = max(tick.sequence, latest.get(place, 0))
        by_slot: dict[int, list[tuple[int, dict[int, int]]]] = defaultdict(list)
        for (slot, session_id), seen in sorted(sequences.items()):
            by_slot[slot].append((session_id, seen))
        for slot, sessions in by_slot.items():
            for session_id, seen in sessions:
                ended = killed and session_id != sessions[-1][0]
                sure_us = max(seen.values()) - UNACKNOWLEDGED_SECONDS * 1e6 if ended else 2**63
                for first, last, before_us in self._missing(slot, seen):
                    if before_us > sure_us:
                        result.lost += last - first + 1
                        continue
                    what = f"slot {slot}, session {session_id}"
                    result.faults.append(f"{what}: {first} to {last} are missing")
            times = sorted(time_us for _, seen in sessions for time_us in seen.values())
            between = (after - before for before, after in pairwise(times))
            result.gaps_seconds[slot] = max(between, default=0) / 1e6
            result.sessions[slot] = len(sessions) - 1
            for (_, before), (session_id, after) in pairwise(sessions):
                result.faults += self._untold(slot, session_id, before, after)
        return result

    def _missing(self, slot: int, seen: dict[int, int]) -> list[tuple[int, int, int]]:
        """Runs of numbers that are not there, and lie in no gap that was told.

        Returns:
            First and last of each, and when the tick before was received.
        """
        numbers = sorted(seen)
        return [
            (before + 1, after - 1, seen[before])
            for before, after in pairwise(numbers)
            if after > before + 1 and not self._told(slot, seen[before], seen[after])
        ]

    def _told(self, slot: int, from_us: int, to_us: int) -> bool:
        return any(
            event["type"] == "gap"
            and event["slot"] == slot
            and (event["gap_from"] or 0) * 1000 <= from_us
            and event["gap_to"] * 1000 >= to_us
            for event in self.events
        )

    def _untold(
        self, slot: int, session_id: int, before: dict[int, int], after: dict[int, int]
    ) -> list[str]:
        """A new session says in a `gap` what was missed since the one before it."""
        last_ms, first_ms = max(before.values()) // 1000, min(after.values()) // 1000
        told = [
            event
            for event in self.events
            if (event["type"], event["slot"], event["session_id"]) == ("gap", slot, session_id)
        ]
        what = f"slot {slot}, session {session_id}"
        if len(told) != 1 or told[0]["gap_from"] is None:
            return [f"{what}: {len(told)} gaps tell of {last_ms} to {first_ms}: {told}"]
        gap_from, gap_to = told[0]["gap_from"], told[0]["gap_to"]
        if gap_from > last_ms + KEPT_SECONDS * 1000 or gap_to < last_ms or gap_to > first_ms:
            return [f"{what}: {gap_from} to {gap_to} told, {last_ms} to {first_ms} seen"]
        return []
