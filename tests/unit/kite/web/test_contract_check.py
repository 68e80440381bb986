"""Days, kinds and strikes that contracts cannot have, over lists like Kite's."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from connector.control.expansion import expiry_days
from connector.kite.web.contract_check import compare_contracts, lone_days, one_day
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import SubscribedInstrument, judge
from tests.support.contracts_list import MONTHLY, NEXT_MONTHLY, NEXT_WEEKLY, TODAY, usual

ROWS = usual().rows
USUAL = InstrumentMaster(ROWS)
CONTRACTS = [row for row in ROWS if row.expiry is not None]


def changed(change):
    """The usual list with some rows in another shape; `change` returns None for those it leaves."""
    return InstrumentMaster(change(row) or row for row in ROWS)


def with_day(day, *symbols):
    return changed(lambda row: row._replace(expiry=day) if row.symbol in symbols else None)


def used(new, last=USUAL, claims=()):
    """The list as it is used after the comparison."""
    judged = judge(new, last, claims, TODAY)
    assert judged.doubts == []
    new.keep(judged.kept)
    return new


def days_of(master, exchange, name):
    contracts = master.contracts_of(exchange, name)
    return sorted({one.expiry for one in contracts if one.expiry and one.expiry >= TODAY})


def test_a_list_whose_contracts_all_end_today_is_held_back():
    new = changed(lambda row: row.expiry and row._replace(expiry=TODAY))
    (doubt,) = judge(new, USUAL, (), TODAY).doubts
    assert doubt.endswith("have another token, name or expiry")


def test_a_list_that_is_shifted_by_a_day_is_held_back():
    new = changed(lambda row: row.expiry and row._replace(expiry=row.expiry + timedelta(days=1)))
    assert judge(new, USUAL, (), TODAY).doubts


def test_the_damaged_days_of_one_exchange_alone_hold_the_list_back():
    new = changed(lambda row: row._replace(expiry=TODAY) if row.exchange == "MCX" else None)
    assert judge(new, USUAL, (), TODAY).doubts == [
        "24 of the 24 instruments of MCX have another token, name or expiry"
    ]


def test_a_wild_day_of_one_row_moves_no_month_of_its_chain():
    symbol = "NFO:NIFTY26122924000CE"
    damaged = with_day(date(2026, 12, 31), symbol)
    assert expiry_days("near-month", days_of(damaged, "NFO", "NIFTY")) == [date(2026, 12, 31)]
    list_in_use = used(damaged)
    assert expiry_days("near-month", days_of(list_in_use, "NFO", "NIFTY")) == [MONTHLY]
    assert list_in_use.named(symbol).expiry == MONTHLY
    assert list_in_use.kept == 1


def test_the_only_future_of_a_month_keeps_its_day():
    first, second = date(2026, 12, 18), date(2027, 1, 19)
    damaged = with_day(date(2027, 1, 20), "MCX:CRUDEOIL26DECFUT")
    assert [one.expiry for one in used(damaged).contracts_of("MCX", "CRUDEOIL")].count(first) == 1
    futures = [
        one.expiry
        for one in used(damaged).contracts_of("MCX", "CRUDEOIL")
        if one.instrument_type == "FUT"
    ]
    assert futures == [first, second]


def test_lost_cells_of_a_few_contracts_are_those_of_the_last_good_list():
    symbol = "NFO:NIFTY26122924000CE"
    lost = {"expiry": None, "strike": 0.0, "instrument_type": ""}
    new = used(changed(lambda row: row._replace(**lost) if row.symbol == symbol else None))
    assert new.named(symbol) == USUAL.named(symbol)


def test_contracts_that_move_together_to_a_day_of_their_own_are_believed():
    eve = MONTHLY - timedelta(days=1)

    def moved(row):
        infy = (row.exchange, row.name, row.expiry) == ("NFO", "INFY", MONTHLY)
        return row._replace(expiry=eve) if infy else None

    judged = judge(changed(moved), USUAL, (), TODAY)
    assert (judged.doubts, judged.kept) == ([], {})
    assert judged.moved == (("NFO", "INFY", MONTHLY),)


def test_what_moves_to_a_day_that_others_of_its_underlying_have_keeps_its_own():
    def moved(row):
        weekly = (row.name, row.expiry) == ("INFY", MONTHLY)
        return row._replace(expiry=NEXT_MONTHLY) if weekly else None

    new = used(changed(moved))
    assert {one.expiry for one in new.contracts_of("NFO", "INFY")} == {MONTHLY, NEXT_MONTHLY}
    assert new.kept == 33


def test_a_new_strike_with_a_day_of_its_own_has_none_and_a_new_series_has_its_day():
    wild = USUAL.named("NFO:NIFTY26122924000CE")._replace(
        instrument_token=999 << 8 | 2, tradingsymbol="NIFTY26D3124000CE", expiry=date(2026, 12, 31)
    )
    new = used(InstrumentMaster([*ROWS, wild]))
    assert new.get(wild.instrument_token).expiry is None
    assert days_of(new, "NFO", "NIFTY") == days_of(USUAL, "NFO", "NIFTY")
    # the next day the list is compared with what was used, and comes to the same
    assert used(InstrumentMaster([*ROWS, wild]), last=new).kept == 1
    series = usual()
    series.chain("NFO", "NIFTY", date(2026, 12, 31), (24_000, 24_050))
    assert date(2026, 12, 31) in days_of(used(series.master()), "NFO", "NIFTY")


def test_an_option_that_was_the_last_of_its_day_before_keeps_it():
    alone = [row for row in ROWS if row.expiry != NEXT_WEEKLY or row.strike == 24_000]
    alone.remove(next(row for row in alone if row.expiry == NEXT_WEEKLY))
    last = InstrumentMaster(alone)
    assert used(InstrumentMaster(alone), last).kept == 0
    assert lone_days(last)


def test_without_a_last_list_contracts_that_all_end_on_one_day_are_not_believed():
    new = changed(lambda row: row.expiry and row._replace(expiry=TODAY))
    assert judge(new, None, (), TODAY).doubts == [
        f"all {len(CONTRACTS)} contracts of all exchanges end on {TODAY}"
    ]
    # of one exchange a small list may have so many
    assert one_day([row for row in new if row.exchange == "NFO"]) is None
    assert one_day(ROWS) is None


def test_without_a_last_list_the_days_of_what_is_subscribed_count():
    claims = [
        SubscribedInstrument(row.instrument_token, row.symbol, row.expiry) for row in CONTRACTS[:60]
    ]
    one_off = with_day(TODAY + timedelta(days=2), claims[0].symbol)
    new = used(one_off, None, claims)
    assert new.get(claims[0].token).expiry == claims[0].expiry
    shifted = changed(lambda row: row.expiry and row._replace(expiry=row.expiry + timedelta(1)))
    assert judge(shifted, None, claims, TODAY).doubts == [
        "60 of the 60 contracts that are subscribed have another expiry"
    ]


def test_what_has_expired_is_not_compared():
    later = NEXT_MONTHLY + timedelta(days=1)
    shifted = changed(lambda row: row.expiry and row._replace(expiry=later))
    found = compare_contracts(shifted, USUAL, later)
    assert (found.kept, found.differ.total(), found.compared.total()) == ({}, 0, 0)


@given(
    st.dictionaries(st.sampled_from(CONTRACTS), st.dates(TODAY, date(2028, 1, 1)), max_size=40),
)
def test_no_few_damaged_days_change_what_any_chain_ends_on(damage):
    few = dict(list(damage.items())[: len(CONTRACTS) // 20])
    new = changed(lambda row: row._replace(expiry=few[row]) if row in few else None)
    judged = judge(new, USUAL, (), TODAY)
    if not judged.doubts:
        new.keep(judged.kept)
        assert {row.instrument_token: row.expiry for row in new} == {
            row.instrument_token: row.expiry for row in ROWS
        }
