"""A feed without a network, on a clock of the test's: each frame, loss and second is its own.

Nothing happens by itself, so what a program does when is seen exactly. Whether it gets on with a
feed that answers is another question: `SimulatedFeed` is for that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import SecretStr

from connector.kite.client.manager import KiteTickerManager
from connector.kite.client.outside import Surroundings, made_with
from connector.kite.client.ticker import KiteTickerAsync
from connector.kite.config import MAX_SYMBOLS_PER_CONNECTION, ConnectionConfig, KiteManagerConfig
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import Credentials, StaticCredentials
from connector.kite.feed.events import ConnectionEvent
from connector.kite.feed.handler import Handler
from connector.kite.feed.socket import SocketListener
from connector.kite.web.instrument_list import InstrumentList
from connector.kite.wire.models import Mode, TickerMessage
from connector.simulator.wire import (
    encode_frame,
    full_packet,
    ltp_packet,
    quote_packet,
    split_frame,
)
from connector.testing.clock import FakeClock, settle

ROOT = "ws://feed"
# Kite's lengths of packets, by which alone a mode is known
_MODES = {8: Mode.LTP, 28: Mode.QUOTE, 32: Mode.FULL, 44: Mode.QUOTE, 184: Mode.FULL}


def packet(token: int, mode: Mode, last_price: int = 157315) -> bytes:
    """Return a packet of a tradable instrument in a mode; prices are the wire's integers."""
    if mode is Mode.LTP:
        return ltp_packet(token, last_price)
    quote = quote_packet(token, last_price)
    return quote if mode is Mode.QUOTE else full_packet(quote)


class FakeSocket:
    """One open socket: what was sent on it, and calls that bring what a feed would send."""

    def __init__(self, listener: SocketListener) -> None:
        self.listener = listener
        self.requests: list[tuple[str, Any]] = []
        """(action, value) of each request, in order."""
        self.subscriptions: dict[int, Mode] = {}
        """What the feed holds after the requests sent: token to mode."""
        self.pings = self.pauses = self.resumes = 0
        self.paused = True
        """Reading is held; a connection opens its sockets so, and lets go of them."""
        self.closed = self.aborted = False
        self.may_close = asyncio.Event()
        """While it is not set, `close` waits for the feed's answer."""
        self.may_close.set()

    # what a connection calls

    def send(self, text: str) -> None:
        """Take a request and do what Kite does with it."""
        request = json.loads(text)
        action, value = request["a"], request["v"]
        self.requests.append((action, value))
        if action == "subscribe":
            # a new token starts in quote; one that is subscribed keeps its mode
            for token in value:
                self.subscriptions.setdefault(token, Mode.QUOTE)
            if len(self.subscriptions) > MAX_SYMBOLS_PER_CONNECTION:
                raise AssertionError("more instruments than a socket may have")
        elif action == "unsubscribe":
            for token in value:
                self.subscriptions.pop(token, None)
        elif action == "mode":
            mode, tokens = value
            # as Kite does: a mode of what is not subscribed is ignored
            self.subscriptions.update(
                dict.fromkeys((t for t in tokens if t in self.subscriptions), Mode(mode))
            )

    def ping(self) -> None:
        """Count a ping; no pong comes by itself."""
        self.pings += 1

    def pause(self) -> None:
        """Note that reading is held."""
        self.paused = True
        self.pauses += 1

    def resume(self) -> None:
        """Note that reading goes on."""
        self.paused = False
        self.resumes += 1

    async def close(self) -> None:
        """Close in order, as soon as `may_close` is set."""
        if not self.closed:
            self.closed = True
            self.listener.socket_lost(1000, "")
        await self.may_close.wait()

    def abort(self) -> None:
        """Note that the connection was cut."""
        self.aborted = True

    # what a test calls

    def deliver(self, *packets: bytes) -> None:
        """Bring a frame of these packets."""
        self.listener.binary_received(encode_frame(packets))

    def heartbeat(self) -> None:
        """Bring the frame of one byte."""
        self.listener.binary_received(b"\0")

    def text(self, message: object) -> None:
        """Bring a text frame: a string as it is, all else as JSON."""
        self.listener.text_received(message if isinstance(message, str) else json.dumps(message))

    def confirm(self) -> None:
        """Bring a packet of each subscription, in its mode."""
        self.deliver(*(packet(token, mode) for token, mode in self.subscriptions.items()))

    def drop(self, code: int | None = None, reason: str = "closed without a word") -> None:
        """Lose the socket; without a code there was no close frame."""
        self.listener.socket_lost(code, reason)


