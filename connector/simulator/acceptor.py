"""The WebSocket port: handshakes with Kite's refusals, and the life of each socket."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import cast
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connector.errors import not_listening
from connector.simulator.access import Access, RefusedError
from connector.simulator.config import SimulatorConfig
from connector.simulator.feed import Feed
from connector.simulator.sockets import SimulatedSocket, TappedConnection

_CLOSE_TIMEOUT_SECONDS = 1.0

# above INFO: at lower levels websockets logs request lines, and with them tokens
_websocket_log = logging.getLogger("connector.simulator.websockets")
_websocket_log.setLevel(logging.ERROR)


class Acceptor:
    """Listens, lets in or refuses, and hands each socket's requests to the feed.

    Args:
        config: address and limits.
        access: who may come in.
        feed: what sockets are attached to.
        changed: called after whatever tests may wait for.
    """

    def __init__(
        self, config: SimulatorConfig, access: Access, feed: Feed, changed: Callable[[], None]
    ) -> None:
        self._config = config
        self._access = access
        self._feed = feed
        self._changed = changed
        self._next_number = 0  # of sockets, over the server's life
        self._server: Server | None = None  # None: not open

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise RuntimeError("the simulator is not open: use `async with`")
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def open(self) -> None:
        """Listen on the WebSocket port.

        Raises:
            PortInUseError: another program has the port.
            SettingsError: the host is not this machine's, or the port is not for everybody.
        """
        config = self._config
        try:
            self._server = await serve(
                self._serve_socket,
                config.host,
                config.ws_port,
                process_request=self._admit,
                create_connection=TappedConnection,
                compression=None,  # as Kite's feed, which offers none
                ping_interval=None,  # its heartbeats are binary frames
                close_timeout=_CLOSE_TIMEOUT_SECONDS,
                server_header=None,
                logger=_websocket_log,
            )
        except OSError as error:
            raise not_listening(error, "ws_port", config.ws_port, "host", config.host) from error

    async def close(self) -> None:
        """Close every socket with 1001, and the port."""
        if self._server is None:
            return
        # before the others close: each would hold the end up for its time-out
        for socket in list(self._feed.sockets.values()):
            tap = socket.connection.tap
            if tap.silent or tap.slow:  # it could not take part in a closing handshake
                tap.abort()
        self._server.close()
        await self._server.wait_closed()
        self._server = None

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        query = parse_qs(urlsplit(request.path).query)
        api_key = query.get("api_key", [""])[0]
        access_token = query.get("access_token", [""])[0]
        try:
            account = self._access.admit(api_key, access_token)
        except RefusedError as refused:
            self._changed()
            return _refusal(connection, refused)
        # not in a finally of the handler: a handshake that breaks off never gets there
        cast("TappedConnection", connection).on_lost = partial(self._release, account.api_key)
        connection.username = account.api_key
        return None

    def _release(self, api_key: str) -> None:
        self._access.release(api_key)
        self._changed()

    async def _serve_socket(self, connection: ServerConnection) -> None:
        account = self._access.entry(connection.username).account
        socket = SimulatedSocket(
            cast("TappedConnection", connection),
            self._next_number,
            account.api_key,
            account.user_id,
            backlog_bytes=int(self._config.backlog_mib * 2**20),
            log_frames=self._config.sent_log_frames,
        )
        self._next_number += 1
        self._feed.attach(socket)
        self._changed()
        try:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    message = await connection.recv()
                    text = message if isinstance(message, str) else message.decode(errors="replace")
                    self._feed.request(socket, text)
                    self._changed()
        finally:
            self._feed.detach(socket)
            self._changed()


def _refusal(connection: ServerConnection, refused: RefusedError) -> Response:
    """The answer of a refused handshake: Kite's JSON, or the page of whoever stands before it."""
    if refused.page is not None:
        response = connection.respond(refused.status, refused.page)
        content_type = "text/html; charset=utf-8"
    else:
        body = {
            "status": "error", "message": refused.message, "data": None,
            "error_type": refused.error_type,
        }  # fmt: skip
        response = connection.respond(refused.status, json.dumps(body))
        content_type = "application/json"
    # headers of websockets are a multi-dict: setting one adds a second
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = content_type
    return response
