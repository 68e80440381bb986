"""The newest value of each instrument, as a twin keeps it."""

from connector.codec.interface import MAX_STRAYS
from tests.support.packets import NSE, frame, ltp, quote
from tests.support.ticks import NOW_US, decode

OTHER = 5 << 8 | 1


def send(transcoder, *some):
    return transcoder.transcode(frame(*some), NOW_US)[0]


def taken(transcoder, limit=10_000):
    records = list(transcoder.next_newest(limit))
    assert {topic for topic, _, _ in records} <= {"newest"}
    return {key: value for _, key, value in records}


def test_nothing_is_kept_unless_somebody_asks(transcoder):
    for _ in range(2):
        send(transcoder, ltp(NSE))
        assert transcoder.newest_waiting == 0
        assert taken(transcoder) == {}


def test_the_newest_value_of_each_instrument_is_kept_as_it_was_produced(transcoder):
    transcoder.keep_newest("newest")
    records = list(send(transcoder, ltp(NSE), ltp(OTHER), quote(NSE)))
    assert transcoder.newest_waiting == 2
    newest = taken(transcoder)
    assert newest == {key: value for _, key, value in records[1:]}
    assert decode(newest[b"%d" % NSE])[1]["mode"] == "quote"


def test_each_is_given_once_and_later_frames_leave_it_alone(transcoder):
    transcoder.keep_newest("newest")
    first = list(send(transcoder, ltp(NSE, 1)))
    given = transcoder.next_newest(1)
    second = list(send(transcoder, ltp(NSE, 2)))
    assert list(given) == [("newest", *first[0][1:])]
    assert list(transcoder.next_newest(1)) == [("newest", *second[0][1:])]
    assert taken(transcoder) == {}


def test_what_is_forgotten_is_not_kept(transcoder):
    transcoder.keep_newest("newest")
    transcoder.expect([NSE, OTHER])
    send(transcoder, ltp(NSE), ltp(OTHER))
    transcoder.forget([NSE, 77])
    assert transcoder.newest_waiting == 1
    assert list(taken(transcoder)) == [b"%d" % OTHER]


def test_a_new_session_forgets_what_nobody_had_expected(transcoder):
    transcoder.keep_newest("newest")
    transcoder.expect([NSE])
    send(transcoder, ltp(NSE), ltp(OTHER))
    transcoder.open_session(7)
    assert list(taken(transcoder)) == [b"%d" % NSE]


def test_garbage_from_the_wire_is_kept_within_a_bound(transcoder):
    transcoder.keep_newest("newest")
    for number in range(1, MAX_STRAYS + 100):
        send(transcoder, ltp(number << 8 | 1))
    assert transcoder.newest_waiting == len(taken(transcoder)) == MAX_STRAYS
