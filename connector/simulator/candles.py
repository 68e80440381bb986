"""Minute candles of an instrument of the simulated market, made of every trade."""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

_CANDLE: Final = struct.Struct("=7Q")
"""A minute: its number since 1970, open, high, low, close, volume, oi; prices as on the wire."""


class Candles:
    """The last minutes of one instrument in which it traded.

    Args:
        minutes: so many are kept.
    """

    __slots__ = ("_close", "_ended", "_ends", "_high", "_low", "_oi", "_open", "_volume")

    def __init__(self, minutes: int) -> None:
        # packed: some 90 bytes a minute with the object, where a tuple of numbers has 300
        self._ended: deque[bytes] = deque(maxlen=minutes)
        self._ends = 0  # of the minute that is forming, epoch seconds; 0 before the first trade
        self._open = self._high = self._low = self._close = self._volume = self._oi = 0

    def add(self, now: int, price: int, quantity: int, oi: int) -> None:
        """Note a trade: this is called for most of the market's updates.

        Args:
            now: epoch seconds.
            price: as on the wire.
            quantity: of the trade.
            oi: open interest after it.
        """
        if now >= self._ends:
            if self._ends:
                self._ended.append(self._packed())
            self._ends = now - now % 60 + 60
            self._open = self._high = self._low = price
            self._volume = 0
        elif price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._close = price
        self._volume += quantity
        self._oi = oi

    def between(self, first_minute: int, last_minute: int) -> list[tuple[int, ...]]:
        """Return those of some minutes, oldest first; the last one may be forming."""
        packed = [*self._ended, self._packed()] if self._ends else []
        found = map(_CANDLE.unpack, packed)
        return [one for one in found if first_minute <= one[0] <= last_minute]

    def _packed(self) -> bytes:
        return _CANDLE.pack(
            self._ends // 60 - 1, self._open, self._high, self._low, self._close, self._volume,
            self._oi,
        )  # fmt: skip
