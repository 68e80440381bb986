import struct
from datetime import date
from itertools import pairwise

import pytest

from connector.kite.wire.packets import parse_frame
from connector.simulator.market import Market
from connector.simulator.universe import Universe

NOW = 1_788_252_000
UNIVERSE = Universe(2_000, date(2026, 9, 1))


def walk(market, token, steps, mode="full"):
    quote = market.quote(token)
    for step in range(steps):
        market.advance(quote, NOW + step)
        yield quote.packet(mode)


def parsed(packet):
    (tick,) = parse_frame(b"\x00\x01" + packet)
    return tick


def test_equal_seeds_walk_alike():
    def packets(seed):
        market = Market(UNIVERSE, seed, NOW)
        return [*walk(market, 408065, 50), *walk(market, 256265, 50)]

    assert packets(1) == packets(1)
    assert packets(1) != packets(2)


def test_modes_are_slices_of_one_packet():
    market = Market(UNIVERSE, 1, NOW)
    for token, sizes in ((408065, (184, 44, 8)), (256265, (32, 28, 8))):
        packets = [market.packet(token, mode) for mode in ("full", "quote", "ltp")]
        assert [len(packet) for packet in packets] == [size + 2 for size in sizes]
        for packet, size in zip(packets, sizes, strict=True):
            assert packet[:2] == size.to_bytes(2, "big")
            assert packet[2:] == packets[0][2 : 2 + size]


@pytest.mark.parametrize("token", [listing.instrument_token for listing in UNIVERSE.listings[:18]])
def test_a_day_makes_sense(token):
    market = Market(UNIVERSE, 7, NOW)
    ticks = [parsed(packet) for packet in walk(market, token, 400)]
    prices = {tick.last_price for tick in ticks}
    assert len(prices) > 3
    assert any(a.last_price == b.last_price for a, b in pairwise(ticks))
    for before, tick in pairwise(ticks):
        assert tick.ohlc.low <= tick.last_price <= tick.ohlc.high
        assert tick.ohlc.low <= tick.ohlc.open <= tick.ohlc.high
        assert tick.ohlc.close > 0
        assert tick.exchange_timestamp >= before.exchange_timestamp
        if not tick.tradable:
            continue
        assert tick.volume_traded >= before.volume_traded
        assert tick.ohlc.low <= tick.average_traded_price <= tick.ohlc.high
        assert tick.last_trade_time <= tick.exchange_timestamp
        bids = [level.price for level in tick.depth.buy]
        offers = [level.price for level in tick.depth.sell]
        assert bids == sorted(bids, reverse=True)
        assert offers == sorted(offers)
        assert 0 < bids[-1] < bids[0] < tick.last_price < offers[0]
        assert all(level.quantity and level.orders for level in (*tick.depth.buy, *tick.depth.sell))
        assert tick.oi_day_low <= tick.oi <= tick.oi_day_high


def test_big_numbers_are_among_them():
    market = Market(UNIVERSE, 1, NOW)
    silver = UNIVERSE.named("NCO", "SILVER26SEPFUT").instrument_token
    assert struct.unpack(">I", market.packet(silver, "ltp")[6:])[0] > 2**31
    option = UNIVERSE.named("NFO", "NIFTY26SEP24800CE").instrument_token
    assert parsed(market.packet(option, "quote")).volume_traded > 2**31


def test_a_shut_market_has_empty_books():
    market = Market(UNIVERSE, 1, NOW)
    market.packet(408065, "full")
    market.set_open(is_open=False)
    for token in (408065, 738561):  # one that was quoted before, one that was not
        tick = parsed(market.packet(token, "full"))
        assert tick.last_price > 0
        assert all(level.price == 0 for level in (*tick.depth.buy, *tick.depth.sell))
    assert market.packet(256265, "full") is not None


def test_unknown_tokens_have_no_quote():
    market = Market(UNIVERSE, 1, NOW)
    assert market.quote(4711) is None
    assert market.packet(4711, "full") is None
