import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.wire.candles import MINUTE_MS, Candle, Gap, parse_candles

IST = timezone(timedelta(hours=5, minutes=30))
MINUTE = 29_495_840  # 2026-01-30 10:50 in India
PRICES = [10, 12.5, 9.25, 11.0]


def row(minute=MINUTE, prices=PRICES, volume=7, *oi):
    at = datetime.fromtimestamp(minute * 60, IST)
    return [f"{at:%Y-%m-%dT%H:%M:%S%z}", *prices, volume, *oi]


def test_a_row_of_kites_documentation():
    minute = round(datetime(2015, 12, 28, 3, 45, tzinfo=UTC).timestamp()) // 60
    rows = [["2015-12-28T09:15:00+0530", 1386.4, 1388, 1381.05, 1385.1, 788, 120]]
    assert parse_candles(rows, {minute}) == (
        [Candle(minute, 1386.4, 1388.0, 1381.05, 1385.1, 788, 120)],
        0,
    )


@pytest.mark.parametrize(
    "wild",
    [
        None, 5, "row", {}, [], row()[:5], [*row(), 1, 2],
        row(volume=-1), row(volume=7.5), row(volume=True), row(volume="7"), row(volume=2**63),
        row(prices=[10, 12, 9, float("nan")]), row(prices=[10, float("inf"), 9, 11]),
        row(prices=[10**400, 12, 9, 11]),
        row(prices=[10, 12, -9, 11]), row(prices=[10, 12, 9, "11"]), row(prices=[10, 12, None, 11]),
        row(MINUTE, PRICES, 7, -1), row(MINUTE, PRICES, 7, 1.5), row(MINUTE, PRICES, 7, "1"),
        row(MINUTE + 1), row(MINUTE - 1),
        ["2026-01-30T10:50:01+0530", *PRICES, 7], ["2026-01-30T10:50:00", *PRICES, 7],
        ["2026-01-30T10:50:00Z", *PRICES, 7], ["30.01.2026 10:50", *PRICES, 7],
        [1769750400, *PRICES, 7], ["2026-01-30T10:50:00+0530" + "0" * 99, *PRICES, 7],
    ],
)  # fmt: skip
def test_a_wild_row_is_refused_and_costs_no_other(wild):
    candles, refused = parse_candles([wild, row()], {MINUTE})
    assert [candle.minute for candle in candles] == [MINUTE]
    assert refused == 1


def test_a_repeated_minute_is_refused():
    candles, refused = parse_candles([row(), row(volume=9)], {MINUTE})
    assert ([candle.volume for candle in candles], refused) == ([7], 1)


def test_without_open_interest_it_is_null():
    (candle,), _ = parse_candles([row()], {MINUTE})
    assert candle.oi is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(
    st.lists(json_values | st.builds(row, st.integers(MINUTE - 3, MINUTE + 3)), max_size=12),
    st.sets(st.integers(MINUTE - 3, MINUTE + 3)),
)
def test_whatever_the_answer_every_row_is_a_candle_that_was_asked_for_or_refused(rows, minutes):
    rows = json.loads(json.dumps(rows))
    candles, refused = parse_candles(rows, minutes)
    assert len(candles) + refused == len(rows)
    found = [candle.minute for candle in candles]
    assert found == sorted(set(found))
    assert set(found) <= minutes


gaps = st.builds(
    lambda slot, begin, length: Gap(slot, 1, begin, begin + length, "gap"),
    st.integers(0, 1),
    st.integers(0, 10 * MINUTE_MS),
    st.integers(0, 5 * MINUTE_MS),
)


def minutes(*found):
    return {
        (gap.slot, minute)
        for gap in found
        for minute in range(gap.first_minute, gap.last_minute + 1)
    }


@given(gaps)
def test_a_gap_touches_every_minute_that_has_a_moment_of_it(gap):
    for ms in {gap.from_ms, (gap.from_ms + gap.to_ms) // 2, max(gap.from_ms, gap.to_ms - 1)}:
        assert gap.first_minute <= ms // MINUTE_MS <= gap.last_minute
    assert gap.first_minute * MINUTE_MS <= gap.from_ms
    # one that ends as a minute begins has no moment of it
    assert gap.to_ms <= (gap.last_minute + 1) * MINUTE_MS


@given(gaps, gaps)
def test_what_is_left_of_a_gap_has_the_minutes_of_it_that_the_other_has_not(gap, other):
    assert minutes(*gap.without(other)) == minutes(gap) - minutes(other)


@given(gaps, gaps)
def test_gaps_that_touch_are_one_with_the_minutes_of_both(gap, other):
    joined = gap.joined(other)
    if joined is None:
        assert not minutes(gap) & minutes(other)
    else:
        assert minutes(joined) == minutes(gap, other)
        assert joined.session_id == other.session_id
