"""The simulated Kite: a WebSocket port and a REST port that behave as the real ones do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http
import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from functools import partial
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connector.errors import PortInUseError
from connector.simulator.access import Access, RefusedError
from connector.simulator.config import SimulatorConfig
from connector.simulator.feed import Feed, SeenRequest
from connector.simulator.market import Market
from connector.simulator.sockets import SimulatedSocket, TappedConnection
from connector.simulator.universe import Universe

IST = timezone(timedelta(hours=5, minutes=30), "IST")
_MARKET_PERIOD_SECONDS = 0.02
_CLOSE_TIMEOUT_SECONDS = 1.0

# above INFO: at lower levels websockets logs request lines, and with them tokens
_websocket_log = logging.getLogger("connector.simulator.websockets")
_websocket_log.setLevel(logging.WARNING)


class SimulatorServer:
    """A Kite of one's own; `async with` opens and closes its ports.

    Args:
        config: what it is like.
        clock: UTC seconds, for the packets' times.
    """

    def __init__(
        self, config: SimulatorConfig | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config or SimulatorConfig()
        self._clock = clock
        now = clock()
        today = self.config.today or datetime.fromtimestamp(now, IST).date()
        self.universe = Universe(self.config.instruments, today)
        self.market = Market(self.universe, self.config.seed, int(now))
        self.market.set_open(is_open=self.config.market_open)
        self.access = Access(
            self.config.accounts,
            max_sockets=self.config.max_sockets_per_key,
            release_seconds=self.config.slot_release_seconds,
            monotonic=time.monotonic,
        )
        self.feed = Feed(self.config, self.market, clock)
        self.updates_per_second = self.config.updates_per_second
        """Of each subscribed instrument; may be changed while it runs."""
        self.late_updates = 0
        """Updates that were due but left out, since the simulator itself could not keep up."""
        self._next_number = 0
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    @property
    def ws_url(self) -> str:
        """WebSocket root, to be given to a client as `root`."""
        return f"ws://{self._address(self._ws_port)}"

    @property
    def _ws_port(self) -> int:
        if self._server is None:
            raise RuntimeError("the simulator is not open: use `async with`")
        return int(next(iter(self._server.sockets)).getsockname()[1])

    def _address(self, port: int) -> str:
        host = "127.0.0.1" if self.config.host in {"0.0.0.0", "::", ""} else self.config.host  # noqa: S104
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await self._listen()
        if not self.config.stepped:
            self._tasks = [
                asyncio.create_task(self._run_heartbeats(), name="simulator-heartbeats"),
                asyncio.create_task(self._run_market(), name="simulator-market"),
            ]
        return self

    async def _listen(self) -> Server:
        try:
            return await serve(
                self._serve_socket,
                self.config.host,
                self.config.ws_port,
                process_request=self._admit,
                create_connection=TappedConnection,
                compression=None,
                ping_interval=None,
                close_timeout=_CLOSE_TIMEOUT_SECONDS,
                server_header=None,
                logger=_websocket_log,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError("ws_port", self.config.host, self.config.ws_port) from error
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._server is not None:
            for socket in self.sockets:
                tap = socket.connection.tap
                if tap.silent or tap.slow:  # it could not take part in a closing handshake
                    tap.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    # -- handshake and the life of a socket

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        query = parse_qs(urlsplit(request.path).query)
        api_key = query.get("api_key", [""])[0]
        access_token = query.get("access_token", [""])[0]
        try:
            account = self.access.admit(api_key, access_token)
        except RefusedError as refused:
            self._notify()
            phrase = http.HTTPStatus(refused.status).phrase
            return connection.respond(refused.status, f"{phrase}: {refused.message}\n")
        # not in a finally of the handler: a handshake that breaks off never gets there
        cast("TappedConnection", connection).on_lost = partial(self._released, account.api_key)
        connection.username = account.api_key
        return None

    def _released(self, api_key: str) -> None:
        self.access.release(api_key)
        self._notify()

    async def _serve_socket(self, connection: ServerConnection) -> None:
        account = self.access.entry(connection.username).account
        socket = SimulatedSocket(
            cast("TappedConnection", connection),
            self._next_number,
            account.api_key,
            account.user_id,
            backlog_bytes=int(self.config.backlog_mib * 2**20),
            log_frames=self.config.sent_log_frames,
        )
        self._next_number += 1
        self.feed.attach(socket)
        self._notify()
        try:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    message = await connection.recv()
                    text = message if isinstance(message, str) else message.decode(errors="replace")
                    self.feed.request(socket, text)
                    self._notify()
        finally:
            self.feed.detach(socket)
            self._notify()

    # -- what runs by itself, unless stepped

    async def _run_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.config.heartbeat_seconds)
            self.feed.heartbeat()

    async def _run_market(self) -> None:
        monotonic = asyncio.get_running_loop().time
        started = previous = monotonic()
        due = 0.0
        while True:
            await asyncio.sleep(_MARKET_PERIOD_SECONDS)
            now = monotonic()
            rate = self.feed.streaming * self.updates_per_second
            if (now - started) % self.config.burst_every_seconds < self.config.burst_seconds:
                rate *= self.config.burst_factor
            due += rate * (now - previous)
            previous = now
            # after a pause of the process: go on from here, do not send the whole pause at once
            if due > (most := max(rate, 1.0)):
                self.late_updates += int(due - most)
                due = most
            updates = int(due)
            due -= updates
            self.feed.emit(updates)

    # -- what tests and faults use

    @property
    def sockets(self) -> list[SimulatedSocket]:
        """The open sockets, oldest first."""
        return list(self.feed.sockets.values())

    @property
    def requests(self) -> list[SeenRequest]:
        """The latest text frames of clients, oldest first; bounded."""
        return list(self.feed.requests)

    def open_sockets(self, api_key: str | None = None) -> int:
        """Sockets of an api_key (None: the first account) that are open."""
        return self.access.open_sockets(api_key)

    def max_open_sockets(self, api_key: str | None = None) -> int:
        """The most that ever were open at once."""
        return self.access.max_open_sockets(api_key)

    def subscriptions(self) -> dict[int, str]:
        """Token to mode over all sockets; the highest mode where several subscribe."""
        merged: dict[int, str] = {}
        for socket in self.sockets:
            for token, mode in socket.subscriptions.items():
                merged[token] = max(
                    mode, merged.get(token, mode), key=("ltp", "quote", "full").index
                )
        return merged

    def set_token(self, access_token: str, *, api_key: str | None = None) -> None:
        """From now on this is the good access_token, and the only one."""
        self.access.set_token(access_token, api_key)

    def expire_token(self, *, api_key: str | None = None) -> None:
        """No token is good until `set_token` or a login; None: of every api_key.

        Open sockets stay open, as on the real feed.
        """
        self.access.expire_token(api_key)

    async def step(self, updates: int = 1) -> list[int]:
        """Move the next `updates` instruments in subscription order, and send their packets.

        Returns:
            the instrument_tokens moved.
        """
        moved = self.feed.emit(updates)
        await asyncio.sleep(0)
        return moved

    async def heartbeat(self, sockets: Iterable[int] | None = None) -> None:
        """Send the 1-byte frame now."""
        self.feed.heartbeat(sockets)
        await asyncio.sleep(0)

    async def send_frame(self, payload: bytes, *, sockets: Iterable[int] | None = None) -> int:
        """Send any bytes as one binary frame; returns how many sockets it went to."""
        reached = self.feed.send_frame(payload, sockets)
        await asyncio.sleep(0)
        return reached

    async def send_text(
        self, message: str | dict[str, Any], *, sockets: Iterable[int] | None = None
    ) -> int:
        """Send a text frame: a string as it is, a dict as JSON."""
        reached = self.feed.send_text(message, sockets)
        await asyncio.sleep(0)
        return reached

    async def post_order(self, order: dict[str, Any], *, api_key: str | None = None) -> int:
        """Send an order update to all sockets of the account's user."""
        reached = self.feed.post_order(self.access.entry(api_key).account.user_id, order)
        await asyncio.sleep(0)
        return reached

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for a condition over this server's state.

        It is checked whenever a socket opens, closes or sends a request.

        Raises:
            TimeoutError: it did not come true in `seconds`.
        """
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
