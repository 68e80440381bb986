"""A clock that says a time at which ticks are expected."""

from connector.kite.clock import SystemClock


class TradingClock(SystemClock):
    """Runs as the machine's, from 10:30 in India on a Monday: ticks are expected."""

    def __init__(self):
        self._ahead_us = 1_767_589_200_000_000 - SystemClock.time_us()

    def time_us(self):
        return SystemClock.time_us() + self._ahead_us


class SteppedClock(SystemClock):
    """Stands still until a test adds to its seconds, which both of its times count."""

    def __init__(self, seconds=1_767_585_600.0):
        self.seconds = seconds

    def monotonic(self):
        return self.seconds

    def time_us(self):
        return round(self.seconds * 1e6)
