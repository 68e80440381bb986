"""The leader of this replica: one at a time, each in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Final

import structlog

from connector.control.leader import Leader

LEADER_STOP_SECONDS: Final = 5.0
"""A leader gets so many seconds to finish its transaction; then the next leader fences it."""
SLOTS_FIRST_SECONDS: Final = 5.0
"""So long a leader lets the slots that came with its partition begin to stream."""


class Leadership:
    """Belongs to the event loop.

    Args:
        make: makes a leader, which does not lead yet.
    """

    def __init__(self, make: Callable[[], Leader]) -> None:
        self.leader: Leader | None = None
        """The present one; None where another replica leads."""
        self.last: Leader | None = None
        """The present one, or the one before."""
        self._make = make
        # set when the present leader may begin; it is waited for in its thread
        self._begun = threading.Event()
        # resolved in the loop when its thread has ended
        self._done: asyncio.Future[None] | None = None
        self._log = structlog.get_logger("connector.cluster")

    def start(self) -> None:
        """Lead when `begin` is called, at the latest after `SLOTS_FIRST_SECONDS`.

        Whoever takes over from a dead leader mostly takes over its slots too, and nobody streams
        these. To take over the state of a large market is seconds of work of the same process, and
        held up the slots' sockets and first packets by some three seconds.
        """
        loop = asyncio.get_running_loop()
        leader, begun = self._make(), threading.Event()
        done: asyncio.Future[None] = loop.create_future()

        def ended() -> None:
            if not done.done():
                done.set_result(None)

        def run() -> None:
            try:
                begun.wait(SLOTS_FIRST_SECONDS)
                begun.set()  # `waits` no more, where nobody has let it begin
                leader.run()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended before
                    loop.call_soon_threadsafe(ended)

        # an earlier one that hangs is fenced by this one, as another replica's would be
        self.leader = self.last = leader
        self._begun, self._done = begun, done
        # a daemon: one that hangs in a call of librdkafka does not keep the process from ending
        threading.Thread(target=run, name="leader", daemon=True).start()

    @property
    def waits(self) -> bool:
        """Whether there is a leader that waits for the slots."""
        return self.leader is not None and not self._begun.is_set()

    def begin(self) -> None:
        """Let a leader begin that has waited for the slots."""
        self._begun.set()

    async def stop(self) -> None:
        """End the leadership, after the present transaction."""
        leader, done = self.leader, self._done
        if leader is None or done is None:
            return
        self.leader = self._done = None
        leader.stop()
        self._begun.set()
        finished, _ = await asyncio.wait([done], timeout=LEADER_STOP_SECONDS)
        if not finished:
            self._log.warning(
                "leader_not_stopped",
                seconds=LEADER_STOP_SECONDS,
                consequence="the next leader fences it",
            )
