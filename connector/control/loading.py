"""The list of instruments while it is loaded because commands ask for it.

One load answers all commands that wait, and no other command waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import structlog

from connector.control.bounds import ERROR_CHARACTERS, INTERNAL_ERROR, excerpt
from connector.errors import ConnectorError
from connector.kite.clock import SYSTEM_CLOCK, Clock

PAUSE_SECONDS: Final = 10.0
"""Loads begin at least so far apart: commands that come sooner wait for the next one."""


class Loading:
    """Belongs to the leader's thread, and never blocks it.

    Args:
        load: begins to load the list. True: accept one that would be held back. None: there is
            none to load.
        clock: for its seconds.
    """

    def __init__(
        self,
        load: Callable[[bool], Future[None]] | None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._load = load
        self._clock = clock
        # the load under way, or its outcome until `failure` is asked for; the event loop's thread
        # ends it
        self._running: Future[None] | None = None
        # of the load under way, or the last one: whether it accepts a list that would be held back
        self._accepts = False
        # when the last load of each kind began, monotonic seconds: an operator who accepts a list
        # that was just held back does not wait for `PAUSE_SECONDS`
        self._began_seconds: dict[bool, float] = {}
        self._log = structlog.get_logger("connector.control")

    @property
    def possible(self) -> bool:
        """Whether there is a list to load."""
        return self._load is not None

    @property
    def running(self) -> bool:
        """Whether a load is under way, or has ended and `ended` was not asked yet."""
        return self._running is not None

    @property
    def accepts(self) -> bool:
        """Whether the load that is under way, or was the last one, accepts any list."""
        return self._accepts

    def want(self, *, accepts: bool) -> None:
        """Begin a load, unless one is under way or the last one of its kind began only now."""
        now = self._clock.monotonic()
        began = self._began_seconds.get(accepts)
        too_soon = began is not None and now < began + PAUSE_SECONDS
        if self._load is None or self._running is not None or too_soon:
            return
        self._began_seconds[accepts] = now
        self._accepts = accepts
        self._running = self._load(accepts)

    def ended(self) -> bool:
        """Whether a load has ended; then ask for `failure` once."""
        return self._running is not None and self._running.done()

    def failure(self) -> str | None:
        """Return why the load that has ended failed; None where it did not."""
        assert self._running is not None  # noqa: S101 - `ended` was asked
        running, self._running = self._running, None
        try:
            running.result(0)
        except (ConnectorError, OSError) as error:
            return excerpt(str(error) or repr(error), ERROR_CHARACTERS)
        except Exception:  # noqa: BLE001 - logged; the commands that wait are answered all the same
            self._log.exception("instrument_list_load_failed")
            return INTERNAL_ERROR
        return None

    def close(self) -> None:
        """Forget a load that is under way."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
