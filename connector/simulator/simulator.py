"""The simulated Kite: a WebSocket port and a REST port that behave as the real ones do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Self

import structlog
from aiohttp import web

from connector.errors import CaptureError, not_listening
from connector.kite.callbacks import check_callback
from connector.kite.clock import IST
from connector.kite.feed.capture import CaptureReader
from connector.kite.feed.wait import cancelled
from connector.kite.wire.models import Mode
from connector.simulator.acceptor import Acceptor
from connector.simulator.access import Access, RefusedError
from connector.simulator.config import SimulatedAccount, SimulatorConfig
from connector.simulator.faults import FaultKind, FaultSpec
from connector.simulator.feed import Feed, SeenRequest
from connector.simulator.flood import FloodResult, flood
from connector.simulator.historical import HistoricalApi
from connector.simulator.injector import Injector
from connector.simulator.market import Market
from connector.simulator.orders import OrderBook
from connector.simulator.remote import RemoteControl
from connector.simulator.replay import CaptureReplay, ReplayResult
from connector.simulator.rest import KiteRestApi, kite_errors
from connector.simulator.sockets import SimulatedSocket
from connector.simulator.universe import ListedInstrument, Universe

_REST_SHUTDOWN_SECONDS = 1.0  # for requests under way; aiohttp's 60 would hold each test's end

log = structlog.get_logger(__name__)


class SimulatorServer:
    """A Kite of one's own; `async with` opens and closes its ports.

    Args:
        config: what it is like.
        clock: UTC seconds, for the packets' times.
        listings: the market's instruments, in place of `config.instruments` made-up ones.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        clock: Callable[[], float] = time.time,
        listings: Iterable[ListedInstrument] = (),
    ) -> None:
        self.config = config or SimulatorConfig()
        self.clock = clock
        now = clock()
        today = self.config.today or datetime.fromtimestamp(now, IST).date()
        self.universe = Universe(self.config.instruments, today, listings)
        self.market = Market(self.universe, self.config.seed, int(now), self.config.candle_minutes)
        self.historical = HistoricalApi(
            self.market, self.config.candle_requests_per_second, monotonic=time.monotonic
        )
        # before the first quote is made: of a shut market none has a book
        self.market.set_open(is_open=self.config.market_open)
        # one for both ports: a token that ends, ends for REST and sockets alike
        self.access = Access(
            self.config.accounts,
            max_sockets=self.config.max_sockets_per_key,
            release_seconds=self.config.slot_release_seconds,
            monotonic=time.monotonic,
        )
        self.feed = Feed(self.config, self.market, clock)
        self.orders = OrderBook()
        self.updates_per_second = self.config.updates_per_second
        """How often each subscribed instrument moves; may be changed while it runs."""
        self.late_updates = 0
        """Updates that were due but left out, since the simulator itself could not keep up."""
        self.replays = 0
        """How many rounds of `config.replay` have ended."""
        self.last_replay: ReplayResult | None = None
        """What became of the last of them."""
        self._injector = Injector(self.feed, self.access, self.historical)
        self._acceptor = Acceptor(self.config, self.access, self.feed, self._notify)
        self._rest: web.AppRunner | None = None  # None: not open
        self._tasks: list[asyncio.Task[None]] = []  # market or replay, heartbeats, faults
        self._changed = asyncio.Event()  # something that `until` may wait for

    @property
    def ws_url(self) -> str:
        """WebSocket root, to be given to a client as `root`."""
        return f"ws://{self._address(self._acceptor.port)}"

    @property
    def rest_url(self) -> str:
        """REST root, for the API, the login page and /simulator alike."""
        if self._rest is None:
            raise RuntimeError("the simulator is not open: use `async with`")
        return f"http://{self._address(self._rest.addresses[0][1])}"

    def _address(self, port: int) -> str:
        host = self.config.host
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - where to reach it, not where to listen
            host = "127.0.0.1"
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def __aenter__(self) -> Self:
        try:
            await self._acceptor.open()
            await self._open_rest()
        except BaseException:  # the second port is taken: the first one must not stay open
            await self._close()
            raise
        works = {"faults": self._injector.schedule(self.config.faults)}
        if self.config.replay is not None:
            works["replay"] = self._run_replay(CaptureReader(self.config.replay))
        elif not self.config.stepped:
            works["market"] = self._run_market()
        if not self.config.stepped:
            works["heartbeats"] = self._run_heartbeats()
        self._tasks = [
            asyncio.create_task(work, name=f"simulator {name}") for name, work in works.items()
        ]
        for task in self._tasks:
            task.add_done_callback(_report)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _open_rest(self) -> None:
        app = web.Application(middlewares=[kite_errors])
        app.add_routes(KiteRestApi(self).routes())
        app.add_routes(RemoteControl(self).routes())
        # no access log: the query of a login has the api_key
        self._rest = web.AppRunner(
            app, access_log=None, shutdown_timeout=_REST_SHUTDOWN_SECONDS, handle_signals=False
        )
        await self._rest.setup()
        config = self.config
        try:
            await web.TCPSite(self._rest, config.host, config.rest_port).start()
        except OSError as error:
            raise not_listening(
                error, "rest_port", config.rest_port, "host", config.host
            ) from error

    async def _close(self) -> None:
        await cancelled(*self._tasks)
        self._tasks = []
        self._injector.close()
        # REST first: it may steer what is being closed
        if self._rest is not None:
            await self._rest.cleanup()
            self._rest = None
        await self._acceptor.close()

    # what runs by itself

    async def _run_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.config.heartbeat_seconds)
            self.feed.heartbeat()

    async def _run_market(self) -> None:
        monotonic = asyncio.get_running_loop().time
        started = previous = monotonic()
        due = 0.0  # updates, with their fraction: a slow market moves at its rate, too
        while True:
            await asyncio.sleep(self.config.period_seconds)
            now = monotonic()
            rate = self.feed.streaming * self.updates_per_second
            # the first one at once: a short run has one, too
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

    async def _run_replay(self, reader: CaptureReader) -> None:
        config = self.config
        replay = self.feed.source = CaptureReplay()

        def ready() -> bool:
            sockets = self.sockets
            # the first records would else be lost to those who have not asked yet
            return len(sockets) >= config.replay_sockets and (
                config.replay_route == "slot" or all(socket.subscriptions for socket in sockets)
            )

        while True:
            # again before each round: sockets may have gone meanwhile
            while not ready():
                self._changed.clear()
                await self._changed.wait()
            try:
                result = await replay.play(
                    self.feed, reader, speed=config.replay_speed, route=config.replay_route
                )
            except (CaptureError, OSError) as error:
                log.error("replay_failed", reason=str(error))  # noqa: TRY400 - the reason says it
                return
            self.replays += 1
            self.last_replay = result
            self._notify()
            if not config.replay_loop:
                log.info("replay_ended", **asdict(result))
                return

    # what tests and other processes use

    @property
    def sockets(self) -> list[SimulatedSocket]:
        """The open sockets, oldest first."""
        return list(self.feed.sockets.values())

    @property
    def requests(self) -> list[SeenRequest]:
        """The latest text frames of clients, oldest first; bounded."""
        return list(self.feed.requests)

    def open_sockets(self, api_key: str | None = None) -> int:
        """Return how many sockets of an api_key (None: the first account) are open."""
        return self.access.open_sockets(api_key)

    def max_open_sockets(self, api_key: str | None = None) -> int:
        """Return how many sockets of an api_key ever were open at once."""
        return self.access.max_open_sockets(api_key)

    def subscriptions(self) -> dict[int, str]:
        """Return token to mode over all sockets; the highest mode where several subscribe."""
        merged: dict[int, str] = {}
        for socket in self.sockets:
            for token, mode in socket.subscriptions.items():
                merged[token] = max(mode, merged.get(token, mode), key=lambda m: Mode(m).rank)
        return merged

    def state(self) -> dict[str, Any]:
        """Return all counters, as JSON has it; no secret is in it."""
        return {
            "accounts": [
                {
                    "api_key": api_key,
                    "open_sockets": self.access.open_sockets(api_key),
                    "max_open_sockets": self.access.max_open_sockets(api_key),
                    "token_good": self.access.entry(api_key).access_token is not None,
                }
                for api_key in self.access.api_keys
            ],
            "sockets": [socket.state() for socket in self.sockets],
            "refusals": {str(status): n for status, n in self.access.refusals.items()},
            "packets": self.feed.total_packets,
            "frames": self.feed.total_frames,
            "requests": self.feed.total_requests,
            "orders": len(self.orders.orders),
            "order_updates": self.feed.order_updates,
            "order_copies": self.feed.order_copies,
            "candle_requests": self.historical.requests,
            "instruments": len(self.universe),
            "streaming": self.feed.streaming,
            "market_open": self.market.open,
            "updates_per_second": self.updates_per_second,
            "late_updates": self.late_updates,
            "replays": self.replays,
            "last_replay": None if self.last_replay is None else asdict(self.last_replay),
        }

    def set_token(self, access_token: str, *, api_key: str | None = None) -> None:
        """Make this the good access_token, and the only one."""
        self.access.set_token(access_token, api_key)

    def expire_token(self, *, api_key: str | None = None) -> None:
        """End every access_token until `set_token` or a login; None: of every api_key.

        Open sockets stay open, as on the real feed.
        """
        self.access.expire_token(api_key)

    def set_market(self, *, is_open: bool) -> None:
        """Open or shut the market: shut, there are snapshots and heartbeats, and empty books."""
        self.market.set_open(is_open=is_open)

    async def inject(self, fault: FaultSpec | FaultKind | str, **details: Any) -> int:
        """Do a fault now: a `FaultSpec`, or a kind with a spec's fields as keywords.

        Returns:
            how many sockets it has met.
        """
        spec = (
            fault if isinstance(fault, FaultSpec) else FaultSpec(kind=FaultKind(fault), **details)
        )
        return await self._injector.inject(spec)

    def clear_faults(
        self, kind: FaultKind | None = None, *, sockets: Iterable[int] | None = None
    ) -> None:
        """End lasting faults and refusals still to come; None: of every kind, on all sockets."""
        self._injector.clear(kind, sockets)

    async def step(self, updates: int = 1) -> list[int]:
        """Move the next `updates` instruments in subscription order, and send their packets.

        Returns:
            the instrument_tokens moved.
        """
        moved = self.feed.emit(updates)
        await asyncio.sleep(0)
        return moved

    async def trade(self, token: int, price: float, quantity: int = 1) -> int:
        """Trade an instrument at a price in rupees, and send its packet to who subscribes to it.

        Returns:
            how many sockets it went to.

        Raises:
            ValueError: the market has no such instrument, or it cannot have such a price.
        """
        reached = self.feed.trade(token, price, quantity)
        await asyncio.sleep(0)
        return reached

    async def flood(
        self,
        *,
        packets: int | None = None,
        seconds: float | None = None,
        packets_per_frame: int = 1,
        sockets: Iterable[int] | None = None,
    ) -> dict[int, FloodResult]:
        """Send as fast as the sockets drain, `packets` each or for `seconds`; see `flood.flood`."""
        return await flood(
            self.feed,
            packets=packets,
            seconds=seconds,
            packets_per_frame=packets_per_frame,
            sockets=sockets,
        )

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

    async def post_order(self, order: Mapping[str, Any], *, api_key: str | None = None) -> int:
        """Send an order update to all sockets of the account's user; returns how many.

        Args:
            order: fields of Kite's postback, such as `order_id`, `status`, `filled_quantity`; those
                that are left out are not in the update.
            api_key: of the account; None: of the first one.
        """
        reached = self.feed.post_order(self.access.entry(api_key).account.user_id, order)
        await asyncio.sleep(0)
        return reached

    def place_order(
        self, account: SimulatedAccount, variety: str, form: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Place an order as REST does; its updates are posted, and returned.

        Raises:
            RefusedError: as Kite answers a bad one.
        """
        listing = self.universe.named(form.get("exchange", ""), form.get("tradingsymbol", ""))
        quote = None if listing is None else self.market.quote(listing.instrument_token)
        if quote is None or quote.index:
            raise RefusedError(400, "InputException", "Invalid `tradingsymbol`.")
        return self._post(
            self.orders.place(
                variety,
                form,
                user_id=account.user_id,
                instrument_token=quote.token,
                last_price=quote.last_price,
                now=self.clock(),
            )
        )

    def cancel_order(self, account: SimulatedAccount, order_id: str) -> list[dict[str, Any]]:
        """Cancel an open order of the account's user."""
        order = self.orders.orders.get(order_id)
        if order is None or order["user_id"] != account.user_id:
            raise RefusedError(404, "OrderException", "Couldn't find that `order_id`.")
        return self._post(self.orders.cancel(order_id, now=self.clock()))

    def fill_order(
        self, order_id: str, *, price: float | None = None, quantity: int | None = None
    ) -> list[dict[str, Any]]:
        """Fill an open order, or part of it, at its own price unless told another."""
        order = self.orders.orders.get(order_id, {})
        at = float(price or order.get("price") or 0)
        return self._post(self.orders.fill(order_id, price=at, now=self.clock(), quantity=quantity))

    def _post(self, updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for update in updates:
            self.feed.post_order(update["user_id"], update)
        return updates

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for a condition over this server's state.

        It is checked whenever a socket opens, closes or sends a request.

        Raises:
            TimeoutError: it did not come true in `seconds`.
            TypeError: it is an `async def`, which would be true at once.
        """
        check_callback("the condition", condition)
        async with asyncio.timeout(seconds):
            while not condition():
                # cleared before the wait, in one turn of the loop: no change comes between
                self._changed.clear()
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()


def _report(task: asyncio.Task[None]) -> None:
    """Log a task that dies of a mistake: it must not look like a quiet market."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("simulator_task_failed", task=task.get_name(), exc_info=error)


async def run_simulator(
    config: SimulatorConfig,
    *,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[SimulatorServer], None] | None = None,
) -> None:
    """Run a simulator until `stop` is set or the task is cancelled.

    Args:
        config: what it is like.
        stop: set it to end in order; None: cancel the task.
        on_ready: called once, when both ports are open and the URLs are known.

    Raises:
        PortInUseError: another program has one of the ports.
    """
    async with SimulatorServer(config) as server:
        log.info("simulator_ready", ws=server.ws_url, rest=server.rest_url)
        if on_ready is not None:
            on_ready(server)
        await (stop or asyncio.Event()).wait()
