"""The newest value of each instrument, as a twin keeps it."""

from tests.support.packets import NSE, frame, ltp, quote
from tests.support.ticks import NOW_US, decode

OTHER = 5 << 8 | 1


def send(transcoder, *some):
    return transcoder.transcode(frame(*some), NOW_US)[0]


def test_nothing_is_kept_unless_somebody_asks(transcoder):
    send(transcoder, ltp(NSE))
    assert transcoder.next_newest() == {}
    send(transcoder, ltp(NSE))
    assert transcoder.next_newest() == {}


def test_the_newest_value_of_each_instrument_is_kept_as_it_was_produced(transcoder):
    transcoder.keep_newest()
    records = list(send(transcoder, ltp(NSE), ltp(OTHER), quote(NSE)))
    newest = transcoder.next_newest()
    assert newest == {key: value for _, key, value in records[1:]}
    assert decode(newest[b"%d" % NSE])[1]["mode"] == "quote"


def test_each_is_given_once_and_later_frames_leave_it_alone(transcoder):
    transcoder.keep_newest()
    first = list(send(transcoder, ltp(NSE, 1)))
    taken = transcoder.next_newest()
    second = list(send(transcoder, ltp(NSE, 2)))
    assert taken == {first[0][1]: first[0][2]}
    assert transcoder.next_newest() == {second[0][1]: second[0][2]}
    assert transcoder.next_newest() == {}


def test_what_is_forgotten_is_not_kept(transcoder):
    transcoder.keep_newest()
    transcoder.expect([NSE, OTHER])
    send(transcoder, ltp(NSE), ltp(OTHER))
    transcoder.forget([NSE, 77])
    assert list(transcoder.next_newest()) == [b"%d" % OTHER]
