"""Log lines about what others send: some of each kind in a span of time, the rest as a count."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from connector.kite.clock import SYSTEM_CLOCK, Clock

# two a second of each event: what anybody may send must not fill a disk
LINES: Final = 20
SECONDS: Final = 10.0


class LineLimit:
    """Writes at most `lines` lines of each event in `seconds`, then how many it left out."""

    def __init__(
        self,
        log: Any,
        *,
        lines: int = LINES,
        seconds: float = SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._log = log
        self._lines = lines
        self._seconds = seconds
        self._clock = clock
        self._began = clock.monotonic()
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def write(self, level: str, event: str, **keys: Any) -> None:
        """Write a line, or count it where the span has had its lines of this event."""
        self.turn()
        if self._written[event] < self._lines:
            self._written[event] += 1
            getattr(self._log, level)(event, **keys)
        else:
            self._left_out[event] += 1

    def turn(self) -> None:
        """Log how many lines were left out, where a span has ended; to be called now and then."""
        now = self._clock.monotonic()
        if now - self._began < self._seconds:
            return
        self._began = now
        self._written.clear()
        left_out, self._left_out = dict(self._left_out), Counter()
        for event, count in left_out.items():
            self._log.info("log_lines_left_out", of=event, count=count, seconds=self._seconds)
