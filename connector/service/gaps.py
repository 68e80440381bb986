"""The gaps that `kite.events` tells of, and which of them wait to be mended. Pure.

The topic is the memory: whoever reads it in order knows what waits, over restarts and replicas. A
minute of a gap ends with a `gap_backfilled`, whatever could be had for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from connector.kite.clock import IST
from connector.kite.feed.events import EventType
from connector.kite.market_hours import MarketHours
from connector.kite.wire.candles import MINUTE_MS, Gap
from connector.kite.wire.models import SEGMENTS, Exchange

MAX_DAYS: Final = 60
"""Kite gives so many days of minutes in an answer; what of a gap is older is left out."""
MAX_REFUSED: Final = 10_000
"""So many gaps that found no room are remembered until it is told, the last ones."""
CLOSED_DAYS: Final = 10
"""No exchange is closed for longer."""
_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)


class Concerned(NamedTuple):
    """The instruments of a gap."""

    tokens: tuple[int, ...]
    """Those that its events name, which are the slot's at the time."""
    also_carried: bool
    """Whether an event names none, so that those count too that the slot carries now."""

    def joined(self, other: Concerned) -> Concerned:
        """Return the instruments of both."""
        tokens = tuple(dict.fromkeys((*self.tokens, *other.tokens)))
        return Concerned(tokens, self.also_carried or other.also_carried)

    def resolved(self, carried: Sequence[int]) -> tuple[int, ...]:
        """Return the instruments, given those that the slot carries now."""
        return tuple(dict.fromkeys((*self.tokens, *(carried if self.also_carried else ()))))


class Told(NamedTuple):
    """What an event says of a gap: that it is there, or that nobody need look at it any more."""

    gap: Gap
    ended: bool
    concerned: Concerned


