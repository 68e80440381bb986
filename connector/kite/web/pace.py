"""How fast an api_key may call Kite's REST API: one place for all calls of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

INTERVAL_SECONDS: Final = 0.35
"""Calls of an api_key are so far apart. Kite takes 3 a second of the strictest kind, candles, and
counts them as they arrive: the network may push two together.

Source: kite.trade/docs/connect/v3/exceptions, "API rate limit".
"""


class Pace:
    """Gives each call of one api_key its turn, in the order in which they ask.

    Args:
        interval_seconds: between two calls.
        monotonic: a clock in seconds.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        interval_seconds: float = INTERVAL_SECONDS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._sleep = sleep
        # monotonic seconds: when the next call may be made, and until when none at all
        self._free_at = self._held_until = 0.0

    async def turn(self) -> None:
        """Wait until the next call may be made."""
        while True:
            now = self._monotonic()
            at = max(now, self._free_at)
            # taken before it waits: who asks meanwhile comes behind
            self._free_at = at + self._interval_seconds
            if at > now:
                await self._sleep(at - now)
            if at >= self._held_until:
                return  # else Kite has said meanwhile that it wants none for longer

    def hold(self, seconds: float) -> None:
        """Let no call be made for so long, whoever has a turn already."""
        self._held_until = max(self._held_until, self._monotonic() + seconds)
        self._free_at = max(self._free_at, self._held_until)
