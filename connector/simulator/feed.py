"""What Kite does with open sockets: takes requests, sends packets, heartbeats and postbacks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from connector.simulator.config import SimulatorConfig
from connector.simulator.market import MODES, Market
from connector.simulator.ring import Ring
from connector.simulator.sockets import SimulatedSocket
from connector.simulator.wire import MAX_UINT32, error_text, split_frame

_REQUEST_LOG = 10_000  # requests remembered, the latest, for tests


@dataclass(slots=True, frozen=True)
class SeenRequest:
    """A text frame that a socket sent; `action` is None where it was ignored."""

    socket: int
    api_key: str
    text: str
    action: str | None
    value: Any


class Source(Protocol):
    """The source of a snapshot: the market, or what a replay has played."""

    def packet(self, token: int, mode: str) -> bytes | None:
        """Return length prefix and packet in a mode; None where there is none."""


class Feed:
    """The sockets and the market between them; no task and no clock of its own."""

    def __init__(self, config: SimulatorConfig, market: Market, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self.market = market
        self.source: Source = market
        self.sockets: dict[int, SimulatedSocket] = {}
        self.on_attach: Callable[[SimulatedSocket], None] | None = None
        """Told of each socket before anything is sent on it."""
        self.requests: deque[SeenRequest] = deque(maxlen=_REQUEST_LOG)
        self.total_requests = 0
        self.order_updates = 0
        """Order updates posted, each counted once."""
        self.order_copies = 0
        """The same, each counted as often as it was sent."""
        self._closed_packets = 0  # of sockets that have closed; the live ones count their own
        self._closed_frames = 0
        # each instrument that somebody subscribes to, with who does and in which mode: one step of
        # the market needs no search
        self._ring = Ring()

    @property
    def total_packets(self) -> int:
        """How many packets were sent since the start, on all sockets."""
        return self._closed_packets + sum(socket.packets for socket in self.sockets.values())

    @property
    def total_frames(self) -> int:
        """How many data frames were sent since the start, on all sockets."""
        return self._closed_frames + sum(socket.frames for socket in self.sockets.values())

    def attach(self, socket: SimulatedSocket) -> None:
        """Add a socket whose handshake has succeeded."""
        self.sockets[socket.number] = socket
        if self.on_attach is not None:
            self.on_attach(socket)
        if self._config.connect_messages:
            count = len(self.market.universe)
            meta = {"count": count, "etag": f'W/"simulated-{count}"'}
            socket.send_text(_json({"type": "instruments_meta", "data": meta}))
            socket.send_text(_json({"type": "app_code"}))

    def detach(self, socket: SimulatedSocket) -> None:
        """Remove a socket that has closed."""
        if self.sockets.pop(socket.number, None) is not None:
            self._closed_packets += socket.packets
            self._closed_frames += socket.frames
            for token in socket.subscriptions:
                self._ring.remove(token, socket)

    def chosen(self, numbers: Iterable[int] | None) -> list[SimulatedSocket]:
        """Return the open sockets of these numbers; None means all."""
        if numbers is None:
            return list(self.sockets.values())
        return [self.sockets[number] for number in numbers if number in self.sockets]

    def request(self, socket: SimulatedSocket, text: str) -> None:
        """Apply a request of a client; what is not one is ignored, as Kite does."""
        socket.requests += 1
        self.total_requests += 1
        try:
            message = json.loads(text)
            action, value = message["a"], message["v"]
        except (
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
        ):  # of brackets without end
            action = value = None
        handled = False
        if socket.deaf:
            action = None  # counted and logged all the same: tests see that it was asked
        if action == "subscribe" and (tokens := _tokens(value)) is not None:
            handled = True
            self._subscribe(socket, tokens)
        elif action == "unsubscribe" and (tokens := _tokens(value)) is not None:
            handled = True
            for token in tokens:
                self._unsubscribe(socket, token)
        elif action == "mode" and isinstance(value, list) and len(value) == 2:
            tokens = _tokens(value[1])
            if value[0] in MODES and tokens is not None:
                handled = True
                self._set_mode(socket, value[0], tokens)
        self.requests.append(
            SeenRequest(socket.number, socket.api_key, text, action if handled else None, value)
        )

    def _subscribe(self, socket: SimulatedSocket, tokens: list[int]) -> None:
        new = {token for token in tokens if token not in socket.subscriptions}
        limit = self._config.max_instruments_per_socket
        if len(socket.subscriptions) + len(new) > limit:
            # what is there stays, all that is new fails, the rest of the request is done
            socket.send_text(error_text(f"Can't subscribe to more than {limit} instruments."))
            tokens = [token for token in tokens if token not in new]
        if socket.half_served:
            tokens = [token for token in tokens if served(token)]
        for token in tokens:
            # a new token starts in quote; one that is there keeps its mode
            if token not in socket.subscriptions:
                self._put(socket, token, "quote")
        # the cached snapshot: always a quote packet, even where full was asked for before
        self._send_cached(socket, tokens, "quote")

    def serve_half(self, socket: SimulatedSocket) -> None:
        """Serve only every second instrument on a socket from now on."""
        socket.half_served = True
        for token in [token for token in socket.subscriptions if not served(token)]:
            self._unsubscribe(socket, token)

    def _set_mode(self, socket: SimulatedSocket, mode: str, tokens: list[int]) -> None:
        # a mode of what is not subscribed is ignored, as all that is no request
        known = [token for token in tokens if token in socket.subscriptions]
        for token in known:
            self._put(socket, token, mode)
        if not self.market.open:
            # no update will come to show the new mode: the cached packet does
            self._send_cached(socket, known, mode)

    def _put(self, socket: SimulatedSocket, token: int, mode: str) -> None:
        socket.subscriptions[token] = mode
        if (quote := self.market.quote(token)) is not None:
            self._ring.put(quote, socket, mode)

    def _unsubscribe(self, socket: SimulatedSocket, token: int) -> None:
        if socket.subscriptions.pop(token, None) is not None:
            self._ring.remove(token, socket)

    def _send_cached(self, socket: SimulatedSocket, tokens: list[int], mode: str) -> None:
        # what is pending is older: it goes out before the snapshot
        socket.flush(self._config.packets_per_frame)
        for token in tokens:
            if (packet := self.source.packet(token, mode)) is not None:
                socket.pending.append(packet)
        socket.flush(self._config.packets_per_frame)

    @property
    def streaming(self) -> int:
        """Distinct instruments that at least one socket subscribes to and the market has."""
        return len(self._ring)

    def emit(self, updates: int) -> list[int]:
        """Move the next instruments of the ring and send their packets.

        Returns:
            the instrument_tokens moved, in order; empty where nothing is subscribed or the market
            is shut.
        """
        if not self.streaming or not self.market.open:
            return []
        now = int(self._clock())
        advance = self.market.advance
        moved = []
        for quote, watchers in self._ring.turns(updates):
            advance(quote, now)
            moved.append(quote.token)
            # packets wait for the end of the step, so that frames carry several, as Kite's do
            for socket, mode in watchers.items():
                socket.pending.append(quote.packet(mode))
        per_frame = self._config.packets_per_frame
        for socket in self.sockets.values():
            socket.flush(per_frame)
        return moved

    def trade(self, token: int, price: float, quantity: int) -> int:
        """Trade an instrument at a price in rupees; returns how many sockets its packet went to.

        Raises:
            ValueError: the market has no such instrument, or it cannot have such a price.
        """
        quote = self.market.quote(token)
        if quote is None:
            raise ValueError(f"the market has no instrument {token}")
        self.market.trade(quote, price, quantity, int(self._clock()))
        watchers = [socket for socket in self.sockets.values() if token in socket.subscriptions]
        for socket in watchers:
            socket.pending.append(quote.packet(socket.subscriptions[token]))
            socket.flush(self._config.packets_per_frame)
        return len(watchers)

    def heartbeat(self, numbers: Iterable[int] | None = None) -> None:
        """Send the 1-byte frame on every socket, or on those named."""
        for socket in self.chosen(numbers):
            socket.heartbeat()

    def send_frame(self, payload: bytes, numbers: Iterable[int] | None = None) -> int:
        """Any bytes as a binary frame; counts the whole packets in it. Returns sockets reached."""
        packets = len(split_frame(payload))
        return sum(socket.send_binary(payload, packets) for socket in self.chosen(numbers))

    def send_text(self, message: str | dict[str, Any], numbers: Iterable[int] | None = None) -> int:
        """A text frame: a string as it is, anything else as JSON. Returns sockets reached."""
        text = message if isinstance(message, str) else _json(message)
        return sum(socket.send_text(text) for socket in self.chosen(numbers))

    def post_order(self, user_id: str, order: Mapping[str, Any]) -> int:
        """An order update to every socket of the user, none is cached. Returns sockets reached."""
        text = _json({"type": "order", "id": "", "data": order})
        reached = sum(
            socket.send_text(text) for socket in self.sockets.values() if socket.user_id == user_id
        )
        self.order_updates += 1
        self.order_copies += reached
        return reached


def served(token: int) -> bool:
    """Whether a half-served socket brings this instrument."""
    return (token >> 8) % 2 == 0


def _tokens(value: object) -> list[int] | None:
    """The tokens of a flat list of integers; None for anything else, which Kite ignores."""
    if not isinstance(value, list):
        return None
    for token in value:
        # not isinstance: true is no token
        if type(token) is not int or not 0 <= token <= MAX_UINT32:
            return None
    return value


def _json(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))
