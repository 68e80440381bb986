"""Waits that may end early: for some seconds, for something that changes, for an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from connector.kite.clock import Clock


async def within(seconds: float, awaited: Awaitable[object]) -> bool:
    """Wait for something, but no longer than for so many seconds; returns whether it came."""
    try:
        await asyncio.wait_for(awaited, seconds)
    except TimeoutError:
        return False
    return True


async def cancelled(*tasks: asyncio.Future[Any]) -> list[Any]:
    """Cancel tasks and wait until they are over; returns what each came to, be it an exception."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


class Wait:
    """What one task waits for; any other may `end` it. One wait at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # resolved by the time or by `end`; of the last wait where none is under way
        self._wake: asyncio.Future[None] | None = None

    def end(self) -> None:
        """End the wait that is under way; harmless where there is none."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def for_seconds(self, seconds: float) -> None:
        """Wait for so long, or until `end`."""
        with self._begun(seconds) as wake:
            await wake

    async def for_change(
        self, changed: Awaitable[None], seconds: float, failed: Callable[[Exception], None]
    ) -> None:
        """Wait for a change, but no longer than for so many seconds, or until `end`.

        Args:
            changed: ends the wait; cancelled where something else has ended it.
            seconds: the longest wait.
            failed: told at once why `changed` has failed; the wait then lasts its time.
        """
        with self._begun(seconds) as wake:
            watching = asyncio.ensure_future(changed)
            try:
                await asyncio.wait([watching, wake], return_when=asyncio.FIRST_COMPLETED)
                if watching.done() and not watching.cancelled():
                    failure = watching.exception()
                    if isinstance(failure, Exception):
                        failed(failure)
                        # not again at once: what fails without waiting would spin
                        await wake
            finally:
                watching.cancel()
                # until it is over: it may hold files, and may not outlive its connection
                await asyncio.wait([watching])

    @contextlib.contextmanager
    def _begun(self, seconds: float) -> Iterator[asyncio.Future[None]]:
        wake = self._wake = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, self.end)
        try:
            yield wake
        finally:
            timer.cancel()
