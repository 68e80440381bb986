from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kite.clock import IST
from connector.kite.market_hours import shipped
from connector.kite.wire.candles import MINUTE_MS, Gap
from connector.kite.wire.models import Exchange
from connector.service.gaps import (
    MAX_DAYS,
    MAX_REFUSED,
    Gaps,
    look_back_ms,
    milliseconds,
    minutes_of,
)

DAY_MS = 1_769_711_400_000  # Friday 2026-01-30, midnight in India
OPEN_MS = DAY_MS + 10 * 3_600_000


def at(ms):
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


def event(kind, slot=0, begins=None, ends=None, session_id=1, time=0):
    return {
        "type": kind, "slot": slot, "session_id": session_id, "time": at(time),
        "gap_from": at(begins), "gap_to": at(ends),
    }  # fmt: skip


def ms(minute, second=0):
    return OPEN_MS + minute * MINUTE_MS + second * 1000


def minutes(gaps):
    return {
        (gap.slot, minute)
        for gap in gaps
        for minute in range(gap.first_minute, gap.last_minute + 1)
    }


def test_gaps_wait_until_their_end_is_told():
    gaps = Gaps(10, shipped())
    gaps.read(event("gap", 0, ms(1), ms(2)))
    gaps.read(event("dropped", 1, ms(1), ms(2)))
    assert [(gap.slot, gap.cause) for gap in gaps] == [(0, "gap"), (1, "dropped")]
    gaps.read(event("gap_backfilled", 0, ms(1), ms(2)))
    assert [gap.slot for gap in gaps] == [1]
    gaps.read(event("gap_not_backfilled", 1, ms(1), ms(2)))
    assert len(gaps) == 1


def test_a_gap_without_a_beginning_begins_with_the_last_count_of_its_slot():
    gaps = Gaps(10, shipped())
    gaps.read(event("gap", 0, None, ms(9)))
    assert not len(gaps)  # nobody received before
    gaps.read(event("count", 1, time=ms(3)))
    gaps.read(event("count", 0, time=ms(4)))
    gaps.read(event("count", 0, time=ms(5)))
    gaps.read(event("gap", 0, None, ms(9)))
    (gap,) = gaps
    assert (gap.from_ms, gap.to_ms) == (ms(5), ms(9))


