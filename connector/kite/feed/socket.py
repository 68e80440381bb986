"""One WebSocket to the feed: the only module of this package that knows `websockets`.

The protocol is websockets' own sans-I/O `ClientProtocol`, and this driver calls the listener
straight from the transport's callback: no reader task, no queue, no task switch between socket and
handler. Whole binary frames, which are nearly all that the feed sends, do not even pass through
websockets: `FrameReader` takes them from the read buffer.
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
from connector.kite.feed.frame_reader import FrameReader
from connector.kite.feed.framing import FRAMES_PER_TURN, MAX_FRAME_BYTES, turn_cost
from connector.kite.proxy import open_tunnel, proxy_for
from connector.kite.retry_after import retry_after_seconds
from connector.kite.wire.answers import TOKEN_EXCEPTION, kite_error, page_words, plain_body
from connector.redaction import Redactor

MAX_TEXT_BYTES = 32 * 2**10
"""A text frame of so many bytes is read: order updates have 2 KiB. Of a longer one the beginning is
kept."""
KEPT_TEXT_BYTES = 4 * 2**10
"""So many bytes are kept of a text frame that is too long to be read."""
# seconds that a peer has to answer our close frame before the socket is cut
CLOSE_SECONDS = 1.0

# of a turn, beside frames of ticks: JSON takes longer than packets of as many bytes
_TEXT_COST = 4
_TEXT_BYTES_PER_COST = 64
_BINARY = Opcode.BINARY  # looked up for each frame
_ANSWER_END = b"\r\n\r\n"

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
    try:
        _ = parts.port  # looked at by nobody before the socket is opened, again and again
    except ValueError as error:
        raise ValueError(f"the feed's root has no such port: {error}") from None


class SocketListener(Protocol):
    """Who takes what a socket receives; every call comes from the event loop, in wire order."""

    def binary_received(self, data: bytes) -> None:
        """A binary message, heartbeats too."""

    def text_received(self, text: str) -> None:
        """Handle a text message of the feed."""

    def text_too_long(self, beginning: str, size_bytes: int) -> None:
        """A text message of more than `MAX_TEXT_BYTES`, which is not read."""

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
        """Send a ping of our own."""

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
        TokenRejectedError: Kite says that the token is no good, or HTTP 403 without a word.
        TooManyConnectionsError: HTTP 429.
        HandshakeError: any other HTTP answer, also HTTP 403 with a page that is not Kite's; a
            redirect too, since following it would hand the token to another address.
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
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be looked up
        socket.abort()
        raise FeedUnreachableError(address, str(error) or type(error).__name__) from error
    except BaseException:  # a cancellation too: nobody else knows of this socket
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
        # over what was the proxy's: from here on only Kite can read what is sent
        transport = await loop.start_tls(tunnel, socket, context, server_hostname=host)
    except BaseException:
        tunnel.abort()
        raise
    if transport is None:
        raise ConnectionResetError("the connection was lost during the TLS handshake")
    # start_tls does not call it, since to asyncio the connection is an old one
    socket.connection_made(transport)


class WebSocket(asyncio.BufferedProtocol):
    """Moves bytes between the transport, the frame reader and websockets' protocol object."""

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
        # takes both out of foreign words: they are in the request, which an answer may repeat
        self._redactor = Redactor(api_key.get_secret_value(), access_token.get_secret_value())
        self._listener = listener
        self._transport: asyncio.Transport | None = None  # None before `connection_made`
        loop = asyncio.get_running_loop()
        # resolved with the handshake's answer, whatever it says, or with the loss before it
        self.handshaken: asyncio.Future[None] = loop.create_future()
        # resolved once nothing more comes and all that came is delivered or held
        self._closed: asyncio.Future[None] = loop.create_future()
        self._open = False  # the handshake succeeded, and the listener knows of no end yet
        self._shaken = False  # it was answered: what follows is frames, or nothing
        # paused until the owner says `resume`: frames may come with the handshake's own bytes
        self._paused = True
        # the owner asked for it: then reading stops too
        self._held_back = False
        # our close frame is out: its answer has to be read, whoever paused
        self._closing = False
        self._reading = True  # what the transport was told last
        # the transport's buffer is full: who floods us and does not read is not read either
        self._write_blocked = False
        # what is read and not worked on yet: one read is the most
        reader = self._reader = FrameReader(listener.binary_received, self._read)
        # asyncio calls the reader itself
        self.get_buffer = reader.get_buffer  # type: ignore[method-assign]
        self.buffer_updated = reader.buffer_updated  # type: ignore[method-assign]
        # the last bytes of the handshake's answer so far
        self._answer = b""
        # parsed and not delivered yet
        self._held: deque[Frame] = deque()
        # the call by which the loop's next turn goes on
        self._next_turn: asyncio.Handle | None = None
        # the peer's close frame or a violation of the protocol: nothing after it counts
        self._ended = False
        self._gone = False  # the transport is
        self._error: Exception | None = None  # by which it went
        # of a fragmented message, which Kite does not send and RFC 6455 allows (section 5.4)
        self._fragments = bytearray()
        self._fragments_opcode = Opcode.BINARY  # that of its first frame: the others have none

    def __repr__(self) -> str:
        return f"WebSocket({self._protocol.state.name})"

    @property
    def behind(self) -> bool:
        """The loop's next turn goes on with what this one has read."""
        return self._next_turn is not None

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake over the new transport."""
        self._transport = cast(asyncio.Transport, transport)
        request = self._protocol.connect()
        # optional, and sent by Kite's own clients
        request.headers["X-Kite-Version"] = "3"
        request.headers["User-Agent"] = "kite-connector"
        self._protocol.send_request(request)
        self._write(self._protocol.data_to_send())

    def eof_received(self) -> None:
        """The peer closed its side: the transport closes by itself."""
        # else the turns that follow come to the end by themselves, behind what was read
        if not self._reader.ready():
            self._protocol.receive_eof()
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; what was read before that still counts."""
        if self._gone:
            return
        self._gone = True
        self._error = exc
        if not self._open:  # whoever waits for the handshake would wait for ever
            self._protocol.receive_eof()
            if not self.handshaken.done():
                self.handshaken.set_result(None)
        if not self._reader.working:  # else a turn is under way, and ends with this
            self._work()

    def pause_writing(self) -> None:
        """The peer does not read: do not read from it either, or a flood of pings fills memory."""
        self._write_blocked = True
        self._update_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._write_blocked = False
        self._update_reading()

    # FeedSocket

    def send(self, text: str) -> None:
        """Send a text message; without effect on a socket that is closing."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())
            self._flush()

    def ping(self) -> None:
        """Send a ping of our own."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def pause(self) -> None:
        """Deliver nothing more and stop reading: TCP then holds the feed back."""
        self._paused = True
        self._reader.direct = False
        if self._open:  # before that the answer of the handshake has to be read
            self._held_back = True
            self._update_reading()

    def resume(self) -> None:
        """Deliver what was held, and read on unless the listener paused once more."""
        if not self._paused:
            return
        self._paused = self._held_back = False
        if not self._reader.working:  # else called by the listener itself: whoever delivers goes on
            self._work()

    async def close(self) -> None:
        """Close politely, within `CLOSE_SECONDS`; what was read by then is delivered."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        self._closing = True
        self._update_reading()
        # once for the peer's answer to our close frame, once more after the socket was cut
        for _ in range(2):
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await asyncio.shield(self._closed)
            except TimeoutError:
                self._cut()
            else:
                break

    def abort(self) -> None:
        """Cut it: for a peer that does not answer. What is not delivered yet is dropped."""
        self._reader.clear()
        self._held.clear()
        self._cut()

    # inside

    def check_handshake(self, address: str) -> None:
        """Raise what the handshake came to, if it failed."""
        if not self._open:
            self.abort()
            # made elsewhere: the frame that raises holds nothing of the answer, which could repeat
            # the request; and `from None`, since what websockets raises holds it too
            failure = self._failure(address)
            failure.retry_after_seconds = self._asked_seconds()
            raise failure from None

    def _asked_seconds(self) -> float:
        """How long the answer to the handshake asks that nobody comes again."""
        error = self._protocol.handshake_exc
        if not isinstance(error, InvalidStatus):
            return 0.0
        # by what stands last, where somebody has said it twice
        headers = {name.title(): told for name, told in error.response.headers.raw_items()}
        return retry_after_seconds(error.response.status_code, headers)

    def _failure(self, address: str) -> FeedError:
        error = self._protocol.handshake_exc
        if not isinstance(error, InvalidStatus):
            if error is None:
                return FeedUnreachableError(address, "closed during the handshake")
            # what is no answer of HTTP/1.1 is told by the cause: the line of HTTP/1.0, say
            said = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
            return FeedUnreachableError(address, self._redactor.foreign(said))
        status = error.response.status_code
        body = plain_body(bytes(error.response.body or b""))
        phrase = error.response.reason_phrase
        told = kite_error(body)
        page = page_words(body, phrase)
        words = f"{told.error_type}: {told.message}" if told else page or phrase
        reason = self._redactor.foreign(words)
        if status == 429:  # three sockets are open, or one has closed a moment ago
            return TooManyConnectionsError(status, reason, foreign=told is None and bool(page))
        # Kite's own refusal; a 403 that says nothing may be one too
        rejected = status == 403 and (told is not None or not page)
        if rejected or (told is not None and told.error_type == TOKEN_EXCEPTION):
            return TokenRejectedError(status, reason)
        return HandshakeError(status, reason, foreign=told is None and bool(page))

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _read(self, left: int, large: bool) -> None:
        """Go on where the reader ended: something came that is no whole binary frame, or much."""
        if self._next_turn is None:
            self._work(left, large=large)

    def _work(self, left: int = FRAMES_PER_TURN, *, large: bool = False) -> None:
        """One turn: parse and deliver in wire order, what may cost so much."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        reader, held = self._reader, self._held
        reader.working = True
        try:
            # in wire order: what websockets has parsed is older than what the reader still has
            while left > 0:
                if held and not self._paused:
                    left -= self._deliver(held.popleft())
                elif not self._may_parse():
                    break
                elif (after := self._deliver_binary(left)) < left:
                    left = after
                else:
                    left -= 1
                    self._parse(self._next_piece())
        finally:
            reader.working = False
            # almost always there is nothing left
            if held or reader or large or self._gone or not self._reading:
                self._turn_over(large=large)
            reader.direct = self._next_turn is None and not held and self._may_pass()

    def _turn_over(self, *, large: bool) -> None:
        """Go on with the next turn, or stop or end where nothing more can be done."""
        more = bool(self._held and not self._paused) or self._may_parse()
        if self._gone and not more:
            self._end()
        elif more or large:
            # call_soon, not at once: timers and other sockets have their turn between
            self._next_turn = asyncio.get_running_loop().call_soon(self._work)
        self._update_reading()

    def _may_parse(self) -> bool:
        """Whether there is something to parse, and nobody who would have to wait for it."""
        # while it closes, the peer's close frame has to be found behind whatever is held
        waits = self._open and self._paused and not self._closing
        return not waits and self._reader.ready()

    def _may_pass(self) -> bool:
        """Whether binary frames may pass websockets by."""
        return self._open and not self._paused and self._reader.at_boundary

    def _deliver_binary(self, left: int) -> int:
        """Let binary frames that come next pass websockets by; returns what is left of the turn."""
        if not self._may_pass():
            return left
        self._reader.direct = True
        return self._reader.deliver_binary(left)

    def _next_piece(self) -> bytes:
        """What websockets gets next: of one frame, or of the handshake's answer alone."""
        reader = self._reader
        if self._shaken:
            return reader.next_piece()
        # frames may come in the same read: they are for the reader, which websockets' handshake
        # parser would take from it
        answer = self._answer + reader.peek()
        end = answer.find(_ANSWER_END)
        if end >= 0:
            answer = answer[: end + len(_ANSWER_END)]
        size = len(answer) - len(self._answer)
        self._answer = answer[1 - len(_ANSWER_END) :]  # the blank line may be cut anywhere
        return reader.take(size)

    def _parse(self, piece: bytes) -> None:
        """Give websockets some bytes, and keep what it makes of them."""
        protocol, reader = self._protocol, self._reader
        protocol.receive_data(piece)
        if outgoing := protocol.data_to_send():  # pongs, the answer to a close frame
            self._write(outgoing)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._held.append(event)
            else:
                self._open = protocol.handshake_exc is None
        if not self._shaken and (self._open or protocol.handshake_exc is not None):
            self._shaken = True
            reader.framed = self._open
            if not self.handshaken.done():
                self.handshaken.set_result(None)
        if not self._ended and (protocol.close_rcvd or protocol.parser_exc):
            self._ended = True
            reader.framed = False
            # the peer closes TCP first; one that does not is cut
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._cut)

    def _update_reading(self) -> None:
        """Read exactly while what is read can be worked on."""
        if self._transport is None or self._gone:
            return
        # held by the owner; or opened and not resumed yet, with something that waits for it
        waiting = self._held_back or (self._open and self._paused and (self._held or self._reader))
        wanted = (
            self._next_turn is None and not self._write_blocked and (self._closing or not waiting)
        )
        if wanted and not self._reading:
            self._reading = True
            self._transport.resume_reading()
        elif self._reading and not wanted:
            self._reading = False
            self._transport.pause_reading()

    def _end(self) -> None:
        """The transport is gone, and nothing more can be delivered now."""
        if not self._closed.done():
            self._closed.set_result(None)
        if not self._paused:  # else `resume` comes here again: what is held counts first
            self._finish()

    def _finish(self) -> None:
        """Tell the listener of the end, once, in the peer's own words where it sent some."""
        if not self._open:
            return
        self._open = False
        self._protocol.receive_eof()
        close, parser = self._protocol.close_rcvd, self._protocol.parser_exc
        if close is not None:  # the peer's words outweigh how TCP ended
            self._listener.socket_lost(int(close.code), self._redactor.foreign(close.reason))
            return
        error = self._error or (None if isinstance(parser, EOFError) else parser)
        reason = self._redactor.foreign(str(error)) if error else "closed without a word"
        self._listener.socket_lost(None, reason)

    def _deliver(self, frame: Frame) -> int:
        """Hand a frame to the listener; returns what it costs of a turn."""
        opcode = frame.opcode
        if opcode is _BINARY and frame.fin:
            return self._binary_received(bytes(frame.data))
        if opcode is Opcode.TEXT and frame.fin:
            return self._text_received(bytes(frame.data))
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            self._listener.control_received()
        elif opcode is not Opcode.CLOSE:
            return self._assemble(frame)
        return 1

    def _assemble(self, frame: Frame) -> int:
        if frame.opcode is not Opcode.CONT:
            self._fragments_opcode = frame.opcode
        # bounded by the parser: MAX_FRAME_BYTES for all fragments together
        self._fragments += frame.data
        if not frame.fin:
            return 1
        whole = bytes(self._fragments)
        self._fragments.clear()
        if self._fragments_opcode is Opcode.BINARY:
            return self._binary_received(whole)
        return self._text_received(whole)

    def _binary_received(self, data: bytes) -> int:
        self._listener.binary_received(data)
        return turn_cost(data)

    def _text_received(self, data: bytes) -> int:
        size = len(data)
        if size > MAX_TEXT_BYTES:
            beginning = self._redactor.redact(data[:KEPT_TEXT_BYTES].decode(errors="replace"))
            self._listener.text_too_long(beginning, size)
            return 1 + KEPT_TEXT_BYTES // _TEXT_BYTES_PER_COST
        # an order update or a complaint goes on into Kafka and the log
        self._listener.text_received(self._redactor.redact(data.decode(errors="replace")))
        return _TEXT_COST + size // _TEXT_BYTES_PER_COST

    def _flush(self) -> None:
        self._write(self._protocol.data_to_send())

    def _write(self, outgoing: list[bytes]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for data in outgoing:  # b"" is websockets' SEND_EOF
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
