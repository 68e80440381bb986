"""A tick at another time is the same tick, in every version of the schema."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.codec import identity_of
from connector.codec.moving import moved
from tests.support.packets import NSE, full, index, ltp, quote
from tests.support.recorded import SESSION, START_MS, recorded
from tests.support.ticks import decode

PACKETS = [
    ltp(NSE),
    quote(NSE),
    full(NSE),
    full(NSE, last_trade_time=0, exchange_timestamp=0),
    full(NSE, exchange_timestamp=START_MS // 1000 - 1),
    index(256265, exchange_timestamp=START_MS // 1000),
]
TIMES = ("event_time", "last_trade_time", "exchange_timestamp")


@given(st.sampled_from(PACKETS), st.integers(-SESSION, 10**12))
def test_every_time_moves_by_the_same_and_nothing_else_does(packet, by_ms):
    ((_, value, _),) = recorded([packet], [START_MS])
    (old_id, old), (new_id, new) = decode(value), decode(moved(value, by_ms))
    assert new_id == old_id
    for name in TIMES:
        if old[name] is not None:
            old[name] += timedelta(milliseconds=by_ms)
    old["receive_time_us"] += by_ms * 1000
    old["session_id"] += by_ms
    assert new == old
    assert moved(moved(value, by_ms), -by_ms) == value


@pytest.mark.parametrize("packet", PACKETS)
def test_a_value_of_the_first_version_moves_alike(packet):
    ((_, value, _),) = recorded([packet], [START_MS])
    appended = {True: 4, False: 2 * (1 + 8) + 2 * 2}[decode(value)[1]["depth"] is None]
    first, after = value[:-appended], moved(value, 5000)
    assert moved(first, 5000) == after[:-appended]
    assert identity_of(moved(first, 5000))[1] == SESSION + 5000


def test_what_is_no_tick_and_what_no_long_holds_is_refused():
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    for wrong in (b"", b"\x00" * 5, value[:20], b"\xff" * 60):
        with pytest.raises(ValueError, match="not the value of a tick"):
            moved(wrong, 1)
    with pytest.raises(ValueError, match="not the value of a tick"):
        moved(value, 2**62)
