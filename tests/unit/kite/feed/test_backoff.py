import pytest

from connector import ConnectionConfig
from connector.kite.feed.backoff import Pauses, backoff_seconds, slot_seconds, token_seconds

CONFIG = ConnectionConfig(
    reconnect_min_delay_seconds=0.5, reconnect_max_delay_seconds=30, slot_wait_seconds=2
)


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (8, 30), (100_000, 30)]
)
def test_the_ceiling_doubles_up_to_the_cap(attempt, ceiling):
    assert backoff_seconds(attempt, CONFIG, lambda: 1.0) == ceiling
    assert backoff_seconds(attempt, CONFIG, lambda: 0.25) == ceiling / 4


def test_the_jitter_is_full():
    assert backoff_seconds(5, CONFIG, lambda: 0.0) == 0


def test_waiting_for_a_slot_is_spread_around_its_step():
    assert slot_seconds(9, CONFIG, lambda: 0.0) == 1
    assert slot_seconds(9, CONFIG, lambda: 0.5) == 2
    assert slot_seconds(9, CONFIG, lambda: 1.0) == 3


def test_the_steps_double_until_they_are_the_setting():
    steps = [slot_seconds(attempt, CONFIG, lambda: 0.5) for attempt in range(1, 8)]
    assert steps == [0.125, 0.25, 0.5, 1, 2, 2, 2]


def test_what_the_feed_asks_for_comes_before_the_pause():
    pauses = Pauses(CONFIG, lambda: 0.5)
    assert [pauses.after_failure(), pauses.after_failure(40)] == [0.25, 40.5]
    assert [pauses.for_slot(), pauses.for_slot(40)] == [0.125, 40.25]


def test_only_failures_in_a_row_make_pauses_longer_and_use_tries_up():
    pauses = Pauses(CONFIG.model_copy(update={"max_reconnect_attempts": 2}), lambda: 0.5)
    pauses.after_failure()
    pauses.for_slot()
    assert not pauses.used_up
    pauses.after_failure()
    assert pauses.used_up
    # no fault of the network
    assert pauses.for_token() == token_seconds(1, lambda: 0.5)
    assert (pauses.used_up, pauses.after_failure()) == (False, 0.25)
    assert pauses.for_token() == token_seconds(2, lambda: 0.5)
    pauses.token_changed()
    assert pauses.for_token() == token_seconds(1, lambda: 0.5)
    pauses.opened()
    assert pauses.for_slot() == 0.125
    pauses.after_failure()
    pauses.begin_anew()
    assert pauses.after_failure() == 0.25
