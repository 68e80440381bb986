"""What a twin remembers between frames: sessions, expectations, modes, symbols."""

import struct
import tracemalloc

import pytest

from connector.codec.interface import MAX_STRAYS
from connector.kite.wire.models import Mode
from tests.support.packets import NSE, frame, full, ltp, quote
from tests.support.ticks import NOW_US, decode, tick, ticks

INFY = 408065
RELIANCE = 738561


def test_sequences_go_on_over_frames_and_begin_anew_with_a_session(transcoder):
    assert [t["sequence"] for t in ticks(transcoder, ltp(NSE), ltp(NSE))] == [1, 2]
    assert tick(transcoder, ltp(NSE))["sequence"] == 3
    transcoder.open_session(1_700_000_099_000)
    got = tick(transcoder, ltp(NSE))
    assert (got["sequence"], got["session_id"]) == (1, 1_700_000_099_000)


def test_a_rejected_packet_takes_no_number(transcoder):
    transcoder.transcode(frame(b"?", ltp(NSE)), NOW_US)
    assert tick(transcoder, ltp(NSE))["sequence"] == 2


def test_a_long_session_has_long_numbers(transcoder):
    for sequence in range(1, 9000):  # past one and two bytes
        ((_, _, value),), _, _ = transcoder.transcode(frame(ltp(NSE)), NOW_US)
        if sequence in {63, 64, 8191, 8192, 8999}:
            assert decode(value)[1]["sequence"] == sequence


def test_the_first_packet_after_expect_is_a_snapshot(transcoder):
    transcoder.expect([NSE])
    assert [t["snapshot"] for t in ticks(transcoder, quote(NSE), quote(NSE))] == [True, False]
    transcoder.expect([NSE, RELIANCE])
    got = ticks(transcoder, quote(NSE), ltp(RELIANCE), ltp(RELIANCE))
    assert [t["snapshot"] for t in got] == [True, True, False]


def test_a_rejected_packet_is_no_snapshot(transcoder):
    transcoder.expect([NSE])
    transcoder.transcode(frame(struct.pack(">3I", NSE, 1, 1)), NOW_US)
    assert tick(transcoder, ltp(NSE))["snapshot"] is True


def test_what_is_watched_is_told_of_once_and_is_no_snapshot(transcoder):
    transcoder.expect([NSE])
    ticks(transcoder, quote(NSE), quote(RELIANCE))
    transcoder.watch([NSE, RELIANCE, 7, -1, 2**32])
    for packets, told in [
        ((quote(NSE),), [(NSE, Mode.QUOTE)]),
        ((quote(NSE), quote(RELIANCE)), [(RELIANCE, Mode.QUOTE)]),
        ((quote(NSE), quote(RELIANCE)), ()),
    ]:
        records, confirmed, _ = transcoder.transcode(frame(*packets), NOW_US)
        assert confirmed == told
        assert [decode(value)[1]["snapshot"] for _, _, value in records] == [False] * len(packets)
    transcoder.expect([NSE])
    transcoder.watch([NSE])
    assert [t["snapshot"] for t in ticks(transcoder, quote(NSE), quote(NSE))] == [True, False]


def test_confirmed_names_what_is_new_and_then_nothing(transcoder):
    transcoder.expect([NSE])
    _, confirmed, _ = transcoder.transcode(frame(quote(NSE), quote(NSE)), NOW_US)
    assert confirmed == [(NSE, Mode.QUOTE)]
    _, confirmed, _ = transcoder.transcode(frame(quote(NSE)), NOW_US)
    assert confirmed == ()
    # the feed answers a mode request
    _, confirmed, _ = transcoder.transcode(frame(full(NSE), full(NSE), ltp(NSE)), NOW_US)
    assert confirmed == [(NSE, Mode.FULL), (NSE, Mode.LTP)]
    # asked again: confirmed again, although the mode is the same
    transcoder.expect([NSE])
    _, confirmed, _ = transcoder.transcode(frame(ltp(NSE)), NOW_US)
    assert confirmed == [(NSE, Mode.LTP)]


def test_expectations_outlive_a_session(transcoder):
    transcoder.expect([NSE])
    transcoder.open_session(5)
    assert tick(transcoder, ltp(NSE))["snapshot"] is True


def test_a_token_that_nobody_expects_is_streamed_and_no_snapshot(transcoder):
    records, confirmed, _ = transcoder.transcode(frame(ltp(NSE)), NOW_US)
    assert decode(records[0][2])[1]["snapshot"] is False
    assert confirmed == [(NSE, Mode.LTP)]
    transcoder.expect([NSE])
    assert tick(transcoder, ltp(NSE))["snapshot"] is True


