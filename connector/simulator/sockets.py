"""One open socket: its transport with a tap on it, what it asked for, what it was sent.

Data frames are built here and written to the transport at once, past the queueing of
`Connection.send`: unfragmented server frames need none of it, a step of the market is then done
when it returns, and a frame costs a few microseconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from connector.simulator.wire import BINARY, HEARTBEAT, TEXT, websocket_frame


class TappedTransport:
    """Stands between a WebSocket and TCP: lets through, holds back, or drops what is written.

    Whatever concerns writing is here; the rest is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: deque[bytes] = deque()  # written by the server, and not to TCP yet
        self._held_bytes = 0
        self._chunk_bytes = 0  # of a drip; 0: all goes through
        self._delay_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None  # of the next drip
        self.silent = False
        """Drop everything: to the peer the server is dead, though TCP is up."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether the transport is closed, or about to be."""
        return self._transport.is_closing()

    @property
    def slow(self) -> bool:
        """Whether bytes trickle, or some are still held from when they did."""
        return self._chunk_bytes > 0 or bool(self._held)

    def trickle(self, chunk_bytes: int, delay_seconds: float) -> None:
        """Write `chunk_bytes` each `delay_seconds` from now on."""
        self._chunk_bytes = chunk_bytes
        self._delay_seconds = delay_seconds

    def flow(self) -> None:
        """End `trickle`: what is held goes out at once."""
        self._chunk_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._held:
            self._transport.write(self._held.popleft())
        self._held_bytes = 0

    def _drip(self) -> None:
        self._timer = None
        if self._transport.is_closing():
            self._held.clear()
            self._held_bytes = 0
            return
        room = self._chunk_bytes
        while self._held and room > 0:
            first = self._held.popleft()
            if len(first) > room:
                self._held.appendleft(first[room:])  # frames are cut anywhere, as TCP may
                first = first[:room]
            self._transport.write(first)
            self._held_bytes -= len(first)
            room -= len(first)
        if self._held:
            self._timer = self._loop.call_later(self._delay_seconds, self._drip)

    def write(self, data: bytes) -> None:
        """Write a whole WebSocket frame, or part of the handshake."""
        if self.silent:
            return
        # slow also while something is held: bytes must not overtake one another
        if not self.slow:
            self._transport.write(data)
            return
        self._held.append(bytes(data))
        self._held_bytes += len(data)
        if self._timer is None:
            self._timer = self._loop.call_later(self._delay_seconds, self._drip)

    def write_eof(self) -> None:
        """Half-close, after what is held; a silent server does not even do that."""
        if not self.silent:
            self.flow()
            self._transport.write_eof()

    def close(self) -> None:
        """Close, after what is held."""
        self.flow()
        self._transport.close()

    def abort(self) -> None:
        """Reset the TCP connection; what is held is lost."""
        self._held.clear()
        self.flow()
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not gone out, held ones included."""
        return self._transport.get_write_buffer_size() + self._held_bytes


class TappedConnection(ServerConnection):
    """A server connection whose transport is a `TappedTransport`."""

    tap: TappedTransport
    on_lost: Callable[[], None] | None = None
    """Called once when the TCP connection is gone, whatever became of the handshake."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the tap between."""
        self.tap = TappedTransport(cast("asyncio.Transport", transport), self.loop)
        # websockets writes pongs, close frames and the handshake to it: silence must hold those too
        super().connection_made(cast("asyncio.Transport", self.tap))

    def connection_lost(self, exc: Exception | None) -> None:
        """Call `on_lost`, then do as websockets does."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    async def drained(self) -> None:
        """Wait until the transport has room, or the connection is lost."""
        while self.paused and not self.tap.is_closing():
            await self.drain()


class SimulatedSocket:
    """One WebSocket as the simulator sees it; its counters are exact."""

    __slots__ = (
        "_backlog_bytes", "api_key", "bytes", "connection", "deaf", "frames", "half_served",
        "heartbeats", "muted", "number", "packets", "pending", "requests", "sent",
        "skipped_packets", "subscriptions", "texts", "user_id",
    )  # fmt: skip

    def __init__(
        self,
        connection: TappedConnection,
        number: int,
        api_key: str,
        user_id: str,
        *,
        backlog_bytes: int,
        log_frames: int = 0,
    ) -> None:
        self.connection = connection
        self.number = number  # counts up over the server's life, from 0
        self.api_key = api_key
        self.user_id = user_id
        self.subscriptions: dict[int, str] = {}  # instrument_token -> mode
        self.muted = False  # heartbeats but no data frames
        self.deaf = False  # requests are ignored
        self.half_served = False  # every second instrument sends nothing
        self.pending: list[bytes] = []  # length-prefixed packets for the next frames
        self.sent: deque[bytes] = deque(maxlen=log_frames)  # payloads of data frames
        self.frames = 0  # binary, without heartbeats
        self.packets = 0
        self.heartbeats = 0
        self.texts = 0
        self.bytes = 0  # payloads of all frames; of a flood's, headers too
        self.requests = 0
        self.skipped_packets = 0  # left out since the peer was too far behind
        self._backlog_bytes = backlog_bytes

    @property
    def open(self) -> bool:
        """Whether a frame written now would be sent."""
        tap = self.connection.tap
        # after an abort the protocol hears of it only with the loop's next pass
        return (
            not tap.silent and self.connection.protocol.state is State.OPEN and not tap.is_closing()
        )

    def send_binary(self, payload: bytes, packets: int) -> bool:
        """Write a data frame; `packets` is what it counts as. False: not sent."""
        if self.muted or not self.open:
            return False
        if self.connection.tap.get_write_buffer_size() > self._backlog_bytes:
            self.skipped_packets += packets  # memory is bounded, whatever a peer does not read
            return False
        self.connection.tap.write(websocket_frame(BINARY, payload))
        self.frames += 1
        self.packets += packets
        self.bytes += len(payload)
        if self.sent.maxlen:
            self.sent.append(payload)
        return True

    def write_frames(self, data: bytes, packets: int, frames: int) -> None:
        """Write WebSocket frames that were made before, whatever the backlog; see `flood`."""
        self.connection.tap.write(data)
        self.frames += frames
        self.packets += packets
        self.bytes += len(data)

    def send_text(self, text: str) -> bool:
        """Write a text frame. False: not sent."""
        if not self.open:
            return False
        payload = text.encode()
        self.connection.tap.write(websocket_frame(TEXT, payload))
        self.texts += 1
        self.bytes += len(payload)
        return True

    def heartbeat(self) -> bool:
        """Write the 1-byte frame. False: not sent."""
        if not self.open:
            return False
        self.connection.tap.write(websocket_frame(BINARY, HEARTBEAT))
        self.heartbeats += 1
        self.bytes += len(HEARTBEAT)
        return True

    def flush(self, packets_per_frame: int) -> int:
        """Write the pending packets as frames; returns how many packets went out."""
        pending = self.pending
        if not pending:
            return 0
        self.pending = []
        sent = 0
        for start in range(0, len(pending), packets_per_frame):
            part = pending[start : start + packets_per_frame]
            if self.send_binary(len(part).to_bytes(2, "big") + b"".join(part), len(part)):
                sent += len(part)
        return sent

    def state(self) -> dict[str, Any]:
        """Return the counters, as JSON has them."""
        return {
            "number": self.number,
            "api_key": self.api_key,
            "subscriptions": len(self.subscriptions),
            "packets": self.packets,
            "frames": self.frames,
            "heartbeats": self.heartbeats,
            "texts": self.texts,
            "bytes": self.bytes,
            "requests": self.requests,
            "skipped_packets": self.skipped_packets,
            "muted": self.muted,
            "silent": self.connection.tap.silent,
            "slow": self.connection.tap.slow,
        }
