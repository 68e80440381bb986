"""A small HTTP server for pages, on a network that may be hostile: the status, the end of a login.

Few connections, each with little time for the head of a request and for reading the answer; when
all places are taken the oldest of whoever has most of them makes room, so that a probe of /live is
answered in any crowd and the feed never lacks a descriptor. A connection gets one answer at a time.
GET and HEAD are known, and POST for the paths that are given; nothing that is asked is logged. An
answer may be a stream that goes on: whoever does not read it misses parts of it, and is cut if that
lasts. h11 reads the protocol; somebody else makes the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Self, cast

import h11

MAX_CONNECTIONS: Final = 64
"""Connections at a time; fewer where the process may open less than four times as many files."""
MAX_HEAD_BYTES: Final = 16 * 1024
"""The line and the headers of a request may have so many bytes."""
MAX_BODY_BYTES: Final = 256 * 1024
"""The body of a POST may have so many bytes, where there is a path that takes one."""
HEAD_SECONDS: Final = 5.0
"""The head of a request, with its body, may take so long, from the first byte or the connect."""
IDLE_SECONDS: Final = 75.0
"""The next request of a connection may take so long: longer than Prometheus' usual interval."""
ANSWER_SECONDS: Final = 10.0
"""A reader may take so long for the whole answer, or for the part of a stream that it was sent."""
WORK_SECONDS: Final = 45.0
"""An answer that has to be worked for may take so long."""
LINGER_SECONDS: Final = 1.0
"""How long what still comes is thrown away after the last answer, so that it can be read."""
PACE_SECONDS: Final = 0.01
"""The next request on a connection is answered so long after the last one."""
_BACKLOG = 128  # connects that wait in the kernel while places are being made
_ACCEPTED_A_TURN = 8  # a flood of connects leaves the loop's turns to the feed

_METHODS = (b"GET", b"HEAD")
_ODD_ANSWERS = {
    400: "not a request that can be understood",
    405: "only GET and HEAD are known here",
    413: "a request without a body, or with a shorter one, please",
    431: "the head of the request is too long",
    501: "not a transfer encoding that is known here",
}


class HttpRequest(NamedTuple):
    """The parts of a request that a page may look at."""

    path: str
    query: str
    """The text behind the question mark."""
    accept: str = ""
    """The Accept headers, joined by commas."""
    method: str = "GET"
    headers: Mapping[str, str] = MappingProxyType({})
    """The headers, by their names in lower case; of one that is there twice the last."""
    body: bytes = b""


