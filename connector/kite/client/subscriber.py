"""One reader of a `KiteTickerAsync`: its instruments, its channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Self

from connector.errors import CapacityError, ConnectionClosedError
from connector.kite.client.channel import MAX_BATCH, Channel, ChannelStats
from connector.kite.client.channel_handler import DropWatch
from connector.kite.client.symbols import Symbols
from connector.kite.wire.models import FrameMessage, Mode, TickerMessage, TickMessage


class KiteTickerSubscriber:
    """Gets the ticks of its own instruments, and every order update and message.

    Made by `KiteTickerAsync.subscribe`. Iterate over it, or await `next_message`.

    Args:
        watch: of the channel in which its messages wait.
        mode: of instruments for which no other is named.
        claims_changed: told the tokens whose claim changed; may raise CapacityError.
        on_close: told once.
        symbols: the names that it understands.
        raw: it gets whole frames in place of the ticks of its own instruments.
    """

    def __init__(
        self,
        watch: DropWatch,
        mode: Mode,
        claims_changed: Callable[[Iterable[int]], None],
        on_close: Callable[[KiteTickerSubscriber], None],
        symbols: Symbols,
        raw: bool = False,
    ) -> None:
        self.channel: Channel = watch.channel
        self.claims: dict[int, Mode] = {}  # what it asked for; the ticker streams the highest
        self._mode = Mode(mode)
        self._claims_changed = claims_changed
        self._on_close = on_close
        self._symbols = symbols
        self.raw = raw
        self._watch = watch

    def __repr__(self) -> str:
        return f"KiteTickerSubscriber({len(self.claims)} instruments, {self.channel!r})"

    # reading

    async def next_message(self) -> TickerMessage | None:
        """The next message; None once this subscriber or its ticker is closed and all is read."""
        try:
            return await self.channel.get()
        except ConnectionClosedError:
            return None

    async def next_batch(self, max_messages: int = MAX_BATCH) -> list[TickerMessage]:
        """All messages that wait, at least one: waits for the first.

        Empty once this subscriber or its ticker is closed and all is read.

        Args:
            max_messages: more stay for the next call.
        """
        try:
            return await self.channel.get_batch(max_messages)
        except ConnectionClosedError:
            return []

    async def next_frame(self) -> FrameMessage | None:
        """The next binary frame of a subscriber that is `raw`, passing over all else.

        None once this subscriber or its ticker is closed and all is read.
        """
        while (message := await self.next_message()) is not None:
            if isinstance(message, FrameMessage):
                return message
        return None

    async def next_ticks(self) -> TickMessage | None:
        """The next ticks, passing over all else.

        None once this subscriber or its ticker is closed and all is read.
        """
        while (message := await self.next_message()) is not None:
            if isinstance(message, TickMessage):
                return message
        return None

    def __aiter__(self) -> AsyncIterator[TickerMessage]:
        return self

    async def __anext__(self) -> TickerMessage:
        message = await self.next_message()
        if message is None:
            raise StopAsyncIteration
        return message

    @property
    def stats(self) -> ChannelStats:
        """The counts of what its channel holds, delivered and dropped."""
        return self.channel.stats

    # instruments

    def subscribe(self, tokens: Iterable[int | str], mode: Mode | None = None) -> None:
        """Add instruments, in the subscriber's own mode where none is named.

        Args:
            tokens: instrument tokens, or names as "NSE:INFY" where the ticker has `instruments`.
            mode: of all of them; None: the subscriber's own.

        Raises:
            InstrumentNotFoundError: some names are not listed; nothing is changed.
            CapacityError: there was no room for `refused`; all the others are subscribed.
            TypeError, ValueError: something is no instrument token or no mode; nothing is changed.
            ConnectionClosedError: this subscriber or its ticker is closed.
        """
        if self.channel.closed:
            raise ConnectionClosedError("this subscriber is closed")
        self._claim(tokens, self._mode if mode is None else Mode(mode))

    def set_mode(self, tokens: Iterable[int | str], mode: Mode) -> None:
        """Change the mode of instruments of this subscriber.

        Raises:
            KeyError: some are not its own; nothing is changed.
            InstrumentNotFoundError: some names are not listed; nothing is changed.
        """
        wanted = self._symbols.tokens(tokens)
        missing = [token for token in wanted if token not in self.claims]
        if missing:
            raise KeyError(f"not subscribed: {', '.join(map(str, missing))}")
        self._claim(wanted, Mode(mode))

    def unsubscribe(self, tokens: Iterable[int | str] | None = None) -> None:
        """Give up instruments, all of them by default; other subscribers keep theirs.

        Raises:
            InstrumentNotFoundError: some names are not listed; nothing is changed.
        """
        given = list(self.claims) if tokens is None else self._symbols.tokens(tokens)
        gone = [token for token in given if self.claims.pop(token, None) is not None]
        self._claims_changed(gone)

    def get_subscribed(self) -> dict[int, Mode]:
        """Its instruments and the modes it asked for; it may get more, never less."""
        return dict(self.claims)

    def close(self) -> None:
        """Give up everything; what is queued can still be read."""
        if self.channel.closed:
            return
        self.channel.close()
        self.unsubscribe()
        self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # the ticker's side

    def deliver(self, message: TickerMessage) -> None:
        """Queue a message for the subscriber."""
        self._watch.put(message)

    def deliver_ticks(self, message: TickMessage) -> None:
        """Queue those ticks of a message that are of its own instruments."""
        claims = self.claims
        own = [tick for tick in message.ticks if tick.instrument_token in claims]
        if own:
            self._watch.put(TickMessage(own, message.receive_time_us))

    def _claim(self, tokens: Iterable[int | str], mode: Mode) -> None:
        before = dict(self.claims)
        wanted = self._symbols.tokens(tokens)
        self.claims.update(dict.fromkeys(wanted, mode))
        try:
            self._claims_changed(wanted)
        except CapacityError as error:  # the others are subscribed
            for token in error.refused:
                self.claims.pop(token, None)
            raise
        except BaseException:
            self.claims = before
            raise
