"""One WebSocket to the feed: the only module of this package that knows `websockets`.

The protocol is websockets' own sans-I/O `ClientProtocol`, and this driver calls the listener
straight from `data_received`: no reader task, no queue, no task switch between socket and handler.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from functools import cache
from typing import Protocol, cast
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from connector.errors import (
    FeedError,
    FeedUnreachableError,
    HandshakeError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.proxy import open_tunnel, proxy_for
from connector.redaction import Redactor

# 3000 full packets of 186 bytes are 558 000 bytes; a frame over this is not from the feed
MAX_FRAME_BYTES = 4 * 2**20
# seconds that a peer has to answer our close frame before the socket is cut
CLOSE_SECONDS = 1.0

# `websockets` logs the request line, and with it the token, at DEBUG. This logger is in no
# hierarchy, so that no configuration of the program can switch that on.
_silent = logging.Logger("kite-websocket", level=logging.CRITICAL)  # noqa: LOG001


def check_root(root: str) -> None:
    """Raise ValueError unless `root` is a WebSocket address without query or user."""
    parts = urlsplit(root)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError("the feed's root must be ws://host or wss://host")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("the feed's root must have no query, fragment or user")


class SocketListener(Protocol):
    """Who takes what a socket receives; every call comes from the event loop, in wire order."""

    def binary_received(self, data: bytes) -> None:
        """A binary message, heartbeats too."""

    def text_received(self, text: str) -> None:
        """A text message."""

    def control_received(self) -> None:
        """A ping or a pong: the peer lives."""

    def socket_lost(self, code: int | None, reason: str) -> None:
        """The socket is gone; called once, nothing after it, and never while paused."""


class FeedSocket(Protocol):
    """What a connection does with an open socket, which is paused until the first `resume`.

    Sends never block: requests are small, and the transport buffers them.
    """

    def send(self, text: str) -> None:
        """Send a text message; without effect on a socket that is closing."""

    def ping(self) -> None:
        """Send a ping."""

    def pause(self) -> None:
        """Deliver nothing more and stop reading: TCP then holds the feed back."""

    def resume(self) -> None:
        """Deliver what was held, and read on."""

    async def close(self) -> None:
        """Close politely, within `CLOSE_SECONDS`."""

    def abort(self) -> None:
        """Cut it: for a peer that does not answer."""


async def open_socket(
    root: str,
    api_key: SecretStr,
    access_token: SecretStr,
    listener: SocketListener,
    timeout_seconds: float,
) -> FeedSocket:
    """Connect and shake hands; what is received goes to the listener after the first `resume`.

    The token is in the URL, so the URL exists only inside websockets' objects: it is in no local
    variable, and no error or log of this module holds it.

    Raises:
        TokenRejectedError: HTTP 403.
        TooManyConnectionsError: HTTP 429.
        HandshakeError: any other HTTP answer; a redirect too, since following it would hand the
            token to another address.
        FeedUnreachableError: no answer, or not that of a WebSocket server.
    """
    check_root(root)  # here, before it holds the secrets
    parts = urlsplit(root)
    address = f"{parts.scheme}://{parts.netloc}"
    secure = parts.scheme == "wss"
    socket = WebSocket(root, api_key, access_token, listener)
    try:
        async with asyncio.timeout(timeout_seconds):
            await _join(socket, parts.hostname or "", parts.port, secure=secure)
            await socket.handshaken
    except TimeoutError as error:
        socket.abort()
        reason = f"no answer within {timeout_seconds:g} s"
        raise FeedUnreachableError(address, reason) from error
    except OSError as error:
        socket.abort()
        raise FeedUnreachableError(address, str(error) or type(error).__name__) from error
    except BaseException:
        socket.abort()
        raise
    socket.check_handshake(address)
    return socket


async def _join(socket: WebSocket, host: str, port: int | None, *, secure: bool) -> None:
    """Give the socket a transport to the host, directly or through the environment's proxy."""
    loop = asyncio.get_running_loop()
    if not secure:
        await loop.create_connection(lambda: socket, host, port or 80)
        return
    context, port = _tls_context(), port or 443
    proxy = proxy_for(host)
    if proxy is None:
        await loop.create_connection(lambda: socket, host, port, ssl=context)
        return
    tunnel = await open_tunnel(proxy, host, port)
    try:
        transport = await loop.start_tls(tunnel, socket, context, server_hostname=host)
    except BaseException:
        tunnel.abort()
        raise
    if transport is None:
        raise ConnectionResetError("the connection was lost during the TLS handshake")
    socket.connection_made(transport)


