"""What rules come to on a list that a person can look through."""

from datetime import date, timedelta

import pytest

from connector.control.bounds import MAX_RULE_INSTRUMENTS
from connector.control.expansion import Expansion, StrikeWindow, expand, expiry_days, usable_price
from connector.control.rules import RULE
from connector.kite.web.instruments import InstrumentMaster
from tests.support.contracts_list import (
    MONTHLY,
    NEXT_MONTHLY,
    NEXT_WEEKLY,
    NIFTY_50,
    TODAY,
    WEEKLY,
    Rows,
    symbols,
    usual,
)

MASTER = usual().master()


def expanded(kind, prices=(), before=None, today=TODAY, master=MASTER, **fields):
    rule = RULE.validate_python({"type": kind, **fields})
    return expand(rule, master, today, dict(prices), before)


def chain(price=None, before=None, underlying="NIFTY", **fields):
    prices = {} if price is None else {NIFTY_50: price}
    return expanded("option-chain", prices, before, underlying=underlying, **fields)


def strikes(expansion, master=MASTER):
    found = [master.get(token) for token in expansion.tokens]
    return sorted({one.strike for one in found if one.instrument_type in ("CE", "PE")})


def test_a_pattern_is_of_one_exchange():
    found = expanded("pattern", pattern="NSE:*")
    assert symbols(MASTER, found.tokens) == [
        "NSE:NIFTY 50", "NSE:INFY", "NSE:TCS", "NSE:RELIANCE"
    ]  # fmt: skip
    assert symbols(MASTER, expanded("pattern", pattern="NSE:?cs").tokens) == ["NSE:TCS"]


def test_a_pattern_is_narrowed_by_kind_and_by_each_underlyings_expiry():
    found = expanded("pattern", pattern="NFO:*", kinds=["FUT"], expiry="nearest")
    assert symbols(MASTER, found.tokens) == ["NFO:NIFTY26DECFUT", "NFO:INFY26DECFUT"]
    found = expanded("pattern", pattern="NFO:*25000*", kinds=["PE"], expiry="next")
    assert symbols(MASTER, found.tokens) == ["NFO:NIFTY26120825000PE"]
    # the nearest future and the nearest option are of different days
    both = expanded("pattern", pattern="NFO:NIFTY*", expiry="nearest")
    days = {MASTER.get(token).expiry for token in both.tokens}
    assert days == {WEEKLY, MONTHLY}


def test_futures_of_the_near_month():
    found = expanded("futures", exchange="NFO")
    assert symbols(MASTER, found.tokens) == ["NFO:NIFTY26DECFUT", "NFO:INFY26DECFUT"]
    found = expanded("futures", exchange="NFO", expiry="next-month", names=["infy"])
    assert symbols(MASTER, found.tokens) == ["NFO:INFY27JANFUT"]


def test_a_chain_lies_around_the_strike_that_is_nearest_to_the_price():
    found = chain(25_012.0, strikes=2)
    assert strikes(found) == [24_900, 24_950, 25_000, 25_050, 25_100]
    assert found.tokens[0] == found.spot == NIFTY_50
    assert len(found.tokens) == 1 + 5 * 2
    assert found.window == StrikeWindow(WEEKLY, 25_000, 24_962.5, 25_037.5)


def test_without_a_price_a_chain_is_the_instrument_that_will_tell_it():
    assert chain() == Expansion((NIFTY_50,), NIFTY_50)


def test_a_window_stays_until_the_price_is_a_quarter_of_a_step_past_the_border():
    window = chain(25_000.0).window
    for price in (25_026.0, 24_974.0, 25_037.5, 24_962.5):
        assert chain(price, window).window == window
    assert chain(25_037.6, window).window.middle == 25_050
    assert chain(24_962.4, window).window.middle == 24_950
    assert chain(None, window).window == window


def test_a_window_at_the_end_of_the_list_has_one_border():
    found = chain(30_000.0, strikes=1)
    assert strikes(found) == [25_950, 26_000]
    assert (found.window.low, found.window.high) == (25_962.5, None)
    assert chain(1.0, strikes=0).window.low is None


def test_an_expiry_that_passes_takes_the_window_to_the_next_one():
    window = chain(25_000.0).window
    later = TODAY + timedelta(days=1)
    rolled = expanded("option-chain", {}, window, later, underlying="NIFTY", strikes=1)
    assert rolled.window.expiry == NEXT_WEEKLY
    assert strikes(rolled) == [24_950, 25_000, 25_050]


def test_the_price_of_a_commodity_is_that_of_the_future_behind_the_options():
    future = MASTER.token("MCX:CRUDEOIL26DECFUT")
    found = chain(underlying="CRUDEOIL")
    assert found.spot == future
    found = expanded("option-chain", {future: 5531.0}, underlying="CRUDEOIL", strikes=0)
    assert strikes(found) == [5500]


