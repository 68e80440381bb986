"""One connection with subscribers: `KiteTickerAsync`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Self

from pydantic import SecretStr

from connector.errors import ConnectionClosedError
from connector.kite.callbacks import check_callback
from connector.kite.client.channel import Channel
from connector.kite.client.channel_handler import ConfirmingHandler, DropWatch, OnEvent
from connector.kite.client.outside import Surroundings
from connector.kite.client.subscriber import KiteTickerSubscriber
from connector.kite.client.symbols import Symbols
from connector.kite.config import ChannelPolicy, ConnectionConfig
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import Credentials, StaticCredentials
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.feed.handler import Flow
from connector.kite.feed.opening import ROOT
from connector.kite.feed.stats import ConnectionStats
from connector.kite.web.instrument_list import InstrumentList
from connector.kite.wire.models import (
    ClosingMessage,
    FrameMessage,
    Mode,
    TickerMessage,
    TickMessage,
)
from connector.kite.wire.packets import parse_packets

# nothing more comes, unless one that has given up is opened again
_ENDED = frozenset({ConnectionState.CLOSED, ConnectionState.FAILED})


class KiteTickerAsync:
    """One supervised connection, whose frames go to any number of subscribers.

        async with KiteTickerAsync.connect(api_key, access_token) as ticker:
            subscriber = ticker.subscribe([408065], Mode.FULL)
            async for message in subscriber:
                ...

    Several subscribers may want one instrument in different modes: the highest wins, and it stays
    until the last of them no longer wants it.

    The constructor does no I/O; `connect` is what most users need.

    Args:
        credentials: the api_key and where its token comes from.
        config: see `ConnectionConfig`.
        root: another feed, such as the simulator's.
        raw: each subscriber gets all binary frames as `FrameMessage`, and nothing is parsed,
            unless it asks for ticks.
        channel_size: messages that wait for a subscriber at most.
        channel_policy: what happens when more come.
        on_event: called with each `ConnectionEvent`; a plain function, which must not block.
        instruments: the day's list: names may then stand wherever tokens may.
    """

    _outside = Surroundings()

    def __init__(
        self,
        credentials: Credentials,
        config: ConnectionConfig | None = None,
        *,
        root: str = ROOT,
        raw: bool = False,
        channel_size: int = 10_000,
        channel_policy: ChannelPolicy = ChannelPolicy.DROP_OLDEST,
        on_event: OnEvent | None = None,
        instruments: InstrumentList | None = None,
    ) -> None:
        if on_event is not None:
            check_callback("on_event", on_event)
        self._symbols = Symbols(instruments)
        self._channel_size = channel_size
        self._channel_policy = channel_policy
        self._on_event = on_event
        self._raw = raw
        self._fan_out = _FanOut(on_event)  # what the connection hands frames to
        self._connection = Connection(
            0,
            credentials,
            config or ConnectionConfig(),
            self._fan_out,
            root=root,
            clock=self._outside.clock,
            random=self._outside.random,
            opener=self._outside.opener,
        )

    @classmethod
    def connect(
        cls,
        api_key: str | SecretStr,
        access_token: str | SecretStr,
        config: ConnectionConfig | None = None,
        *,
        root: str = ROOT,
        raw: bool = False,
        channel_size: int = 10_000,
        channel_policy: ChannelPolicy = ChannelPolicy.DROP_OLDEST,
        on_event: OnEvent | None = None,
        instruments: InstrumentList | None = None,
    ) -> Connecting:
        """Open the connection: `await` it, or use it with `async with`.

        Only the first try may raise; afterwards the connection is kept up in the background.

        Args:
            api_key: the app's.
            access_token: the day's.
            config: this and all that follows are as for the class.
            root: as for the class.
            raw: as for the class.
            channel_size: as for the class.
            channel_policy: as for the class.
            on_event: as for the class.
            instruments: as for the class.

        Raises:
            TokenRejectedError: the token is wrong or expired.
            TooManyConnectionsError: no connection is free for this api_key.
            HandshakeError: any other HTTP answer.
            FeedUnreachableError: no answer.
        """
        ticker = cls(
            StaticCredentials(api_key, access_token),
            config,
            root=root,
            raw=raw,
            channel_size=channel_size,
            channel_policy=channel_policy,
            on_event=on_event,
            instruments=instruments,
        )
        return Connecting(ticker)

    def __repr__(self) -> str:
        count = len(self._fan_out.subscribers)
        return f"KiteTickerAsync({self._connection.state.value}, subscribers={count})"

    # life

    async def open(self) -> Self:
        """Connect and wait for the first try; raises as `connect` does."""
        self._connection.start()
        try:
            error = await self._connection.first_outcome()
        except BaseException:  # cancelled: else it would connect on in the background
            await self.close()
            raise
        if error is not None:
            await self.close()
            raise error
        return self

    async def close(self) -> None:
        """Close the connection; subscribers get what is queued, then the end."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        # one that `connect` has opened stays as it is; one that was closed says so
        if self._connection.state in {ConnectionState.IDLE, *_ENDED}:
            await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # use

    def subscribe(
        self,
        tokens: Iterable[int | str] = (),
        mode: Mode = Mode.QUOTE,
        *,
        raw: bool | None = None,
    ) -> KiteTickerSubscriber:
        """A new subscriber of these instruments; it gets order updates and messages too.

        Args:
            tokens: instrument tokens, or names as "NSE:INFY" where it has `instruments`.
            mode: of instruments for which no other is named.
            raw: whether it gets all frames in place of the ticks of its own instruments; None: as
                the ticker. Subscribers of both kinds may stand beside each other.

        Raises:
            InstrumentNotFoundError: some names are not listed; then there is no new subscriber.
            CapacityError: more than a connection carries; then there is no new subscriber.
            ConnectionClosedError: the ticker is closed, or has given up.
        """
        if self._connection.state in _ENDED:
            raise ConnectionClosedError(f"this ticker is {self._connection.state.value}")
        channel = Channel(self._channel_size, self._channel_policy)
        channel.hold_with(self._fan_out.hold, self._fan_out.release)
        watch = DropWatch(0, channel, self._outside.clock, self._on_event)
        subscriber = KiteTickerSubscriber(
            watch,
            mode,
            self._claims_changed,
            self._fan_out.remove,
            self._symbols,
            self._raw if raw is None else raw,
        )
        # before: what it claims counts only once it is among them
        self._fan_out.add(subscriber)
        try:
            subscriber.subscribe(tokens)
        except BaseException:
            subscriber.close()  # what it has claimed by then is given up
            raise
        return subscriber

    subscribe_symbols = subscribe

    def get_subscribed(self) -> dict[int, Mode]:
        """What all subscribers together want, each instrument in the highest mode."""
        return self._connection.desired()

    def ping(self) -> bool:
        """Send a ping now, beside the regular ones; False without an open socket."""
        return self._connection.ping()

    def is_connected(self) -> bool:
        """Whether a socket is open."""
        return self._connection.state is ConnectionState.CONNECTED

    def set_access_token(self, access_token: str | SecretStr) -> None:
        """Replace the token; a connection that waits for one goes on at once.

        Raises:
            TypeError: the token comes from elsewhere, a file for example.
        """
        credentials = self._connection.credentials
        if not isinstance(credentials, StaticCredentials):
            raise TypeError(f"the token cannot be set here: {credentials!r}")
        credentials.set_access_token(access_token)

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._connection.state

    @property
    def stats(self) -> ConnectionStats:
        """The connection's counts; each subscriber has those of its channel."""
        return self._connection.stats

    def _claims_changed(self, tokens: Iterable[int]) -> None:
        """Bring the connection in line with what subscribers claim of these tokens."""
        # subscribers may outlive the ticker, and close themselves later
        if self._connection.state is not ConnectionState.CLOSED:
            self._connection.update({token: self._fan_out.claimed(token) for token in tokens})


