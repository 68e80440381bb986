import csv
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import Exchange
from connector.kite.clock import IST
from connector.kite.market_hours import (
    MarketHours,
    hours,
    market_open,
    shipped,
    shipped_lines,
    ticks_expected,
    us_summer_time,
)

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


EQUITIES = {Exchange.NSE, Exchange.BSE, Exchange.INDICES, Exchange.NFO, Exchange.BFO}
COMMODITIES = {Exchange.MCX, Exchange.MCXSX, Exchange.NCO}
CLOSED, EVENING, MORNING = (), ((17, 0), (23, 55)), ((9, 0), (17, 0))


@pytest.mark.parametrize(
    ("day", "exchange", "sessions"),
    [
        # weekend sessions, which calendar packages lack or have closed
        (date(2024, 1, 20), Exchange.NSE, [((9, 15), (15, 30))]),
        (date(2025, 2, 1), Exchange.BFO, [((9, 15), (15, 30))]),
        (date(2026, 2, 1), Exchange.NSE, [((9, 15), (15, 30))]),
        (date(2026, 2, 1), Exchange.MCX, [MORNING]),
        (date(2024, 5, 18), Exchange.NFO, [((9, 15), (10, 0)), ((11, 30), (12, 30))]),
        # Muhurat
        (date(2024, 11, 1), Exchange.INDICES, [((18, 0), (19, 0))]),
        (date(2025, 10, 21), Exchange.MCX, [((13, 45), (14, 45))]),
        (date(2026, 11, 8), Exchange.NSE, [((18, 0), (19, 0))]),
        # holidays, on which MCX has its evening
        (date(2026, 11, 24), Exchange.NSE, CLOSED),
        (date(2026, 11, 24), Exchange.CDS, CLOSED),
        (date(2026, 11, 24), Exchange.NCO, [EVENING]),
        (date(2026, 5, 28), Exchange.MCX, [((17, 0), (23, 30))]),
        (date(2026, 1, 1), Exchange.MCX, [MORNING]),
        (date(2026, 1, 1), Exchange.NSE, [((9, 15), (15, 30))]),
        (date(2026, 12, 25), Exchange.MCX, CLOSED),
        (date(2026, 11, 28), Exchange.MCX, CLOSED),
    ],
)
def test_the_sessions_of_a_day(day, exchange, sessions):
    found = shipped().day(exchange, day)
    assert [(one.opens, one.closes) for one in found.sessions] == [
        (time(*opens), time(*closes)) for opens, closes in sessions
    ]
    assert found.reason


def test_a_holiday_and_the_time_between_two_sessions_are_silent():
    assert not market_open(Exchange.NSE, at(date(2026, 11, 24), 10, 0))
    assert not ticks_expected(Exchange.MCX, at(date(2026, 11, 24), 10, 0))
    assert ticks_expected(Exchange.MCX, at(date(2026, 11, 24), 18, 0))
    drill = date(2024, 3, 2)
    assert ticks_expected(Exchange.NSE, at(drill, 9, 30))
    assert not market_open(Exchange.NSE, at(drill, 10, 30))
    assert ticks_expected(Exchange.NSE, at(drill, 11, 45))


def test_each_day_that_is_shipped_says_why_and_by_what_source():
    days = [
        fields
        for fields in csv.reader(line for line in shipped_lines() if not line.startswith("#"))
        if fields[0] == "day"
    ]
    assert all(reason and source for *_, reason, source in days)
    # each in force: none is overridden by a later line on the same day
    dated = [(fields[1], name) for fields in days for name in fields[2].split()]
    assert len(set(dated)) == len(dated)
    for _, day, _, _, reason, source in days:
        found = [shipped().day(exchange, date.fromisoformat(day)) for exchange in Exchange]
        assert (reason, source) in [(one.reason, one.source) for one in found]
    assert shipped().listed_until == date(2026, 12, 31)


