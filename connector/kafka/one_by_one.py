"""What was refused in a batch, sent again record by record: decides what becomes of each.

No I/O, no clock: the producer sends `tried` with nothing else under way, and says how it went.
"""

from __future__ import annotations

from typing import Any

from connector.kafka.refusals import UNCLEAR_SECONDS, Fault, TopicTrouble, fault_of
from connector.kafka.spool import Record

_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 5.0


class OneByOne:
    """Counts down the records that are to be sent alone, and remembers why the first one waits."""

    def __init__(self) -> None:
        self.remaining = 0
        """So many records are sent alone from now on."""
        self.tried: Record | None = None
        """The one under way; it stays the spool's first until it is acknowledged or at fault."""
        self.trouble: TopicTrouble | None = None
        """Why records wait, where it is not a record's fault."""
        self.retry_at = 0.0
        """Seconds of the monotonic clock; nothing is sent before."""
        self._tries = 0  # of the record under way, each refused
        self._first_refused_at = 0.0  # monotonic seconds; UNCLEAR_SECONDS count from it

    def begin(self, records: int) -> None:
        """Begin with so many records, whose batch was refused."""
        # not the sum: the same records may come back more than once before all were tried
        self.remaining = max(self.remaining, records)

    def again_at_once(self, trouble: TopicTrouble) -> None:
        """The one under way was refused for what its next try changes.

        Args:
            trouble: what is told meanwhile.
        """
        self.tried = None
        self.trouble = self.trouble or trouble
        self.remaining = 1

    def accepted(self) -> TopicTrouble | None:
        """Note that the record under way was acknowledged; returns the trouble that ended."""
        trouble, self.trouble = self.trouble, None
        self._next()
        return trouble

    def refused(self, topic: str, error: Any, now: float) -> bool:
        """The one under way was refused, for itself.

        Args:
            topic: of the record.
            error: a `KafkaError` that does not end the client.
            now: seconds of the monotonic clock.

        Returns:
            True when the record is at fault and the next one's turn has come; False when it is to
            be tried again from `retry_at` on.
        """
        self.tried = None
        if not self._tries:
            self._first_refused_at = now
        fault = fault_of(error)
        waited = now - self._first_refused_at
        if fault is Fault.RECORD or (fault is Fault.UNCLEAR and waited >= UNCLEAR_SECONDS):
            self.trouble = None
            self._next()
            return True
        # the time of the first one stays: how long a topic has been held back is told by it
        if self.trouble is None or self.trouble.code != error.name():
            self.trouble = TopicTrouble(topic, error.name(), error.str(), now)
        self.retry_at = now + min(_BACKOFF_SECONDS * 2**self._tries, _MAX_BACKOFF_SECONDS)
        self._tries = min(self._tries + 1, 16)  # 2**16 is long beyond the greatest pause
        # those behind it were refused with it, for the same reason
        self.remaining = 1
        return False

    def _next(self) -> None:
        self.tried = None
        self.remaining = max(0, self.remaining - 1)
        self._tries = 0
        self.retry_at = 0.0
