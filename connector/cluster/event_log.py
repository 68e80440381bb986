"""The newest events, within a bound that no slot and no kind of event takes for itself. Pure.

A slot whose tries fail tells of each of them: of a run of tries that fail alike one row is kept,
with how many they were and since when. Where there is no room, a row of the slot and kind that has
most of them makes room, so that what floods pushes out only its own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connector.kite.feed.events import ConnectionEvent, EventType
from connector.redaction import cut, printable

MAX_REASON_CHARS: Final = 200
LOSSES: Final = frozenset(
    {EventType.GAP.value, EventType.DROPPED.value, EventType.GAP_BACKFILLED.value}
)
"""The types of the events that tell what was missed, lost or mended."""
_FAILED: Final = frozenset(
    {
        EventType.DISCONNECTED.value,
        EventType.BACKING_OFF.value,
        EventType.WAITING_FOR_TOKEN.value,
        EventType.WAITING_FOR_SLOT.value,
    }
)
_Row = Mapping[str, Any]
_Group = tuple[int, str]


@dataclass(slots=True)
class _Run:
    """Tries of a slot that failed alike; `again` while a further one is under way."""

    kind: str
    reason: str
    again: bool = False


class EventLog:
    """Keeps so many events, each a row as the page shows it.

    Args:
        limit: so many rows are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # (slot, type) → its rows, oldest first, each with its number in the order of arrival, which
        # decides between equal times
        self._groups: dict[_Group, deque[tuple[int, _Row]]] = {}
        # slot → its tries that are failing alike at the moment; any other event of the slot ends
        # them
        self._runs: dict[int, _Run] = {}
        self._count = self._added = 0
        self.forgotten_ms: int | None = None
        """The time of the newest event that was pushed out; None where none was."""

    def __len__(self) -> int:
        return self._count

    def add(self, row: _Row) -> None:
        """Keep an event; those of a slot come in the order of their time.

        Args:
            row: with `slot`, `type`, `reason` and `time_ms`, UTC milliseconds; is kept with
                `times`, how many events it stands for, and `first_ms`, the time of the first.
        """
        slot, kind, time_ms = row["slot"], row["type"], row["time_ms"]
        self._added += 1
        run = self._runs.get(slot)
        if kind == EventType.CONNECTING:
            if run is not None:
                run.again = True
        elif kind not in _FAILED:
            self._runs.pop(slot, None)
        elif run is not None and (run.kind, run.reason) == (kind, row["reason"]):
            # the row of this further try goes too: the run's own row stands for it
            if run.again:
                self._remove(slot, EventType.CONNECTING.value, newest=True)
                run.again = False
            _, before = self._groups[slot, kind].pop()
            kept = {**before, "times": before["times"] + 1}
            kept["time_ms"] = max(time_ms, before["time_ms"])
            self._groups[slot, kind].append((self._added, kept))
            return
        else:
            self._runs[slot] = _Run(kind, row["reason"])
        group = self._groups.setdefault((slot, kind), deque())
        group.append((self._added, {**row, "times": 1, "first_ms": time_ms}))
        self._count += 1
        if self._count > self._limit:
            self._make_room()

    def rows(self) -> list[_Row]:
        """Return all rows, newest first."""
        kept = [one for group in self._groups.values() for one in group]
        kept.sort(key=lambda one: (one[1]["time_ms"], one[0]), reverse=True)
        return [row for _, row in kept]

    def _make_room(self) -> None:
        groups = self._groups
        # the largest group gives way, of equals the one with the oldest row
        slot, kind = max(groups, key=lambda one: (len(groups[one]), -groups[one][0][0]))
        row = self._remove(slot, kind)
        self.forgotten_ms = max(row["time_ms"], self.forgotten_ms or 0)

    def _remove(self, slot: int, kind: str, *, newest: bool = False) -> _Row:
        group = self._groups[slot, kind]
        _, row = group.pop() if newest else group.popleft()
        self._count -= 1
        if not group:
            del self._groups[slot, kind]
            run = self._runs.get(slot)
            if run is not None and kind == run.kind:
                del self._runs[slot]
            elif run is not None and kind == EventType.CONNECTING:
                run.again = False
        return row


def shared(rows: Sequence[_Row], limit: int) -> list[_Row]:
    """Return so many of the rows of all slots, of each the newest, and none at another's cost.

    Args:
        rows: newest first.
        limit: so many at most. Where there are more, the slots that have most of them give way.
    """
    of_slot: Counter[int] = Counter()
    ranked: list[tuple[int, int]] = []
    for at, row in enumerate(rows):
        ranked.append((of_slot[row["slot"]], at))
        of_slot[row["slot"]] += 1
    return [rows[at] for at in sorted(at for _, at in sorted(ranked)[:limit])]


def own_event(event: ConnectionEvent, account: str) -> dict[str, Any]:
    """Return an event of this process as the page shows it."""
    return event_row(
        event.time_ms, event.type.value, event.slot, account, event.reason,
        event.gap_from_ms, event.gap_to_ms, event.instruments,
    )  # fmt: skip


def event_row(
    time_ms: int | None,
    kind: str,
    slot: Any,
    account: str,
    reason: str,
    from_ms: int | None,
    to_ms: int | None,
    instruments: int | None,
) -> dict[str, Any]:
    """Return an event as the page shows it; times are UTC milliseconds, the last two a gap's."""
    return {
        "time_ms": time_ms,
        "type": kind,
        "slot": slot,
        "account": account,
        "reason": printable(cut(reason, MAX_REASON_CHARS)),
        "from_ms": from_ms,
        "to_ms": to_ms,
        "instruments": instruments,
    }