class WebSocket(asyncio.Protocol):
    """Moves bytes between the transport and websockets' protocol object."""

    def __init__(
        self, root: str, api_key: SecretStr, access_token: SecretStr, listener: SocketListener
    ) -> None:
        self._protocol = ClientProtocol(
            parse_uri(f"{root}?{_query(api_key, access_token)}"),
            # no compression: the feed offers none, and it would cost more than it saves
            extensions=None,
            max_size=MAX_FRAME_BYTES,
            logger=_silent,
        )
        # both are in the request, and whatever answers may repeat it
        self._redactor = Redactor(api_key.get_secret_value(), access_token.get_secret_value())
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.handshaken: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._open = False
        # paused until the owner says `resume`: frames may come with the handshake's own bytes
        self._paused = True
        self._reading = True
        # frames still to be delivered; while paused nothing is read, so that one read is the most
        self._held: deque[Frame] = deque()
        self._delivering = False
        # the peer's close frame or a violation of the protocol: nothing after it counts
        self._ended = False
        self._gone = False
        self._error: Exception | None = None
        self._fragments: list[bytes] = []
        self._fragments_opcode = Opcode.BINARY

    def __repr__(self) -> str:
        return f"WebSocket({self._protocol.state.name})"

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        request = self._protocol.connect()
        request.headers["X-Kite-Version"] = "3"
        request.headers["User-Agent"] = "kite-connector"
        self._protocol.send_request(request)
        self._write(self._protocol.data_to_send())

    def data_received(self, data: bytes) -> None:
        """Feed the protocol; deliver what it made of the bytes, or keep it while paused."""
        protocol = self._protocol
        protocol.receive_data(data)
        if outgoing := protocol.data_to_send():
            self._write(outgoing)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._held.append(event)
            else:
                self._open = protocol.handshake_exc is None
        if not self.handshaken.done() and (self._open or protocol.handshake_exc is not None):
            self.handshaken.set_result(None)
        if not self._ended and (protocol.close_rcvd or protocol.parser_exc):
            self._ended = True
            # the peer closes TCP first; one that does not is cut
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)
        self._deliver_held()

    def eof_received(self) -> None:
        """The peer closed its side: the transport closes by itself."""
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; what was read before that still counts."""
        if self._gone:
            return
        self._gone = True
        self._error = exc
        if not self._closed.done():
            self._closed.set_result(None)
        if not self._open:
            self._protocol.receive_eof()
            if not self.handshaken.done():
                self.handshaken.set_result(None)
        elif not self._paused:
            self._finish()

    # FeedSocket

    def send(self, text: str) -> None:
        """Send a text message; without effect on a socket that is closing."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())
            self._flush()

    def ping(self) -> None:
        """Send a ping."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def pause(self) -> None:
        """Deliver nothing more and stop reading: TCP then holds the feed back."""
        self._paused = True
        if self._open and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Deliver what was held, and read on unless the listener paused once more."""
        if not self._paused:
            return
        self._paused = False
        if self._delivering:  # called by the listener itself: whoever delivers goes on
            self._read_on()
            return
        self._deliver_held()
        if self._paused:
            return
        if self._gone:
            self._finish()
        else:
            self._read_on()

    async def close(self) -> None:
        """Close politely, within `CLOSE_SECONDS`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
            self._read_on()  # else the peer's answer would never be seen
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Cut it: for a peer that does not answer."""
        if self._transport is not None:
            self._transport.abort()

    # inside

    def check_handshake(self, address: str) -> None:
        """Raise what the handshake came to, if it failed."""
        if not self._open:
            self.abort()
            # made elsewhere: the frame that raises holds nothing of the answer, which could repeat
            # the request; and `from None`, since what websockets raises holds it too
            raise self._failure(address) from None

    def _failure(self, address: str) -> FeedError:
        error = self._protocol.handshake_exc
        if not isinstance(error, InvalidStatus):
            reason = self._redactor.foreign(str(error)) if error else "closed during the handshake"
            return FeedUnreachableError(address, reason)
        status = error.response.status_code
        body = self._redactor.foreign(error.response.body or b"")
        reason = body or self._redactor.foreign(error.response.reason_phrase)
        if status == 403:
            return TokenRejectedError(status, reason)
        if status == 429:
            return TooManyConnectionsError(status, reason)
        return HandshakeError(status, reason)

    def _deliver_held(self) -> None:
        self._delivering = True
        try:
            while self._held and not self._paused:
                self._deliver(self._held.popleft())
        finally:
            self._delivering = False

    def _finish(self) -> None:
        """Tell the listener of the end, once, in the peer's own words where it sent some."""
        if not self._open:
            return
        self._open = False
        self._protocol.receive_eof()
        close, parser = self._protocol.close_rcvd, self._protocol.parser_exc
        if close is not None:
            self._listener.socket_lost(int(close.code), self._redactor.foreign(close.reason))
            return
        error = self._error or (None if isinstance(parser, EOFError) else parser)
        reason = self._redactor.foreign(str(error)) if error else "closed without a word"
        self._listener.socket_lost(None, reason)

    def _deliver(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.BINARY and frame.fin:
            self._listener.binary_received(bytes(frame.data))
        elif opcode is Opcode.TEXT and frame.fin:
            self._text_received(bytes(frame.data))
        elif opcode is Opcode.PING or opcode is Opcode.PONG:
            self._listener.control_received()
        elif opcode is not Opcode.CLOSE:
            self._assemble(frame)

    def _assemble(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._fragments_opcode = frame.opcode
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._fragments)
            self._fragments = []
            if self._fragments_opcode is Opcode.BINARY:
                self._listener.binary_received(whole)
            else:
                self._text_received(whole)

    def _text_received(self, data: bytes) -> None:
        # an order update or a complaint goes on into Kafka and the log
        self._listener.text_received(self._redactor.redact(data.decode(errors="replace")))

    def _read_on(self) -> None:
        if not (self._reading or self._gone) and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _flush(self) -> None:
        self._write(self._protocol.data_to_send())

    def _write(self, outgoing: list[bytes]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for data in outgoing:
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()
            else:  # TLS has no half-close
                transport.close()


def _query(api_key: SecretStr, access_token: SecretStr) -> str:
    return urlencode(
        {
            "api_key": api_key.get_secret_value(),
            "access_token": access_token.get_secret_value(),
        }
    )


@cache
def _tls_context() -> ssl.SSLContext:
    # verifies the certificate and the host name; made once, since it reads all of the system's CAs
    return ssl.create_default_context()
