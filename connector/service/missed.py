"""What was missed and lost since a time, over all slots and of each: as events tell it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from connector.kite.feed.events import EventType

SHOWN_DROPS: Final = 20
SHOWN_GAPS: Final = 20
_MINUTE_MS: Final = 60_000
_Minutes = tuple[int, int]


def missed(
    events: Sequence[Mapping[str, Any]], since_ms: int, complete_from_ms: int | None
) -> dict[str, Any]:
    """Say what was missed and lost since a time.

    Args:
        events: newest first, others among them too.
        since_ms: what ended before is not counted, UTC milliseconds.
        complete_from_ms: older events are not known; None: none is.
    """
    gaps: list[dict[str, Any]] = []
    starts: dict[int, int] = defaultdict(int)
    drops: dict[tuple[Any, ...], dict[str, Any]] = {}
    times: list[tuple[int, int, int]] = []
    for event in events:
        # by when it was told, which is when a gap ends
        if event["time_ms"] < since_ms:
            continue
        slot, from_ms, to_ms = event["slot"], event["from_ms"], event["to_ms"] or event["time_ms"]
        if event["type"] == EventType.GAP and from_ms is None:
            starts[slot] += 1
        elif event["type"] == EventType.GAP:
            seconds = max(0, to_ms - from_ms) / 1000
            gaps.append({"slot": slot, "from_ms": from_ms, "to_ms": to_ms, "seconds": seconds})
        elif event["type"] == EventType.DROPPED:
            # each slot has one of its own for the same loss
            loss = (event["reason"], from_ms, event["to_ms"])
            drops.setdefault(
                loss, {name: event[name] for name in ("time_ms", "reason", "from_ms", "to_ms")}
            )
        else:
            continue
        if from_ms is not None:
            times.append((slot, from_ms, to_ms))
    return {
        "since_ms": None if complete_from_ms is None else max(since_ms, complete_from_ms),
        "gaps": len(gaps),
        "gap_seconds": round(sum(gap["seconds"] for gap in gaps), 1),
        "longest": max(gaps, key=lambda gap: gap["seconds"], default=None),
        "newest_gaps": gaps[:SHOWN_GAPS],
        "gaps_without_beginning": sum(starts.values()),
        "drops": list(drops.values())[:SHOWN_DROPS],
        "slots": _of_each(gaps, times, Backfilled(events)),
    }


def _of_each(
    gaps: Iterable[Mapping[str, Any]], times: Iterable[tuple[int, int, int]], done: Backfilled
) -> list[dict[str, Any]]:
    """Return of each slot that missed something how much, when last, and what has candles by now.

    Args:
        gaps: newest first.
        times: slot, beginning and end of each gap and loss.
        done: what was fetched.
    """
    shown: dict[int, dict[str, Any]] = {}
    for slot, from_ms, to_ms in times:
        row = shown.setdefault(
            slot,
            {"slot": slot, "gaps": 0, "gap_seconds": 0.0, "last_ms": to_ms, "times": 0,
             "backfilled": 0},
        )  # fmt: skip
        row["last_ms"] = max(row["last_ms"], to_ms)
        row["times"] += 1
        row["backfilled"] += done.holds(slot, from_ms, to_ms)
    for gap in gaps:
        row = shown[gap["slot"]]
        row["gaps"] += 1
        row["gap_seconds"] = round(row["gap_seconds"] + gap["seconds"], 1)
    return [shown[slot] for slot in sorted(shown)]


class Backfilled:
    """The minutes of each slot whose candles were fetched, as far as they can be had.

    Args:
        events: as `missed` takes them.
    """

    def __init__(self, events: Iterable[Mapping[str, Any]]) -> None:
        found: dict[int, list[_Minutes]] = defaultdict(list)
        for event in events:
            from_ms, to_ms = event["from_ms"], event["to_ms"]
            if event["type"] == EventType.GAP_BACKFILLED and None not in (from_ms, to_ms):
                found[event["slot"]].append(_minutes(from_ms, to_ms))
        self._of = {slot: _joined(minutes) for slot, minutes in found.items()}

    def holds(self, slot: int, from_ms: int, to_ms: int) -> bool:
        """Whether all minutes that a time touches are among them."""
        minutes = self._of.get(slot, [])
        first, last = _minutes(from_ms, to_ms)
        place = bisect_right(minutes, first, key=lambda one: one[0]) - 1
        return place >= 0 and minutes[place][1] >= last


def _minutes(from_ms: int, to_ms: int) -> _Minutes:
    """Return the first and last minute that a time touches, as `connector.kite.wire.candles`."""
    return from_ms // _MINUTE_MS, max(from_ms, to_ms - 1) // _MINUTE_MS


def _joined(minutes: list[_Minutes]) -> list[_Minutes]:
    """Return the same minutes as the fewest pieces, in their order."""
    joined: list[_Minutes] = []
    for first, last in sorted(minutes):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined
