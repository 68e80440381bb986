"""Values a portfolio with each tick, and reports every order update once."""

import asyncio

import options

from connector import Channel, KiteTickerManager, Mode, TickMessage

HOLDINGS = {options.INFY: (10, 1500.0), options.RELIANCE: (5, 2400.0)}
"""Instrument token to quantity and average price."""


class Portfolio:
    """What it is worth now, against what it cost."""

    def __init__(self) -> None:
        self.prices: dict[int, float] = {}

    @property
    def gain(self) -> float:
        """In rupees, at the latest prices."""
        return sum(
            (price - HOLDINGS[token][1]) * HOLDINGS[token][0]
            for token, price in self.prices.items()
        )

    async def follow_prices(self, channel: Channel) -> None:
        """Take one connection's prices."""
        async for message in channel:
            if isinstance(message, TickMessage):
                self.prices |= {tick.instrument_token: tick.last_price for tick in message}

    async def follow_orders(self, manager: KiteTickerManager) -> None:
        """Each of the sockets brings a copy of an update; this view has one."""
        async for message in manager.orders():
            order = message.order
            print(f"order {order.order_id} {order.status}: {order.filled_quantity} filled")


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    portfolio = Portfolio()
    async with (
        asyncio.TaskGroup() as readers,
        KiteTickerManager(key, token, root=root) as manager,
    ):
        manager.subscribe_symbols(HOLDINGS, Mode.LTP)
        for channel in manager.get_all_channels().values():
            readers.create_task(portfolio.follow_prices(channel))
        readers.create_task(portfolio.follow_orders(manager))
        for _ in range(5):
            await asyncio.sleep(seconds / 5)
            print(f"gain {portfolio.gain:+.2f}")


asyncio.run(main())
