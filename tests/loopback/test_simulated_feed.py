"""What a user's test does with a feed of its own."""

import pytest

from connector import Mode, OrderMessage, TickMessage, TokenRejectedError
from connector.testing import SimulatedFeed, until

MARKET = {"NSE:INFY": 1500.0, "NSE:NIFTY 50": 26_000.0, "MCX:GOLDTEST": 121_400.0}


async def ticks_until(subscriber, enough):
    seen = []
    while not seen or not enough(seen[-1]):
        message = await subscriber.next_message()
        seen += message if isinstance(message, TickMessage) else ()
    return seen


async def test_the_market_has_the_instruments_and_prices_that_the_test_chose():
    async with SimulatedFeed(MARKET) as feed, feed.ticker() as ticker:
        tokens = [feed.token(symbol) for symbol in MARKET]
        assert tokens[:2] == [408065, 256265]
        subscriber = ticker.subscribe(list(MARKET), Mode.FULL)
        prices = {}
        while len(prices) < 3:
            for tick in (await subscriber.next_message()).ticks:
                prices[tick.instrument_token] = (tick.tradingsymbol, tick.last_price)
        for token, (symbol, price) in zip(tokens, MARKET.items(), strict=True):
            assert prices[token] == (symbol.partition(":")[2], price)
        with pytest.raises(KeyError):
            feed.token("NSE:NONE")


async def test_a_trade_is_a_tick_at_its_price_in_the_mode_asked_for():
    async with SimulatedFeed(MARKET) as feed, feed.ticker() as ticker:
        subscriber = ticker.subscribe([feed.token("NSE:INFY")], Mode.FULL)
        await feed.trade_at("NSE:INFY", 1812.5, quantity=40, mode=Mode.FULL)
        tick = (await ticks_until(subscriber, lambda tick: tick.mode is Mode.FULL))[-1]
        assert (tick.last_price, tick.last_traded_quantity) == (1812.5, 40)
        assert tick.ohlc.high == 1812.5
        volume = tick.volume_traded
        await feed.trade_at("NSE:INFY", 1200.05, quantity=2)
        (tick,) = await ticks_until(subscriber, lambda _: True)
        assert (tick.last_price, tick.volume_traded, tick.ohlc.low) == (
            1200.05,
            volume + 2,
            1200.05,
        )
        with pytest.raises(ValueError, match="cannot trade at 0"):
            await feed.trade_at("NSE:INFY", 0.05)


async def test_a_manager_gets_over_a_fault_on_demand():
    async with SimulatedFeed(MARKET) as feed, feed.manager() as manager:
        manager.subscribe_symbols([feed.token("MCX:GOLDTEST")])
        await feed.until(lambda: len(feed.subscriptions()) == 1)
        await feed.inject("abort")
        await until(lambda: manager.get_stats().reconnects == 3)
        await feed.trade_at("MCX:GOLDTEST", 120_000.0)
        await feed.post_order({"order_id": "1", "status": "OPEN"})
        assert isinstance(await anext(manager.orders()), OrderMessage)


async def test_an_expired_token_is_refused_as_in_the_morning():
    async with SimulatedFeed() as feed:
        feed.expire_token()
        with pytest.raises(TokenRejectedError):
            await feed.ticker().open()
        assert len(feed.universe) == 2000


@pytest.mark.parametrize("symbol", ["INFY", "NSE:", ":INFY", "NYSE:IBM"])
def test_an_instrument_of_no_exchange_is_refused_by_name(symbol):
    with pytest.raises(ValueError, match=f"'{symbol}': write an instrument as EXCHANGE:"):
        SimulatedFeed({symbol: 1.0})