class FakeFeed:
    """Opens a `FakeSocket` for each connection that is made over it; all are in `sockets`.

        feed = FakeFeed(TokenRejectedError(403))  # what the first try comes to
        manager = feed.manager(max_connections=1)

    Args:
        answers: errors to raise, one a try; None, and every try behind the last, opens a socket.
        clock: the time of the connections.
        random: what their back-off draws, 0 to 1.
    """

    def __init__(
        self,
        *answers: BaseException | None,
        clock: FakeClock | None = None,
        random: float = 0.5,
    ) -> None:
        self.answers = list(answers)
        self.clock = clock or FakeClock()
        self.random = random
        self.sockets: list[FakeSocket] = []
        self.tries: list[tuple[str, str]] = []
        """(api_key, access_token) of each try, in order."""
        self.never = False
        """While it is set, a try gets no answer at all."""
        self.events: list[ConnectionEvent] = []
        """What tickers and managers made here report, in order."""
        self.handler = RecordingHandler()
        """What connections made here hand their frames and events to."""

    async def __call__(
        self,
        root: str,
        api_key: SecretStr,
        access_token: SecretStr,
        listener: SocketListener,
        timeout_seconds: float,
    ) -> FakeSocket:
        """Open a socket, or raise the next answer: what a connection's `opener` does."""
        self.tries.append((api_key.get_secret_value(), access_token.get_secret_value()))
        if self.never:
            await asyncio.get_running_loop().create_future()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.sockets.append(FakeSocket(listener))
        return self.sockets[-1]

    @property
    def socket(self) -> FakeSocket:
        """The socket that was opened last."""
        return self.sockets[-1]

    @property
    def subscriptions(self) -> list[dict[int, Mode]]:
        """Token to mode of each socket, in the order in which they were opened."""
        return [socket.subscriptions for socket in self.sockets]

    def ticker(self, config: ConnectionConfig | None = None, **options: Any) -> KiteTickerAsync:
        """Return a ticker over this feed, not opened yet; `options` are its constructor's."""
        options = {"on_event": self.events.append, "root": ROOT, **options}
        return made_with(self._outside(), KiteTickerAsync, _credentials(), config, **options)

    def manager(
        self,
        *,
        accounts: Sequence[Credentials] = (),
        handler_factory: Any = None,
        instruments: InstrumentList | None = None,
        **config: Any,
    ) -> KiteTickerManager:
        """Return a manager over this feed, not started yet.

        Args:
            instruments: as of `KiteTickerManager`.
            accounts: those beside the first.
            handler_factory: as of `KiteTickerManager`.
            config: fields of `KiteManagerConfig`.
        """
        return made_with(
            self._outside(),
            KiteTickerManager,
            "SECRET-K",
            "SECRET-T",
            KiteManagerConfig(**config),
            accounts=accounts,
            handler_factory=handler_factory,
            on_event=self.events.append,
            root=ROOT,
            instruments=instruments,
        )

    def connection(
        self,
        handler: Handler | None = None,
        credentials: Credentials | None = None,
        slot: int = 0,
        **config: Any,
    ) -> Connection:
        """Return a connection over this feed, not started yet; `config` is `ConnectionConfig`'s."""
        outside = self._outside()
        return Connection(
            slot,
            credentials or _credentials(),
            ConnectionConfig(**config),
            handler or self.handler,
            root=ROOT,
            clock=outside.clock,
            random=outside.random,
            opener=outside.opener,
        )

    async def start(self, subject: Connection | KiteTickerManager) -> None:
        """Start what was made here, and let it come as far as it does without time passing."""
        if isinstance(subject, Connection):
            subject.start()
        else:
            await subject.start()
        await settle()

    async def open(self, connection: Connection) -> FakeSocket:
        """Start a connection and return the socket that opened last."""
        await self.start(connection)
        return self.socket

    async def advance_alive(self, seconds: float) -> None:
        """Let time pass with a heartbeat each second on the last socket."""
        for _ in range(int(seconds)):
            self.socket.heartbeat()
            await self.clock.advance(1)

    def _outside(self) -> Surroundings:
        return Surroundings(self.clock, lambda: self.random, self)


class RecordingHandler:
    """A handler that keeps what it is given, and confirms packets by their length."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        """(name, arguments …) of each call, in order."""
        self.events: list[ConnectionEvent] = []
        self.frames: list[tuple[bytes, int]] = []
        """(frame, receive time in UTC microseconds) of each frame."""
        self.messages: list[tuple[TickerMessage, str]] = []
        self.fail_in: set[str] = set()
        """Names of the calls that raise a RuntimeError."""
        self._modes: dict[int, Mode] = {}

    def opened(self, session_id: int) -> None:
        """Note that a socket is open."""
        self._modes.clear()
        self._call("opened", session_id)

    def expect(self, tokens: Iterable[int]) -> None:
        """Note tokens whose next packet is a snapshot."""
        tokens = list(tokens)
        for token in tokens:
            self._modes.pop(token, None)
        self._call("expect", tokens)

    def forget(self, tokens: Iterable[int]) -> None:
        """Note tokens that are no longer wanted."""
        self._call("forget", list(tokens))

    def frame(self, data: bytes, receive_time_us: int) -> list[tuple[int, Mode]]:
        """Keep a frame; returns the tokens whose mode is new."""
        self.frames.append((data, receive_time_us))
        self._call("frame")
        changed = []
        for each in split_frame(data):
            token, mode = int.from_bytes(each[:4]), _MODES[len(each)]
            if self._modes.get(token) is not mode:
                self._modes[token] = mode
                changed.append((token, mode))
        return changed

    def message(self, message: TickerMessage, raw: str) -> None:
        """Keep a text frame, decoded and as it came."""
        self.messages.append((message, raw))
        self._call("message")

    def event(self, event: ConnectionEvent) -> None:
        """Keep an event of the connection."""
        self.events.append(event)
        self._call("event")

    @property
    def event_types(self) -> list[str]:
        """The types of the events, in order."""
        return [event.type.value for event in self.events]

    def names(self) -> list[str]:
        """Return the names of the calls, in order."""
        return [call[0] for call in self.calls]

    def _call(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in self.fail_in:
            raise RuntimeError(f"{name} fails")


def _credentials() -> StaticCredentials:
    return StaticCredentials("SECRET-K", "SECRET-T", "main")
