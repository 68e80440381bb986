import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.timestamps import AFTER_MAX_MS, TRY_AGAIN_MS, Restamping

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = 1_700_000_000_000


def searched(accepts):
    """Restamping after a search over a broker that accepts these times, with its tries."""
    restamping = Restamping()
    tries = []
    while restamping.refused():
        tries.append(restamping.of(5, NOW_MS))
        if accepts(tries[-1]):
            restamping.accepted(NOW_MS, 1000.0)
            return restamping, tries
    return None, tries


@given(st.integers(AFTER_MAX_MS + 1, 365 * DAY_MS))
def test_a_clock_ahead_is_found_within_a_tenth(ahead_ms):
    brokers_ms = NOW_MS - ahead_ms
    restamping, tries = searched(lambda time_ms: time_ms <= brokers_ms + AFTER_MAX_MS)
    assert restamping.ahead_ms == pytest.approx(ahead_ms, rel=0.1, abs=60_000)
    assert restamping.of(5, NOW_MS) == NOW_MS - restamping.ahead_ms
    assert len(tries) < 600


@given(st.integers(HOUR_MS + 1, 7 * DAY_MS))
def test_a_clock_behind_is_found_where_brokers_limit_the_past(behind_ms):
    brokers_ms = NOW_MS + behind_ms
    restamping, _ = searched(lambda time_ms: abs(time_ms - brokers_ms) <= HOUR_MS)
    assert abs(restamping.of(5, NOW_MS) - brokers_ms) <= HOUR_MS
    assert restamping.ahead_ms < 0


def test_what_waited_for_too_long_is_written_with_the_present_time():
    restamping, tries = searched(lambda time_ms: abs(time_ms - NOW_MS) < 1000)
    assert tries == [NOW_MS]
    assert (restamping.shift_ms, restamping.ahead_ms) == (0, None)


def test_brokers_that_accept_no_time_end_the_search():
    restamping, tries = searched(lambda _: False)
    assert restamping is None
    assert len(tries) == len(set(tries)) < 600


def test_without_a_refusal_records_keep_their_own_time():
    restamping = Restamping()
    restamping.accepted(NOW_MS, 1000.0)
    restamping.look(NOW_MS, 1000.0)
    assert restamping.of(5, NOW_MS) == 5


def test_a_clock_that_is_set_ends_it():
    restamping, _ = searched(lambda time_ms: time_ms <= NOW_MS - HOUR_MS)
    restamping.look(NOW_MS + 7000, 1000.0 + 7000)
    assert restamping.shift_ms is not None
    restamping.look(NOW_MS - 2 * HOUR_MS, 1000.0 + 8000)
    assert (restamping.of(5, NOW_MS), restamping.ahead_ms) == (5, None)


def test_once_a_minute_a_record_is_tried_with_its_own_time():
    restamping, _ = searched(lambda time_ms: time_ms <= NOW_MS - HOUR_MS)
    assert not restamping.is_due(1000.0 + TRY_AGAIN_MS - 1)
    assert restamping.is_due(1000.0 + TRY_AGAIN_MS)
    restamping.try_own()
    assert restamping.of(5, NOW_MS) == 5
    assert not restamping.is_due(1000.0 + TRY_AGAIN_MS)
    restamping.accepted(NOW_MS + TRY_AGAIN_MS, 1000.0 + TRY_AGAIN_MS)
    assert (restamping.of(5, NOW_MS), restamping.ahead_ms) == (5, None)
    assert not restamping.is_due(1000.0 + 2 * TRY_AGAIN_MS)


@given(st.integers(AFTER_MAX_MS + 1, 365 * DAY_MS))
def test_what_was_found_is_the_next_try_where_its_own_time_is_refused_again(ahead_ms):
    latest_ms = NOW_MS - ahead_ms + AFTER_MAX_MS
    restamping, _ = searched(lambda time_ms: time_ms <= latest_ms)
    found = (restamping.of(5, NOW_MS), restamping.ahead_ms)
    restamping.try_own()
    assert restamping.refused()
    assert restamping.of(5, NOW_MS) <= latest_ms
    restamping.accepted(NOW_MS, 1000.0)
    assert (restamping.of(5, NOW_MS), restamping.ahead_ms) == found


def test_where_no_record_comes_to_be_tried_nothing_is_wrong():
    restamping, _ = searched(lambda time_ms: time_ms <= NOW_MS - HOUR_MS)
    restamping.try_own()
    restamping.nothing_to_try(999.0 + 3 * TRY_AGAIN_MS)
    assert restamping.ahead_ms is not None
    restamping.nothing_to_try(1000.0 + 3 * TRY_AGAIN_MS)
    assert (restamping.searching, restamping.ahead_ms) == (False, None)
    assert restamping.of(5, NOW_MS) == 5


def test_a_clock_that_is_set_while_a_records_own_time_is_tried_ends_it():
    restamping, _ = searched(lambda time_ms: time_ms <= NOW_MS - HOUR_MS)
    restamping.try_own()
    restamping.look(NOW_MS - 2 * HOUR_MS, 1000.0)
    assert (restamping.searching, restamping.ahead_ms) == (False, None)
