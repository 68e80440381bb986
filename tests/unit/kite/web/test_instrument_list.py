"""The day's instruments as programs look them up."""

from datetime import UTC, date, datetime

import pytest

from connector import InstrumentList, InstrumentNotFoundError, parse_frame
from connector.kite.web.instrument_csv import COLUMNS
from connector.kite.web.instrument_list import is_fresh
from connector.kite.wire.names import name_ticks
from connector.simulator.wire import encode_frame, ltp_packet

NEXT, LATER = date(2026, 1, 29), date(2026, 2, 26)


def row(token, symbol, exchange, kind="EQ", name="", expiry="", strike=0):
    values = dict.fromkeys(COLUMNS, "0") | {
        "instrument_token": token, "tradingsymbol": symbol, "exchange": exchange,
        "instrument_type": kind, "name": name, "expiry": expiry, "strike": strike,
        "segment": exchange,
    }  # fmt: skip
    return ",".join(str(values[column]) for column in COLUMNS)


def options():
    for number, (day, strike, kind) in enumerate(
        (day, strike, kind)
        for day in (LATER, NEXT)
        for strike in (25100, 24900, 25000)
        for kind in ("CE", "PE")
    ):
        symbol = f"NIFTY{day:%y%b}{strike}{kind}".upper()
        yield row((number + 1) << 8 | 2, symbol, "NFO", kind, "NIFTY", day, strike)


@pytest.fixture
def listed():
    rows = [
        ",".join(COLUMNS),
        row(256265, "NIFTY 50", "NSE", name="NIFTY 50"),
        row(408065, "INFY", "NSE", name="INFOSYS"),
        row(5, "TWICE", "NSE"),
        row(6, "TWICE", "NSE"),
        *options(),
        row(0x9902, "NIFTY26JANFUT", "NFO", "FUT", "NIFTY", NEXT),
        row(0x9905, "SENSEX26JAN80000CE", "BFO", "CE", "SENSEX", NEXT, 80000),
    ]
    yield InstrumentList.from_csv("\n".join(rows) + "\n")
    name_ticks(None)


def test_names_and_tokens_find_the_same(listed):
    assert listed["NSE:INFY"] is listed[408065]
    assert listed["nse:infy"] is listed.find("NSE:INFY")
    assert "NSE:INFY" in listed
    assert 408065 in listed
    assert "NSE:NONE" not in listed
    assert 7 not in listed


def test_names_and_tokens_may_be_mixed(listed):
    assert listed.tokens(["NSE:INFY", 256265, 408065, 7]) == [408065, 256265, 7]


def test_unknown_names_are_told_with_the_nearest(listed):
    with pytest.raises(InstrumentNotFoundError) as error:
        listed.tokens(["NSE:INFY", "NSE:NIFTY50", "NSE:B", "NSE:C"])
    assert error.value.nearest == ("NSE:NIFTY 50",)
    assert "NSE:NIFTY50" in str(error.value)
    assert "did you mean NSE:NIFTY 50?" in str(error.value)
    assert "Nor are NSE:B, NSE:C" in str(error.value)


def test_a_name_of_several_instruments_is_no_name(listed):
    with pytest.raises(InstrumentNotFoundError, match=r"several .*\(5, 6\)") as error:
        listed.find("NSE:TWICE")
    assert error.value.tokens == (5, 6)


def test_an_unknown_token_has_no_row(listed):
    with pytest.raises(InstrumentNotFoundError, match="7 cannot be looked up"):
        listed[7]


@pytest.mark.parametrize("given", ["408065", True, 0, 1.5])
def test_what_is_neither_is_refused(listed, given):
    with pytest.raises((TypeError, ValueError)):
        listed.tokens([given])


def test_the_chain_of_the_next_expiry_strike_by_strike(listed):
    chain = listed.option_chain("nifty")
    assert (chain.underlying, chain.exchange, chain.expiry) == ("NIFTY", "NFO", NEXT)
    assert [strike.strike for strike in chain.strikes] == [24900, 25000, 25100]
    for strike, call, put in chain.strikes:
        assert (call.instrument_type, put.instrument_type) == ("CE", "PE")
        assert call.strike == put.strike == strike
        assert call.expiry == put.expiry == NEXT
    assert len(set(chain.tokens())) == 6


@pytest.mark.parametrize(
    ("around", "strikes", "expected"),
    [
        (25040, 0, [25000]),
        (25060, 1, [25000, 25100]),
        (1, 1, [24900, 25000]),
        (25000, None, [24900, 25000, 25100]),
    ],
)
def test_the_chain_around_a_price(listed, around, strikes, expected):
    chain = listed.option_chain("NIFTY", around=around, strikes=strikes, expiry=LATER)
    assert [strike.strike for strike in chain.strikes] == expected
    assert chain.expiry == LATER


@pytest.mark.parametrize("price", [float("nan"), float("inf")])
def test_a_chain_around_what_is_no_price_is_refused(listed, price):
    with pytest.raises(ValueError, match="is a number"):
        listed.option_chain("NIFTY", around=price, strikes=1)


def test_expiries_and_contracts(listed):
    assert listed.expiries("NIFTY") == [NEXT, LATER]
    assert listed.expiries("SENSEX") == [NEXT]
    (future,) = [one for one in listed.contracts("NIFTY", expiry=NEXT) if one.strike == 0]
    assert future.tradingsymbol == "NIFTY26JANFUT"


def test_a_side_that_is_not_listed_is_none(listed):
    (strike,) = listed.option_chain("SENSEX", exchange="BFO").strikes
    assert strike.put is None
    assert listed.option_chain("SENSEX").tokens() == [0x9905]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"underlying": "NIFTI"}, "did you mean NFO:NIFTY?"),
        ({"underlying": "NIFTY", "exchange": "MCX"}, "NIFTY is not"),
        ({"underlying": "NIFTY", "expiry": date(2026, 1, 1)}, "2026-01-29, 2026-02-26"),
    ],
)
def test_what_has_no_options_is_said(listed, arguments, text):
    with pytest.raises(InstrumentNotFoundError) as error:
        listed.option_chain(**arguments)
    assert text in str(error.value)


def test_ticks_have_todays_names(listed):
    frame = encode_frame([ltp_packet(408065, 1), ltp_packet(7 << 8 | 1, 1)])
    assert [tick.tradingsymbol for tick in parse_frame(frame)] == [None, None]
    listed.name_ticks()
    assert [tick.tradingsymbol for tick in parse_frame(frame)] == ["INFY", None]


@pytest.mark.parametrize(
    ("fetched", "now", "max_age_seconds", "fresh"),
    [
        ("2026-01-05T03:01", "2026-01-05T10:00", None, True),  # 08:31 IST
        ("2026-01-05T02:59", "2026-01-05T10:00", None, False),  # 08:29 IST
        ("2026-01-05T10:00", "2026-01-06T02:59", None, True),
        ("2026-01-05T10:00", "2026-01-06T03:01", None, False),
        ("2026-01-05T09:59", "2026-01-05T10:00", 60, True),
        ("2026-01-05T09:58", "2026-01-05T10:00", 60, False),
        ("2026-01-05T10:01", "2026-01-05T10:00", 600, False),  # from the future
    ],
)
def test_a_kept_list_is_good_until_kite_makes_the_next(fetched, now, max_age_seconds, fresh):
    fetched, now = (
        int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1000)
        for time in (fetched, now)
    )
    assert is_fresh(fetched, now, max_age_seconds) is fresh