@given(st.sampled_from(Exchange), st.dates(date(2024, 1, 1), date(2027, 12, 31)))
def test_sessions_are_in_order_and_within_the_day(exchange, day):
    found = shipped().day(exchange, day)
    ends = time(0)
    for opens, steady_until, closes in found.sessions:
        assert ends <= opens < steady_until <= closes
        ends = closes
    # neither the bank holidays of currencies nor the evenings of MCX in 2024
    unlisted = exchange not in EQUITIES and (exchange not in COMMODITIES or day.year < 2025)
    assert found.listed == (day.year < 2027 and not unlisted)


@given(
    st.sampled_from(Exchange),
    st.integers(0, 2**63 // 10**9),
)
def test_there_is_an_answer_at_whatever_time_a_clock_says(exchange, seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    assert market_open(exchange, moment) or not ticks_expected(exchange, moment)
    if moment.year < 1999:
        assert shipped().day(exchange, moment.date()).sessions == ()


def test_an_operators_own_lines_win():
    mine = ["# a sudden holiday", "", "day,2026-11-30,NSE,closed,mourning,NSE circular"]
    planned = ["from,2026-12-07,=NFO,09:15-15:45,second step,us"]
    hours = MarketHours([*shipped_lines(), *mine, *planned])
    assert hours.day(Exchange.BSE, date(2026, 11, 30)).sessions == ()
    assert hours.day(Exchange.NFO, date(2026, 11, 30)).sessions
    assert hours.ordinary(Exchange.NFO, date(2026, 12, 7)).closes == time(15, 45)
    assert hours.ordinary(Exchange.BFO, date(2026, 12, 7)).closes == time(15, 40)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("day,2026-11-30,NSE,closed", "has 4 fields, not 6"),
        ("holiday,2026-11-30,NSE,closed,a,b", "begins with 'holiday'"),
        ("day,30.11.2026,NSE,closed,a,b", "has '30.11.2026' for a date"),
        ("day,2026-11-30,NYSE,closed,a,b", "has 'NYSE' for an exchange"),
        ("day,2026-11-30,,closed,a,b", "names no exchange"),
        ("day,2026-11-30,NSE,09:15,a,b", "has '09:15' for a session"),
        ("day,2026-11-30,NSE,09:15-25:00,a,b", "has '25:00' for a time"),
        ("day,2026-11-30,NSE,15:00-09:00,a,b", "does not end after it begins"),
        ("day,2026-11-30,NSE,09:00-11:00 + 10:00-12:00,a,b", "overlap or are not in order"),
        ("day,2026-11-30,NSE,09:15Z-15:30Z,a,b", "has '09:15Z' for a time"),
        ("day,2026-11-30,NSE,09:15Z-15:30,a,b", "has '09:15Z' for a time"),
        (f"day,2026-11-30,NSE,{'9' * 140_000},a,b", "field larger than"),
        ("from,2026-11-30,NSE,*-15:30,a,b", "has '*' for a time"),
        # what depends on the ordinary hours of the day
        ("day,2026-11-30,MCX,*-* + 22:00-23:00,a,b", "overlap or are not in order"),
        ("day,2026-11-30,NSE,17:00-*,a,b", "does not end after it begins"),
        ("day,2026-11-30,NSE,*-09:00,a,b", "does not end after it begins"),
        ("day,1999-11-30,NSE,*-*,a,b", "no ordinary hours of NSE"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line, says):
    with pytest.raises(ValueError, match=r"^line 2: ") as error:
        MarketHours(["# mine", line], shipped())
    assert says in str(error.value)


def test_other_ordinary_hours_that_spoil_a_day_are_found_at_once():
    days = MarketHours(["from,2020-01-01,NSE,09:15-15:30,,", "day,2026-11-30,NSE,14:00-*,a,b"])
    with pytest.raises(ValueError, match="NSE on 2026-11-30 has the session '14:00-"):
        MarketHours(["from,2025-01-01,NSE,09:15-13:00,a,b"], days)
    with pytest.raises(ValueError, match="NSE on 2026-11-30 has no ordinary hours"):
        MarketHours(["from,2025-01-01,NSE,closed,a,b"], days)
