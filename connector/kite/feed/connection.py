"""One supervised connection: opens a socket, keeps it, and opens the next one when it is gone.

The session decides what to ask for, the watchdog when the socket is dead, the handler what becomes
of frames, and `opening` opens sockets; this module owns the one that is open, the timers and the
state. Frames go from the socket to the handler in one call, without a task or a queue between.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Self

from connector.errors import (
    CapacityError,
    ConnectionClosedError,
    FeedError,
    SilentConnectionError,
    TokenMissingError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.callbacks import check_handler
from connector.kite.clock import SYSTEM_CLOCK, Clock, Timer
from connector.kite.config import ConnectionConfig
from connector.kite.feed.backoff import Pauses
from connector.kite.feed.credentials import Credentials
from connector.kite.feed.event_reporter import EventReporter
from connector.kite.feed.events import ConnectionState, EventType
from connector.kite.feed.handler import FlowControlled, Handler, Watching
from connector.kite.feed.opening import ROOT, Opener, Opening
from connector.kite.feed.session import Notice, Session, SessionStep
from connector.kite.feed.socket import FeedSocket, open_socket
from connector.kite.feed.stats import ConnectionStats
from connector.kite.feed.stream import Stream
from connector.kite.feed.wait import Wait
from connector.kite.feed.watchdog import SocketVerdict, Watchdog
from connector.kite.wire.messages import TOO_LONG, parse_message
from connector.kite.wire.models import Mode, TextMessage


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
        check_handler(handler)
        self.slot = slot
        self.credentials = credentials
        self._config = config  # shared by all connections, and frozen
        self._handler = handler  # what becomes of frames, texts and events
        self._clock = clock
        # between tries, spread by chance: replicas lose a restarted feed together
        self._pauses = Pauses(config, random)
        # state, session_id, events and log: nobody else writes them
        self._report = EventReporter(slot, credentials.name, handler, clock)
        self._opening = Opening(
            root, credentials, opener, config.connection_timeout_seconds, self._report
        )
        # over all sockets: what is wanted survives them, what is asked for and seen does not
        self._session = Session(
            capacity=config.max_symbols_per_connection,
            confirm_timeout_seconds=config.confirm_timeout_seconds,
            confirm_attempts=config.confirm_attempts,
            round_seconds=config.stall_threshold_seconds,
        )
        self._watchdog = Watchdog(config)  # of the present socket
        self._stream = Stream(self._session)  # what should tick now, and what is wrong
        # the supervisor, from `start` to `close`; it alone opens sockets, one at a time
        self._task: asyncio.Task[None] | None = None
        # the open socket; None while there is none, and then nothing is sent
        self._socket: FeedSocket | None = None
        self._pulse_timer: Timer | None = None  # next look at silence, while a socket is open
        # why the present socket ended: (close code, reason)
        self._lost: asyncio.Future[tuple[int | None, str]] | None = None
        self._waiting = Wait(clock)  # of the supervisor, between sockets
        # what the first try since `start` came to; resolved once, whatever follows
        self._outcome: asyncio.Future[FeedError | None] | None = None
        self._reconnect_now = False  # it was asked for: the next try waits for nothing
        self._closing = False  # for good: no socket is opened any more
        self._paused = False  # the handler holds reading: silence proves nothing

        # hot: bound once, counted as plain ints
        self._time_us = clock.time_us
        self._frame = handler.frame
        # frames that are no heartbeats, their bytes, and what came besides, since the start
        self._frames = 0
        self._bytes = 0
        self._heartbeats = 0
        self._messages = 0
        self._control_frames = 0
        # receive times: of any frame, which proves life, and of the last one with ticks
        self._last_frame_us = 0
        self._last_tick_us = 0
        self._opened_us = 0  # when the present socket did, or the last one
        # until when heartbeats told enough, since no market was open
        self._idle_until_us = 0

        # whether another process may have had this slot, and its last frame where that is known
        self._continues = False
        self._predecessor_frame_us: int | None = None

        # sockets that opened, tries that did not, and why the last one ended or failed
        self._connects = 0
        # whose ticks are missed too where they are given up before the next socket
        self._desired_when_lost: tuple[int, ...] = ()
        # when that one ended, in the clock's monotonic seconds
        self._lost_at = 0.0
        self._failures = 0
        self._last_error = ""
        # how to see that an instrument still ticks; None where the handler cannot
        self._watch = handler.watch if isinstance(handler, Watching) else None
        if isinstance(handler, FlowControlled):
            handler.flow(self)

    def __repr__(self) -> str:
        name = self.credentials.name
        return f"Connection(slot={self.slot}, account={name!r}, {self._report.state.value})"

    # life

    def start(self) -> None:
        """Begin to connect; returns at once.

        Raises:
            ConnectionClosedError: it was closed.
        """
        if self._closing:
            raise ConnectionClosedError("this connection was closed")
        if self._task is None or self._task.done():  # done: it has given up, see FAILED
            loop = asyncio.get_running_loop()
            self._outcome = loop.create_future()
            self._task = loop.create_task(self._run(), name=f"kite-slot-{self.slot}")
            self._task.add_done_callback(self._supervised)

    def continue_from(self, last_frame_us: int | None) -> None:
        """Report a GAP at the first opening too: another process had this slot before.

        Args:
            last_frame_us: when that one received its last frame, UTC microseconds; None where
                nobody knows, and then the event has no beginning.
        """
        self._continues = True
        self._predecessor_frame_us = last_frame_us

    async def first_outcome(self) -> FeedError | None:
        """What the first try came to since `start`: None for an open socket."""
        if self._outcome is None:
            raise ConnectionClosedError("this connection was not started")
        # shared: of several who wait one may be cancelled
        return await asyncio.shield(self._outcome)

    async def close(self) -> None:
        """Close the socket and stop for good; the handler's last event is CLOSED."""
        self._closing = True
        # both to the end also where this is cancelled: the socket is cut then, and readers are told
        try:
            try:
                if self._socket is not None:
                    await self._socket.close()
            finally:
                if self._task is not None:
                    self._task.cancel()
            if self._task is not None:
                await asyncio.wait([self._task])  # `await` would raise its cancellation here
        finally:
            self._closed()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reconnect(self) -> None:
        """Close the socket and connect at once, also out of FAILED or any wait."""
        self._pauses.begin_anew()  # whoever asks has reason to think that it works now
        if self._report.state is ConnectionState.FAILED:
            self.start()
        elif self._socket is not None:
            self._reconnect_now = True
            lost = self._lost
            await self._socket.close()
            # a socket that is held tells of no end; the next one, if it is there by now, goes on
            if self._lost is lost:
                self._end_socket(None, "")
        else:
            self._waiting.end()

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
        """Return what should be streamed: token to mode."""
        return dict(self._session.desired)

    def silent_tokens(self) -> list[int]:
        """Return the instruments that have sent no packet on the present socket."""
        return self._session.silent_tokens()

    def unserved(self) -> list[tuple[int, float]]:
        """Return who has sent nothing in market hours although asked again, with the seconds."""
        return self._stream.unserved_for(self._clock.monotonic())

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._report.state

    @property
    def last_frame_us(self) -> int:
        """When the last frame came that counts as served, UTC microseconds; 0 before the first.

        The heartbeats of a socket that was asked for ticks and has sent none do not. Any thread.
        """
        return self.gap_from_us if self._watchdog.in_doubt else self._last_frame_us

    @property
    def gap_from_us(self) -> int:
        """Since when ticks may be missing if the socket ends now, UTC microseconds; 0: never.

        In market hours since the last tick, or the opening: what sends heartbeats alone may be mute
        since then, and nobody has asked it yet. Else since the last frame. Any thread.
        """
        if self._stream.wanted or self._watchdog.in_doubt:
            return max(self._last_tick_us, self._opened_us, self._idle_until_us)
        return self._last_frame_us

    @property
    def stats(self) -> ConnectionStats:
        """The counts as they are now."""
        return ConnectionStats(
            slot=self.slot,
            account=self.credentials.name,
            state=self._report.state,
            session_id=self._report.session_id,
            desired=len(self._session.desired),
            confirmed=self._session.confirmed_count,
            unconfirmed=self._session.unconfirmed_count,
            silent=self._session.silent_count,
            given_up=self._session.given_up_count,
            unserved=self._session.unserved_count,
            frames=self._frames,
            bytes=self._bytes,
            heartbeats=self._heartbeats,
            messages=self._messages,
            control_frames=self._control_frames,
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            failures=self._failures,
            handler_errors=self._report.handler_errors,
            last_frame_us=self._last_frame_us,
            last_tick_us=self._last_tick_us,
            stalled=self._watchdog.stalled,
            trouble=self._stream.trouble,
            renewals=self._stream.renewals,
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
        if len(data) < 2:  # of one byte, about each second (kite.trade/docs/connect/v3/websocket)
            self._heartbeats += 1
            return
        self._last_tick_us = now_us
        self._frames += 1
        self._bytes += len(data)
        try:
            confirmed = self._frame(data, now_us)
            # in here too: what a handler returns may be as wrong as what it does
            if not confirmed:
                return
            notices = self._session.confirm(confirmed, self._clock.monotonic())
        except BaseException as error:  # noqa: BLE001 -- whatever a handler does, the socket lives
            self._report.handler_failed(error)
            return
        self._emit(notices)

    def text_received(self, text: str) -> None:
        """Decode a text frame; nothing that it may hold does harm."""
        self._last_frame_us = self._time_us()
        self._messages += 1
        self._report.call(self._handler.message, parse_message(text), text)

    def text_too_long(self, beginning: str, size_bytes: int) -> None:
        """Hand on the beginning of a text frame that is not read."""
        self._last_frame_us = self._time_us()
        self._messages += 1
        message = TextMessage("", beginning, TOO_LONG, size_bytes)
        self._report.call(self._handler.message, message, beginning)

    def control_received(self) -> None:
        """Note a ping or a pong: the peer lives."""
        self._last_frame_us = self._time_us()
        self._control_frames += 1

    def socket_lost(self, code: int | None, reason: str) -> None:
        """End the session of a socket that is gone."""
        self._end_socket(code, reason)

    # the supervisor

    async def _run(self) -> None:
        try:
            await self._supervise()
        except Exception as error:  # noqa: BLE001
            # a defect of this module: a slot that stands still must at least be seen to
            self._report.defect("supervisor_failed", error)
            self._report.enter(
                ConnectionState.FAILED, EventType.FAILED, f"internal error: {type(error).__name__}"
            )

    def _supervised(self, task: asyncio.Task[None]) -> None:
        # by `close`, or by whoever ended all tasks of the loop, as asyncio.run does: then nobody
        # else would say so, and readers would wait for ever
        if task.cancelled():
            self._closing = True
            self._closed()

    def _closed(self) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(ConnectionClosedError("closed while connecting"))
        if self._report.state is not ConnectionState.CLOSED:
            self._report.enter(ConnectionState.CLOSED, EventType.CLOSED)

    async def _supervise(self) -> None:
        while True:
            try:
                token = self._opening.token()
                self._report.enter(ConnectionState.CONNECTING, EventType.CONNECTING)
                socket = await self._opening.socket(token, self)
            except (TokenRejectedError, TokenMissingError) as error:
                # the token is looked at when a socket connects, and ends each morning: a human
                # has to log in, so that to try on as before would be in vain
                await self._wait_for_token(error)
            except TooManyConnectionsError as error:
                # HTTP 429, also for a socket that has just closed: no failure, no back-off
                await self._wait(
                    self._pauses.for_slot(error.retry_after_seconds),
                    ConnectionState.WAITING_FOR_SLOT,
                    EventType.WAITING_FOR_SLOT,
                    self._failed(error),
                )
            except FeedError as error:
                asked_seconds, reason = error.retry_after_seconds, self._failed(error)
                if not await self._back_off(EventType.BACKING_OFF, reason, asked_seconds):
                    return
            else:
                self._pauses.opened()
                opened_at = self._clock.monotonic()
                code, self._last_error = await self._serve(socket)
                if self._closing:
                    return
                if self._clock.monotonic() - opened_at >= self._config.liveness_threshold_seconds:
                    # it was a working connection, not one that a sick server drops at once
                    self._pauses.begin_anew()
                if self._reconnect_now:
                    self._reconnect_now = False
                    self._report.enter(
                        ConnectionState.CONNECTING,
                        EventType.DISCONNECTED,
                        "a reconnect was asked for",
                        code=code,
                    )
                elif not await self._back_off(EventType.DISCONNECTED, self._last_error, code=code):
                    return

    async def _serve(self, socket: FeedSocket) -> tuple[int | None, str]:
        """Use a socket until it ends; returns the close code and the reason."""
        self._lost = asyncio.get_running_loop().create_future()
        self._socket = socket
        now = self._clock.monotonic()
        now_us = self._clock.time_us()
        now_ms = now_us // 1000
        gap_from_ms = self._gap_from_ms(now, now_ms)
        self._opened_us = now_us
        # two sockets of a slot never share a session, not even when the clock is set back
        self._report.session_id = max(now_ms, self._report.session_id + 1)
        self._connects += 1
        self._watchdog.open(now, self._frames_of_any_kind(), self._frames)
        # before any event or frame of the session: the handler numbers ticks by it
        self._report.call(self._handler.opened, self._report.session_id)
        self._report.enter(ConnectionState.CONNECTED, EventType.CONNECTED)
        if self._connects > 1 or self._continues:
            concerned = tuple(dict.fromkeys((*self._desired_when_lost, *self._session.desired)))
            self._report.emit(
                EventType.GAP,
                gap_from_ms=gap_from_ms, gap_to_ms=max(gap_from_ms or 0, now_ms),
                instruments=len(concerned), tokens=concerned,
            )  # fmt: skip
        # before `resume`: the handler has to expect snapshots when the first of them comes
        self._apply(self._session.opened(now))
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(None)
        self._pulse_timer = self._clock.call_later(self._watchdog.interval_seconds, self._pulse)
        if self._paused:
            socket.pause()
        else:
            socket.resume()
        try:
            return await self._lost
        finally:
            self._pulse_timer.cancel()
            self._socket = None
            self._desired_when_lost = tuple(self._session.desired)
            self._lost_at = self._clock.monotonic()
            self._session.closed()
            socket.abort()  # harmless to one that is gone; this task may have been cancelled

    def _gap_from_ms(self, now: float, now_ms: int) -> int | None:
        """When the last frame before a new socket came; None where another process knows it."""
        if self._connects == 0:
            known_us = self._predecessor_frame_us
            return None if known_us is None else known_us // 1000
        # a socket that never sent a frame was still there to receive from its connect on
        last_ms = max(self.gap_from_us // 1000, self._report.session_id)
        # a clock that was set back since then must not hide how long there was no socket
        return min(last_ms, now_ms - round((now - self._lost_at) * 1000))

    def _pulse(self) -> None:
        """Look at the connection, about each second."""
        socket = self._socket
        if socket is None:
            return
        now = self._clock.monotonic()
        stream = self._stream
        stream.measure(datetime.fromtimestamp(self._clock.time_us() / 1e6, UTC))
        if not stream.wanted and not self._watchdog.in_doubt:
            self._idle_until_us = self._last_frame_us
        for verdict in self._watchdog.look(
            now,
            self._frames_of_any_kind(),
            self._frames,
            paused=self._paused,
            expecting=stream.wanted > 0,
            unserved=stream.unserved > 0,
        ):
            match verdict:
                case SocketVerdict.PING:
                    socket.ping()
                case SocketVerdict.PROBE:
                    self._apply(self._session.probe())
                case SocketVerdict.STALLED:
                    self._report.emit(
                        EventType.STALLED,
                        f"frames, but no ticks for {self._watchdog.quiet_seconds(now):g} s",
                        instruments=len(self._session.desired),
                    )
                    # the feed may have lost the requests: once more, before the socket goes
                    self._apply(self._session.ask_all())
                case SocketVerdict.TICKS_RESUMED:
                    self._report.emit(EventType.TICKS_RESUMED)
                case SocketVerdict.RENEW:
                    stream.judge(self._watchdog, now)
                    if self._config.max_reconnect_attempts != 0:  # else this is the last one
                        self._end_socket(None, stream.renewed(self._watchdog, now))
                        return
                case SocketVerdict.DEAD:
                    error = SilentConnectionError(self._watchdog.silent_seconds(now))
                    self._end_socket(None, str(error))
                    return
        stream.judge(self._watchdog, now)
        if self._watch is not None:
            self._apply(self._session.roll_call(stream.trading, now, paused=self._paused))
        if not self._paused:  # what is held back may be the very confirmations
            self._apply(self._session.check(now))
        self._pulse_timer = self._clock.call_later(self._watchdog.interval_seconds, self._pulse)

    def _end_socket(self, code: int | None, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result((code, reason))

    # waiting

    async def _back_off(
        self, event: EventType, reason: str, asked_seconds: float = 0.0, *, code: int | None = None
    ) -> bool:
        """Wait before the next try; False where there is none."""
        if self._pauses.used_up:
            if event is EventType.DISCONNECTED:
                self._report.emit(event, reason, code=code)
            self._report.enter(ConnectionState.FAILED, EventType.FAILED, reason)
            return False
        seconds = self._pauses.after_failure(asked_seconds)
        await self._wait(seconds, ConnectionState.BACKING_OFF, event, reason, code=code)
        return True

    async def _wait(
        self,
        seconds: float,
        state: ConnectionState,
        event: EventType,
        reason: str,
        *,
        code: int | None = None,
    ) -> None:
        """Wait in a state, unless `reconnect` wakes it."""
        self._report.enter(state, event, reason, seconds=seconds, code=code)
        await self._waiting.for_seconds(seconds)

    async def _wait_for_token(self, error: FeedError) -> None:
        """Wait for another token; one that was refused is tried again all the same, slowly."""
        seconds = self._pauses.for_token()
        reason = self._failed(error)
        self._report.enter(
            ConnectionState.WAITING_FOR_TOKEN, EventType.WAITING_FOR_TOKEN, reason, seconds=seconds
        )
        version = self._opening.token_version
        await self._waiting.for_change(
            self.credentials.changed(version),
            seconds,
            lambda failure: self._report.defect("credentials_watch_failed", failure),
        )
        if self.credentials.version != version:
            self._pauses.token_changed()

    def _apply(self, step: SessionStep) -> None:
        # the handler first: the answer to a request may be the next frame
        if step.forget:
            self._report.call(self._handler.forget, step.forget)
        if step.expect:
            self._report.call(self._handler.expect, step.expect)
        if step.watch and self._watch is not None:
            self._report.call(self._watch, step.watch)
        if self._socket is not None:  # else all of it is asked for when the next one opens
            for request in step.requests:
                self._socket.send(str(request))
        self._emit(step.notices)

    def _emit(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._report.emit(
                notice.type, notice.reason, instruments=notice.instruments, tokens=notice.tokens
            )

    def _failed(self, error: FeedError) -> str:
        self._failures += 1
        self._last_error = str(error)
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(error)
        return self._last_error

    def _frames_of_any_kind(self) -> int:
        return self._frames + self._heartbeats + self._messages + self._control_frames
