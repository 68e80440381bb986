"""What is not a tick is rejected with its bytes, and takes nothing else with it."""

import pytest

from connector.kite.wire.layout import (
    MAX_PACKETS_PER_FRAME,
    MAX_REJECTED_PER_FRAME,
    TOO_MANY_PACKETS,
    TOO_MANY_REJECTED,
    TRAILING_BYTES,
    TRUNCATED_FRAME,
    UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT,
)
from connector.kite.wire.packets import parse_packets
from tests.support.packets import NSE, frame, full, index, ltp, quote
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS

INFY = 408065


@pytest.mark.parametrize("beat", [b"", b"\0", b"\1", b"\0\0"])
def test_a_heartbeat_is_nothing(transcoder, beat):
    assert transcoder.transcode(beat, NOW_US) == ([], (), ())
    assert (transcoder.packets, transcoder.last_tick_us) == (0, 0)


@pytest.mark.parametrize("length", [0, 1, 4, 7, 9, 12, 27, 29, 43, 45, 183, 185, 492])
def test_other_lengths_are_rejected_and_the_rest_is_kept(transcoder, length):
    odd = (ltp(NSE) * 62)[:length]
    records, _, rejected = transcoder.transcode(frame(ltp(NSE), odd, quote(INFY)), NOW_US)
    assert rejected == [(UNKNOWN_LENGTH, odd)]
    assert [key for _, key, _ in records] == [b"%d" % NSE, b"408065"]


@pytest.mark.parametrize("segment", [0, 10, 11, 13, 15, 16, 17, 128, 255])
@pytest.mark.parametrize("packet", [ltp, quote, full, index])
def test_unknown_segments_are_rejected(transcoder, segment, packet):
    unknown = packet(1000 << 8 | segment)
    records, confirmed, rejected = transcoder.transcode(frame(ltp(NSE), unknown), NOW_US)
    assert rejected == [(UNKNOWN_SEGMENT, unknown)]
    assert len(records) == len(confirmed) == 1


def test_every_cut_of_a_frame_keeps_the_good_prefix(twin):
    whole = frame(ltp(NSE), full(NSE), quote(INFY))
    ends = [2, 2 + 10, 2 + 10 + 186, len(whole)]
    for cut in range(2, len(whole)):
        records, _, rejected = twin(TOPICS, SCHEMA_IDS, 0).transcode(whole[:cut], NOW_US)
        good = sum(end <= cut for end in ends) - 1
        assert len(records) == good
        assert rejected == [(TRUNCATED_FRAME, whole[ends[good] : cut])]


def test_a_count_above_what_is_there(transcoder):
    lying = b"\xff\xff" + frame(ltp(NSE), ltp(NSE))[2:]
    records, _, rejected = transcoder.transcode(lying, NOW_US)
    assert len(records) == 2
    assert rejected == [(TRUNCATED_FRAME, b"")]


def test_a_count_below_what_is_there(transcoder):
    lying = b"\0\1" + frame(ltp(NSE), ltp(INFY))[2:]
    records, _, rejected = transcoder.transcode(lying, NOW_US)
    assert len(records) == 1
    assert rejected == [(TRAILING_BYTES, b"\0\x08" + ltp(INFY))]
    assert transcoder.transcode(b"\0\0?", NOW_US) == ([], (), [(TRAILING_BYTES, b"?")])


def test_a_length_above_what_is_there(transcoder):
    lying = b"\0\2" + b"\xff\xff" + ltp(NSE)
    assert transcoder.transcode(lying, NOW_US) == ([], (), [(TRUNCATED_FRAME, lying[2:])])


def test_more_packets_than_a_frame_may_have_are_one_dead_letter(transcoder):
    count = MAX_PACKETS_PER_FRAME + 5
    records, _, rejected = transcoder.transcode(frame(*[ltp(NSE)] * count) + b"end", NOW_US)
    assert len(records) == MAX_PACKETS_PER_FRAME
    assert rejected == [(TOO_MANY_PACKETS, (b"\0\x08" + ltp(NSE)) * 5 + b"end")]
    assert transcoder.packets == MAX_PACKETS_PER_FRAME + 1
    assert transcoder.transcode(frame(*[ltp(NSE)] * MAX_PACKETS_PER_FRAME), NOW_US)[2] == ()


@pytest.mark.parametrize("more", [0, 1, 2, 5000])
def test_of_packets_that_are_no_ticks_a_frame_has_some_kept_and_the_rest_counted(transcoder, more):
    odd = [b"%d" % number for number in range(MAX_REJECTED_PER_FRAME + more)]
    records, _, rejected = transcoder.transcode(frame(*odd, quote(INFY)) + b"tail", NOW_US)
    kept = [(UNKNOWN_LENGTH, packet) for packet in odd[:MAX_REJECTED_PER_FRAME]]
    if more:
        kept.append((TOO_MANY_REJECTED, odd[MAX_REJECTED_PER_FRAME]))
    assert rejected == [*kept, (TRAILING_BYTES, b"tail")]
    assert transcoder.unkept == max(0, more - 1)
    # what comes after them is not lost
    assert len(records) == 1
    assert transcoder.packets == len(records) + len(rejected)
    assert parse_packets(frame(*odd, quote(INFY)) + b"tail")[1] == rejected


def test_only_bytes_are_frames(transcoder):
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            transcoder.transcode(wrong, NOW_US)
