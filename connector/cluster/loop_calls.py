"""What a thread has done in the event loop, in the order in which it asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import structlog

CLOSE_SECONDS: Final = 10.0
"""A partition is held for at most so long until its socket is closed."""

_T = TypeVar("_T")


class LoopCalls:
    """Belongs to one thread, which is not the loop's. A loop that has ended hears nothing.

    Args:
        loop: where it is done.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._log = structlog.get_logger("connector.cluster")

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Let the loop call a function; returns at once."""
        try:
            # one turn later, as the first step of a coroutine is: else a loop that was held up
            # would hear that a slot is assigned before it closes what had been revoked
            self._loop.call_soon_threadsafe(self._loop.call_soon, function, *arguments)
        except RuntimeError:
            self._log.debug("event_loop_ended")

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T] | None:
        """Let the loop run a coroutine; returns at once. None where the loop has ended."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            return None

    def wait(self, coroutine: Coroutine[Any, Any, _T], *, closes: bool = False) -> _T | None:
        """Let the loop run a coroutine, and wait for it for at most `CLOSE_SECONDS`.

        Args:
            coroutine: what is to be done; it fails into the log.
            closes: it closes slots, and goes on although nobody waits any more.

        Returns:
            What it returned; None where it did not.
        """
        future = self.begin(coroutine)
        if future is None:
            return None
        try:
            return future.result(CLOSE_SECONDS)
        except (TimeoutError, FutureCancelled):
            self._log.error("slot_close_timed_out", seconds=CLOSE_SECONDS)
            if not closes:
                future.cancel()
        except Exception:  # noqa: BLE001 - logged; whatever it was, the partition is given up
            self._log.exception("slot_close_failed")
        return None
