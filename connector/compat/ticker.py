"""`KiteTicker`: constructor, attributes, callbacks and methods of Kite's official Python client.

The engine is that of the library: one supervised `Connection` on an event loop of this object's
own, in the calling thread while `connect()` blocks, else in a thread. Callbacks come from there,
one at a time; every method may be called from a callback or from any other thread.

Source: kiteconnect 5.2.0, its documented interface and the behaviour of a running one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from pydantic import SecretStr

from connector.compat.ticks import FULL, LTP, QUOTE, TickDict, tick_dicts
from connector.errors import CapacityError
from connector.kite.callbacks import check_callback
from connector.kite.client.channel_handler import ConfirmingHandler
from connector.kite.config import MAX_SYMBOLS_PER_CONNECTION, ConnectionConfig
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.feed.opening import ROOT
from connector.kite.wire.messages import json_object
from connector.kite.wire.models import Mode, TickerMessage
from connector.kite.wire.tokens import checked_tokens

CLEAN: Final = 1000
"""Close code of a connection that ended as it should (RFC 6455, 7.4.1)."""
UNCLEAN: Final = 1006
"""What stands for a close code where none was sent (the same section)."""
# at one frame a millisecond ten seconds' worth
ITERATED: Final = 10_000
"""Frames that wait for a slow `for` loop; the oldest give way beyond that."""
# a caller in another thread is not held for longer, whatever a callback does
_ANSWER_SECONDS: Final = 10.0
_RETRIES: Final = {EventType.BACKING_OFF, EventType.WAITING_FOR_SLOT, EventType.WAITING_FOR_TOKEN}

_log = logging.getLogger("connector.compat")


@dataclass(frozen=True)
class ConnectResponse:
    """What `on_connect` is given: the few fields of autobahn's answer that programs look at."""

    peer: str
    version: int = 18
    protocol: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class KiteTicker:
    """Ticks of Kite's feed by callbacks, as kiteconnect's class of the same name gives them.

    Args:
        api_key: the app's.
        access_token: the day's.
        debug: sets the level of the logger `connector` to DEBUG.
        root: another feed, such as the simulator's.
        reconnect: False gives up when the connection is lost; the official client ignores it.
        reconnect_max_tries: give up after so many failures in a row; at most 300.
        reconnect_max_delay: no pause between two tries is longer, in seconds; at least 5.
        connect_timeout: seconds that a handshake may take.
    """

    # as the official client has it, with bsecds, an older name of bcd
    EXCHANGE_MAP: ClassVar[dict[str, int]] = {
        "nse": 1, "nfo": 2, "cds": 3, "bse": 4, "bfo": 5, "bcd": 6, "mcx": 7, "mcxsx": 8,
        "indices": 9, "nco": 12, "bsecds": 6,
    }  # fmt: skip
    CONNECT_TIMEOUT = 30
    RECONNECT_MAX_DELAY = 60
    RECONNECT_MAX_TRIES = 50
    ROOT_URI = ROOT
    MODE_FULL = FULL
    MODE_QUOTE = QUOTE
    MODE_LTP = LTP
    # the official client's own bounds, under its own names
    _minimum_reconnect_max_delay = 5
    _maximum_reconnect_max_tries = 300

    def __init__(
        self,
        api_key: str,
        access_token: str,
        debug: bool = False,
        root: str | None = None,
        reconnect: bool = True,
        reconnect_max_tries: int = RECONNECT_MAX_TRIES,
        reconnect_max_delay: float = RECONNECT_MAX_DELAY,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        for name, value in (("api_key", api_key), ("access_token", access_token)):
            if not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        self.root = root or self.ROOT_URI
        self.debug = debug
        self.reconnect = reconnect
        self.reconnect_max_tries = _at_most(
            "reconnect_max_tries", reconnect_max_tries, self._maximum_reconnect_max_tries
        )
        self.reconnect_max_delay = _at_least(
            "reconnect_max_delay", reconnect_max_delay, self._minimum_reconnect_max_delay
        )
        self.connect_timeout = connect_timeout
        self.subscribed_tokens: dict[int, str] = {}
        """What is subscribed, as instrument_token to mode: sent at each connect."""
        self.dropped = 0
        """Frames that a `for` loop over this object was too slow for."""

        self.on_ticks: Callable[[KiteTicker, list[TickDict]], object] | None = None
        self.on_open: Callable[[KiteTicker], object] | None = None
        self.on_close: Callable[[KiteTicker, int, str], object] | None = None
        self.on_error: Callable[[KiteTicker, int, str], object] | None = None
        self.on_connect: Callable[[KiteTicker, ConnectResponse], object] | None = None
        self.on_message: Callable[[KiteTicker, bytes, bool], object] | None = None
        self.on_reconnect: Callable[[KiteTicker, int], object] | None = None
        self.on_noreconnect: Callable[[KiteTicker], object] | None = None
        self.on_order_update: Callable[[KiteTicker, dict[str, Any]], object] | None = None

        self.websocket_thread: threading.Thread | None = None
        # outlive a run: `set_access_token` counts for the next `connect` too
        self._credentials = StaticCredentials(SecretStr(api_key), SecretStr(access_token))
        self._config = ConnectionConfig(
            connection_timeout_seconds=connect_timeout,
            reconnect_max_delay_seconds=self.reconnect_max_delay,
            max_reconnect_attempts=self.reconnect_max_tries if reconnect else 0,
        )
        # guards `_run` alone, which two threads may want to begin
        self._lock = threading.Lock()
        # the present life, from `connect` to its end; read without the lock, as it is replaced
        # whole
        self._run: _Run | None = None
        # there is one from the first `for` loop on; None in it is the end
        self._frames: queue.Queue[list[TickDict] | None] | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("on_") and value is not None:
            check_callback(name, value)
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"KiteTicker({self.root}, connected={self.is_connected()})"

    # life

    def connect(
        self,
        threaded: bool = False,
        disable_ssl_verification: bool = False,
        proxy: Mapping[str, object] | None = None,
    ) -> None:
        """Connect, and stay connected until `close` or `stop`, or until all tries are used up.

        Args:
            threaded: return at once and run in a daemon thread; else this blocks.
            disable_ssl_verification: TLS is always verified: True is refused.
            proxy: the environment names the proxy (`https_proxy`): one given here is refused.

        Raises:
            RuntimeError: it is connected already.
            ValueError: an argument is refused.
        """
        # refused and not ignored: a program that believes its traffic unverified, or proxied, must
        # know
        if disable_ssl_verification:
            raise ValueError(
                "disable_ssl_verification: TLS is always verified; a feed without TLS has a root "
                "that begins with ws://"
            )
        if proxy:
            raise ValueError("proxy: set the environment variable https_proxy instead")
        if self.debug:
            logging.getLogger("connector").setLevel(logging.DEBUG)
        with self._lock:
            if self._run is not None:
                raise RuntimeError("this KiteTicker is connected already: call close() first")
            self._run = run = _Run(self, self._config, self._credentials)
        # in a thread with a loop of its own, as a notebook's, no second one can run: another thread
        # does, and this one waits
        if not threaded and not _loop_is_running():
            # as the official client, which ends quietly at Ctrl-C
            with contextlib.suppress(KeyboardInterrupt):
                self._serve(run)
            return
        thread = threading.Thread(target=self._serve, args=(run,), name="KiteTicker", daemon=True)
        self.websocket_thread = thread
        thread.start()
        if not threaded:
            thread.join()

    def _serve(self, run: _Run) -> None:
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(run.serve())
        finally:
            with self._lock:
                self._run = None
            if self._frames is not None:
                self._put(None)

    def is_connected(self) -> bool:
        """Whether a socket is open."""
        run = self._run
        return run is not None and run.connection.state is ConnectionState.CONNECTED

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection for good; `on_close` is called, and a blocking `connect` returns."""
        run = self._run
        if run is not None:
            run.end((code or CLEAN, reason or ""))

    def stop(self) -> None:
        """End without another callback; a blocking `connect` returns."""
        run = self._run
        if run is not None:
            run.end(None)

    def stop_retry(self) -> None:
        """Keep the present connection, and give up once it is lost."""
        run = self._run
        if run is not None:
            run.retries = False

    def set_access_token(self, access_token: str) -> None:
        """Replace the token, for a connection that waits for the day's; not in kiteconnect."""
        self._credentials.set_access_token(SecretStr(access_token))

    # instruments

    def subscribe(self, instrument_tokens: Sequence[int]) -> bool:
        """Subscribe instruments in mode quote; before `connect` too.

        Raises:
            CapacityError: a connection carries no more; those that found room are subscribed.
            TypeError: something is no instrument_token: the feed would send nothing for it.
        """
        return self._want(dict.fromkeys(checked_tokens(instrument_tokens), Mode.QUOTE))

    def unsubscribe(self, instrument_tokens: Sequence[int]) -> bool:
        """Unsubscribe instruments; those that are not subscribed are left out."""
        return self._want(dict.fromkeys(checked_tokens(instrument_tokens), None))

    def set_mode(self, mode: str, instrument_tokens: Sequence[int]) -> bool:
        """Set the mode of instruments, `MODE_LTP`, `MODE_QUOTE` or `MODE_FULL`; subscribes them.

        Raises:
            CapacityError, TypeError: as `subscribe`.
            ValueError: there is no such mode.
        """
        return self._want(dict.fromkeys(checked_tokens(instrument_tokens), Mode(mode)))

    def resubscribe(self) -> None:
        """Ask for everything that is subscribed once more."""
        wanted = {token: Mode(mode) for token, mode in self.subscribed_tokens.items()}
        run = self._run
        if run is not None and wanted:
            # to the session what is asked for already is nothing new: so it is given up first
            run.call(lambda: run.connection.update(dict.fromkeys(wanted)))
            run.call(lambda: run.connection.update(wanted))

    def _want(self, changes: dict[int, Mode | None]) -> bool:
        refused = self._refused(changes)
        left_out = set(refused)
        accepted = {token: mode for token, mode in changes.items() if token not in left_out}
        # remembered first: what the loop is not told in time is sent at the next connect
        for token, mode in accepted.items():
            if mode is None:
                self.subscribed_tokens.pop(token, None)
            else:
                self.subscribed_tokens[token] = mode.value
        run = self._run
        if run is not None:
            run.call(lambda: run.connection.update(accepted))
        if refused:
            raise CapacityError(refused, MAX_SYMBOLS_PER_CONNECTION)
        return True

    def _refused(self, changes: Mapping[int, Mode | None]) -> list[int]:
        """Of new instruments those for which there is no room."""
        new = [
            token
            for token, mode in changes.items()
            if mode is not None and token not in self.subscribed_tokens
        ]
        room = MAX_SYMBOLS_PER_CONNECTION - len(self.subscribed_tokens)
        return new[max(room, 0) :]

    # without callbacks

    def __iter__(self) -> Iterator[list[TickDict]]:
        """The ticks of each frame, for a script without callbacks; connects in a thread if needed.

        It ends when the connection does. A loop that is slower than the feed loses the oldest
        frames, which `dropped` counts.
        """
        self._frames = queue.Queue(ITERATED)
        if self._run is None:
            self.connect(threaded=True)
        while (ticks := self._frames.get()) is not None:
            yield ticks

    def _put(self, ticks: list[TickDict] | None) -> None:
        frames = self._frames
        if frames is None:
            return
        while True:
            try:
                frames.put_nowait(ticks)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    frames.get_nowait()
                    self.dropped += 1


class _Run(ConfirmingHandler):
    """One life of a ticker's connection, and the handler of what it receives."""

    def __init__(
        self, ticker: KiteTicker, config: ConnectionConfig, credentials: StaticCredentials
    ) -> None:
        super().__init__()
        self.connection = Connection(0, credentials, config, self, root=ticker.root)
        # False from `stop_retry` on: the next loss is the end
        self.retries = True
        self._ticker = ticker
        # where everything of a connection belongs; set when `serve` begins
        self._loop: asyncio.AbstractEventLoop | None = None
        # the loop's thread: a call from there must not wait for itself
        self._thread = 0
        # set when the loop takes calls
        self._ready = threading.Event()
        # set to end; made in the loop, so there is none before
        self._end: asyncio.Event | None = None
        # what on_close is told of an end that was asked for; None: it is not called
        self._last_word: tuple[int, str] | None = None
        self._silent = False  # no callback is called any more
        # a callback's sys.exit(), which `serve` raises at its end
        self._exit: BaseException | None = None
        # tries since a socket was open, which on_reconnect is told
        self._attempts = 0
        self._told = False  # that the present try or socket has ended
        # callbacks of edges, in order, not called from within the connection's own step
        self._due: deque[tuple[Callable[..., object] | None, tuple[object, ...]]] = deque()

    async def serve(self) -> None:
        """Connect, and serve until the end is asked for or all tries are used up.

        Raises:
            SystemExit: a callback did, or whatever else is no `Exception`.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._end = end = asyncio.Event()
        wanted = dict(self._ticker.subscribed_tokens)  # another thread may subscribe
        # before it starts: all of it is one set of requests on the first socket
        self.connection.update({token: Mode(mode) for token, mode in wanted.items()})
        self.connection.start()
        self._ready.set()
        if self._silent or self._last_word is not None:
            end.set()  # asked for before there was a loop
        try:
            await end.wait()
        finally:
            last_word, self._last_word = self._last_word, None
            await self.connection.close()
            if last_word is not None:
                self._callback(self._ticker.on_close, *last_word)
        if self._exit is not None:
            raise self._exit

    def end(self, last_word: tuple[int, str] | None) -> None:
        """End, from any thread; with what `on_close` is to be told, or without another callback."""
        # before the loop is woken, which reads these
        self._last_word = last_word
        self._silent = last_word is None
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._end.set)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the event loop, and wait for it unless this is the loop's own thread.

        Not for longer than a callback may take in good faith: it is called all the same.

        Raises:
            CapacityError: whatever the function raises.
        """
        if threading.get_ident() == self._thread:
            function()
            return
        if not self._ready.wait(_ANSWER_SECONDS) or self._loop is None or self._loop.is_closed():
            return  # it is sent at the next connect
        called = asyncio.run_coroutine_threadsafe(_called(function), self._loop)
        try:
            called.result(_ANSWER_SECONDS)
        except TimeoutError:
            # a callback holds the loop, perhaps waiting for this very thread
            _log.warning("a callback has run for %g s: what was asked for meanwhile is sent when "
                         "it returns", _ANSWER_SECONDS)  # fmt: skip

    # the handler

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        """Hand the ticks of a frame to the callbacks, and say which tokens are new."""
        self._call_due()
        ticker = self._ticker
        if ticker.on_message is not None:
            # in the official client's order: the message as it came, then what is in it
            self._callback(ticker.on_message, data, True)
        if ticker.on_ticks is not None or ticker._frames is not None:  # noqa: SLF001 - our own
            ticks = tick_dicts(data)
            self._callback(ticker.on_ticks, ticks)
            ticker._put(ticks)  # noqa: SLF001
        return super().frame(data, receive_time_us)

    def message(self, message: TickerMessage, raw: str) -> None:  # noqa: ARG002
        """Hand on a text frame, and what it says."""
        self._call_due()
        ticker = self._ticker
        self._callback(ticker.on_message, raw.encode(errors="replace"), False)
        said = json_object(raw)
        if said.get("type") == "order" and said.get("data"):
            self._callback(ticker.on_order_update, said["data"])
        elif said.get("type") == "error":
            # 0 stands for the feed's own complaints there
            self._callback(ticker.on_error, 0, said.get("data"))

    def event(self, event: ConnectionEvent) -> None:
        """Turn an edge of the connection's life into the callbacks of it."""
        ticker = self._ticker
        if event.type is EventType.CONNECTED:
            self._attempts = 0
            # autobahn calls onConnect at the answer to the handshake and onOpen behind it
            self._soon(ticker.on_connect, ConnectResponse(ticker.root))
            self._soon(ticker.on_open)
        elif event.type is EventType.DISCONNECTED:
            self._lost(event.code, event.reason)
        elif event.type in _RETRIES:
            self._lost(None, event.reason)
        elif event.type is EventType.CONNECTING:
            self._told = False
            if self._attempts:
                self._soon(ticker.on_reconnect, self._attempts)
        elif event.type is EventType.FAILED:
            if not self._told:  # the first try of all
                self._lost(event.code, event.reason)
            self._soon(ticker.on_noreconnect)
            if self._end is not None and self._loop is not None:
                self._loop.call_soon(self._end.set)

    def _lost(self, code: int | None, reason: str) -> None:
        """A socket is gone, or could not be had."""
        ticker = self._ticker
        self._told = True
        self._attempts += 1
        # there, on_error comes before on_close, and only where the close was not clean
        if code != CLEAN:
            self._soon(ticker.on_error, code or UNCLEAN, reason)
        self._soon(ticker.on_close, code or UNCLEAN, reason)
        if not self.retries and self._end is not None and self._loop is not None:
            self._loop.call_soon(self._end.set)

    def _soon(self, callback: Callable[..., object] | None, *arguments: object) -> None:
        """Call back once the connection has done what it is at: a callback may subscribe."""
        if self._loop is not None:
            self._due.append((callback, arguments))
            self._loop.call_soon(self._call_due)

    def _call_due(self) -> None:
        """Call what is due; before a frame, which may have come together with the handshake."""
        while self._due:
            callback, arguments = self._due.popleft()
            self._callback(callback, *arguments)

    def _callback(self, callback: Callable[..., object] | None, *arguments: object) -> None:
        if callback is None or self._silent:
            return
        try:
            callback(self._ticker, *arguments)
        except Exception:  # noqa: BLE001
            # the stream goes on whatever a callback does
            _log.exception("callback_failed")
        except BaseException as error:  # noqa: BLE001
            # sys.exit(): out of here uvloop takes it for the end of this socket alone
            self._exit = error
            self.end(None)


def _new_loop() -> asyncio.AbstractEventLoop:
    """The faster one where there is one: this loop has a thread, and no user, of its own."""
    try:
        import uvloop  # not on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _called(function: Callable[[], object]) -> None:
    function()


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _at_most(name: str, value: int, most: int) -> int:
    if value > most:
        _log.warning("%s is at most %d, not %d", name, most, value)
    return min(value, most)


def _at_least(name: str, value: float, least: float) -> float:
    if value < least:
        _log.warning("%s is at least %g, not %g", name, least, value)
    return max(value, least)
