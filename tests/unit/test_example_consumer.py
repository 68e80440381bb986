"""What examples/consumers/python/consume.py makes of the sequence numbers."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).parents[2] / "examples/consumers/python/consume.py"
SLOT, SESSION = 2, 1_767_585_600_000


def load():
    spec = importlib.util.spec_from_file_location("example_consume", PATH)
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up there
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Sequences = load().Sequences


def taken(sequences, numbers, session=SESSION):
    return [number for number in numbers if sequences.new(SLOT, session, number)]


def test_each_number_is_new_once():
    sequences = Sequences(0)
    assert taken(sequences, [1, 2, 2, 3, 1, 4]) == [1, 2, 3, 4]
    assert sequences.gaps(at_end=True) == []


def test_a_number_that_comes_late_is_new_and_no_gap():
    sequences = Sequences(0)
    assert taken(sequences, [1, 5, 3, 3, 2, 4, 5]) == [1, 5, 3, 2, 4]
    assert sequences.gaps(at_end=True) == []


def test_what_nothing_fills_any_more_is_a_gap():
    sequences = Sequences(0, late=10)
    taken(sequences, [1, 5, 6, 14])
    assert sequences.gaps() == []
    taken(sequences, [15])
    assert sequences.gaps() == [(SLOT, SESSION, 2, 4)]
    assert sequences.gaps() == []
    assert taken(sequences, [3]) == [], "a gap that was told stays one"
    assert sequences.gaps(at_end=True) == [(SLOT, SESSION, 7, 13)]


def test_the_beginning_of_a_session_that_was_missed_is_a_gap():
    sequences = Sequences(complete_since_ms=SESSION)
    taken(sequences, [4])
    assert sequences.gaps(at_end=True) == [(SLOT, SESSION, 1, 3)]


def test_what_came_before_the_reader_is_none():
    sequences = Sequences(complete_since_ms=SESSION + 1, late=10)
    assert taken(sequences, [100, 95, 95, 98, 103, 90]) == [100, 95, 98, 103]
    assert sequences.gaps(at_end=True) == [(SLOT, SESSION, 101, 102)]


def test_sessions_and_slots_are_numbered_apart():
    sequences = Sequences(0)
    assert sequences.new(0, SESSION, 1)
    assert sequences.new(1, SESSION, 1)
    assert sequences.new(0, SESSION + 1, 1)
    assert not sequences.new(0, SESSION, 1)


@given(
    numbers=st.lists(st.integers(1, 60), max_size=120),
    late=st.sampled_from([60, 100_000]),
)
def test_in_any_order_repeats_and_gaps_are_exact(numbers, late):
    sequences = Sequences(0, late=late)
    seen: set[int] = set()
    for number in numbers:
        assert sequences.new(SLOT, SESSION, number) is (number not in seen)
        seen.add(number)
    missing = {
        number
        for _, _, first, last in sequences.gaps(at_end=True)
        for number in range(first, last + 1)
    }
    assert missing == set(range(1, max(seen, default=1))) - seen


@pytest.mark.parametrize("value", [b"\x01\x00\x00\x00\x01", b"{}"])
def test_a_value_without_the_frame_is_refused(value):
    decoder = load().Decoder("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="not framed"):
        decoder.decode(value)