def test_the_instrument_of_the_price_can_be_named():
    assert chain(underlying="INFY").spot == MASTER.token("NSE:INFY")
    assert chain(spot="NSE:INFY").spot == MASTER.token("NSE:INFY")


@pytest.mark.parametrize(
    ("expiry", "days"),
    [
        ("nearest", [WEEKLY]),
        ("next", [NEXT_WEEKLY]),
        ("near-month", [MONTHLY]),
        ("next-month", [NEXT_MONTHLY]),
        ("2026-12-08", [NEXT_WEEKLY]),
        ("2026-12-09", []),
        ("2026-12-02/2026-12-29", [NEXT_WEEKLY, MONTHLY]),
    ],
)
def test_what_the_words_of_an_expiry_mean(expiry, days):
    assert list(expiry_days(expiry, [WEEKLY, NEXT_WEEKLY, MONTHLY, NEXT_MONTHLY])) == days


def test_there_may_be_no_next_one():
    assert not expiry_days("next", [WEEKLY])
    assert not expiry_days("next-month", [WEEKLY, MONTHLY])
    assert not expiry_days("nearest", [])


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("pattern", {"pattern": "NFO:NOTHING*"}, "matches nothing, no instrument of NFO"),
        ("pattern", {"pattern": "XYZ:*"}, "the list has no instruments of XYZ"),
        ("pattern", {"pattern": "NSE:INFY", "kinds": ["FUT"]}, "1 instruments, none of them"),
        ("pattern", {"pattern": "NSE:INFY", "expiry": "next"}, "none with this expiry"),
        ("futures", {"exchange": "NSE"}, "no futures of NSE"),
        ("futures", {"exchange": "NFO", "names": ["NIFTI"]}, "NIFTI; perhaps NIFTY"),
        ("futures", {"exchange": "NFO", "expiry": "2026-12-01"}, "none of 4 futures"),
        ("option-chain", {"underlying": "NIFTI"}, "no contracts on NIFTI; perhaps NIFTY"),
        ("option-chain", {"underlying": "NIFTY", "exchange": "BFO"}, "no contracts of BFO"),
        ("option-chain", {"underlying": "NIFTY", "expiry": "2026-12-02"}, "days are 2026-12-01"),
        ("option-chain", {"underlying": "NIFTY", "spot": "NSE:X"}, "spot: the list has no"),
    ],
)  # fmt: skip
def test_what_matches_nothing_says_why(kind, fields, words):
    found = expanded(kind, **fields)
    assert words in found.problem
    assert found == Expansion(problem=found.problem)


def test_without_a_list_nothing_is_matched():
    assert "not loaded" in expanded("futures", master=InstrumentMaster(), exchange="NFO").problem


def test_what_has_expired_is_passed_over_while_the_list_still_has_it():
    found = expanded("futures", today=MONTHLY + timedelta(days=1), exchange="NFO")
    assert {MASTER.get(token).expiry for token in found.tokens} == {NEXT_MONTHLY}
    ended = date(2028, 1, 1)
    assert "no futures" in expanded("futures", today=ended, exchange="NFO").problem
    assert "have ended" in expanded("pattern", today=ended, pattern="NFO:NIFTY26*").problem


def test_a_rule_that_matches_too_much_is_told_how_much():
    rows = Rows()
    for number in range(MAX_RULE_INSTRUMENTS + 1):
        rows.add(f"NSE:S{number}")
    found = expanded("pattern", master=rows.master(), pattern="NSE:*")
    assert found.tokens == ()
    assert "matches 5001 instruments, a rule may have 5000" in found.problem
    fits = expanded("pattern", master=rows.master(), pattern="NSE:S1*")
    assert len(fits.tokens) == 1111


def test_a_pattern_of_many_stars_takes_no_time():
    rows = Rows()
    for number in range(2000):
        rows.add(f"NSE:{'A' * 40}{number}")
    found = expanded("pattern", master=rows.master(), pattern="NSE:" + "*A" * 28 + "*B")
    assert "matches nothing" in found.problem


@pytest.mark.parametrize("price", [0, -1, float("nan"), float("inf"), None, "25000"])
def test_what_is_no_price(price):
    assert not usable_price(price)
    assert usable_price(25_000.5)


def test_what_no_segment_of_the_feed_has_is_left_out():
    rows = Rows()
    rows.add("NSE:INFY")
    rows.add("NSE:OTHER")
    rows.rows[1] = rows.rows[1]._replace(instrument_token=77)
    found = expanded("pattern", master=rows.master(), pattern="NSE:*")
    assert symbols(rows.master(), found.tokens) == ["NSE:INFY"]
    found = expanded("pattern", master=rows.master(), pattern="NSE:OTHER")
    assert (found.tokens, "segment is unknown" in found.problem) == ((), True)
