"""All connections of a manager as one stream, each message with its account and channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from connector.errors import ConnectionClosedError
from connector.kite.client.channel import Channel, MessageStream
from connector.kite.client.stats import ChannelId
from connector.kite.wire.models import TickerMessage


class TaggedMessage(NamedTuple):
    """A message, and where it came from.

    Attributes:
        account: the name of the credentials.
        channel_id: the connection.
        message: as its channel has it.
    """

    account: str
    channel_id: ChannelId
    message: TickerMessage


class MergedChannel(MessageStream[TaggedMessage]):
    """The channels of all connections, read in turns; accounts that are added later count too.

    Nothing is queued a second time: it takes messages from the channels, so that their bounds,
    policies and counts stay as they are, and a channel should have no other reader beside it.

    Args:
        sources: the account, id and channel of each connection, asked for at each turn.
    """

    def __init__(self, sources: Callable[[], Sequence[tuple[str, ChannelId, Channel]]]) -> None:
        self._sources = sources  # asked each time: accounts may be added
        self._next = 0  # whose turn it is: a channel in a flood must not starve the others
        self._waiting: set[asyncio.Future[None]] = set()  # of readers that have found nothing

    def get_nowait(self) -> TaggedMessage | None:
        """Return the next message; None where none waits."""
        sources = self._sources()
        for turn in range(len(sources)):
            number = (self._next + turn) % len(sources)
            account, channel_id, channel = sources[number]
            message = channel.get_nowait()
            if message is not None:
                self._next = number + 1
                return TaggedMessage(account, channel_id, message)
        return None

    async def get(self) -> TaggedMessage:
        """The next message.

        Raises:
            ConnectionClosedError: all channels are closed and empty.
        """
        while (found := self.get_nowait()) is None:
            # one that is closed, and empty, would wake at once, for ever
            channels = [channel for *_, channel in self._sources() if not channel.closed]
            if not channels:
                raise ConnectionClosedError("the channels are closed")
            reader = asyncio.get_running_loop().create_future()
            self._waiting.add(reader)
            try:
                for channel in channels:
                    channel.wake_with(reader)
                await reader
            except BaseException:
                # cancelled after it was woken: the message is for another reader
                if reader.done() and not reader.cancelled():
                    self.wake()
                raise
            finally:
                self._waiting.discard(reader)
                # of the others, or each would wake a future that nobody waits for
                for channel in channels:
                    channel.forget(reader)
        return found

    def wake(self) -> None:
        """Have all readers look again, as where there are more channels than before."""
        for reader in self._waiting:
            if not reader.done():
                reader.set_result(None)
