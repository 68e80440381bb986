from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import Exchange
from connector.kite.clock import IST
from connector.kite.market_hours import hours, market_open, ticks_expected, us_summer_time

BEFORE, AFTER = date(2026, 7, 31), date(2026, 8, 3)  # a Friday and the Monday behind it
WINTER, SUMMER = date(2026, 1, 5), date(2026, 6, 1)  # Mondays


def at(day, hour, minute, second=0):
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=IST)


@pytest.mark.parametrize(
    ("exchange", "day", "opens", "steady_until", "closes"),
    [
        (Exchange.NSE, BEFORE, (9, 15), (15, 30), (15, 30)),
        (Exchange.NSE, AFTER, (9, 15), (15, 15), (15, 35)),
        (Exchange.BSE, AFTER, (9, 15), (15, 15), (15, 35)),
        (Exchange.INDICES, AFTER, (9, 15), (15, 15), (15, 35)),
        (Exchange.NFO, BEFORE, (9, 15), (15, 30), (15, 30)),
        (Exchange.NFO, AFTER, (9, 15), (15, 40), (15, 40)),
        (Exchange.BFO, AFTER, (9, 15), (15, 40), (15, 40)),
        (Exchange.CDS, AFTER, (9, 0), (17, 0), (17, 0)),
        (Exchange.BCD, AFTER, (9, 0), (17, 0), (17, 0)),
        (Exchange.MCX, WINTER, (9, 0), (23, 55), (23, 55)),
        (Exchange.MCX, SUMMER, (9, 0), (23, 30), (23, 30)),
        (Exchange.NCO, WINTER, (9, 0), (23, 55), (23, 55)),
        (Exchange.MCXSX, SUMMER, (9, 0), (23, 30), (23, 30)),
    ],
)
def test_the_hours_of_an_exchange(exchange, day, opens, steady_until, closes):
    second = timedelta(seconds=1)
    assert market_open(exchange, at(day, *opens))
    assert not market_open(exchange, at(day, *opens) - second)
    assert market_open(exchange, at(day, *closes) - second)
    assert not market_open(exchange, at(day, *closes))
    # the first trades take a moment, and an auction is silent
    assert not ticks_expected(exchange, at(day, *opens))
    assert ticks_expected(exchange, at(day, opens[0], opens[1] + 1))
    assert ticks_expected(exchange, at(day, *steady_until) - second)
    assert not ticks_expected(exchange, at(day, *steady_until))


@pytest.mark.parametrize("exchange", Exchange)
@pytest.mark.parametrize("day", [date(2026, 11, 28), date(2026, 11, 29)])
def test_at_weekends_nothing_is_expected(exchange, day):
    assert not any(market_open(exchange, at(day, hour, 30)) for hour in range(24))


@given(st.sampled_from(Exchange), st.integers(0, 6 * 366 * 86_400))
def test_ticks_are_expected_only_while_the_market_is_open(exchange, seconds):
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert market_open(exchange, moment) or not ticks_expected(exchange, moment)
    opens, steady_until, closes = hours(exchange, moment.date())
    assert opens < steady_until <= closes


@pytest.mark.parametrize(
    ("year", "begins", "ends"),
    [(2024, (3, 10), (11, 3)), (2025, (3, 9), (11, 2)), (2026, (3, 8), (11, 1)),
     (2027, (3, 14), (11, 7)), (2028, (3, 12), (11, 5))],
)  # fmt: skip
def test_the_summer_time_of_the_usa(year, begins, ends):
    first, last = date(year, *begins), date(year, *ends)
    assert us_summer_time(first)
    assert not us_summer_time(first - timedelta(days=1))
    assert us_summer_time(last - timedelta(days=1))
    assert not us_summer_time(last)
