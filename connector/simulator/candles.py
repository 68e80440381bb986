"""Minute candles of the simulated market, made of every trade as an exchange makes them."""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

_CANDLE: Final = struct.Struct("=7Q")
"""A minute of an instrument: minute, open, high, low, close, volume, oi; prices as on the wire."""


class CandleBook:
    """The last minutes of each instrument that has traded.

    Args:
        minutes: so many are kept of each.
    """

    def __init__(self, minutes: int) -> None:
        self._minutes = minutes
        self._ended: dict[int, deque[bytes]] = {}
        self._forming: dict[int, list[int]] = {}

    def add(self, token: int, now: int, price: int, quantity: int, oi: int) -> None:
        """Note a trade of an instrument.

        Args:
            token: its number.
            now: epoch seconds.
            price: as on the wire.
            quantity: of the trade.
            oi: open interest after it.
        """
        minute = now // 60
        candle = self._forming.get(token)
        if candle is None or candle[0] != minute:
            if candle is not None:
                self._end(token, candle)
            self._forming[token] = candle = [minute, price, price, price, price, 0, 0]
        if price > candle[2]:
            candle[2] = price
        elif price < candle[3]:
            candle[3] = price
        candle[4] = price
        candle[5] += quantity
        candle[6] = oi

    def _end(self, token: int, candle: list[int]) -> None:
        kept = self._ended.setdefault(token, deque(maxlen=self._minutes))
        kept.append(_CANDLE.pack(*candle))

    def of(self, token: int, first_minute: int, last_minute: int) -> list[tuple[int, ...]]:
        """Return the candles of an instrument, oldest first; the last one may be forming."""
        found = [_CANDLE.unpack(one) for one in self._ended.get(token, ())]
        if token in self._forming:
            found.append(tuple(self._forming[token]))
        return [one for one in found if first_minute <= one[0] <= last_minute]