class Connecting:
    """A ticker that is about to connect: await it, or enter it."""

    def __init__(self, ticker: KiteTickerAsync) -> None:
        self._ticker = ticker

    def __await__(self) -> Generator[Any, None, KiteTickerAsync]:
        return self._ticker.open().__await__()

    async def __aenter__(self) -> KiteTickerAsync:
        return await self._ticker.open()

    async def __aexit__(self, *_: object) -> None:
        await self._ticker.close()


class _FanOut(ConfirmingHandler):
    """The handler of a ticker's connection: parses once, delivers to each subscriber."""

    def __init__(self, on_event: OnEvent | None) -> None:
        super().__init__()
        # open ones, in the order of coming; replaced whole: a callback may close one while a frame
        # goes to all of them
        self.subscribers: tuple[KiteTickerSubscriber, ...] = ()
        self._on_event = on_event
        self._flow: Flow | None = None  # the connection's; None before it has given it

    def claimed(self, token: int) -> Mode | None:
        """The highest mode that a subscriber wants of a token; None where nobody does."""
        modes = [one.claims[token] for one in self.subscribers if token in one.claims]
        return max(modes, key=lambda mode: mode.rank, default=None)

    def add(self, subscriber: KiteTickerSubscriber) -> None:
        """Deliver to a subscriber too, from now on."""
        self.subscribers = (*self.subscribers, subscriber)

    def remove(self, subscriber: KiteTickerSubscriber) -> None:
        """Forget a subscriber that is closed."""
        self.subscribers = tuple(one for one in self.subscribers if one is not subscriber)
        self.release()  # it may have been the one that held reading

    def hold(self) -> None:
        """Hold reading: a subscriber of policy BLOCK is full."""
        if self._flow is not None:
            self._flow.pause_reading()

    def release(self) -> None:
        """Go on reading, if no other subscriber is full."""
        if self._flow is not None and not any(one.channel.blocked for one in self.subscribers):
            self._flow.resume_reading()

    # Handler

    def flow(self, flow: Flow) -> None:
        """Keep the flow, by which reading is held."""
        self._flow = flow

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        """Parse and deliver a frame, and return which tokens are new."""
        raw = [one for one in self.subscribers if one.raw]
        for subscriber in raw:
            subscriber.deliver(FrameMessage(data, receive_time_us))
        # nothing is parsed for nobody
        if len(raw) < len(self.subscribers):
            ticks, _ = parse_packets(data)
            if ticks:
                message = TickMessage(ticks, receive_time_us)
                for subscriber in self.subscribers:
                    if not subscriber.raw:
                        subscriber.deliver_ticks(message)
        return super().frame(data, receive_time_us)

    def message(self, message: TickerMessage, raw: str) -> None:  # noqa: ARG002
        """Deliver a message to every subscriber."""
        self._deliver(message)

    def event(self, event: ConnectionEvent) -> None:
        """Pass it on; the end of a socket is a message too, and the end of all the streams'."""
        if event.type is EventType.DISCONNECTED:
            self._deliver(ClosingMessage(event.code, event.reason))
        # only these: behind all others the connection opens another socket
        if event.state in _ENDED:
            # with what they claim: one that has given up may be opened again, for other readers
            for subscriber in self.subscribers:
                subscriber.close()
        if self._on_event is not None:
            self._on_event(event)

    def _deliver(self, message: TickerMessage) -> None:
        for subscriber in self.subscribers:
            subscriber.deliver(message)
