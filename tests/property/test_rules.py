"""Expansions of rules against a naive model, and a window's rest under a price that swings."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connector.control.bounds import MAX_RULE_INSTRUMENTS
from connector.control.expansion import HYSTERESIS, expand
from connector.control.rules import RULE
from tests.support.contracts_list import Rows

DAY = date(2026, 12, 1)
days = st.integers(0, 80).map(lambda n: DAY + timedelta(days=n))
words = st.sampled_from(["nearest", "next", "near-month", "next-month"])
expiries = words | days.map(str)
ranges = st.tuples(days, days).map(lambda two: f"{min(two)}/{max(two)}")
names = st.sampled_from(["NIFTY", "NIFTYNXT50", "INFY"])


@st.composite
def lists(draw):
    rows = Rows()
    rows.add("NSE:NIFTY 50", segment="INDICES")
    for share in ("INFY", "NIFTYNXT50"):
        rows.add(f"NSE:{share}", share)
    rows.add("NSE:NIFTY NEXT 50", segment="INDICES")
    for name in draw(st.lists(names, unique=True)):
        for expiry in draw(st.lists(days, max_size=4, unique=True)):
            rows.future("NFO", name, expiry, "%y%m%d")
        step = draw(st.sampled_from([2.5, 50.0, 100.0]))
        for expiry in draw(st.lists(days, max_size=4, unique=True)):
            rows.chain("NFO", name, expiry, [step * n for n in range(1, draw(st.integers(2, 12)))])
    return rows.master()


rules = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("pattern"),
            "pattern": st.sampled_from(["NFO:*", "NFO:NIFTY*", "NFO:?NFY*", "NSE:*", "NFO:*PE"]),
            "expiry": st.none() | expiries | ranges,
            "kinds": st.lists(st.sampled_from(["EQ", "FUT", "CE", "PE"]), unique=True),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("futures"),
            "exchange": st.sampled_from(["NFO", "NSE"]),
            "names": st.lists(names, unique=True),
            "expiry": expiries | ranges,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("option-chain"),
            "underlying": names,
            "expiry": expiries,
            "strikes": st.integers(0, 4),
        }
    ),
).map(RULE.validate_python)


def meant(expiry, found):
    """The days of a word, a day or a range: written down once more, as plainly as can be."""
    found = sorted(found)
    if expiry is None:
        return found
    if expiry in ("nearest", "next"):
        return [day for n, day in enumerate(found) if n == (expiry == "next")]
    if expiry.endswith("month"):
        months = sorted({(day.year, day.month) for day in found})
        wanted = months[1:2] if expiry.startswith("next") else months[:1]
        return [max(d for d in found if (d.year, d.month) == month) for month in wanted]
    first, _, last = expiry.partition("/")
    return [day for day in found if first <= str(day) <= (last or first)]


def group_of(one):
    return one.name, one.instrument_type == "FUT"


def model(rule, master, today, price):
    """The tokens of a rule, none where there is a problem; a chain's without a window before."""
    live = [one for one in master if one.expiry is None or one.expiry >= today]
    if rule.type == "option-chain":
        options = [
            one
            for one in live
            if one.exchange == "NFO"
            and one.name == rule.underlying
            and one.instrument_type in ("CE", "PE")
        ]
        day = meant(rule.expiry, {one.expiry for one in options})
        if not day:
            return set()
        index = {"NIFTY": "NSE:NIFTY 50", "NIFTYNXT50": "NSE:NIFTY NEXT 50", "INFY": "NSE:INFY"}
        spot = master.token(index[rule.underlying])
        if price is None:
            return {spot}
        rungs = sorted({one.strike for one in options if one.expiry == day[0]})
        middle = min(rungs, key=lambda strike: (abs(strike - price), strike))
        at = rungs.index(middle)
        near = [s for n, s in enumerate(rungs) if abs(n - at) <= rule.strikes]
        return {spot} | {
            one.instrument_token for one in options if one.expiry == day[0] and one.strike in near
        }
    if rule.type == "futures":
        chosen = [
            one
            for one in live
            if one.exchange == rule.exchange
            and one.instrument_type == "FUT"
            and (not rule.names or one.name in rule.names)
        ]
        if {one.name for one in chosen} < set(rule.names):
            return set()
    else:
        exchange, _, glob = rule.pattern.partition(":")
        chosen = [
            one
            for one in live
            if one.exchange == exchange
            and like(glob, one.tradingsymbol)
            and (not rule.kinds or one.instrument_type in rule.kinds)
        ]
    if rule.expiry is not None:
        chosen = [
            one
            for one in chosen
            if one.expiry
            and one.expiry
            in meant(rule.expiry, {o.expiry for o in chosen if group_of(o) == group_of(one)})
        ]
    return {one.instrument_token for one in chosen}


def like(glob, name):
    if not glob:
        return not name
    if glob[0] == "*":
        return any(like(glob[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and glob[0] in ("?", name[0]) and like(glob[1:], name[1:])


@given(lists(), rules, days, st.none() | st.floats(0.5, 1500))
def test_an_expansion_is_the_naive_models(master, rule, today, price):
    prices = {} if price is None else {one.instrument_token: price for one in master}
    found = expand(rule, master, today, prices)
    assert set(found.tokens) == model(rule, master, today, price)
    assert len(set(found.tokens)) == len(found.tokens) <= MAX_RULE_INSTRUMENTS
    assert (found.problem is None) == bool(found.tokens)
    assert expand(rule, master, today, prices) == found


CHAIN = RULE.validate_python({"type": "option-chain", "underlying": "NIFTY", "strikes": 2})
STEP = 50.0
INDEX = 1 << 8 | 9


def ladder():
    rows = Rows()
    rows.add("NSE:NIFTY 50", segment="INDICES")
    rows.chain("NFO", "NIFTY", DAY, [STEP * n for n in range(1, 101)])
    return rows.master()


LADDER = ladder()


def walk(prices):
    """The windows of one price after the other, each from the one before."""
    window, windows = None, []
    for price in prices:
        window = expand(CHAIN, LADDER, DAY, {INDEX: price}, window).window
        windows.append(window)
    return windows


@given(
    st.floats(500, 4500),
    st.lists(st.floats(-1, 1), min_size=2, max_size=40),
)
def test_a_price_that_swings_within_the_hysteresis_moves_a_window_once_at_most(middle, swings):
    prices = [middle + swing * HYSTERESIS * STEP * 0.999 for swing in swings]
    windows = walk(prices)
    moves = sum(one != other for one, other in pairwise(windows))
    assert moves <= 1


@given(st.lists(st.floats(1, 6000), min_size=1, max_size=40))
def test_a_walk_is_replayed_to_the_same_windows_and_never_strays_far(prices):
    windows = walk(prices)
    assert walk(prices) == windows
    for price, window in zip(prices, windows, strict=True):
        assert window.holds(price)
        near = min(max(price, STEP), 100 * STEP)
        assert abs(window.middle - near) <= (0.5 + HYSTERESIS) * STEP + 1e-6
