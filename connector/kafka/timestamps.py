"""The time that a record is written with, where brokers refuse its own.

Brokers compare it with their clock (`message.timestamp.after.max.ms`, an hour by default, and
`message.timestamp.before.max.ms`) and do not say what that is. So a record that is refused alone is
tried with other times until one is accepted: first with this machine's present time, which helps
what has waited for too long, then with times ever farther from it. Kafka's timestamp is then about
the brokers' own; the times inside the value stay what this machine measured. Once a minute a record
is tried with its own time again: a clock or a topic's limit may have been mended over there, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

_HOUR_MS = 3_600_000
AFTER_MAX_MS: Final = _HOUR_MS
"""Kafka's default of message.timestamp.after.max.ms."""
_FIRST_MS = 60_000
_GROWTH = 1.1  # how exactly the difference of the clocks is found
# within a week no farther from one another than what brokers accept around their time
_FINE_MS = 7 * 86_400_000
_LAST_MS = 400 * 86_400_000  # clocks that differ by more than a year are not looked for
_STEPPED_MS = 30_000  # a clock that was set, as opposed to one that drifts
TRY_AGAIN_MS: Final = 60_000
"""After so long with a time that was found a record's own is tried again."""


class Restamping:
    """Searches for a shift of this machine's clock that brokers accept, and applies it."""

    def __init__(self) -> None:
        self.after_max_ms = AFTER_MAX_MS
        """`message.timestamp.after.max.ms` of the topic."""
        self.shift_ms: int | None = None
        """What is added to this machine's clock; None: records keep their own times."""
        self.ahead_ms: int | None = None
        """About how far this machine's clock is ahead of the brokers'; negative is behind."""
        self._search: Iterator[int] | None = None  # shifts to be tried; None: none is looked for
        self._found_ms = 0  # the shift that was accepted last, as it was tried
        # this machine's clock less the monotonic one, ms, when a time was accepted: another
        # difference means that somebody has set the clock since
        self._set_at_ms = 0.0
        self._again_at_ms = 0.0  # monotonic ms: when a record's own time is tried again

    @property
    def searching(self) -> bool:
        """What becomes of the next record decides about the time of all that follow."""
        return self._search is not None

    def is_due(self, monotonic_ms: float) -> bool:
        """Whether it is time for `try_own`."""
        found = self.ahead_ms is not None and self._search is None
        return found and monotonic_ms >= self._again_at_ms

    def try_own(self) -> None:
        """The next record is tried with its own time; refused, the time that was found follows."""
        # what was found last comes next: most often it is still right
        self._search = itertools.chain([self._found_ms], _shifts())
        self.shift_ms = None

    def nothing_to_try(self, monotonic_ms: float) -> None:
        """End the trial of a record's own time, for which none came in two minutes."""
        trying = self.searching and self.shift_ms is None
        if trying and monotonic_ms >= self._again_at_ms + 2 * TRY_AGAIN_MS:
            self._search = self.ahead_ms = None

    def refused(self) -> bool:
        """The last time was refused; False when all were tried, and the search begins anew."""
        if self._search is None:
            self._search = _shifts()
        self.ahead_ms = None
        self.shift_ms = next(self._search, None)
        if self.shift_ms is None:
            self._search = None
        return self.shift_ms is not None

    def accepted(self, clock_ms: float, monotonic_ms: float) -> None:
        """The last time was accepted: it is that of the records from now on."""
        if self._search is None:
            return
        self._search = None
        self._set_at_ms = clock_ms - monotonic_ms
        self._again_at_ms = monotonic_ms + TRY_AGAIN_MS
        if self.shift_ms is None:
            self.ahead_ms = None
            return
        self._found_ms = self.shift_ms
        if self.shift_ms < 0:
            # the latest time that they accept, so that their own is before it
            self.shift_ms -= self.after_max_ms
        self.ahead_ms = -self.shift_ms or None

    def look(self, clock_ms: float, monotonic_ms: float) -> None:
        """End it when this machine's clock was set, right or wrong."""
        if self.searching and self.shift_ms is not None:
            return  # for a time
        if abs(clock_ms - monotonic_ms - self._set_at_ms) > _STEPPED_MS:
            self.shift_ms = self.ahead_ms = self._search = None

    def of(self, timestamp_ms: int, now_ms: int) -> int:
        """Return the time to write a record with."""
        return timestamp_ms if self.shift_ms is None else now_ms + self.shift_ms


def _shifts() -> Iterator[int]:
    yield 0
    size = float(_FIRST_MS)
    while size < _LAST_MS:
        # ahead first: brokers accept any time in the past, unless they are told otherwise
        yield -round(size)
        yield round(size)
        size = min(size * _GROWTH, size + _HOUR_MS if size < _FINE_MS else _LAST_MS)
