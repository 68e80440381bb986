"""Whether the disk does as it is told, and how often it may be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BACKOFF_SECONDS = 0.25
MAX_BACKOFF_SECONDS = 5.0
CALM_SECONDS = 5.0
"""A disk that worked and then fails again within this time was in trouble all the while."""
_SLOW_SECONDS = 0.1  # an access that took longer is followed by a rest
_REST = 4  # times as long: a slow disk has at most a fifth of the event loop's time
_MAX_REST_SECONDS = 5.0  # a volume that hung for minutes is asked again soon all the same


class DiskTrouble:
    """One kind of access to the disk. Each edge is logged once, however often it fails between.

    Args:
        failed_event: the log's name for the first failure.
        ended_event: the log's name for the end of the trouble.
        log: of the spool.
        monotonic: seconds.
    """

    def __init__(
        self, failed_event: str, ended_event: str, log: Any, monotonic: Callable[[], float]
    ) -> None:
        self.reason: str | None = None
        """What the system said; None while there is no trouble."""
        self._failed_event = failed_event
        self._ended_event = ended_event
        self._log = log
        self._monotonic = monotonic
        self._failures = 0  # in a row
        # all in monotonic seconds
        self._began = 0.0  # the first failure of this trouble, for the line that tells its end
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._streak_began = 0.0  # the first failure since an access worked

    def failed(self, error: OSError) -> None:
        """Note that a call to the system failed."""
        now = self._monotonic()
        if self._failures == 0:
            self._streak_began = now
        self._failures += 1
        self._failed_at = now
        # the exponent is bounded: a disk may fail for days
        backoff = BACKOFF_SECONDS * 2 ** min(self._failures - 1, 10)
        self._retry_at = now + min(backoff, MAX_BACKOFF_SECONDS)
        reason = error.strerror or str(error)
        # another reason is worth a line: full before, read-only now
        if reason != self.reason:
            if self.reason is None:
                self._began = now
            self.reason = reason
            self._log.error(self._failed_event, reason=reason)

    def worked(self) -> None:
        """Note that a call to the system succeeded."""
        # the next access need not wait; the trouble lasts until all has been calm for a while
        self._failures = 0
        now = self._monotonic()
        if self.reason is not None and now >= self._failed_at + CALM_SECONDS:
            self._log.info(
                self._ended_event, reason=self.reason, seconds=round(now - self._began, 1)
            )
            self.reason = None

    def may_try(self) -> bool:
        """Whether it is time to try, after the last failure."""
        return not self._failures or self._monotonic() >= self._retry_at

    def try_now(self) -> None:
        """Forget the back-off: something changed that may help."""
        self._retry_at = 0.0

    @property
    def lasting_seconds(self) -> float:
        """How long nothing but failures has been seen; 0 when the last access worked."""
        return self._monotonic() - self._streak_began if self._failures else 0.0


class DiskPace:
    """Lets a slow disk rest after an access: the event loop has sockets to serve."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rest_until = float("-inf")

    def may(self) -> bool:
        """Whether the disk has rested as long as it was used."""
        return self._monotonic() >= self._rest_until

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure an access to the disk."""
        began = self._monotonic()
        try:
            yield
        finally:
            now = self._monotonic()
            if now - began > _SLOW_SECONDS:
                self._rest_until = now + min(_REST * (now - began), _MAX_REST_SECONDS)


def problem_of(directory: Path, **troubles: DiskTrouble) -> str | None:
    """Say what is wrong with a disk, in words for a person, by what cannot be done; or None."""
    for doing, trouble in troubles.items():
        if trouble.reason is not None:
            return (
                f"spool.directory {directory} cannot be {doing}: {trouble.reason}. While Kafka is "
                "away, records are lost"
            )
    return None
