"""When a connection is dead, mute, half served, or due for a ping. Pure: counts and the time go in.

Connected is not streaming. A socket may bring heartbeats and no tick, for all its instruments or
for many of them. What proves that it serves is a packet, and the feed sends one for each
subscription, from its cache, also of an instrument that nobody trades. So a quiet socket is asked
for some of its instruments anew: an answer means that the market is quiet, none that the socket is
mute. A mute or half-served one is replaced, after pauses that grow while that does not help.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from connector.kite.config import ConnectionConfig

PROBE_MAX_SECONDS: Final = 900.0
"""The longest pause between questions to a socket that is quiet and answers."""
MUTE_MAX_SECONDS: Final = 300.0
"""The longest life of a mute socket, before the next one is tried."""
HALF_SERVED_MAX_SECONDS: Final = 3600.0
"""The longest life of a half-served socket: the others of its instruments stream."""


class SocketVerdict(Enum):
    """The outcome of a look at the connection."""

    PING = auto()
    """Our own ping is due; its pong is a frame like any other."""
    DEAD = auto()
    """No frame of any kind for longer than `liveness_threshold_seconds`."""
    PROBE = auto()
    """No tick for a while: ask for some instruments anew, whose snapshots prove that it serves."""
    STALLED = auto()
    """Frames, but no tick for longer than `stall_threshold_seconds`, and no answer; said once."""
    TICKS_RESUMED = auto()
    """A tick after STALLED; said once. That a market closes is none."""
    RENEW = auto()
    """Mute, or half served, and asking did not help: open another socket."""


class Watchdog:
    """Looks at growing counts once in a while, so that a frame costs it nothing."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        # fine enough that a silence is noticed at most a quarter of the threshold late
        self.interval_seconds = min(
            config.ping_interval_seconds, config.liveness_threshold_seconds / 4, 1.0
        )
        # STALLED was said, no tick has come since, and one is still to be expected
        self.stalled = False
        # the feed was asked, and no tick has come since, whether the market is still open or not:
        # heartbeats of such a socket prove nothing
        self.in_doubt = False
        self._told = False  # STALLED was said, TICKS_RESUMED not yet
        # sockets in a row that were replaced without that the next one served
        self._renewals = 0
        self.open(0.0, 0, 0)

    def open(self, now: float, frames: int, ticks: int) -> None:
        """Begin with a new socket: whatever was missing before starts from here."""
        # counts as of the last look that found more of them, and its time; all in monotonic seconds
        self._frames, self._alive_at = frames, now
        self._ticks, self._ticked_at = ticks, now
        self._pinged_at = now
        self._looked_at = now
        self._opened_at = now
        self._well_since = now  # neither stalled nor half served
        self._unserved_since: float | None = None  # half served; None: it is not
        # quiet for so long, it is asked for a few snapshots; doubles with each answer
        self._probe_after = self._config.stall_threshold_seconds / 2
        self._probed = False  # it was asked, and has not answered
        self.stalled = self.in_doubt = self._told = False

    def silent_seconds(self, now: float) -> float:
        """How long it is since the last look that found a new frame."""
        return now - self._alive_at

    def quiet_seconds(self, now: float) -> float:
        """Since the last look that found a new tick, or ticks not to be expected."""
        return now - self._ticked_at

    def look(
        self,
        now: float,
        frames: int,
        ticks: int,
        *,
        paused: bool,
        expecting: bool,
        unserved: bool = False,
    ) -> list[SocketVerdict]:
        """Compare the counts with those of the last look.

        Args:
            now: monotonic seconds.
            frames: frames of any kind so far, heartbeats and pongs too.
            ticks: frames that carried packets so far.
            paused: reading is paused by our own side, so that silence proves nothing.
            expecting: there are instruments that should tick, and their market is open.
            unserved: a large part of these has sent no packet, although asked for again.
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
        # heartbeats come about each second, and answers to our pings: silence is no quiet market
        if now - self._alive_at > config.liveness_threshold_seconds:
            return [SocketVerdict.DEAD]
        verdicts = self._stream(now, ticks, waits=paused or not expecting)
        unserved = unserved and expecting and not paused
        if self._renew(now, unserved=unserved):
            self._renewals += 1
            return [*verdicts, SocketVerdict.RENEW]
        # our own, since a peer that is cut off by the network leaves TCP open for minutes
        if now - self._pinged_at >= config.ping_interval_seconds:
            self._pinged_at = now
            verdicts.append(SocketVerdict.PING)
        return verdicts

    def _stream(self, now: float, ticks: int, *, waits: bool) -> list[SocketVerdict]:
        """Judge whether ticks come, and what to do where they do not."""
        half = self._config.stall_threshold_seconds / 2
        if ticks != self._ticks or waits:
            # an answer to a question tells of a quiet market, a tick by itself of a lively one
            answered = self._probed and not waits
            self._probe_after = min(self._probe_after * 2, PROBE_MAX_SECONDS) if answered else half
            self._probed = self.stalled = False
            resumed = False
            if ticks != self._ticks:
                self.in_doubt, resumed, self._told = False, self._told, False
            self._ticks, self._ticked_at = ticks, now
            return [SocketVerdict.TICKS_RESUMED] if resumed else []
        quiet = now - self._ticked_at
        verdicts = []
        if not self._probed and quiet >= self._probe_after:
            self._probed = self.in_doubt = True
            verdicts.append(SocketVerdict.PROBE)
        # half of the threshold for the question, half for its answer
        if not self.stalled and quiet > self._probe_after + half:
            self.stalled = self._told = True
            verdicts.append(SocketVerdict.STALLED)
        return verdicts

    def _renew(self, now: float, *, unserved: bool) -> bool:
        """Whether the socket is to be replaced; sockets live the longer, the less that helps."""
        config = self._config
        longest = MUTE_MAX_SECONDS if self.stalled else HALF_SERVED_MAX_SECONDS
        # doubled each time: a sick feed is not to be flooded with handshakes
        patience = config.stall_threshold_seconds * 2.0 ** min(self._renewals, 16)
        patience = min(patience, max(longest, config.stall_threshold_seconds))
        if not unserved:
            self._unserved_since = None
        elif self._unserved_since is None:
            self._unserved_since = now
        if not self.stalled and not unserved:
            if now - self._well_since >= patience:
                self._renewals = 0
            return False
        self._well_since = now  # it is not: the time begins anew
        if now - self._opened_at < patience:
            return False
        if self.stalled:
            # everything was asked for once more when it stalled
            stalled_after = self._probe_after + config.stall_threshold_seconds / 2
            return now - self._ticked_at > stalled_after + config.confirm_timeout_seconds
        return (
            self._unserved_since is not None
            and now - self._unserved_since >= config.stall_threshold_seconds
        )
