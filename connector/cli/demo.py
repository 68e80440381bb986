"""`kite-connector demo`: a simulated market, a broker, a registry and the connector, to look at.

Everything runs in this process and needs no account and no network: the simulator speaks Kite's
protocol over loopback, the broker is librdkafka's own. The prices on the screen are read back from
Kafka: what is shown has been through all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.live import Live

from connector.cli.terminal_view import Hint, Price, View, accounting_line, total_accounting
from connector.cluster.layout import partitions
from connector.control.client import ControlClient, new_id
from connector.control.commands import COMMAND
from connector.control.reply import Reply
from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.errors import ConnectorError
from connector.kafka.tail import tail, written_records
from connector.kafka.topics import TopicNames, topic_specs
from connector.kite.clock import IST
from connector.kite.feed.wait import cancelled, within
from connector.service.service import Service
from connector.settings.models import Settings
from connector.simulator import SimulatedAccount, SimulatorConfig, SimulatorServer

if TYPE_CHECKING:
    from connector.simulator.universe import ListedInstrument

REFRESH_SECONDS = 0.25
LINE_SECONDS = 1.0
ORDER_SECONDS = 3.0
COMMAND_SECONDS = 4.0
REPLY_SECONDS = 5.0
WATCHLIST = "scene"
"""The watchlist whose instruments come and go by commands; the settings have most of the market."""
STATUS_PORT = 8090
"""The port of the first replica's status server, if it is free."""

_TOPICS = TopicNames()
_ACCOUNT = SimulatedAccount()
# what people know; of the derivatives, the nearest future
_KNOWN = (
    ("NSE", "NIFTY 50"),
    ("NSE", "NIFTY BANK"),
    ("BSE", "SENSEX"),
    ("NSE", "RELIANCE"),
    ("NSE", "INFY"),
    ("NSE", "TCS"),
    ("NSE", "HDFCBANK"),
    ("NSE", "SBIN"),
)
_KNOWN_FUTURES = ("NFO NIFTY", "MCX GOLD", "MCX CRUDEOIL", "CDS USDINR")


@dataclass(frozen=True)
class DemoOptions:
    """The options of a demonstration."""

    duration_seconds: float | None = None
    replicas: int = 1
    instruments: int = 1500
    updates_per_second: float = 2.0
    seed: int = 1


