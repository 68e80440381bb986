from collections import Counter
from datetime import date

import pytest

from connector.kite.wire.models import Exchange
from connector.simulator.universe import Universe, expiries

TODAY = date(2026, 9, 1)


@pytest.fixture(scope="module")
def market():
    return Universe(27_000, TODAY)


def test_well_known_instruments_have_kites_tokens(market):
    for exchange, symbol, token in [
        ("NSE", "NIFTY 50", 256265),
        ("NSE", "NIFTY BANK", 260105),
        ("BSE", "SENSEX", 265),
        ("NSE", "INFY", 408065),
        ("NSE", "RELIANCE", 738561),
        ("NSE", "TCS", 2953217),
        ("NCO", "ALUMINI26SEPFUT", 31132428),
    ]:
        listing = market.named(exchange, symbol)
        assert listing is not None
        assert listing.instrument_token == token
        assert market.by_token[token] is listing
    assert market.named("NSE", "NOBODY") is None


def test_tokens_and_names_are_unique_and_segments_fit(market):
    assert len(market) == len(market.by_token) == 27_000
    names = {(listing.exchange, listing.tradingsymbol) for listing in market.listings}
    assert len(names) == 27_000
    for listing in market.listings:
        assert 0 < listing.instrument_token < 2**32
        feed = listing.feed_exchange
        if feed is Exchange.INDICES:
            assert listing.segment == "INDICES"
        else:
            assert listing.segment.startswith(feed.name)
            assert listing.exchange == feed.name


def test_every_exchange_is_there_even_in_a_small_market():
    counts = Counter(listing.feed_exchange for listing in Universe(18, TODAY).listings)
    assert counts == dict.fromkeys(set(Exchange) - {Exchange.MCXSX}, 2)


def test_the_first_instruments_do_not_depend_on_the_size(market):
    assert Universe(100, TODAY).listings == market.listings[:100]


def test_the_largest_market():
    assert len(Universe(120_000, TODAY).by_token) == 120_000


def test_derivatives_are_named_as_kite_does(market):
    assert market.named("NFO", "NIFTY26SEPFUT").expiry == date(2026, 9, 29)
    weekly = market.named("NFO", "NIFTY2690124800CE")
    assert (weekly.expiry, weekly.strike) == (date(2026, 9, 1), 24800)
    assert market.named("NFO", "RELIANCE26SEP1410PE").instrument_type == "PE"
    assert all(listing.expiry >= TODAY for listing in market.listings if listing.expiry is not None)


def test_some_prices_do_not_fit_into_31_bits(market):
    silver = market.named("NCO", "SILVER26SEPFUT")
    assert round(silver.price * silver.feed_exchange.divisor) > 2**31


def test_expiries_skip_what_is_past():
    assert expiries(date(2026, 12, 30), 1, 2) == [date(2027, 1, 26), date(2027, 2, 23)]
    assert expiries(date(2026, 9, 29), 1, 1) == [date(2026, 9, 29)]
