"""A clock that says a time at which ticks are expected."""

from connector.kite.clock import SystemClock


class TradingClock(SystemClock):
    """Runs as the machine's, from 10:30 in India on a Monday: ticks are expected."""

    def __init__(self):
        self._ahead_us = 1_767_589_200_000_000 - SystemClock.time_us()

    def time_us(self):
        return SystemClock.time_us() + self._ahead_us
