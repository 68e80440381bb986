import pytest

from connector import CapacityError
from connector.kite.feed.allocation import place, rebalance


def test_each_token_goes_to_the_emptiest_slot_and_ties_to_the_lowest():
    placed, refused = place([10, 11, 12, 13], {0: 0, 1: 0, 2: 1}, 3)
    assert placed == {10: 0, 11: 1, 12: 0, 13: 1}
    assert list(placed) == [10, 11, 12, 13]
    assert refused == []


def test_full_slots_are_filled_no_further_and_the_rest_is_refused_in_order():
    placed, refused = place([9, 8, 7, 6], {0: 1, 1: 2}, 2)
    assert placed == {9: 0}
    assert refused == [8, 7, 6]


def test_repeated_tokens_count_once():
    assert place([5, 5, 6, 6, 5], {0: 0}, 1) == ({5: 0}, [6])


def test_without_slots_everything_is_refused():
    assert place([1, 2], {}, 3000) == ({}, [1, 2])


def test_the_9001st_instrument_is_the_only_one_refused():
    placed, refused = place(range(9001), {0: 0, 1: 0, 2: 0}, 3000)
    assert len(placed) == 9000
    assert refused == [9000]
    assert [list(placed.values()).count(slot) for slot in range(3)] == [3000, 3000, 3000]


def test_an_even_placement_moves_nothing():
    assert rebalance({1: 0, 2: 1, 3: 2, 4: 2}, [0, 1, 2], 3000) == {}


def test_the_latest_of_the_fullest_slot_move_to_the_emptiest():
    assert rebalance({1: 0, 2: 0, 3: 0, 4: 0}, [0, 1], 3000) == {3: 1, 4: 1}


def test_a_slot_that_is_gone_is_emptied_and_nothing_else_moves():
    moves = rebalance({1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 1}, [0, 1, 2], 3000)
    assert moves == {4: 2}


def test_what_no_longer_fits_is_named():
    with pytest.raises(CapacityError) as caught:
        rebalance({1: 0, 2: 1, 3: 2}, [0], 2)
    assert caught.value.refused == [3]
    with pytest.raises(CapacityError):
        rebalance({1: 0}, [], 3000)
    assert rebalance({}, [], 3000) == {}
