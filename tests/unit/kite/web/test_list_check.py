from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import MAX_REASONS, SubscribedInstrument
from connector.kite.web.list_check import judge as judged

TODAY = date(2026, 1, 29)
SEGMENTS = {"NSE": 1, "NFO": 2, "MCX": 7}


def market(**counts):
    """Rows of each exchange; half of the contracts end the day before."""
    rows = []
    for exchange, count in counts.items():
        for number in range(count):
            expiry = None
            if exchange != "NSE":
                expiry = TODAY - timedelta(days=1) if number % 2 else TODAY
            kind = "EQ" if expiry is None else "FUT"
            token = (len(rows) + 1) << 8 | SEGMENTS[exchange]
            rows.append(
                Instrument(
                    token, token >> 8, f"{exchange}{number}", "", 0.0, expiry, 0.0, 0.05, 1, kind,
                    exchange, exchange,
                )
            )  # fmt: skip
    return rows


FULL = market(NSE=100, NFO=80, MCX=10)


def judge(rows, last=FULL, claims=(), **faults):
    last = None if last is None else InstrumentMaster(last)
    return judged(InstrumentMaster(rows, **faults), last, claims, TODAY).doubts


def test_the_same_list_and_one_without_what_has_expired_are_good():
    assert judge(FULL) == []
    assert judge([row for row in FULL if row.expiry is None or row.expiry >= TODAY]) == []


@pytest.mark.parametrize(
    ("rows", "doubts"),
    [
        ([], ["it has nothing of BSE, MCX, NFO, NSE"]),
        (FULL, ["it has nothing of BSE"]),
        ([*FULL, FULL[0]._replace(instrument_token=1 << 20 | 4, exchange="BSE")], []),
    ],
)
def test_the_first_list_of_kite_itself_has_its_exchanges(rows, doubts):
    new = InstrumentMaster(rows)
    assert judged(new, None, [], TODAY, kites=True).doubts == doubts
    # a simulator's market is of any size, and a later list has one to be compared with
    assert judged(new, None, [], TODAY).doubts == []
    if rows:
        assert judged(new, new, [], TODAY, kites=True).doubts == []


def test_more_rows_are_no_reason_to_doubt():
    assert (
        judge(
            [
                *FULL,
                *(
                    row._replace(
                        instrument_token=row.instrument_token + (9 << 20),
                        tradingsymbol=f"N{row.tradingsymbol}",
                    )
                    for row in FULL
                ),
            ]
        )
        == []
    )


def test_a_few_shares_may_leave_a_day():
    assert judge(FULL[10:]) == []


def test_an_exchange_that_is_gone_is_named():
    assert judge([row for row in FULL if row.exchange != "MCX"]) == [
        "it has nothing of MCX, which had 5 instruments"
    ]


def test_half_of_an_exchange_is_named_with_its_figures():
    assert judge([row for row in FULL if row.exchange != "NSE"] + FULL[:50]) == [
        "it lacks 50 of the 100 instruments of NSE"
    ]


def test_a_share_of_all_is_missed_even_where_no_exchange_lacks_much():
    rows = [row for number, row in enumerate(FULL) if number % 8]
    assert judge(rows) == ["it lacks 24 of 145 instruments that have not expired"]


def test_one_row_of_three_is_missed():
    assert judge(FULL[:2], last=FULL[:3])


def test_other_tokens_under_the_same_names_are_not_believed():
    rows = [row._replace(instrument_token=row.instrument_token + (1 << 20)) for row in FULL]
    assert judge(rows) == ["145 of 145 instruments have another token, name or expiry"]


def test_other_names_under_the_same_tokens_are_not_believed():
    rows = [row._replace(tradingsymbol=f"X{row.tradingsymbol}") for row in FULL]
    assert judge(rows) == ["145 of 145 instruments have another token, name or expiry"]


def test_contracts_that_have_ended_before_their_day_are_not_believed():
    ended = [
        row._replace(expiry=TODAY - timedelta(days=400)) if row.expiry == TODAY else row
        for row in FULL
    ]
    assert judge(ended) == ["45 of 145 instruments have another token, name or expiry"]


