"""One supervised connection: opens a socket, keeps it, and opens the next one when it is gone.

The session decides what to ask for, the watchdog when the socket is dead, the handler what becomes
of frames; this module owns the socket, the timers and the state. Frames go from the socket to the
handler in one call, without a task or a queue between.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as random_module
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import structlog
from pydantic import SecretStr

from connector.errors import (
    CapacityError,
    ConnectionClosedError,
    FeedError,
    SilentConnectionError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.clock import SYSTEM_CLOCK, Clock, Timer
from connector.kite.config import ConnectionConfig
from connector.kite.credentials import Credentials
from connector.kite.handler import FlowControlled, Handler
from connector.kite.messages import parse_message
from connector.kite.models import ConnectionEvent, ConnectionState, EventType, Mode
from connector.kite.session import Session, Step
from connector.kite.socket import FeedSocket, SocketListener, check_root, open_socket
from connector.kite.stats import ConnectionStats
from connector.kite.watchdog import Verdict, Watchdog

ROOT = "wss://ws.kite.trade"
"""Where Kite's feed is."""

Opener = Callable[[str, SecretStr, SecretStr, SocketListener, float], Awaitable[FeedSocket]]
"""Opens a socket: root, api_key, access_token, listener, seconds that it may take."""


class Connection:
    """One slot of an account: at most one socket at a time, reconnected until it is closed.

    All methods belong to the event loop's thread. The handler's methods are called from there too;
    an exception out of one is logged and counted, and never ends the connection.
    """

    def __init__(
        self,
        slot: int,
        credentials: Credentials,
        config: ConnectionConfig,
        handler: Handler,
        *,
        root: str = ROOT,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = random_module.random,
        opener: Opener = open_socket,
    ) -> None:
        check_root(root)
        self.slot = slot
        self.credentials = credentials
        self._config = config
        self._handler = handler
        self._root = root
        self._clock = clock
        self._random = random
        self._opener = opener
        self._log = structlog.get_logger("connector.kite").bind(slot=slot, account=credentials.name)
        self._session = Session(
            capacity=config.max_symbols_per_connection,
            confirm_timeout=config.confirm_timeout,
            confirm_attempts=config.confirm_attempts,
        )
        self._watchdog = Watchdog(config)
        self._state = ConnectionState.IDLE
        self._task: asyncio.Task[None] | None = None
        self._socket: FeedSocket | None = None
        self._pulse_timer: Timer | None = None
        # why the present socket ended: (close code, reason)
        self._lost: asyncio.Future[tuple[int | None, str]] | None = None
        # ends whatever the supervisor waits for, before its time
        self._wake: asyncio.Future[None] | None = None
        self._outcome: asyncio.Future[FeedError | None] | None = None
        self._reconnect_now = False
        self._closing = False
        self._paused = False
        # tries in a row since a socket last proved to be alive
        self._attempts = 0

        # hot: bound once, counted as plain ints
        self._time_us = clock.time_us
        self._frame = handler.frame
        self._frames = 0
        self._bytes = 0
        self._heartbeats = 0
        self._messages = 0
        self._control_frames = 0
        self._last_frame_us = 0
        self._last_tick_us = 0

        self._session_id = 0
        self._connects = 0
        self._failures = 0
        self._handler_errors = 0
        self._last_error = ""
        if isinstance(handler, FlowControlled):
            handler.flow(self)

    def __repr__(self) -> str:
        return f"Connection(slot={self.slot}, account={self.credentials.name!r}, {self._state})"

    # life

    def start(self) -> None:
        """Begin to connect; returns at once.

        Raises:
            ConnectionClosedError: it was closed.
        """
        if self._closing:
            raise ConnectionClosedError("this connection was closed")
        if self._task is None or self._task.done():
            loop = asyncio.get_running_loop()
            self._outcome = loop.create_future()
            self._task = loop.create_task(self._supervise(), name=f"kite-slot-{self.slot}")

    async def first_outcome(self) -> FeedError | None:
        """What the first try came to since `start`: None for an open socket."""
        if self._outcome is None:
            raise ConnectionClosedError("this connection was not started")
        return await asyncio.shield(self._outcome)

    async def close(self) -> None:
        """Close the socket and stop for good; the handler's last event is CLOSED."""
        if self._closing:
            if self._task is not None:
                await asyncio.wait([self._task])
            return
        self._closing = True
        if self._socket is not None:
            await self._socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(ConnectionClosedError("closed while connecting"))
        self._enter(ConnectionState.CLOSED, EventType.CLOSED)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reconnect(self) -> None:
        """Close the socket and connect at once, also out of FAILED or any wait."""
        self._attempts = 0
        if self._state is ConnectionState.FAILED:
            self.start()
        elif self._socket is not None:
            self._reconnect_now = True
            await self._socket.close()
            self._end_socket(None, "reconnect was asked for")
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # instruments

    def update(self, changes: Mapping[int, Mode | None]) -> None:
        """Change what is streamed, without reconnecting: token to mode, None to stop it.

        Raises:
            CapacityError: some tokens found no room; all other changes are made.
        """
        step = self._session.update(changes, self._clock.monotonic())
        self._apply(step)
        if step.refused:
            raise CapacityError(step.refused, self._config.max_symbols_per_connection)

    def desired(self) -> dict[int, Mode]:
        """What should be streamed."""
        return dict(self._session.desired)

    def silent_tokens(self) -> list[int]:
        """Instruments that have sent no packet on the present socket."""
        return self._session.silent_tokens()

    # looking at it

    @property
    def state(self) -> ConnectionState:
        """What the connection is doing."""
        return self._state

    @property
    def stats(self) -> ConnectionStats:
        """The counts as they are now."""
        return ConnectionStats(
            slot=self.slot,
            account=self.credentials.name,
            state=self._state,
            session_id=self._session_id,
            desired=len(self._session.desired),
            confirmed=self._session.confirmed_count,
            unconfirmed=self._session.unconfirmed_count,
            given_up=self._session.given_up_count,
            frames=self._frames,
            bytes=self._bytes,
            heartbeats=self._heartbeats,
            messages=self._messages,
            control_frames=self._control_frames,
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            failures=self._failures,
            handler_errors=self._handler_errors,
            last_frame_us=self._last_frame_us,
            last_tick_us=self._last_tick_us,
            stalled=self._watchdog.stalled,
            paused=self._paused,
            last_error=self._last_error,
        )

    # Flow, for a handler that holds reading

    def pause_reading(self) -> None:
        """Deliver nothing more until `resume_reading`."""
        self._paused = True
        if self._socket is not None:
            self._socket.pause()

    def resume_reading(self) -> None:
        """Go on; frames may be delivered before this returns."""
        self._paused = False
        if self._socket is not None:
            self._socket.resume()

    def ping(self) -> bool:
        """Send a ping now; False without an open socket."""
        if self._socket is None:
            return False
        self._socket.ping()
        return True

    # SocketListener

    def binary_received(self, data: bytes) -> None:
        """Stamp a frame and hand it over: everything that a tick costs here."""
        now_us = self._time_us()
        self._last_frame_us = now_us
        if len(data) < 2:
            self._heartbeats += 1
            return
        self._last_tick_us = now_us
        self._frames += 1
        self._bytes += len(data)
        try:
            confirmed = self._frame(data, now_us)
        except Exception:  # noqa: BLE001 -- whatever a handler does, the socket lives; it is logged
            self._handler_failed()
            return
        if confirmed:
            for notice in self._session.confirm(confirmed, self._clock.monotonic()):
                self._tell(notice.type, instruments=notice.instruments)

    def text_received(self, text: str) -> None:
        """Decode a text frame; nothing that it may hold does harm."""
        self._last_frame_us = self._time_us()
        self._messages += 1
        self._call(self._handler.message, parse_message(text), text)

    def control_received(self) -> None:
        """A ping or a pong: the peer lives."""
        self._last_frame_us = self._time_us()
        self._control_frames += 1

    def socket_lost(self, code: int | None, reason: str) -> None:
        """The socket is gone."""
        self._end_socket(code, reason)

    # the supervisor

    async def _supervise(self) -> None:
        while True:
            token = self.credentials.access_token()
            version = self.credentials.version
            if token is None:
                error: FeedError = TokenRejectedError(403, "no access_token is set")
                await self._wait_for_token(version, error)
                continue
            self._enter(ConnectionState.CONNECTING, EventType.CONNECTING)
            try:
                socket = await self._opener(
                    self._root,
                    self.credentials.api_key,
                    token,
                    self,
                    self._config.connection_timeout,
                )
            except TokenRejectedError as error:
                await self._wait_for_token(version, error)
            except TooManyConnectionsError as error:
                await self._wait_for_slot(error)
            except FeedError as error:
                self._failed(error)
                if not await self._back_off(EventType.BACKING_OFF, str(error)):
                    return
            else:
                opened_at = self._clock.monotonic()
                code, reason = await self._serve(socket)
                if self._closing:
                    return
                if self._clock.monotonic() - opened_at >= self._config.liveness_threshold:
                    # it was a working connection, not one that a sick server drops at once
                    self._attempts = 0
                if self._reconnect_now:
                    self._reconnect_now = False
                    self._enter(
                        ConnectionState.CONNECTING, EventType.DISCONNECTED, reason, code=code
                    )
                elif not await self._back_off(EventType.DISCONNECTED, reason, code):
                    return

    async def _serve(self, socket: FeedSocket) -> tuple[int | None, str]:
        """Use a socket until it ends; returns the close code and the reason."""
        self._lost = asyncio.get_running_loop().create_future()
        self._socket = socket
        now_us = self._clock.time_us()
        gap_from_ms = self._last_frame_us // 1000
        # two sockets of a slot never share a session, not even when the clock is set back
        self._session_id = max(now_us // 1000, self._session_id + 1)
        self._connects += 1
        now = self._clock.monotonic()
        self._watchdog.open(now, self._frames_of_any_kind(), self._frames)
        self._call(self._handler.opened, self._session_id)
        self._enter(ConnectionState.CONNECTED, EventType.CONNECTED)
        if self._connects > 1:
            self._tell(
                EventType.GAP,
                gap_from_ms=gap_from_ms,
                gap_to_ms=max(gap_from_ms, self._session_id),
                instruments=len(self._session.desired),
            )
        self._apply(self._session.opened(now))
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(None)
        self._pulse_timer = self._clock.call_later(self._watchdog.interval_seconds, self._pulse)
        if not self._paused:
            socket.resume()
        try:
            return await self._lost
        finally:
            self._pulse_timer.cancel()
            self._socket = None
            self._session.closed()
            socket.abort()

    def _pulse(self) -> None:
        """A look at the connection, about each second."""
        socket = self._socket
        if socket is None:
            return
        now = self._clock.monotonic()
        for verdict in self._watchdog.look(
            now,
            self._frames_of_any_kind(),
            self._frames,
            paused=self._paused,
            expecting=bool(self._session.desired),
        ):
            match verdict:
                case Verdict.PING:
                    socket.ping()
                case Verdict.STALLED:
                    self._log.warning("frames but no ticks")
                    self._tell(EventType.STALLED, instruments=len(self._session.desired))
                case Verdict.TICKS_RESUMED:
                    self._log.info("ticks again")
                    self._tell(EventType.TICKS_RESUMED)
                case Verdict.DEAD:
                    error = SilentConnectionError(self._watchdog.silent_seconds(now))
                    self._end_socket(None, str(error))
                    return
        if not self._paused:  # held frames may be the very confirmations
            self._apply(self._session.check(now))
        self._pulse_timer = self._clock.call_later(self._watchdog.interval_seconds, self._pulse)

    def _end_socket(self, code: int | None, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result((code, reason))

    async def _back_off(self, event: EventType, reason: str, code: int | None = None) -> bool:
        """Wait before the next try; False where there is none."""
        limit = self._config.max_reconnect_attempts
        if limit is not None and self._attempts >= limit:
            if event is EventType.DISCONNECTED:
                self._tell(event, reason=reason, code=code)
            self._enter(ConnectionState.FAILED, EventType.FAILED, reason)
            return False
        self._attempts += 1
        delay = backoff_seconds(self._attempts, self._config, self._random)
        self._enter(ConnectionState.BACKING_OFF, event, reason, code=code, seconds=round(delay, 3))
        await self._sleep(delay)
        return True

    async def _wait_for_token(self, version: int, error: FeedError) -> None:
        self._failed(error)
        self._enter(ConnectionState.WAITING_FOR_TOKEN, EventType.WAITING_FOR_TOKEN, str(error))
        changed = asyncio.ensure_future(self.credentials.changed(version))
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([changed, self._wake], return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await changed
        self._attempts = 0

    async def _wait_for_slot(self, error: FeedError) -> None:
        self._failed(error)
        # from half to one and a half: several connections wait for slots of the same account
        delay = self._config.slot_wait * (0.5 + self._random())
        self._enter(
            ConnectionState.WAITING_FOR_SLOT,
            EventType.WAITING_FOR_SLOT,
            str(error),
            seconds=round(delay, 3),
        )
        await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless `reconnect` wakes it."""
        wake = self._wake = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(
            seconds, lambda: None if wake.done() else wake.set_result(None)
        )
        try:
            await wake
        finally:
            timer.cancel()

    # telling

    def _apply(self, step: Step) -> None:
        if step.forget:
            self._call(self._handler.forget, step.forget)
        if step.expect:
            self._call(self._handler.expect, step.expect)
        if self._socket is not None:
            for request in step.requests:
                self._socket.send(str(request))
        for notice in step.notices:
            if notice.type is EventType.UNCONFIRMED:
                self._log.warning(
                    "instruments stay unconfirmed", count=notice.instruments, reason=notice.reason
                )
            self._tell(
                notice.type,
                instruments=notice.instruments,
                tokens=notice.tokens,
                reason=notice.reason,
            )

    def _failed(self, error: FeedError) -> None:
        self._failures += 1
        self._last_error = str(error)
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(error)

    def _enter(
        self,
        state: ConnectionState,
        event: EventType,
        reason: str = "",
        code: int | None = None,
        **logged: Any,
    ) -> None:
        """Change the state: log it on the edge, tell the handler."""
        edge = state is not self._state
        self._state = state
        if event is EventType.DISCONNECTED:
            self._last_error = reason
        if edge or event is EventType.DISCONNECTED:
            calm = state in _CALM and event is not EventType.DISCONNECTED
            log = self._log.info if calm else self._log.warning
            if state is not ConnectionState.CONNECTING or event is EventType.DISCONNECTED:
                details = {"reason": reason} if reason else {}
                log(event.value.replace("_", " "), **details, **logged)
        self._tell(event, reason=reason, code=code)

    def _tell(self, event: EventType, **details: Any) -> None:
        self._call(
            self._handler.event,
            ConnectionEvent(
                event,
                self.slot,
                self._clock.time_us() // 1000,
                self._session_id or None,
                self._state,
                **details,
            ),
        )

    def _call(self, method: Callable[..., object], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:  # noqa: BLE001 -- as above
            self._handler_failed()

    def _handler_failed(self) -> None:
        self._handler_errors += 1
        # on the first and each power of two: it may fail on every frame
        if self._handler_errors & (self._handler_errors - 1) == 0:
            self._log.exception("the handler failed", count=self._handler_errors)

    def _frames_of_any_kind(self) -> int:
        return self._frames + self._heartbeats + self._messages + self._control_frames


_CALM = {ConnectionState.CONNECTED, ConnectionState.CLOSED, ConnectionState.CONNECTING}


def backoff_seconds(attempt: int, config: ConnectionConfig, random: Callable[[], float]) -> float:
    """Exponential with full jitter: anywhere from 0 to a ceiling that doubles up to the cap.

    Full, since all connections of all replicas lose a restarted feed at the same moment.
    """
    # the exponent is bounded, or a float overflows after days of tries
    ceiling = config.reconnect_min_delay * 2.0 ** min(attempt - 1, 32)
    return random() * min(ceiling, config.reconnect_max_delay)
