"""Ends the pause of whoever polls clients, as soon as there is something to poll.

librdkafka's own threads write a byte into a pipe; the event loop reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Final

_DRAINED_BYTES: Final = 4096


class Wake:
    """A pipe and an event; `set` is for the event loop's own thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()  # set: there is something to poll
        self._read = self._write = -1  # the pipe's descriptors; -1: none

    def __del__(self) -> None:
        self.close()

    @property
    def descriptor(self) -> int:
        """Where clients write to, each to a duplicate of its own; -1 before `open`."""
        return self._write

    def open(self) -> None:
        """Make the pipe; without one (no descriptors left) pauses just last their time."""
        with contextlib.suppress(OSError):
            self._read, self._write = os.pipe()
            # librdkafka's threads must not wait where the pipe is full: one byte in it is enough
            os.set_blocking(self._read, False)
            os.set_blocking(self._write, False)

    def close(self) -> None:
        """Give the pipe up. Whoever still has a duplicate writes to nobody."""
        for descriptor in {self._read, self._write} - {-1}:
            os.close(descriptor)
        self._read = self._write = -1

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Read the pipe on the running loop meanwhile."""
        if self._read < 0:
            yield
            return
        loop, descriptor = asyncio.get_running_loop(), self._read
        loop.add_reader(descriptor, self._drain)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    def _drain(self) -> None:
        # how many bytes there are means nothing; what is left calls again
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, _DRAINED_BYTES)
        self._event.set()

    def set(self) -> None:
        """End the pause, or the next one at once."""
        self._event.set()

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until there is something to poll."""
        # not `wait_for`: Python 3.11's forgets a cancellation that comes together with the event
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        # only now: what was set during the pause has ended it, and is polled next
        self._event.clear()
