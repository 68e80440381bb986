"""The simulator as a test wants it: a market of few names, which moves when the test says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.kite.client.manager import KiteTickerManager
from connector.kite.client.ticker import KiteTickerAsync
from connector.kite.config import ConnectionConfig, KiteManagerConfig
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.web.instrument_list import InstrumentList
from connector.kite.wire.models import Mode
from connector.simulator.config import SimulatorConfig
from connector.simulator.rest import instruments_csv
from connector.simulator.simulator import SimulatorServer
from connector.simulator.universe import chosen

_QUICK = {
    "reconnect_min_delay_seconds": 0.01,
    "reconnect_max_delay_seconds": 0.1,
    "slot_wait_seconds": 0.05,
}


class SimulatedFeed(SimulatorServer):
    """A Kite on the wire for one test, with WebSocket and REST ports of its own.

        async with SimulatedFeed({"NSE:INFY": 1500.0}) as feed, feed.ticker() as ticker:
            subscriber = ticker.subscribe(["NSE:INFY"], Mode.FULL)
            await feed.trade_at("NSE:INFY", 1512.5)

    It is a `SimulatorServer` and can do all that one can: `inject` faults, `expire_token`,
    `post_order`, `step` the whole market … Nothing goes out by itself, not even heartbeats, but
    for the snapshot of a new subscription.

    Args:
        prices: EXCHANGE:TRADINGSYMBOL to its price in rupees; without any, the simulator's market.
        config: fields of `SimulatorConfig`; `stepped=False` has the market walk by itself.
    """

    def __init__(self, prices: Mapping[str, float] | None = None, **config: Any) -> None:
        options = {"stepped": True, "connect_messages": False, **config}
        super().__init__(SimulatorConfig(**options), listings=chosen(prices or {}))

    def instruments(self) -> InstrumentList:
        """Return the list of the market's instruments, as its REST side serves it."""
        return InstrumentList.from_csv(instruments_csv(self.universe.listings))

    def token(self, symbol: str) -> int:
        """Return the instrument_token of EXCHANGE:TRADINGSYMBOL.

        Raises:
            KeyError: the market has no such name.
        """
        exchange, _, name = symbol.partition(":")
        listing = self.universe.named(exchange, name)
        if listing is None:
            raise KeyError(symbol)
        return listing.instrument_token

    async def trade_at(
        self, symbol: str, price: float, quantity: int = 1, mode: Mode | None = None
    ) -> None:
        """Trade an instrument, once somebody has subscribed to it, and send its packet.

        Args:
            symbol: EXCHANGE:TRADINGSYMBOL.
            price: rupees.
            quantity: how much is traded at this price.
            mode: wait until it is subscribed to in this mode; None: in any.

        Raises:
            TimeoutError: nobody subscribed to it in ten seconds.
            KeyError, ValueError: the market has no such name, or it cannot have such a price.
        """
        token = self.token(symbol)
        wanted = {mode} if mode is not None else set(Mode)
        await self.until(lambda: self.subscriptions().get(token) in wanted)
        await self.trade(token, price, quantity)

    def ticker(self, config: ConnectionConfig | None = None, **options: Any) -> KiteTickerAsync:
        """Return a ticker of this feed, to be entered with `async with`.

        It knows the feed's names, and reconnects within a tenth of a second, unless `config` says
        otherwise; `options` are those of `KiteTickerAsync`.
        """
        options = {"config": config or ConnectionConfig(**_QUICK), **self._around(), **options}
        return KiteTickerAsync(self._credentials(), **options)

    def manager(self, config: KiteManagerConfig | None = None, **options: Any) -> KiteTickerManager:
        """Return a manager of this feed, to be entered with `async with`; as `ticker` does."""
        config = config or KiteManagerConfig(**_QUICK)
        options = {"accounts": [self._credentials()], **self._around(), **options}
        return KiteTickerManager(config=config, **options)

    def _around(self) -> dict[str, Any]:
        return {"root": self.ws_url, "instruments": self.instruments()}

    def _credentials(self) -> StaticCredentials:
        account = self.config.accounts[0]
        return StaticCredentials(account.api_key, account.access_token)
