"""The compiled codec and the one in Python are the same in everything that can be seen."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.codec import _pure
from tests.support.generated import any_frames, tokens
from tests.support.ticks import SCHEMA_IDS, TOPICS

_native = pytest.importorskip("connector.codec._native", reason="the compiled codec is not built")

some_tokens = st.lists(st.one_of(tokens, st.integers(-1, 2**33)), max_size=6)
calls = st.one_of(
    st.tuples(st.just("transcode"), any_frames, st.integers(0, 2**62)),
    # in the years of the wire's times, so that some are near and some are not
    st.tuples(st.just("transcode"), any_frames, st.integers(0, 2**32 * 10**6)),
    st.tuples(st.just("expect"), some_tokens),
    st.tuples(st.just("forget"), some_tokens),
    st.tuples(st.just("open_session"), st.integers(0, 2**62)),
    st.tuples(st.just("set_symbols"), st.dictionaries(tokens, st.text(max_size=20), max_size=6)),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(slot=st.integers(0, 2**31 - 1), sequence=st.lists(calls, max_size=25))
def test_twins(slot, sequence):
    native = _native.Transcoder(TOPICS, SCHEMA_IDS, slot)
    pure = _pure.Transcoder(TOPICS, SCHEMA_IDS, slot)
    for name, *arguments in sequence:
        results = [getattr(twin, name)(*arguments) for twin in (native, pure)]
        assert results[0] == results[1]
        # () and [] differ too: the empty tuple costs nothing in steady state
        assert repr(results[0]) == repr(results[1])
        for seen in ("packets", "bytes", "last_tick_us", "implausible_times", "unkept"):
            assert getattr(native, seen) == getattr(pure, seen)
        assert native.counts() == pure.counts()
