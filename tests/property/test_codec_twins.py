"""The compiled codec and the one in Python are the same in everything that can be seen."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.codec import _pure
from tests.support.generated import any_frames, tokens
from tests.support.ticks import SCHEMA_IDS, TOPICS

_native = pytest.importorskip("connector.codec._native", reason="the compiled codec is not built")

PARTITIONS = {topic: number for number, topic in enumerate(TOPICS.values(), 1)}
some_tokens = st.lists(st.one_of(tokens, st.integers(-1, 2**33)), max_size=6)
calls = st.one_of(
    st.tuples(st.just("transcode"), any_frames, st.integers(0, 2**62)),
    # in the years of the wire's times, so that some are near and some are not
    st.tuples(st.just("transcode"), any_frames, st.integers(0, 2**32 * 10**6)),
    st.tuples(st.just("expect"), some_tokens),
    st.tuples(st.just("forget"), some_tokens),
    st.tuples(st.just("next_tally")),
    st.tuples(st.just("open_session"), st.integers(0, 2**62)),
    st.tuples(st.just("set_symbols"), st.dictionaries(tokens, st.text(max_size=20), max_size=6)),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(slot=st.integers(0, 2**31 - 1), sequence=st.lists(calls, max_size=25))
def test_twins(slot, sequence):
    native = _native.Transcoder(TOPICS, SCHEMA_IDS, slot, PARTITIONS)
    pure = _pure.Transcoder(TOPICS, SCHEMA_IDS, slot, PARTITIONS)
    for name, *arguments in sequence:
        results = [getattr(twin, name)(*arguments) for twin in (native, pure)]
        assert results[0] == results[1]
        # () and [] differ too: the empty tuple costs nothing in steady state
        assert repr(results[0]) == repr(results[1])
        for seen in ("packets", "bytes", "last_tick_us", "implausible_times", "unkept"):
            assert getattr(native, seen) == getattr(pure, seen)
        assert native.counts() == pure.counts()
        if name == "transcode":
            for _, _, value in results[0][0]:
                assert _native.identity_of(value) == _pure.identity_of(value)
    total = sum(native.counts().values())
    first, last, ticks = native.next_tally()
    assert sum(ticks.values()) == last - first + 1 <= total


def identified(module, value):
    try:
        return module.identity_of(value)
    except ValueError:
        return None


@settings(max_examples=400, deadline=None, derandomize=True)
@given(frames=st.lists(any_frames, min_size=1, max_size=3), data=st.data())
def test_twins_find_the_same_identity_in_any_bytes(frames, data):
    made = _pure.Transcoder(TOPICS, SCHEMA_IDS, 1)
    values = [value for frame in frames for _, _, value in made.transcode(frame, 2**50)[0]]
    value = bytearray(data.draw(st.sampled_from(values)) if values else b"")
    for place in data.draw(st.lists(st.integers(0, max(0, len(value) - 1)), max_size=4)):
        value[place : place + 1] = data.draw(st.binary(max_size=11))
    assert identified(_native, bytes(value)) == identified(_pure, bytes(value))
