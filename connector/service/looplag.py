"""How late the event loop is: what a timer of its own waits beyond its time.

Every tick goes through the one loop, so a lag here is a delay of all of them, and the first place
where too little CPU shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from connector.kafka.histogram import MILLISECONDS, Histogram
from connector.kite.clock import SYSTEM_CLOCK, Clock


class LoopLag:
    """Measures all the time that `run` runs; `histogram` is the result."""

    def __init__(
        self,
        interval_seconds: float = 0.5,
        *,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.histogram = Histogram(MILLISECONDS)
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> NoReturn:
        """Measure the lag until the task is cancelled."""
        while True:
            due = self._clock.monotonic() + self._interval_seconds
            await self._sleep(self._interval_seconds)
            # a timer may be a little early
            self.histogram.observe(max(0.0, self._clock.monotonic() - due))