class Demo:
    """One demonstration.

    Args:
        options: what it is like.
        out: where it is shown: a live view on a terminal, else lines and one of JSON at the end.
        notices: the newest lines of the log, to show the last of.
        stop: set to end it.
    """

    def __init__(
        self, options: DemoOptions, out: TextIO, notices: deque[str], stop: asyncio.Event
    ) -> None:
        self.options = options
        self._out = out
        self._notices = notices
        self._stop = stop
        # the replicas; the first has the known port, where that is free
        self._services: list[Service] = []
        # by the record's key, in the order in which they are shown; taken out of Kafka, not out of
        # the process
        self._prices: dict[str, Price] = {}
        self._commanded = ""
        """The latest command over the control topic, and what came of it."""
        self._started = time.monotonic()

    async def run(self) -> dict[str, Any]:
        """Show it until its time is over or `stop` is set; returns the summary."""
        options = self.options
        simulator = SimulatorServer(
            SimulatorConfig(
                accounts=(_ACCOUNT,),
                instruments=options.instruments,
                updates_per_second=options.updates_per_second,
                seed=options.seed,
            )
        )
        async with simulator as market, EmbeddedRegistry() as registry:
            with EmbeddedBroker() as broker:
                settings = self._settings(market, registry.url, broker.bootstrap_servers)
                # librdkafka's mock cluster has no CreateTopics: its clients cannot make them
                for spec in topic_specs(settings.topics, slots=partitions(settings.accounts)):
                    broker.create_topic(spec.name, spec.partitions)
                for listing in _known(market.universe.listings):
                    name = listing.tradingsymbol
                    self._prices[str(listing.instrument_token)] = Price(name)
                await self._open(settings)
                try:
                    async with _background(
                        self._read_prices(settings),
                        self._place_orders(market),
                        self._steer(settings, market),
                    ):
                        await self._show(settings)
                finally:
                    await self._close()
                return await self._summary(settings)

    def _settings(self, market: SimulatorServer, registry: str, bootstrap: str) -> Settings:
        tokens = [listing.instrument_token for listing in market.universe.listings]
        known = [listing.instrument_token for listing in _known(market.universe.listings)]
        return Settings.model_validate(
            {
                "name": "kite-connector-demo",
                "feed": {"root": market.ws_url, "rest": market.rest_url},
                "accounts": [
                    {
                        "name": "demo",
                        "api_key": _ACCOUNT.api_key,
                        "access_token": _ACCOUNT.access_token,
                    }
                ],
                "instruments": [
                    {"mode": "full", "instruments": [*known, *tokens[::3]]},
                    {"mode": "quote", "instruments": tokens[1::3]},
                ],
                "kafka": {"bootstrap_servers": bootstrap, "client": EmbeddedBroker.client},
                "registry": {"url": registry},
                # one broker
                "topics": {"replication_factor": 1},
                "http": {"port": STATUS_PORT},
                "grace_seconds": 5.0,
            }
        )

    async def _open(self, settings: Settings) -> None:
        for number in range(self.options.replicas):
            changes: dict[str, Any] = {}
            # a demo must not fail for a port: any other does
            if number or not await _port_is_free(settings.http.port):
                changes["http"] = settings.http.model_copy(update={"port": 0})
            service = Service(settings.model_copy(update=changes))
            await service.start()
            self._services.append(service)

    async def _close(self) -> None:
        await asyncio.gather(*(service.close() for service in self._services))

    async def _show(self, settings: Settings) -> None:
        if self._out.isatty():
            console = Console(file=self._out)
            with Live(
                self._view(settings), console=console, auto_refresh=False, screen=False
            ) as live:
                async for _ in self._moments(REFRESH_SECONDS):
                    live.update(self._view(settings), refresh=True)
        else:
            self._print(f"status {self._services[0].http.url}/status")
            self._print(f"tail   {_tail_command(settings)}")
            async for elapsed in self._moments(LINE_SECONDS):
                self._print(self._line(elapsed))

    async def _moments(self, every_seconds: float) -> Any:
        """Yield the seconds since the start, at once and then again and again until the end."""
        self._started = time.monotonic()
        duration = self.options.duration_seconds
        while True:
            elapsed = time.monotonic() - self._started
            if self._stop.is_set() or (duration is not None and elapsed >= duration):
                return
            yield elapsed
            wait = every_seconds
            if duration is not None:
                wait = min(wait, max(0.0, duration - (time.monotonic() - self._started)))
            await within(wait, self._stop.wait())

    def _view(self, settings: Settings) -> View:
        return View(
            title="Kite → Kafka",
            statuses=[service.status() for service in self._services],
            prices=list(self._prices.values()),
            hints=[
                Hint("status", f"{self._services[0].http.url}/status"),
                Hint("tail", _tail_command(settings)),
                *([Hint("command", self._commanded)] if self._commanded else []),
                Hint("end", "Ctrl-C"),
            ],
            elapsed_seconds=time.monotonic() - self._started,
            duration_seconds=self.options.duration_seconds,
            notice=self._notices[-1] if self._notices else "",
            roles=["leader" if _leads(service) else "" for service in self._services],
        )

    def _line(self, elapsed_seconds: float) -> str:
        statuses = [service.status() for service in self._services]
        connected = sum(
            connection.state == "connected"
            for status in statuses
            for connection in status.connections
        )
        rate = sum(status.ticks_per_second for status in statuses)
        shown = next((p for p in self._prices.values() if p.last_price is not None), None)
        price = f", {shown.name} {shown.text}" if shown else ""
        return (
            f"{elapsed_seconds:4.0f} s  {connected} connections, {rate:,.0f} ticks/s, "
            f"{accounting_line(total_accounting(statuses))}{price}"
        )

    def _print(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()

    async def _read_prices(self, settings: Settings) -> None:
        topics = list(_TOPICS.all_ticks().values())
        async for record in tail(
            settings.kafka, None, _TOPICS, topics, keys=list(self._prices), start="latest"
        ):
            if isinstance(record.value, dict) and record.key is not None:
                self._prices[record.key].apply(record.value)

    async def _place_orders(self, market: SimulatorServer) -> None:
        """Place orders now and then, as a user would, so that there are order updates too."""
        chance = random.Random(self.options.seed)
        number = 0
        while True:
            await asyncio.sleep(ORDER_SECONDS)
            number += 1
            listing = chance.choice(market.universe.listings)
            await market.post_order(
                {
                    "order_id": f"2400000{number:04d}",
                    "status": "COMPLETE",
                    "tradingsymbol": listing.tradingsymbol,
                    "exchange": listing.exchange,
                    "instrument_token": listing.instrument_token,
                    "transaction_type": chance.choice(("BUY", "SELL")),
                    "order_type": "MARKET",
                    "validity": "DAY",
                    "quantity": listing.lot_size,
                    "filled_quantity": listing.lot_size,
                    "average_price": listing.price,
                    # as Kite writes it: the time in India, without saying so
                    "order_timestamp": f"{datetime.now(IST):%Y-%m-%d %H:%M:%S}",
                }
            )

    async def _steer(self, settings: Settings, market: SimulatorServer) -> None:
        """Change what is streamed by commands, as an operator would: over the control topic."""
        rest = [listing.instrument_token for listing in market.universe.listings[2::3]]
        scene: list[dict[str, Any]] = [
            {"type": "subscribe", "instruments": rest, "mode": "quote"},
            {"type": "set-mode", "mode": "full"},
            {"type": "delete"},
        ]
        for fields in cycle(scene):
            await asyncio.sleep(COMMAND_SECONDS)
            begun = time.monotonic()
            try:
                reply = await asyncio.to_thread(_command, settings, fields)
                outcome = f"{reply.status}, revision {reply.revision}, {reply.accepted} instruments"
            except ConnectorError as exc:
                outcome = str(exc)
            took_ms = (time.monotonic() - begun) * 1000
            mode = f" {fields['mode']}" if "mode" in fields else ""
            self._commanded = f"{fields['type']}{mode}: {outcome}, {took_ms:.0f} ms"
            if not self._out.isatty():
                self._print(f"command {self._commanded}")

    async def _summary(self, settings: Settings) -> dict[str, Any]:
        statuses = [service.status() for service in self._services]
        accounting = total_accounting(statuses)
        topics = [
            *_TOPICS.all_ticks().values(), _TOPICS.orders, _TOPICS.events, _TOPICS.deadletter,
        ]  # fmt: skip
        written = await written_records(settings.kafka, topics)
        seconds = time.monotonic() - self._started
        ticks = sum(exchange.ticks for status in statuses for exchange in status.exchanges)
        return {
            "seconds": round(seconds, 1),
            "received": accounting.received,
            "delivered": accounting.delivered,
            "in_flight": accounting.in_flight,
            "spooled": accounting.spooled,
            "deadlettered": accounting.dead_lettered,
            "dropped": accounting.total_dropped,
            "balanced": accounting.balanced,
            "ticks": ticks,
            "ticks_per_second": round(ticks / seconds, 1),
            "topics": {topic: count for topic, count in written.items() if count},
        }


async def run_demo(
    options: DemoOptions, out: TextIO, notices: deque[str], stop: asyncio.Event
) -> int:
    """Run a demonstration and print what it came to; returns the exit code."""
    summary = await Demo(options, out, notices, stop).run()
    if out.isatty():
        topics = ", ".join(f"{name} {count:,}" for name, count in summary["topics"].items())
        out.write(
            f"{summary['received']:,} received, {summary['delivered']:,} delivered, "
            f"{summary['deadlettered']:,} dead letters, {summary['dropped']:,} dropped "
            f"in {summary['seconds']:g} s\n{topics}\n"
        )
    else:
        out.write(json.dumps(summary) + "\n")
    out.flush()
    if not (summary["received"] or stop.is_set()):
        return 1
    # as `run` ends: 3 says that something was lost
    return 0 if summary["received"] == summary["delivered"] + summary["deadlettered"] else 3


def _known(listings: Sequence[ListedInstrument]) -> list[ListedInstrument]:
    """Return the instruments whose prices are shown, as far as the market has them."""
    by_name = {(listing.exchange, listing.tradingsymbol): listing for listing in listings}
    found = [by_name[name] for name in _KNOWN if name in by_name]
    futures: dict[str, ListedInstrument] = {}
    for listing in listings:
        if listing.instrument_type == "FUT":
            futures.setdefault(f"{listing.exchange} {listing.name}", listing)
    return found + [futures[name] for name in _KNOWN_FUTURES if name in futures]


def _tail_command(settings: Settings) -> str:
    return (
        f"kite-connector tail nse -b {settings.kafka.bootstrap_servers} -r {settings.registry.url}"
    )


def _command(settings: Settings, fields: dict[str, Any]) -> Reply:
    """Send a command and wait for its reply; blocks."""
    command = COMMAND.validate_python({"id": new_id(), "watchlist": WATCHLIST, **fields})
    with ControlClient(settings.kafka, _TOPICS) as client:
        return client.send(command, REPLY_SECONDS)


def _leads(service: Service) -> bool:
    return bool((service.owner.status() or {}).get("leader"))


async def _port_is_free(port: int) -> bool:
    try:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    except OSError:
        return False
    server.close()
    await server.wait_closed()
    return True


@contextlib.asynccontextmanager
async def _background(*work: Awaitable[None]) -> Any:
    """Run things beside the body, and end them with it."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        yield
    finally:
        await cancelled(*tasks)
