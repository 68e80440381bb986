"""Columns of many ticks say what their rows say: both twins, in every version of the schema."""

from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.codec import Transcoder
from connector.codec.rows import COLUMNS, KINDS, WORDS, _pure
from tests.support.generated import any_frames
from tests.support.packets import NSE, full, index, ltp, quote
from tests.support.recorded import SESSION, START_MS, recorded
from tests.support.ticks import SCHEMA_IDS, TOPICS, decode

BEST = slice(COLUMNS.index("best_bid_price"), COLUMNS.index("best_ask_quantity") + 1)
BEST_BYTES = 2 * (1 + 8) + 2 * 2


def rows(columns):
    """What was gathered, as rows."""
    plain = []
    for name, kind, column in zip(COLUMNS, KINDS, columns, strict=True):
        assert (column.words is not None) == (name in WORDS)
        numbers = array(kind, bytes(column.numbers)).tolist()
        there = column.there or [1] * len(numbers)
        assert all(number == 0 for number, one in zip(numbers, there, strict=True) if not one)
        if column.words is not None:
            numbers = [
                column.words[number] if one else None
                for number, one in zip(numbers, there, strict=True)
            ]
        plain.append([n if one else None for n, one in zip(numbers, there, strict=True)])
    return list(zip(*plain, strict=True))


@given(any_frames)
def test_rows_that_are_gathered_are_those_of_the_values_in_order(module, frame):
    transcoder = Transcoder(TOPICS, SCHEMA_IDS, 5)
    transcoder.set_symbols({408065: "ÄÖ 50"})
    transcoder.open_session(SESSION)
    values = [value for _, _, value in transcoder.transcode(frame, START_MS * 1000)[0]]
    columns = module.Columns(len(values))
    for _ in range(2):  # taken, they are as new
        for value in values:
            columns.add(value)
        assert len(columns) == len(values)
        assert rows(columns.take()) == [module.row_of(value) for value in values]
        assert len(columns) == 0
    assert rows(columns.take()) == []


def test_a_tick_of_the_first_version_has_no_best_bid_and_ask(module):
    ((_, value, _),) = recorded([full(NSE)], [START_MS])
    columns = module.Columns(1)
    columns.add(value[:-BEST_BYTES])
    (row,) = rows(columns.take())
    assert row[BEST] == (None,) * 4
    whole = module.row_of(value)
    assert (*row[: BEST.start], *whole[BEST], *row[BEST.stop :]) == whole


@given(st.frozensets(st.sampled_from(COLUMNS)))
def test_columns_that_are_not_wanted_change_no_other_one(module, names):
    records = recorded([full(NSE), index(256265), ltp(NSE), quote(NSE)], [START_MS] * 4)
    every, some = module.Columns(4), module.Columns(4, names)
    for _, value, _ in records:
        every.add(value)
        some.add(value)
    for _ in range(2):
        expected = zip(COLUMNS, every.take(), strict=True)
        assert some.take() == [column for name, column in expected if name in names]


def test_no_more_fit_than_was_said(module):
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    columns = module.Columns(1)
    columns.add(value)
    with pytest.raises(IndexError, match="no room"):
        columns.add(value)
    assert len(rows(columns.take())) == 1


def test_what_is_no_tick_leaves_no_trace(module):
    records = recorded([ltp(NSE), full(NSE), quote(NSE), index(256265)], [START_MS] * 4)
    good = [value for _, value, _ in records]
    # of new words, and cut anywhere
    other = good[1].replace(b"NSE", b"XYZ").replace(b"full", b"FULL")
    wrong = [other[:end] for end in range(len(other)) if end != len(other) - BEST_BYTES]
    wrong += [good[1].replace(b"NSE", b"N\xffE"), other[:-1] + b"\xff"]
    columns, expected = module.Columns(len(good)), module.Columns(len(good))
    for value in good:
        expected.add(value)
        for one in wrong:
            with pytest.raises(ValueError, match="not the value of a tick"):
                columns.add(one)
        columns.add(value)
    taken = columns.take()
    assert taken == expected.take()
    assert taken[COLUMNS.index("exchange")].words == [
        *dict.fromkeys(decode(value)[1]["exchange"] for value in good)
    ]


def gathered(module, values):
    """What each value did, and what came of all."""
    columns, outcomes = module.Columns(len(values)), []
    for value in values:
        try:
            columns.add(value)
        except ValueError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(len(columns))
    return outcomes, columns.take()


SOME = [value for _, value, _ in recorded([full(NSE), ltp(NSE)], [START_MS] * 2)]


@given(
    st.lists(
        st.binary(max_size=400)
        | st.builds(bytes.__add__, st.just(bytes(5)), st.binary(max_size=400))
        | st.builds(
            lambda value, at, byte: value[:at] + bytes([byte]) + value[at + 1 :],
            st.sampled_from(SOME), st.integers(5, 200), st.integers(0, 255),
        ),
        max_size=4,
    )
)  # fmt: skip
@example([SOME[0], SOME[0] + b"\x00"])
def test_twins_agree_on_any_bytes(module, values):
    outcomes, columns = gathered(module, values)
    expected, plain = gathered(_pure, values)
    assert outcomes == expected
    # bytes, so that a double which is no number is equal to itself
    assert columns == plain
