"""Minute candles of Kite's historical API, and the gaps in the feed for which they are asked. Pure.

Source: kite.trade/docs/connect/v3/historical.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000
_TIME_CHARACTERS: Final = len("2015-12-28T09:15:00+05:30")
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MINUTE: Final = timedelta(minutes=1)
_MAX_LONG: Final = 2**63


class Gap(NamedTuple):
    """A time of which a slot's ticks may be missing."""

    slot: int
    session_id: int | None
    """The session_id of the event that told of it."""
    from_ms: int
    to_ms: int
    cause: str
    """What told of it: gap or dropped."""

    @property
    def first_minute(self) -> int:
        """The first minute that it touches, in minutes since 1970."""
        return self.from_ms // MINUTE_MS

    @property
    def last_minute(self) -> int:
        """The last minute that it touches: one that begins as it ends is whole."""
        return max(self.from_ms, self.to_ms - 1) // MINUTE_MS

    def without(self, other: Gap) -> list[Gap]:
        """Return what is left of it without the minutes of another one: itself, or 0 to 2 parts."""
        if (
            self.slot != other.slot
            or other.last_minute < self.first_minute
            or self.last_minute < other.first_minute
        ):
            return [self]
        parts = []
        if self.first_minute < other.first_minute:
            parts.append(self._replace(to_ms=other.first_minute * MINUTE_MS))
        if other.last_minute < self.last_minute:
            parts.append(self._replace(from_ms=(other.last_minute + 1) * MINUTE_MS))
        return parts

    def joined(self, other: Gap) -> Gap | None:
        """Return both as one, where they touch the same or neighbouring minutes; None else."""
        begins_after = other.last_minute + 1 < self.first_minute
        ends_before = self.last_minute + 1 < other.first_minute
        if self.slot != other.slot or begins_after or ends_before:
            return None
        return other._replace(
            from_ms=min(self.from_ms, other.from_ms), to_ms=max(self.to_ms, other.to_ms)
        )


class Candle(NamedTuple):
    """A minute of one instrument."""

    minute: int
    """The minute's number since 1970, UTC."""
    open: float
    high: float
    low: float
    close: float
    volume: int
    oi: int | None


def parse_candles(rows: Iterable[object], minutes: Collection[int]) -> tuple[list[Candle], int]:
    """Read the candles of an answer.

    Args:
        rows: as Kite's JSON has them: `[time, open, high, low, close, volume, oi]`.
        minutes: those that were asked for, in minutes since 1970.

    Returns:
        The candles, oldest first and each minute once, and how many rows are none: of another
        shape, with what is no number, or of a minute that was not asked for.
    """
    found: dict[int, Candle] = {}
    refused = 0
    for row in rows:
        candle = _candle(row)
        if candle is None or candle.minute not in minutes or candle.minute in found:
            refused += 1
        else:
            found[candle.minute] = candle
    return sorted(found.values()), refused


def _candle(row: object) -> Candle | None:
    if not isinstance(row, list) or len(row) not in (6, 7):
        return None
    time, *prices, volume = row[:6]
    oi = row[6] if len(row) > 6 else None
    if not all(map(_is_price, prices)) or not _is_count(volume):
        return None
    if oi is not None and not _is_count(oi):
        return None
    minute = _minute(time)
    if minute is None:
        return None
    opening, high, low, close = map(float, prices)
    return Candle(minute, opening, high, low, close, volume, oi)


def _minute(time: object) -> int | None:
    # the length first: fromisoformat reads other forms of a time too, which Kite does not write
    if not isinstance(time, str) or len(time) > _TIME_CHARACTERS:
        return None
    try:
        minute, rest = divmod(datetime.fromisoformat(time) - _EPOCH, _MINUTE)
    except (ValueError, TypeError):  # no time, or one without its zone
        return None
    # a minute candle begins with its minute: anything else is of another interval
    return None if rest else minute


def _is_price(value: object) -> bool:
    # a bool is an int to Python, NaN a number to its JSON, and an int may be beyond any float
    return type(value) in (int, float) and 0 <= value < _MAX_LONG  # type: ignore[operator]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_LONG
