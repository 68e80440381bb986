"""Claims against whatever a day's list may lack: what no reason ends, stays."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from connector.control.commands import COMMAND
from connector.control.reducer import reduce
from connector.control.state import Layout, State
from connector.kite.clock import IST
from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster

TODAY = date(2026, 1, 29)
KINDS = {"NSE": 1, "NFO": 2, "BSE": 4, "MCX": 7}


def rows(count, exchanges, expiries):
    return [
        Instrument(
            (number + 1) << 8 | KINDS[exchange], number + 1, f"S{number}", "", 0.0, expiry, 0.0,
            0.05, 1, "FUT" if expiry else "EQ", exchange, exchange,
        )
        for number, exchange, expiry in zip(range(count), exchanges, expiries, strict=True)
    ]  # fmt: skip


days = st.none() | st.integers(-3, 3).map(lambda days: TODAY + timedelta(days=days))
markets = st.integers(1, 12).flatmap(
    lambda count: st.builds(
        rows,
        st.just(count),
        st.lists(st.sampled_from(list(KINDS)), min_size=count, max_size=count),
        st.lists(days, min_size=count, max_size=count),
    )
)
moments = st.integers(0, 2 * 86_400 - 1).map(
    lambda second: datetime(2026, 1, 29, tzinfo=IST) + timedelta(seconds=second)
)


def send(state, kind, names, now, **fields):
    command = COMMAND.validate_python({"id": str(state.progress.sequence), "type": kind, **fields})
    return reduce(state, command, round(now.timestamp() * 1000), names)


def claimed(market, mode="ltp"):
    state = State(Layout((0, 1, 2), 3000))
    names = [row.symbol for row in market]
    start = datetime(2026, 1, 20, tzinfo=UTC)
    return send(
        state, "subscribe", InstrumentMaster(market), start, instruments=names, mode=mode
    ).state


@given(market=markets, data=st.data())
def test_only_what_is_past_its_expiry_ends_whatever_rows_a_list_lacks(market, data):
    state = claimed(market)
    for _ in range(data.draw(st.integers(1, 4), "lists")):
        left = [row for row in market if data.draw(st.booleans(), f"has {row.symbol}")]
        now = data.draw(moments, "now")
        before = state.subscriptions
        outcome = send(state, "refresh-instruments", InstrumentMaster(left), now)
        state = outcome.state
        listed = {row.instrument_token for row in left}
        for row in market:
            over = row.expiry is not None and row.expiry < now.date()
            if row.instrument_token in before and not (
                over and row.instrument_token not in listed and left
            ):
                assert state.subscriptions[row.instrument_token] == before[row.instrument_token]
        ended = before.keys() - state.subscriptions.keys()
        assert {token for event in outcome.events for token in event.tokens} == ended


@given(market=markets, data=st.data())
def test_the_full_list_of_the_next_day_finds_everything_again(market, data):
    market = [row._replace(expiry=None) for row in market]
    state = claimed(market)
    first = state.subscriptions
    now = data.draw(moments, "now")
    left = [row for row in market if data.draw(st.booleans(), f"has {row.symbol}")]
    state = send(state, "refresh-instruments", InstrumentMaster(left), now).state
    full = InstrumentMaster(market)
    outcome = send(state, "refresh-instruments", full, now)
    assert (outcome.state.subscriptions, outcome.events) == (first, ())
    names = [row.symbol for row in market]
    again = send(outcome.state, "subscribe", full, now, watchlist="w", instruments=names)
    assert again.state.subscriptions.keys() == first.keys()


@given(market=markets, data=st.data())
def test_no_row_that_a_list_has_besides_moves_a_claim(market, data):
    """Neither rows of other tokens under a claimed name, nor their order."""
    state = claimed(market)
    doubles = [
        row._replace(instrument_token=row.instrument_token + (1000 << 8))
        for row in market
        if data.draw(st.booleans(), f"{row.symbol} twice")
    ]
    rows = data.draw(st.permutations([*market, *doubles]), "list")
    after = send(state, "refresh-instruments", InstrumentMaster(rows), datetime.now(IST)).state
    assert after.subscriptions == state.subscriptions