def test_a_gap_behind_an_owner_whose_clock_is_ahead_is_the_minute_of_its_end():
    gaps = Gaps(10, shipped())
    gaps.read(event("count", 0, time=ms(30)))
    gaps.read(event("gap", 0, None, ms(9, 30)))
    (gap,) = gaps
    assert (gap.first_minute, gap.last_minute) == (ms(9) // MINUTE_MS, ms(9) // MINUTE_MS)


@pytest.mark.parametrize(
    "wild",
    [
        {}, {"type": "gap"}, event("gap", None, ms(1), ms(2)), event("gap", 0, ms(2), ms(1)),
        event("connected", 0, ms(1), ms(2)), event("dropped", 0, None, ms(2)),
        {**event("gap"), "gap_from": "10:50", "gap_to": 5},
        # in India that is in the year 10000, which no calendar has
        {**event("gap"), "gap_from": at(ms(1)), "gap_to": datetime(9999, 12, 31, 20, tzinfo=UTC)},
        {**event("gap"), "gap_from": datetime(1, 1, 1, tzinfo=UTC), "gap_to": at(ms(1))},
    ],
)  # fmt: skip
def test_what_is_no_gap_changes_nothing(wild):
    gaps = Gaps(10, shipped())
    gaps.read(wild)
    assert not len(gaps)


def test_a_flood_of_losses_is_one_gap_but_not_with_one_that_is_being_mended():
    gaps = Gaps(10, shipped())
    gaps.read(event("dropped", 0, ms(0), ms(0, 59)))
    (begun,) = gaps
    gaps.begin(begun)
    for second in range(61, 600):
        gaps.read(event("dropped", 0, ms(0, second - 1), ms(0, second), session_id=second))
    first, second = gaps
    assert first == begun
    # the minute that is being fetched is fetched once
    assert (second.first_minute, second.last_minute) == (ms(1) // MINUTE_MS, ms(9) // MINUTE_MS)
    assert second.session_id == 599
    gaps.end(begun)
    assert list(gaps) == [second]


def test_more_gaps_than_may_wait_are_left_out_and_told_of_once():
    gaps = Gaps(2, shipped())
    for slot in range(5):
        gaps.read(event("gap", slot, ms(1), ms(2)))
    assert [gap.slot for gap in gaps] == [0, 1]
    gaps.read(event("gap_backfilled", 2, ms(1), ms(2)))  # of a leader before
    assert [gap.slot for gap in gaps.drain_refused()] == [3, 4]
    assert gaps.drain_refused() == {}


INFY, TCS, SBIN = 408065, 2953217, 779521


def instruments(gaps, *carried):
    return [gaps.concerned(gap).resolved(carried) for gap in gaps]


def test_the_instruments_of_a_gap_are_those_that_its_event_names_whatever_is_carried_now():
    gaps = Gaps(10, shipped())
    gaps.read({**event("gap", 0, ms(1), ms(2)), "tokens": [TCS, INFY]})
    assert instruments(gaps, SBIN) == [(TCS, INFY)]


def test_a_loss_of_records_that_were_no_ticks_is_no_gap():
    gaps = Gaps(10, shipped())
    gaps.read({**event("dropped", 0, ms(1), ms(2)), "instruments": 0, "tokens": []})
    assert not len(gaps)
    gaps.read({**event("dropped", 0, ms(1), ms(2)), "instruments": 1, "tokens": [INFY]})
    assert instruments(gaps, SBIN) == [(INFY,)]


def test_where_no_event_names_them_they_are_those_that_the_slot_carries():
    gaps = Gaps(10, shipped())
    gaps.read(event("dropped", 0, ms(1), ms(2)))
    assert instruments(gaps, SBIN, TCS) == [(SBIN, TCS)]


def test_gaps_that_are_one_have_the_instruments_of_both():
    gaps = Gaps(10, shipped())
    gaps.read({**event("gap", 0, ms(1), ms(2)), "tokens": [TCS, INFY]})
    gaps.read({**event("gap", 0, ms(2), ms(3)), "tokens": [INFY, SBIN]})
    assert instruments(gaps, 5) == [(TCS, INFY, SBIN)]
    gaps.read(event("dropped", 0, ms(3), ms(4)))
    assert instruments(gaps, INFY, 5) == [(TCS, INFY, SBIN, 5)]


def test_what_is_left_of_a_gap_keeps_its_instruments():
    gaps = Gaps(10, shipped())
    gaps.read({**event("gap", 0, ms(1), ms(9)), "tokens": [TCS]})
    gaps.read(event("gap_backfilled", 0, ms(3), ms(4)))
    assert instruments(gaps, INFY) == [(TCS,), (TCS,)]


def test_a_token_of_no_exchange_is_no_instrument_of_a_gap():
    gaps = Gaps(10, shipped())
    gaps.read({**event("gap", 0, ms(1), ms(2)), "tokens": [0, -1, TCS, 2**62 + 200]})
    assert instruments(gaps) == [(TCS,)]


def test_gaps_without_room_are_remembered_within_a_bound():
    gaps = Gaps(1, shipped())
    for slot in range(MAX_REFUSED + 5):
        gaps.read(event("gap", slot, ms(1), ms(2)))
    refused = list(gaps.drain_refused())
    assert [len(refused), refused[-1].slot] == [MAX_REFUSED, MAX_REFUSED + 4]


told = st.lists(
    st.tuples(
        st.sampled_from(["gap", "dropped", "gap_backfilled"]),
        st.integers(0, 1), st.integers(0, 12), st.integers(0, 4),
    ),
    max_size=20,
)  # fmt: skip


@given(told)
def test_a_minute_waits_if_and_only_if_no_end_of_it_was_told_later(events):
    gaps, waiting = Gaps(100, shipped()), set()
    for kind, slot, begins, length in events:
        gap = Gap(slot, 1, ms(begins), ms(begins + length, 30), kind)
        gaps.read(event(kind, slot, gap.from_ms, gap.to_ms))
        waiting = waiting - minutes([gap]) if kind == "gap_backfilled" else waiting | minutes([gap])
        found = list(gaps)
        # joined gaps have what lies between as well, of at most the next minute: none
        assert minutes(found) == waiting
        assert sum(len(minutes([one])) for one in found) == len(waiting)


def gap_of(begins_ms, ends_ms):
    return Gap(0, 1, begins_ms, ends_ms, "gap")


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("exchange", "begins", "ends", "count"),
    [
        (Exchange.NSE, 9.0, 9.5, 15),  # opens at 09:15
        (Exchange.NSE, 15.25, 16.0, 15),  # ends at 15:30
        (Exchange.NSE, 16.0, 24 + 24 + 9, 0),  # the evening and a weekend's Saturday
        (Exchange.MCX, 16.0, 16.5, 30),  # trades in the evening
        (Exchange.INDICES, 10.0, 10.0, 1),  # a moment is its minute
    ],
)
def test_minutes_are_those_in_which_the_exchange_trades(exchange, begins, ends, count):
    gap = gap_of(DAY_MS + round(begins * HOUR_MS), DAY_MS + round(ends * HOUR_MS))
    assert len(minutes_of(gap, exchange, shipped())) == count


@given(st.integers(0, 6 * 24 * 60), st.integers(0, 600), st.sampled_from(Exchange))
def test_minutes_are_those_of_the_gap_in_which_the_market_is_open(begins, length, exchange):
    gap = gap_of(DAY_MS + begins * MINUTE_MS, DAY_MS + (begins + length) * MINUTE_MS)
    assert minutes_of(gap, exchange, shipped()) == [
        minute
        for minute in range(gap.first_minute, gap.last_minute + 1)
        if shipped().market_open(exchange, datetime.fromtimestamp(minute * 60, UTC))
    ]


def test_of_a_gap_without_end_the_last_days_count():
    begins = date(2026, 1, 30) - timedelta(days=900)
    gap = gap_of(round(datetime(begins.year, 1, 1, tzinfo=UTC).timestamp() * 1000), OPEN_MS)
    found = minutes_of(gap, Exchange.NSE, shipped())
    assert found[0] * MINUTE_MS >= OPEN_MS - MAX_DAYS * 86_400_000
    assert 10_000 < len(found) < MAX_DAYS * 24 * 60


def test_a_time_is_one_of_avros():
    assert milliseconds(at(5)) == 5
    assert milliseconds(5) is None
    assert milliseconds(datetime(9999, 12, 31, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("begins", "waits"),
    [
        (datetime(2026, 1, 30, 15, 29, 50, tzinfo=IST), True),
        # NSE has closed, MCX trades until 23:55
        (datetime(2026, 1, 30, 15, 45, tzinfo=IST), False),
        (datetime(2026, 1, 31, 10, tzinfo=IST), False),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_gap_in_which_nothing_was_traded_does_not_wait(begins, waits, named):
    gaps = Gaps(10, shipped())
    begins_ms = round(begins.timestamp() * 1000)
    told = event("gap", begins=begins_ms, ends=begins_ms + 20_000)
    gaps.read({**told, "tokens": [408065] if named else []})
    # of instruments that nobody names any exchange's may be meant
    assert len(gaps) == (waits or (not named and begins.weekday() < 5))


@pytest.mark.parametrize(
    ("now", "since"),
    [
        (datetime(2026, 1, 29, 10, tzinfo=IST), datetime(2026, 1, 28, tzinfo=IST)),
        # behind a weekend, and behind the night of it
        (datetime(2026, 1, 19, 8, 45, tzinfo=IST), datetime(2026, 1, 16, tzinfo=IST)),
        (datetime(2026, 1, 18, 0, 5, tzinfo=IST), datetime(2026, 1, 16, tzinfo=IST)),
        # NSE was closed on Monday the 26th of January, MCX too; on 2026-01-15 NSE alone by day
        (datetime(2026, 1, 27, 9, tzinfo=IST), datetime(2026, 1, 23, tzinfo=IST)),
        (datetime(2026, 1, 16, 9, tzinfo=IST), datetime(2026, 1, 14, tzinfo=IST)),
        # before all hours that are known
        (datetime(1999, 6, 10, 9, tzinfo=IST), datetime(1999, 6, 9, tzinfo=IST)),
        (datetime(1970, 1, 1, 6, tzinfo=IST), datetime(1970, 1, 1, 5, 30, tzinfo=IST)),
    ],
)
def test_gaps_are_looked_for_since_the_last_day_of_trading(now, since):
    found = look_back_ms(round(now.timestamp() * 1000), shipped())
    assert found == round(since.timestamp() * 1000)
