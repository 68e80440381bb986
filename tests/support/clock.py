"""A clock that stands until a test turns it."""

import asyncio
import heapq
import itertools


class FakeTimer:
    def __init__(self, callback):
        self.callback = callback

    def cancel(self):
        self.callback = None


class FakeClock:
    """Starts at 1 000 s monotonic and 2026-01-05 04:00 UTC, a Monday, 09:30 in India."""

    def __init__(self, time_us=1_767_585_600_000_000):
        self.now = 1000.0
        self._time_us = time_us
        self._timers = []
        self._order = itertools.count()

    def monotonic(self):
        return self.now

    def time_us(self):
        return self._time_us

    def call_later(self, delay_seconds, callback):
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self.now + delay_seconds, next(self._order), timer))
        return timer

    @property
    def pending(self):
        """Delays of the timers that are set, seconds from now."""
        return sorted(when - self.now for when, _, timer in self._timers if timer.callback)

    async def advance(self, seconds):
        """Let time pass; timers fire in order, and tasks run between them."""
        await settle()
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end + 1e-9:
            when, _, timer = heapq.heappop(self._timers)
            self._set(max(when, self.now))
            if timer.callback is not None:
                timer.callback()
                await settle()
        self._set(end)
        await settle()

    def _set(self, now):
        self._time_us += round((now - self.now) * 1e6)
        self.now = now


async def settle():
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