class Response(NamedTuple):
    """The answer to a request: one page."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)


class EventStream(NamedTuple):
    """An answer without an end: whatever is pushed to the connection, until one side closes it."""

    content_type: str
    opened: Callable[[ServerConnection], Callable[[], None]]
    """Called once the head is sent; returns what to call when the connection is lost."""
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)


Answering = Callable[[HttpRequest], Response | EventStream | Awaitable[Response]]
"""Makes the answers; neither it nor what it returns may raise."""


class HttpServer:
    """Answers requests; an async context manager.

    Args:
        host: where to listen.
        port: 0 takes any free one, see `url`.
        answer: makes the answers; must not raise.
        posts: the paths that take a POST.
    """

    def __init__(
        self, host: str, port: int, answer: Answering, *, posts: Collection[str] = ()
    ) -> None:
        self._answer = answer
        self._posts = posts
        self._host = host
        self._port = port
        self._listening: list[socket.socket] = []  # one for each address of the host
        # in the order of their coming; those that are being cut as well, until they are gone
        self._connections: dict[ServerConnection, None] = {}
        # accepted, and not a Connection yet: each has a descriptor too
        self._entering: set[asyncio.Task[None]] = set()
        self.max_connections = MAX_CONNECTIONS

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: another program has the port, the host is not this machine's, or the port is
                not for everybody.
        """
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            # a quarter: the feed, Kafka's clients and the spool need the others
            self.max_connections = max(8, min(MAX_CONNECTIONS, files // 4))
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                self._listen(family, (address[0], self._port, *address[2:]))
        except BaseException:
            await self.close()
            raise

    def _listen(self, family: int, address: tuple[str | int, ...]) -> None:
        listening = socket.create_server(
            cast(tuple[str, int], address), family=family, backlog=_BACKLOG
        )
        listening.setblocking(False)
        self._listening.append(listening)
        self._port = listening.getsockname()[1]
        # by hand, not asyncio's server: that accepts whatever comes, and cannot be held
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening)
            listening.close()
        self._listening.clear()
        for task in self._entering:
            task.cancel()
        for connection in list(self._connections):
            connection.cut()
        while self._connections:  # noqa: ASYNC110 - they leave in the next turns of the loop
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The URL of the server, without a path."""
        host = self._host
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def open_connections(self) -> int:
        """How many descriptors clients have."""
        return len(self._connections) + len(self._entering)

    def _accept(self, listening: socket.socket) -> None:
        """Let some of those in who wait; the loop calls again while there are more."""
        for _ in range(_ACCEPTED_A_TURN):
            # who waits in the kernel costs nothing: let in once somebody has left
            if self.open_connections >= self.max_connections:
                self._make_room(listening)
                return
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor to be had, for another reason than our clients
                self._make_room(listening)
                return
            accepted.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._enter(accepted, str(address[0])))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter(self, accepted: socket.socket, peer: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: ServerConnection(self._answer, peer, self._connections, self._posts),
                accepted,
            )
        except (OSError, asyncio.CancelledError):
            accepted.close()

    def _make_room(self, listening: socket.socket) -> None:
        """Cut the oldest connections of the peers that have most; let others in once they left."""
        staying = [connection for connection in self._connections if not connection.cut_off]
        # those go first that have had their answer, and last those that are getting it
        staying.sort(key=lambda each: each.answering - each.ended)
        for _ in range(min(_ACCEPTED_A_TURN, len(staying))):
            crowd = Counter(each.peer for each in staying).most_common(1)[0][0]
            victim = next(each for each in staying if each.peer == crowd)
            staying.remove(victim)
            victim.cut()
        # those that were cut leave in the next turns; the socket stays readable meanwhile
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(PACE_SECONDS, self._accept_again, listening)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)


class ServerConnection(asyncio.Protocol):
    """One client: reads a request, answers it, and waits for the next one.

    Args:
        answer: makes the answers.
        peer: the client's address.
        among: all open connections; this one is there from its connect to its loss.
        posts: the paths that take a POST.
    """

    def __init__(
        self,
        answer: Answering,
        peer: str,
        among: dict[ServerConnection, None] | None = None,
        posts: Collection[str] = (),
    ) -> None:
        self.peer = peer
        self.answering = False
        """An answer is on its way."""
        self.ended = False
        """There will be no further answer."""
        self.cut_off = False
        """It is being closed without more ado."""
        self._make = answer
        self._posts = posts
        self._among = {} if among is None else among
        # the protocol without I/O; its bound is of a head that is not there as a whole
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None  # None before the connect
        self._timer: asyncio.TimerHandle | None = None  # cuts what takes too long; one at a time
        self._idle = True  # nothing of the next request has come
        self._head_only = False  # it was HEAD: the answer has no body
        # a POST whose body is not there as a whole
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._work: asyncio.Task[None] | None = None  # makes an answer that takes time
        # of a stream: what to call when the connection is lost
        self._lost: Callable[[], None] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        # told of everything that is not yet sent
        self._transport.set_write_buffer_limits(high=0)
        self._among[self] = None
        self._expect(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Read part of a request, or something else."""
        if self.ended:
            return  # thrown away, so that the answer before can be read
        if self._lost is not None:
            self.cut()  # nothing is to come during a stream
            return
        self._http.receive_data(data)
        if self._idle:
            self._idle = False
            self._expect(HEAD_SECONDS)
        if self.answering:
            # what comes with or behind a request waits for its turn; the kernel keeps the rest
            if self._transport is not None:
                self._transport.pause_reading()
        else:
            self._advance()

    def eof_received(self) -> bool:
        """Note that the client sends no more; it may still wait for its answer."""
        if not self.answering:
            self.cut()
        self.ended = True
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        """Note that the client is gone."""
        self.ended = True
        self._among.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()
        if self._lost is not None:
            self._lost()

    def resume_writing(self) -> None:
        """Go on: the answer has been sent as a whole."""
        if self._lost is None:
            self._answered()
        elif self._timer is not None:
            self._timer.cancel()

    def push(self, data: bytes) -> bool:
        """Send a part of a stream; False, and nothing is sent, while the last one is not read."""
        transport = self._transport
        # nothing is queued for whoever does not read: it misses this part
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(self._http.send(h11.Data(data=data)) or b"")
        if transport.get_write_buffer_size():
            self._expect(ANSWER_SECONDS)
        return True

    def cut(self) -> None:
        """End the connection at once."""
        self.ended = self.cut_off = True
        if self._transport is not None:
            self._transport.abort()

    # inside

    def _advance(self) -> None:
        """Answer the request, if it is there as a whole."""
        try:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._begin(event)
            elif self._request is not None:
                self._continue(event)
            elif event is not h11.NEED_DATA:
                self.cut()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)

    def _begin(self, request: h11.Request) -> None:
        """Answer a request that has no body; of another one, read that first."""
        self._head_only = request.method == b"HEAD"
        size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
        path = _origin_form(request.target).partition("?")[0]
        if size > MAX_HEAD_BYTES:  # h11 looks only at what is not there as a whole
            self._refuse(431)
        elif request.method == b"POST" and path in self._posts:
            length = next((value for name, value in request.headers if name == b"content-length"),
                          b"0")  # fmt: skip
            if int(length) > MAX_BODY_BYTES:
                self._refuse(413)
                return
            self._request = request
            self._body.clear()
            self._continue(self._http.next_event())
        elif request.method not in _METHODS:
            self._refuse(405)
        elif not isinstance(self._http.next_event(), h11.EndOfMessage):
            self._refuse(413)
        else:
            self._answer(request)

    def _continue(self, event: object) -> None:
        """Read a body up to its end, within its bound."""
        while isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > MAX_BODY_BYTES:
                self._refuse(413)
                return
            event = self._http.next_event()
        if isinstance(event, h11.EndOfMessage) and self._request is not None:
            request, self._request = self._request, None
            self._answer(request)
        elif event is not h11.NEED_DATA:
            self.cut()

    def _answer(self, request: h11.Request) -> None:
        path, _, query = _origin_form(request.target).partition("?")
        accept = b",".join(value for name, value in request.headers if name == b"accept")
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        body = bytes(self._body)
        self._body.clear()
        answer = self._make(
            HttpRequest(
                path, query, accept.decode("latin-1"), request.method.decode(), headers, body
            )
        )
        if isinstance(answer, Response):
            self._send(answer)
        elif isinstance(answer, EventStream):
            self._stream(answer)
        else:
            self.answering = True
            self._expect(WORK_SECONDS)
            self._work = asyncio.get_running_loop().create_task(self._send_later(answer))

    async def _send_later(self, answer: Awaitable[Response]) -> None:
        self._send(await answer)

    def _refuse(self, status: int) -> None:
        """Send the last answer, to what is no request for a page."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.cut()  # an answer is under way: another one would be read as a part of it
            return
        reason = _ODD_ANSWERS.get(status, _ODD_ANSWERS[400])
        answer = Response(status, "text/plain; charset=utf-8", f"{reason}\n".encode())
        self._send(answer, ("ServerConnection", "close"), ("Allow", "GET, HEAD"))

    def _send(self, answer: Response, *more: tuple[str, str]) -> None:
        transport = self._transport
        if transport is None:
            return
        self.answering = True
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
            *more,
        ]
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers)]
        if not self._head_only:
            events.append(h11.Data(data=answer.body))
        events.append(h11.EndOfMessage())
        self._expect(ANSWER_SECONDS)
        transport.writelines([self._http.send(event) or b"" for event in events])
        if transport.get_write_buffer_size() == 0:
            self._answered()

    def _stream(self, stream: EventStream) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._head_only:
            self._send(Response(200, stream.content_type, b"", stream.headers))
            return
        headers = [("Content-Type", stream.content_type), *stream.headers]
        if self._timer is not None:
            self._timer.cancel()
        response = h11.Response(status_code=200, headers=headers)
        transport.write(self._http.send(response) or b"")
        self._lost = stream.opened(self)

    def _answered(self) -> None:
        if not self.answering or self._transport is None:
            return
        self.answering = False
        if self.ended or h11.MUST_CLOSE in {self._http.our_state, self._http.their_state}:
            self._linger()
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._idle = True
            self._expect(IDLE_SECONDS)
            # not at once: who asks without pause gets a hundred answers a second
            asyncio.get_running_loop().call_later(PACE_SECONDS, self._next)
        else:
            self._linger()

    def _next(self) -> None:
        """Read what has come meanwhile."""
        if self.ended or self.answering or self._transport is None:
            return
        self._transport.resume_reading()
        if self._http.trailing_data[0]:
            self._idle = False
            self._expect(HEAD_SECONDS)
            self._advance()

    def _linger(self) -> None:
        """Close, but only once the client has had the time to read the answer."""
        self.ended = True
        if self._transport is None or self._transport.is_closing():
            return
        self._expect(LINGER_SECONDS)
        # to close with something unread would reset TCP, and the answer could be lost with it
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _expect(self, seconds: float) -> None:
        """End the connection unless what is waited for comes within so many seconds."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.cut)


def _origin_form(target: bytes) -> str:
    """Path and query of a request, also where a proxy sends the whole URL (RFC 9112, 3.2.2)."""
    text = target.decode("ascii", "replace")
    scheme, is_whole, rest = text.partition("://")
    if not is_whole or scheme.lower() not in {"http", "https"}:
        return text
    _, _, path = rest.partition("/")
    return f"/{path}"
