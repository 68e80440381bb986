"""Time as an argument, so that tests turn it by hand and none has to sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Final, Protocol

_BEFORE_UTC: Final = timedelta(hours=5, minutes=30)
IST: Final = timezone(_BEFORE_UTC, "IST")
"""India's time, in which Kite writes every time of day; it knows no summer time."""

_DAY: Final = timedelta(days=1)


def midnight_ms(time_us: int) -> int:
    """Return when the day of a time began in India; UTC microseconds in, milliseconds out."""
    days = (timedelta(microseconds=time_us) + _BEFORE_UTC) // _DAY
    return (days * _DAY - _BEFORE_UTC) // timedelta(milliseconds=1)


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Forget the call; harmless when it was made already."""


class Clock(Protocol):
    """The source of time for whatever waits or measures."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards: for durations."""

    def time_us(self) -> int:
        """Return UTC microseconds since 1970: for what others read."""

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once, from the event loop, after a delay."""


SET_BACK_SECONDS: Final = 2.0
"""A clock that goes back by less than that was adjusted, and matters to nobody."""


class ClockWatch:
    """Notices that the time of day was set back.

    librdkafka (2.16) waits until times of day: a wait that was under way ends so much later.

    Args:
        time_of_day: seconds since some time, as the system's clock has them.
        monotonic: seconds.
    """

    def __init__(self, time_of_day: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._time_of_day = time_of_day
        self._monotonic = monotonic
        self._ahead = time_of_day() - monotonic()

    def was_set_back(self) -> bool:
        """Whether it was since the last time that this was asked."""
        before, self._ahead = self._ahead, self._time_of_day() - self._monotonic()
        return self._ahead < before - SET_BACK_SECONDS


class SystemClock:
    """The machine's own clock and the running event loop's timers."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def time_us() -> int:
        """Return UTC microseconds since 1970."""
        return time.time_ns() // 1000

    @staticmethod
    def call_later(delay_seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once from the running event loop."""
        return asyncio.get_running_loop().call_later(delay_seconds, callback)


SYSTEM_CLOCK = SystemClock()
