"""A clock that stands until a test turns it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

_TURNS = 20
"""How often the event loop turns in `settle`: more often than any chain of our tasks is long."""


class FakeTimer:
    """A call that a `FakeClock` still has to make."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call; harmless when it was made already."""
        self.callback = None


class FakeClock:
    """A `connector.kite.clock.Clock` that a test advances; it never sleeps.

    Called, it gives its monotonic seconds, as `time.monotonic` does: it may be given wherever a
    function that returns seconds is asked for.

    Args:
        time_us: the time of day at the start, UTC microseconds; by default 2026-01-05 04:00 UTC,
            a Monday, half past nine in India. The monotonic time begins with 1000 s.
    """

    def __init__(self, time_us: int = 1_767_585_600_000_000) -> None:
        self.now = 1000.0
        """Monotonic seconds; a test may add to them where no timer is to fire."""
        self._time_us = time_us
        # a heap of (when, order, timer); one that was cancelled stays until its time
        self._timers: list[tuple[float, int, FakeTimer]] = []
        # timers that are due at the same time fire in the order in which they were set
        self._order = itertools.count()

    def __call__(self) -> float:
        """Return the monotonic seconds."""
        return self.now

    def monotonic(self) -> float:
        """Return seconds that only `advance` moves."""
        return self.now

    def time_us(self) -> int:
        """Return UTC microseconds since 1970, which advance with the monotonic time."""
        return self._time_us

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> FakeTimer:
        """Call back once, when `advance` has passed the delay."""
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self.now + delay_seconds, next(self._order), timer))
        return timer

    @property
    def pending(self) -> list[float]:
        """The delays of the timers that are set, seconds from now, shortest first."""
        return sorted(when - self.now for when, _, timer in self._timers if timer.callback)

    async def advance(self, seconds: float) -> None:
        """Let time pass; timers fire in order, and tasks run between them."""
        await settle()
        end = self.now + seconds
        # sums of delays are not exact: what is due at the end fires although it is 1 ns later
        while self._timers and self._timers[0][0] <= end + 1e-9:
            when, _, timer = heapq.heappop(self._timers)
            # a test may have moved `now` past it by hand
            self._set(max(when, self.now))
            if timer.callback is not None:
                timer.callback()
                await settle()
        self._set(end)
        await settle()

    def step(self, seconds: float) -> None:
        """Set the time of day forward or, by less than 0, back; monotonic time stays as it is."""
        self._time_us += round(seconds * 1e6)

    def _set(self, now: float) -> None:
        self._time_us += round((now - self.now) * 1e6)
        self.now = now


async def settle() -> None:
    """Let every task run that can go on without time passing."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