class Gaps:
    """The gaps that wait, in the order in which they were told of.

    Args:
        max_gaps: so many may wait.
        hours: of the exchanges: what nobody traded in has nothing to wait for.
    """

    def __init__(self, max_gaps: int, hours: MarketHours) -> None:
        self._max_gaps = max_gaps
        self._hours = hours
        # in the order in which they were told of; one that another is joined to goes to the end
        self._waiting: dict[Gap, Concerned] = {}
        # no room for them: told as left out at the next look, and forgotten
        self._refused: dict[Gap, Concerned] = {}
        # being mended: nothing is joined to these, and an end that is told does not cut them
        self._begun: set[Gap] = set()
        # slot -> until when its ticks were counted last, UTC milliseconds
        self._counted: dict[int, int] = {}

    def __iter__(self) -> Iterator[Gap]:
        return iter(list(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)

    def concerned(self, gap: Gap) -> Concerned:
        """Return the instruments of a gap that waits."""
        return self._waiting[gap]

    def read(self, event: Mapping[str, Any]) -> None:
        """Note what a record of `kite.events` says; whatever is none of a gap changes nothing."""
        kind, slot = event.get("type"), event.get("slot")
        if kind == EventType.COUNT and isinstance(slot, int):
            counted = milliseconds(event.get("time")) or 0
            self._counted[slot] = max(counted, self._counted.get(slot, 0))
        told = self._told(event)
        if told is None:
            return
        if told.ended:
            self._waiting = self._left(self._waiting, told.gap)
            self._refused = self._left(self._refused, told.gap)
        elif self._is_traded(told):
            parts = [told.gap]
            for begun in self._begun:
                # the candles that are being fetched are of whole minutes
                parts = [left for part in parts for left in part.without(begun)]
            for part in parts:
                self._add(part, told.concerned)

    def begin(self, gap: Gap) -> None:
        """Let nothing be joined to a gap any more: it is being mended."""
        self._begun.add(gap)

    def end(self, gap: Gap) -> None:
        """Forget a gap that was begun."""
        self._waiting.pop(gap, None)
        self._begun.discard(gap)

    def drain_refused(self) -> dict[Gap, Concerned]:
        """Return gaps that found no room and that nobody told of as left out, and forget them."""
        refused, self._refused = self._refused, {}
        return refused

    def _is_traded(self, told: Told) -> bool:
        """Whether anything of its instruments was traded in a gap; nobody tells of its end else."""
        tokens, also_carried = told.concerned
        exchanges = set(Exchange) if also_carried else set(map(Exchange.of, tokens))
        return any(any(_traded(told.gap, exchange, self._hours)) for exchange in exchanges)

    def _left(self, gaps: dict[Gap, Concerned], ended: Gap) -> dict[Gap, Concerned]:
        """Return what is left of gaps; what is being mended ends by itself."""
        return {
            part: concerned
            for gap, concerned in gaps.items()
            for part in ([gap] if gap in self._begun else gap.without(ended))
        }

    def _told(self, event: Mapping[str, Any]) -> Told | None:
        kind, slot, session_id = event.get("type"), event.get("slot"), event.get("session_id")
        from_ms, to_ms = milliseconds(event.get("gap_from")), milliseconds(event.get("gap_to"))
        if not isinstance(slot, int) or not isinstance(session_id, int | None):
            return None
        if kind == EventType.GAP and from_ms is None:
            # who received before is not known, but until when its ticks were counted: by its own
            # clock, which may be ahead
            counted = self._counted.get(slot)
            from_ms = None if counted is None or to_ms is None else min(counted, to_ms)
        if kind not in (EventType.GAP, EventType.DROPPED, EventType.GAP_BACKFILLED):
            return None
        if from_ms is None or to_ms is None or to_ms < from_ms:
            return None
        if kind == EventType.DROPPED and event.get("instruments") == 0:
            return None  # what was lost were no ticks of this slot
        gap = Gap(slot, session_id, from_ms, to_ms, str(kind))
        named = event.get("tokens")
        tokens = tuple(filter(_is_token, named if isinstance(named, list) else ()))
        return Told(gap, kind == EventType.GAP_BACKFILLED, Concerned(tokens, not tokens))

    def _add(self, gap: Gap, concerned: Concerned) -> None:
        """Let a gap wait; with one of its slot that it touches, as one: its minutes are the same.

        A spool that is full tells of its losses each second, a socket that breaks again and again
        of a gap each time.
        """
        for other in [one for one in self._waiting if one not in self._begun]:
            joined = other.joined(gap)
            if joined is not None:
                concerned = self._waiting.pop(other).joined(concerned)
                gap = joined
        if len(self._waiting) < self._max_gaps:
            self._waiting[gap] = concerned
        else:
            self._refused[gap] = concerned
            if len(self._refused) > MAX_REFUSED:
                del self._refused[next(iter(self._refused))]


def _is_token(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 2**32 and value & 0xFF in SEGMENTS


def minutes_of(gap: Gap, exchange: Exchange, hours: MarketHours) -> list[int]:
    """Return the minutes that a gap touches in which an exchange trades, oldest first.

    Args:
        gap: its last `MAX_DAYS` count.
        exchange: whose sessions they are of.
        hours: of the exchanges.
    """
    return [minute for minutes in _traded(gap, exchange, hours) for minute in minutes]


def _traded(gap: Gap, exchange: Exchange, hours: MarketHours) -> Iterator[range]:
    """Yield the minutes of each session, as `minutes_of`; of some there may be none."""
    last = gap.last_minute
    first = max(gap.first_minute, last - MAX_DAYS * (_DAY // _MINUTE) + 1)
    day, end = _day(first), _day(last)
    while day <= end:
        for opens, _, closes in hours.day(exchange, day).sessions:
            begins, ends = (
                int(datetime.combine(day, at, IST).timestamp()) // 60 for at in (opens, closes)
            )
            yield range(max(begins, first), min(ends, last + 1))
        day += _DAY


def look_back_ms(now_ms: int, hours: MarketHours) -> int:
    """Return since when a gap may wait that nobody has ended: UTC milliseconds.

    That is the beginning of the last day before today on which something was traded, of each
    exchange its own: where nobody led over a weekend, say, what was missed before it still waits.
    """
    today = _day(now_ms // MINUTE_MS)
    before = [today - number * _DAY for number in range(1, CLOSED_DAYS + 1)]
    last = [
        next((day for day in before if hours.day(exchange, day).sessions), before[0])
        for exchange in Exchange
    ]
    return max(0, round(datetime.combine(min(last), time(), IST).timestamp() * 1000))


def _day(minute: int) -> date:
    return datetime.fromtimestamp(minute * 60, IST).date()


def milliseconds(at: object) -> int | None:
    """Return UTC milliseconds of a time as Avro's reader gives it; None where there is none."""
    # one without a zone is of another schema
    if not isinstance(at, datetime) or at.tzinfo is None:
        return None
    # a day in India's time may lie outside of the calendar there, and nothing happened then
    if at.year in {MINYEAR, MAXYEAR}:
        return None
    return round(at.timestamp() * 1000)
