"""The frame reader by itself; what it is beside websockets, tests/property/test_frame_reader.py."""

import pytest

from connector.kite.feed.framing import BUFFER_BYTES, FRAMES_PER_TURN, LARGE_READ_BYTES, turn_cost
from tests.support.server_frames import server_frame


class Owner:
    def __init__(self, frame_reader):
        self.delivered = []
        self.worked = []
        self.on_frame = None
        self.reader = frame_reader(self.take, lambda left, large: self.worked.append((left, large)))
        self.reader.framed = self.reader.direct = True

    def take(self, frame):
        self.delivered.append(frame)
        if self.on_frame:
            self.on_frame()

    def read(self, data):
        room = self.reader.get_buffer(-1)
        room[: len(data)] = data
        self.reader.buffer_updated(len(data))


@pytest.fixture
def owner(frame_reader):
    return Owner(frame_reader)


def test_whole_binary_frames_need_no_owner(owner):
    owner.read(server_frame(2, b"one") + server_frame(2, b"") + server_frame(2, b"three")[:4])
    owner.read(server_frame(2, b"three")[4:])
    assert owner.delivered == [b"one", b"", b"three"]
    assert all(type(frame) is bytes for frame in owner.delivered)
    assert owner.worked == []
    assert len(owner.reader) == 0


def test_whatever_else_comes_is_the_owners(owner):
    ping = server_frame(9, b"x")
    owner.read(server_frame(2, b"one") + ping + server_frame(2, b"two"))
    assert owner.delivered == [b"one"]
    assert owner.worked == [(FRAMES_PER_TURN - 1, False)]
    assert owner.reader.ready()
    assert owner.reader.next_piece() == ping
    assert owner.reader.at_boundary
    assert owner.reader.deliver_binary(10) == 9
    assert owner.delivered == [b"one", b"two"]
    assert not owner.reader.ready()
    assert owner.reader.next_piece() == b""


def test_a_large_read_and_a_spent_turn_are_told(owner):
    owner.read(server_frame(2, bytes(LARGE_READ_BYTES)))
    assert owner.worked == [(FRAMES_PER_TURN - 1, True)]
    owner.read(server_frame(2, b"x") * (FRAMES_PER_TURN + 1))
    assert owner.worked[1] == (0, False)
    assert len(owner.delivered) == 1 + FRAMES_PER_TURN


@pytest.mark.parametrize(
    "frame", [b"", b"\xff\xff", b"\xff\xff" + bytes(29), b"\0\x08" + bytes(30), b"\xff\xff" * 99]
)
def test_a_frame_costs_what_both_twins_and_the_owner_say(owner, frame):
    owner.read(server_frame(2, frame) * FRAMES_PER_TURN)
    assert len(owner.delivered) == -(-FRAMES_PER_TURN // turn_cost(frame))


def test_who_takes_frames_may_stop_them(owner):
    def stop():
        owner.reader.direct = False

    owner.on_frame = stop
    owner.read(server_frame(2, b"1") + server_frame(2, b"2"))
    assert owner.delivered == [b"1"]
    assert len(owner.reader) == 3
    assert owner.worked == [(FRAMES_PER_TURN - 1, False)]


def test_who_takes_frames_may_drop_the_rest(owner):
    owner.on_frame = owner.reader.clear
    owner.read(server_frame(2, b"1") + server_frame(2, b"2"))
    assert owner.delivered == [b"1"]
    assert len(owner.reader) == 0


def test_a_frame_whose_taker_fails_is_taken(owner):
    def fail():
        owner.on_frame = None
        raise RuntimeError

    owner.on_frame = fail
    with pytest.raises(RuntimeError):
        owner.read(server_frame(2, b"1") + server_frame(2, b"2"))
    assert not owner.reader.working
    assert owner.reader.deliver_binary(5) == 4
    assert owner.delivered == [b"1", b"2"]


def test_it_is_working_while_a_frame_is_taken(owner):
    owner.on_frame = lambda: owner.worked.append(owner.reader.working)
    owner.read(server_frame(2, b"1"))
    assert owner.worked == [True]
    assert not owner.reader.working


def test_the_buffer_has_room_for_its_longest_frame_and_keeps_its_size(owner):
    frame = server_frame(2, bytes(BUFFER_BYTES - 10))
    for start in range(0, len(frame), 1000):
        assert len(owner.reader.get_buffer(-1)) == BUFFER_BYTES - start
        owner.read(frame[start : start + 1000])
    assert [len(frame) for frame in owner.delivered] == [BUFFER_BYTES - 10]
    assert len(owner.reader.get_buffer(-1)) == BUFFER_BYTES


def test_a_transport_that_reads_on_finds_room_which_is_given_back(owner):
    owner.reader.direct = False
    data = server_frame(2, b"x") * (BUFFER_BYTES // 3 + 1)
    full, rest = data[:BUFFER_BYTES], data[BUFFER_BYTES:]
    owner.read(full)
    owner.read(rest)
    assert owner.reader.peek() == data
    owner.reader.direct = True
    assert owner.reader.deliver_binary(len(data)) == len(data) - len(data) // 3
    assert owner.delivered == [b"x"] * (len(data) // 3)
    assert len(owner.reader.get_buffer(-1)) == BUFFER_BYTES


def test_until_frames_are_announced_all_is_the_owners(owner):
    owner.reader.framed = owner.reader.direct = False
    owner.read(b"HTTP/1.1 101")
    assert not owner.reader.at_boundary
    assert owner.reader.peek() == b"HTTP/1.1 101"
    assert owner.reader.take(4) == b"HTTP"
    assert owner.reader.take(100) == b"/1.1 101"
    assert owner.reader.take(1) == b""
    assert len(owner.worked) == 1
