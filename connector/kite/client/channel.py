"""The bounded queue between a connection and its reader. What it drops, it counts and says.

Only ticks give way: an order update or an error is dropped only where the channel holds no tick
message that could be dropped instead, since the next tick of an instrument replaces the last, and
nothing replaces an order update.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

from connector.errors import ConnectionClosedError
from connector.kite.config import ChannelPolicy
from connector.kite.wire.models import FrameMessage, TickerMessage, TickMessage

_Message = TypeVar("_Message")

MAX_BATCH: Final = 1000
"""A batch has at most so many messages unless another number is asked for."""


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """Counts of messages since the start; received = delivered + queued + dropped.

    Attributes:
        capacity: how many messages the channel holds.
        queued: how many wait now.
        peak: the most that ever waited.
        received: how many came.
        delivered: how many were read.
        dropped: how many were lost because the channel was full.
        dropped_ticks: how many ticks were in the lost messages; a raw frame counts as one.
        blocked: whether reading of the socket is paused until the reader catches up.
    """

    capacity: int
    queued: int
    peak: int
    received: int
    delivered: int
    dropped: int
    dropped_ticks: int
    blocked: bool


class MessageStream(ABC, Generic[_Message]):
    """What a reader has of one connection, or of all: one message, a batch, or a loop over them."""

    @abstractmethod
    async def get(self) -> _Message:
        """The next message.

        Raises:
            ConnectionClosedError: the stream is closed and empty.
        """

    @abstractmethod
    def get_nowait(self) -> _Message | None:
        """Return the next message; None where none waits."""

    async def get_batch(self, max_messages: int = MAX_BATCH) -> list[_Message]:
        """All messages that wait, at least one: waits for the first.

        Args:
            max_messages: more stay for the next call.

        Raises:
            ConnectionClosedError: the stream is closed and empty.
        """
        batch = [await self.get()]
        while len(batch) < max_messages and (found := self.get_nowait()) is not None:
            batch.append(found)
        return batch

    def __aiter__(self) -> AsyncIterator[_Message]:
        return self

    async def __anext__(self) -> _Message:
        try:
            return await self.get()
        except ConnectionClosedError:
            raise StopAsyncIteration from None


class Channel(MessageStream[TickerMessage]):
    """Messages of one connection, in order, for one reader or several that share them.

    Args:
        capacity: how many messages it holds, at least one.
        policy: what becomes of one more.

    Raises:
        ValueError: the capacity is none.
    """

    def __init__(self, capacity: int, policy: ChannelPolicy = ChannelPolicy.DROP_OLDEST) -> None:
        if capacity < 1:
            raise ValueError("a channel holds at least one message")
        self._capacity = capacity
        self._policy = policy
        self._queue: deque[TickerMessage] = deque()
        # who waits for a message, longest first: one is woken for each that comes
        self._readers: deque[asyncio.Future[None]] = deque()
        self._closed = False  # no more is queued; what is there can still be read
        # of the connection's reading, for BLOCK
        self._pause: Callable[[], None] | None = None
        self._resume: Callable[[], None] | None = None
        self._blocked = False  # reading was paused on account of this channel
        # counts of messages since the start, and of the ticks in those that were lost
        self._peak = 0
        self._received = 0
        self._delivered = 0
        self._dropped = 0
        self._dropped_ticks = 0

    # the connection's side

    def hold_with(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """What a full channel of policy BLOCK calls, and what it calls once there is room."""
        self._pause, self._resume = pause, resume

    def put(self, message: TickerMessage) -> int:
        """Queue a message; returns how many messages were dropped for it (0 or 1)."""
        if self._closed:
            return 0
        self._received += 1
        dropped = 0
        queue = self._queue
        if len(queue) >= self._capacity and self._policy is not ChannelPolicy.BLOCK:
            dropped = 1
            if not self._make_room(message):
                return dropped  # the new one is lost itself
        queue.append(message)
        if len(queue) > self._peak:
            self._peak = len(queue)
        if (
            len(queue) >= self._capacity
            and self._policy is ChannelPolicy.BLOCK
            and self._pause is not None
            and not self._blocked
        ):
            self._blocked = True
            self._pause()
        self._wake()
        return dropped

    def close(self) -> None:
        """End the stream: readers get what is queued, then the end."""
        self._closed = True
        for reader in self._readers:  # all of them, not one for a message
            if not reader.done():
                reader.set_result(None)
        self._readers.clear()
        # nobody need read it empty any more, and the socket has other readers
        self._unblock()

    # the reader's side

    async def get(self) -> TickerMessage:
        """The next message.

        Raises:
            ConnectionClosedError: the channel is closed and empty.
        """
        while not self._queue:  # again: another reader may have been quicker
            if self._closed:
                raise ConnectionClosedError("the channel is closed")
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            except BaseException:
                # cancelled after it was woken: the wake-up belongs to the next one
                if reader.done() and not reader.cancelled():
                    self._wake()
                elif reader in self._readers:
                    self._readers.remove(reader)
                raise
        return self._take()

    def get_nowait(self) -> TickerMessage | None:
        """Return the next message; None where none waits."""
        return self._take() if self._queue else None

    def wake_with(self, reader: asyncio.Future[None]) -> None:
        """Set a future's result when a message comes or the channel closes."""
        # at once where something waits already: nobody would wake it for that
        if (self._queue or self._closed) and not reader.done():
            reader.set_result(None)
        else:
            self._readers.append(reader)

    def forget(self, reader: asyncio.Future[None]) -> None:
        """Take back a future of `wake_with`; harmless where it has its result."""
        if reader in self._readers:
            self._readers.remove(reader)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def capacity(self) -> int:
        """How many messages the channel holds."""
        return self._capacity

    @property
    def closed(self) -> bool:
        """Whether no more messages will come; some may still be queued."""
        return self._closed

    @property
    def blocked(self) -> bool:
        """Whether reading of the socket is paused until the reader catches up, as in `stats`."""
        return self._blocked

    @property
    def stats(self) -> ChannelStats:
        """The counts as they are now."""
        return ChannelStats(
            capacity=self._capacity,
            queued=len(self._queue),
            peak=self._peak,
            received=self._received,
            delivered=self._delivered,
            dropped=self._dropped,
            dropped_ticks=self._dropped_ticks,
            blocked=self._blocked,
        )

    def __repr__(self) -> str:
        return f"Channel({len(self._queue)}/{self._capacity}, {self._policy}, {self._dropped} lost)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> TickerMessage:
        message = self._queue.popleft()
        self._delivered += 1
        # at half, not at once: each pause and resume costs two system calls
        if self._blocked and len(self._queue) <= self._capacity // 2:
            self._unblock()
        return message

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            if self._resume is not None:
                self._resume()

    def _make_room(self, message: TickerMessage) -> bool:
        """Drop one message; False where that is the new one."""
        queue = self._queue
        newest = self._policy is ChannelPolicy.DROP_NEWEST
        self._dropped += 1
        if newest and _ticks(message):
            self._dropped_ticks += _ticks(message)
            return False
        order = range(len(queue) - 1, -1, -1) if newest else range(len(queue))
        # almost always the first one looked at
        victim = next((index for index in order if _ticks(queue[index])), None)
        if victim is None:
            # orders and errors alone: ticks give way, else the policy decides
            if newest or _ticks(message):
                self._dropped_ticks += _ticks(message)
                return False
            victim = 0
        self._dropped_ticks += _ticks(queue[victim])
        del queue[victim]
        return True

    def _wake(self) -> None:
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return


def _ticks(message: TickerMessage) -> int:
    """Ticks that are lost with a message; 0 for one that is not about ticks."""
    if isinstance(message, TickMessage):
        return len(message.ticks) or 1
    return 1 if isinstance(message, FrameMessage) else 0
