"""When a connection is dead, stalled, or due for a ping. Pure: counts and the time go in."""

from __future__ import annotations

from enum import Enum, auto

from connector.kite.config import ConnectionConfig


class Verdict(Enum):
    """What a look at the connection came to."""

    PING = auto()
    """Our own ping is due; its pong is a frame like any other."""
    DEAD = auto()
    """No frame of any kind for longer than `liveness_threshold`."""
    STALLED = auto()
    """Frames, but no tick for longer than `stall_threshold`; said once."""
    TICKS_RESUMED = auto()
    """A tick after STALLED; said once."""


class Watchdog:
    """Looks at growing counts once in a while, so that a frame costs it nothing."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        # fine enough that a silence is noticed at most a quarter of the threshold late
        self.interval_seconds = min(config.ping_interval, config.liveness_threshold / 4, 1.0)
        self.stalled = False
        self.open(0.0, 0, 0)

    def open(self, now: float, frames: int, ticks: int) -> None:
        """A new socket: whatever was missing before starts from here."""
        self._frames, self._alive_at = frames, now
        self._ticks, self._ticked_at = ticks, now
        self._pinged_at = now
        self._looked_at = now
        self.stalled = False

    def silent_seconds(self, now: float) -> float:
        """Since the last look that found a new frame."""
        return now - self._alive_at

    def look(
        self, now: float, frames: int, ticks: int, *, paused: bool, expecting: bool
    ) -> list[Verdict]:
        """Compare the counts with those of the last look.

        Args:
            now: monotonic seconds.
            frames: frames of any kind so far, heartbeats and pongs too.
            ticks: frames that carried packets so far.
            paused: reading is paused by our own side, so that silence proves nothing.
            expecting: there are instruments that should tick.
        """
        config = self._config
        # Time in which this process was held up itself (or its event loop was) does not count: what
        # came meanwhile lies unread, and uvloop runs timers before it reads.
        late = max(0.0, now - self._looked_at - 1.5 * self.interval_seconds)
        self._looked_at = now
        self._alive_at += late
        self._ticked_at += late
        if frames != self._frames or paused:
            self._frames, self._alive_at = frames, now
        if now - self._alive_at > config.liveness_threshold:
            return [Verdict.DEAD]
        verdicts = []
        if ticks != self._ticks or paused or not expecting:
            self._ticks, self._ticked_at = ticks, now
            if self.stalled:
                self.stalled = False
                verdicts.append(Verdict.TICKS_RESUMED)
        elif not self.stalled and now - self._ticked_at > config.stall_threshold:
            self.stalled = True
            verdicts.append(Verdict.STALLED)
        if now - self._pinged_at >= config.ping_interval:
            self._pinged_at = now
            verdicts.append(Verdict.PING)
        return verdicts