@pytest.mark.parametrize(
    "cells", [{"expiry": None}, {"strike": 0.0}, {"strike": -5.0}, {"instrument_type": ""}], ids=str
)
def test_contracts_whose_cells_are_all_unreadable_are_not_believed_and_a_few_are(cells):
    last = [
        row if row.expiry is None else row._replace(strike=100.0, instrument_type="CE")
        for row in FULL
    ]
    alive = [row for row in last if row.expiry == TODAY]
    damaged = [row._replace(**cells) if row in alive else row for row in last]
    assert judge(damaged, last) == ["45 of 145 instruments have another token, name or expiry"]
    damaged = [row._replace(**cells) if row in alive[:9] else row for row in last]
    assert judge(damaged, last) == []


@pytest.mark.parametrize("count", [1, 9])
def test_some_new_tokens_are_the_usual_day(count):
    rows = [row._replace(instrument_token=row.instrument_token + (1 << 20)) for row in FULL[:count]]
    assert judge(rows + FULL[count:]) == []


def claim(row):
    return SubscribedInstrument(row.instrument_token, row.symbol, row.expiry)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row._replace(expiry=TODAY - timedelta(days=1)),
        lambda row: row._replace(expiry=None),
        lambda row: row._replace(instrument_token=row.instrument_token + (9 << 20)),
        lambda row: row._replace(exchange="NCO"),
    ],
)
def test_a_small_exchange_that_is_all_another_is_not_believed(change):
    last = market(NSE=1000, NFO=800, MCX=20)
    rows = [change(row) if row.exchange == "MCX" else row for row in last]
    (reason,) = judge(rows, last)
    assert reason.endswith("of MCX have another token, name or expiry")
    one = next(row for row in last if row.exchange == "MCX" and row.expiry == TODAY)
    assert judge([change(row) if row is one else row for row in last], last) == []


def test_options_with_other_strikes_are_not_believed():
    last = [
        row._replace(strike=100.0) if row.exchange == "NFO" else row for row in market(NSE=9, NFO=9)
    ]
    rows = [row._replace(strike=row.strike * 100) for row in last]
    assert judge(rows, last) == ["5 of 14 instruments have another token, name or expiry"]


def test_however_many_exchanges_a_list_lacks_the_reasons_are_short():
    last = [
        row._replace(
            exchange=f"{'E' * 190}{number}", instrument_token=row.instrument_token + (9 << 20)
        )
        for number, row in enumerate(market(NSE=MAX_REASONS + 90))
    ]
    reasons = judge(FULL, last)
    assert len(reasons) == MAX_REASONS + 1
    assert reasons[-1] == "90 reasons more"
    assert sum(map(len, reasons)) < 1000


def test_claims_that_are_missed_count_more_than_other_rows():
    claims = [claim(row) for row in FULL[:4]]
    assert judge(FULL[2:], claims=claims) == ["it lacks 2 of the 4 instruments that are subscribed"]
    # one alone may have left the market; one that is expired, nameless or long gone is no news
    assert judge(FULL[1:], claims=claims) == []
    expired = [claim(row)._replace(expiry=TODAY - timedelta(days=1)) for row in FULL[:4]]
    assert judge(FULL[4:], claims=expired) == []
    assert judge(FULL[4:], claims=[one._replace(symbol=None) for one in claims]) == []
    assert judge(FULL[4:], last=FULL[4:], claims=claims) == []


def test_without_a_last_list_the_claims_alone_are_compared():
    claims = [claim(row) for row in FULL[:4]]
    assert judge(FULL[:2], last=None) == []
    assert judge(FULL[2:], last=None, claims=claims) == [
        "it lacks 2 of the 4 instruments that are subscribed"
    ]


def test_a_list_that_is_badly_made_is_doubted_for_itself():
    assert judge(FULL, last=None, broken=1) == ["1 of 190 lines have a quote that nothing closes"]
    assert judge(FULL, last=None, skipped=22) == ["22 of 212 rows cannot be read"]
    assert judge(FULL, last=None, skipped=19) == []


@given(data=st.data())
def test_a_list_that_lacks_a_third_of_what_has_not_expired_is_never_believed(data):
    alive = [row for row in FULL if row.expiry is None or row.expiry >= TODAY]
    order = data.draw(st.permutations(alive))
    kept = order[: data.draw(st.integers(1, len(alive) * 2 // 3))]
    assert judge(kept)


@given(data=st.data())
def test_a_list_that_lacks_one_in_twenty_of_each_exchange_is_believed(data):
    rows = [row for row in FULL if row.exchange != "MCX"]
    gone = data.draw(
        st.sets(st.sampled_from([row.instrument_token for row in rows[:100]]), max_size=5)
    )
    assert judge([row for row in rows if row.instrument_token not in gone], last=rows) == []
