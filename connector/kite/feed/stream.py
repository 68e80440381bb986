"""Whether a socket streams what it should, in numbers and in words. Pure: the time goes in."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from connector.kite.feed.session import Session
from connector.kite.feed.watchdog import Watchdog
from connector.kite.market_hours import ticks_expected
from connector.kite.wire.models import Exchange

UNSERVED_SHARE: Final = 0.1
"""Instruments without a first packet, of those whose market is open, from which on a socket counts
as half served: some may not exist any more."""

_EXCHANGES = {exchange.value: exchange for exchange in Exchange}


class Stream:
    """Knows what should tick now, and what is wrong where it does not."""

    def __init__(self, session: Session) -> None:
        self.wanted = 0
        """Instruments in whose market silence is strange at this moment."""
        self.unserved = 0
        """How many of them have sent nothing although asked for again; 0 while these are few."""
        self.trouble = ""
        """What is wrong, in words; "" while nothing is. A new socket has to prove itself first."""
        self.renewals = 0
        """Sockets that were replaced since they were mute or half served."""
        self._session = session  # read only
        self.trading: set[int] = set()
        """Segments whose market is open, as of the last `measure`."""

    def measure(self, at: datetime) -> None:
        """Count anew, at a time (aware)."""
        session = self._session
        self.trading = {
            segment
            for segment in session.segments
            if (exchange := _EXCHANGES.get(segment)) is not None and ticks_expected(exchange, at)
        }
        self.wanted = session.wanted_of(self.trading)
        unserved = session.unserved_of(self.trading)
        self.unserved = unserved if unserved >= UNSERVED_SHARE * self.wanted else 0

    def unserved_for(self, now: float) -> list[tuple[int, float]]:
        """Return the instruments that send nothing in market hours, and for how many seconds."""
        return [(token, now - since) for token, since in self._session.unserved(self.trading)]

    def judge(self, watchdog: Watchdog, now: float) -> None:
        """Say in words what is wrong; empty where nothing is."""
        if watchdog.stalled:
            self.trouble = (
                f"connected, but no ticks for {watchdog.quiet_seconds(now):.0f} s in market hours "
                f"({self.wanted} instruments): asking again, then opening another socket"
            )
        elif self.unserved:
            self.trouble = (
                f"{self.unserved} of {self.wanted} instruments have sent nothing since they were "
                "asked for: asking again, then opening another socket"
            )
        # not at once: a new socket has not served before most of its instruments were seen
        elif self.trouble:
            seen = self._session.seen_of(self.trading)
            if seen >= (1 - UNSERVED_SHARE) * self.wanted:
                self.trouble = ""

    def renewed(self, watchdog: Watchdog, now: float) -> str:
        """Count a socket that is replaced; returns why it is."""
        self.renewals += 1
        if watchdog.stalled:
            quiet = watchdog.quiet_seconds(now)
            return f"no ticks for {quiet:.0f} s in market hours, and no answer to requests"
        return f"{self.unserved} of {self.wanted} instruments were asked for and have sent nothing"