def test_a_forgotten_token_is_new(transcoder):
    transcoder.expect([NSE, RELIANCE])
    transcoder.transcode(frame(ltp(NSE)), NOW_US)
    transcoder.forget([NSE, RELIANCE, 12345])
    records, confirmed, _ = transcoder.transcode(frame(ltp(NSE), ltp(RELIANCE)), NOW_US)
    assert confirmed == [(NSE, Mode.LTP), (RELIANCE, Mode.LTP)]
    assert not any(decode(value)[1]["snapshot"] for _, _, value in records)


def test_numbers_beyond_32_bits_are_passed_over(transcoder):
    transcoder.expect([2**32, -1, 2**64 + NSE, NSE])
    transcoder.forget([2**32 + NSE, -1])
    assert tick(transcoder, ltp(NSE))["snapshot"] is True


def test_strays_are_remembered_up_to_a_bound(transcoder):
    strays = [number << 8 | 1 for number in range(1, MAX_STRAYS + 2)]
    for token in strays:
        assert transcoder.transcode(frame(ltp(token)), NOW_US)[1] == [(token, Mode.LTP)]
    *known, beyond = strays
    assert transcoder.transcode(frame(*map(ltp, known)), NOW_US)[1] == ()
    for _ in range(2):  # without memory each packet is the first
        records, confirmed, _ = transcoder.transcode(frame(ltp(beyond)), NOW_US)
        assert confirmed == [(beyond, Mode.LTP)]
        assert records[0][1] == b"%d" % beyond
    # room is found by forgetting, by expecting, or with a new session
    transcoder.forget(known[:1])
    transcoder.transcode(frame(ltp(beyond)), NOW_US)
    assert transcoder.transcode(frame(ltp(beyond)), NOW_US)[1] == ()
    transcoder.expect(known[1:2])
    transcoder.transcode(frame(ltp(known[0])), NOW_US)
    assert transcoder.transcode(frame(ltp(known[0])), NOW_US)[1] == ()
    transcoder.open_session(9)
    _, confirmed, _ = transcoder.transcode(frame(ltp(known[1]), ltp(known[2])), NOW_US)
    assert confirmed == [(known[1], Mode.LTP), (known[2], Mode.LTP)]


def test_thousands_of_tokens_come_and_go(transcoder):
    tokens = [number << 8 | 1 for number in range(1, 9001)]
    transcoder.expect(tokens)
    transcoder.forget(tokens[::3])
    transcoder.forget(tokens[1::3])
    transcoder.expect(tokens[::3])
    several = frame(*map(ltp, tokens))
    records, confirmed, _ = transcoder.transcode(several, NOW_US)
    assert [key for _, key, _ in records] == [b"%d" % token for token in tokens]
    assert len(confirmed) == len(tokens)
    snapshots = [decode(value)[1]["snapshot"] for _, _, value in records]
    assert snapshots == [i % 3 != 1 for i in range(len(tokens))]
    assert transcoder.transcode(several, NOW_US)[1] == ()


def test_symbols_replace_each_other(transcoder):
    def symbols():
        return [t["tradingsymbol"] for t in ticks(transcoder, ltp(INFY), ltp(RELIANCE))]

    assert symbols() == [None, None]
    transcoder.set_symbols({INFY: "INFY"})
    assert symbols() == ["INFY", None]
    transcoder.set_symbols({RELIANCE: "RELIANCE", INFY: "ನಿಫ್ಟಿ"})
    assert symbols() == ["ನಿಫ್ಟಿ", "RELIANCE"]
    transcoder.set_symbols({})
    assert symbols() == [None, None]


def test_a_symbol_may_be_empty_long_or_broken(transcoder):
    for symbol, written in [("", ""), ("X" * 5000, "X" * 5000), ("A\ud800", "A?")]:
        transcoder.set_symbols({INFY: symbol})
        assert tick(transcoder, full(INFY))["tradingsymbol"] == written


@pytest.fixture
def traced():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def test_tokens_that_come_and_go_leave_nothing_behind(transcoder, traced):
    tokens = [number << 8 | 1 for number in range(1, 3001)]
    several = frame(*map(ltp, tokens), b"odd")

    def day():
        transcoder.open_session(1)
        transcoder.expect(tokens)
        transcoder.set_symbols(dict.fromkeys(tokens, "A SYMBOL"))
        transcoder.transcode(several, NOW_US)
        transcoder.transcode(several, NOW_US)
        transcoder.forget(tokens)
        transcoder.set_symbols({})

    for _ in range(3):  # fills CPython's own free lists
        day()
    before = traced()
    for _ in range(3):
        day()
    assert traced() - before < 1000


def test_garbage_from_the_wire_takes_bounded_memory(transcoder, traced):
    def garbage(start):
        for number in range(start, start + 2 * MAX_STRAYS):
            transcoder.transcode(frame(ltp(number << 8 | 1)), NOW_US)

    garbage(1)
    before = traced()
    garbage(1_000_000)
    assert traced() - before < 1000
