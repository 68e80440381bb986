"""The records of a frame as the native codec gives them: a sequence over an arena."""

import pytest

from connector.kite.wire.layout import MAX_PACKETS_PER_FRAME
from tests.support.packets import NSE, frame, full, ltp
from tests.support.ticks import NOW_US, decode


def test_whoever_keeps_records_keeps_these(transcoder):
    first, _, _ = transcoder.transcode(frame(ltp(NSE, 1)), NOW_US)
    second, _, _ = transcoder.transcode(frame(ltp(NSE, 2), ltp(NSE, 3)), NOW_US)
    prices = [
        [decode(value)[1]["last_price"] for _, _, value in records] for records in (first, second)
    ]
    assert prices == [[0.01], [0.02, 0.03]]


def test_they_are_a_sequence(transcoder):
    records, _, _ = transcoder.transcode(frame(ltp(NSE, 1), full(NSE), ltp(NSE, 3)), NOW_US)
    listed = list(records)
    assert len(records) == len(listed) == 3
    assert records == listed
    assert records[0] == listed[0]
    assert records[-1] == records[2] == listed[2]
    assert records != listed[:2]
    assert repr(records) == repr(listed)
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            records[wrong]


def test_nothing_is_kept_of_a_token_that_is_forgotten(transcoder):
    transcoder.expect([NSE])
    records, _, _ = transcoder.transcode(frame(ltp(NSE)), NOW_US)
    transcoder.forget([NSE])
    assert records[0][1] == b"%d" % NSE


def test_the_largest_frame_finds_room_and_the_next_one_too(transcoder):
    symbol = "S" * 3000
    transcoder.set_symbols({NSE: symbol})
    many, _, _ = transcoder.transcode(frame(*[full(NSE)] * MAX_PACKETS_PER_FRAME), NOW_US)
    assert len(many) == MAX_PACKETS_PER_FRAME
    assert decode(many[-1][2])[1]["sequence"] == MAX_PACKETS_PER_FRAME
    del many
    records, _, _ = transcoder.transcode(frame(full(NSE)), NOW_US)
    assert decode(records[0][2])[1]["tradingsymbol"] == symbol
