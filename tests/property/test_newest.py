"""The newest value of each instrument against a dict: given once, and none too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.codec import _pure
from tests.support.packets import frame, ltp
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS

_native = pytest.importorskip("connector.codec._native", reason="the compiled codec is not built")

STEP = st.one_of(
    st.tuples(st.just("send"), st.lists(st.integers(1, 12), max_size=5)),
    st.tuples(st.just("expect"), st.lists(st.integers(1, 90), max_size=80)),
    st.tuples(st.just("forget"), st.lists(st.integers(1, 12), max_size=5)),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("open"), st.integers(0, 3)),
)


@pytest.mark.parametrize("twin", [_native, _pure], ids=["native", "pure"])
@given(steps=st.lists(STEP, max_size=30))
def test_whatever_is_sent_forgotten_and_taken_each_newest_value_is_given_once(twin, steps):
    transcoder = twin.Transcoder(TOPICS, SCHEMA_IDS, 0)
    transcoder.keep_newest("newest")
    waiting, expected = {}, set()
    for step, argument in steps:
        tokens = [number << 8 | 1 for number in argument] if isinstance(argument, list) else []
        if step == "send":
            records = transcoder.transcode(frame(*map(ltp, tokens)), NOW_US)[0]
            waiting |= {key: value for _, key, value in records}
        elif step == "expect":
            transcoder.expect(tokens)
            expected.update(b"%d" % token for token in tokens)
        elif step == "forget":
            transcoder.forget(tokens)
            for token in tokens:
                waiting.pop(b"%d" % token, None)
                expected.discard(b"%d" % token)
        elif step == "open":
            transcoder.open_session(argument)
            waiting = {key: value for key, value in waiting.items() if key in expected}
        else:
            some = {key: value for _, key, value in transcoder.next_newest(argument)}
            assert len(some) == min(argument, len(waiting))
            assert some.items() <= waiting.items()
            waiting = {key: value for key, value in waiting.items() if key not in some}
        assert transcoder.newest_waiting == len(waiting)
    rest = transcoder.next_newest(len(waiting) + 1)
    assert list(rest) == [("newest", key, waiting[key]) for _, key, _ in rest]
    assert len(rest) == len(waiting)
