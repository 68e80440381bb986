import pytest
from websockets.protocol import State

from connector.simulator.sockets import TappedTransport
from tests.support.simulated import FakeLoop, FakeTransport, fake_socket, messages, parse_messages


@pytest.fixture
def loop():
    return FakeLoop()


@pytest.fixture
def transport():
    return FakeTransport()


@pytest.fixture
def tap(transport, loop):
    return TappedTransport(transport, loop)


def test_what_is_not_about_writing_is_the_transports_own(tap):
    assert tap.get_extra_info("peername") == "peername of the real transport"
    assert tap.is_closing() is False


def test_silence_drops_everything(tap, transport):
    tap.silent = True
    tap.write(b"lost")
    tap.write_eof()
    tap.silent = False
    tap.write(b"seen")
    assert transport.written == [b"seen"]
    assert transport.calls == []


def test_a_trickle_keeps_order_and_every_byte(tap, transport, loop):
    tap.trickle(3, 0.5)
    tap.write(b"abcd")
    tap.write(b"ef")
    assert transport.written == []
    assert tap.get_write_buffer_size() == 6
    assert [timer.seconds for timer in loop.timers] == [0.5]
    assert loop.fire() == 1
    assert b"".join(transport.written) == b"abc"
    assert loop.fire() == 1
    assert b"".join(transport.written) == b"abcdef"
    assert loop.fire() == 0
    tap.write(b"g")
    tap.flow()
    tap.write(b"h")
    assert b"".join(transport.written) == b"abcdefgh"
    assert loop.fire() == 0
    assert tap.slow is False


def test_closing_flushes_and_aborting_does_not(tap, transport, loop):
    tap.trickle(1, 1)
    tap.write(b"ab")
    tap.close()
    assert (transport.written, transport.calls) == ([b"ab"], ["close"])
    other = FakeTransport()
    tap = TappedTransport(other, loop)
    tap.trickle(1, 1)
    tap.write(b"ab")
    tap.abort()
    assert (other.written, other.calls) == ([], ["abort"])


def test_a_trickle_ends_with_its_connection(tap, transport, loop):
    tap.trickle(1, 1)
    tap.write(b"ab")
    transport.closing = True
    loop.fire()
    assert transport.written == []
    assert tap.get_write_buffer_size() == 0


def test_counts_are_exact():
    socket = fake_socket(log_frames=1)
    assert socket.send_binary(b"\x00\x01\x00\x01x", 1)
    assert socket.send_binary(b"\x00\x02\x00\x01y\x00\x01z", 2)
    assert socket.send_text("hällo")
    assert socket.heartbeat()
    assert messages(socket) == [b"\x00\x01\x00\x01x", b"\x00\x02\x00\x01y\x00\x01z", "hällo", b"\0"]
    assert (socket.frames, socket.packets, socket.texts, socket.heartbeats) == (2, 3, 1, 1)
    assert socket.bytes == 5 + 8 + 6 + 1
    assert list(socket.sent) == [b"\x00\x02\x00\x01y\x00\x01z"]
    assert socket.state()["packets"] == 3


def test_a_muted_socket_has_heartbeats_and_text_only():
    socket = fake_socket()
    socket.muted = True
    assert not socket.send_binary(b"\x00\x00", 0)
    assert socket.send_text("x")
    assert socket.heartbeat()
    assert messages(socket) == ["x", b"\0"]
    assert socket.frames == 0


@pytest.mark.parametrize("how", ["silent", "closing", "aborted"])
def test_nothing_is_counted_that_is_not_sent(how):
    socket = fake_socket()
    if how == "silent":
        socket.connection.tap.silent = True
    elif how == "aborted":
        socket.connection.tap.abort()
    else:
        socket.connection.protocol.state = State.CLOSING
    assert not socket.send_binary(b"\x00\x00", 0)
    assert not socket.send_text("x")
    assert not socket.heartbeat()
    assert socket.state() | {"silent": None} == fake_socket().state() | {"silent": None}


def test_a_peer_that_is_far_behind_is_left_out_and_that_is_counted():
    socket = fake_socket(backlog_bytes=100)
    socket.connection.transport.buffered = 101
    assert not socket.send_binary(b"\x00\x01\x00\x01x", 1)
    assert socket.heartbeat(), "so small, and what keeps the peer from giving up"
    assert (socket.packets, socket.skipped_packets) == (0, 1)


def test_pending_packets_go_out_in_frames_of_a_bounded_size():
    socket = fake_socket()
    socket.pending = [b"\x00\x01" + bytes([n]) for n in range(5)]
    assert socket.flush(2) == 5
    assert [frame[:2] for frame in messages(socket)] == [b"\x00\x02", b"\x00\x02", b"\x00\x01"]
    assert socket.flush(2) == 0


def test_long_messages_are_whole_frames():
    socket = fake_socket()
    socket.send_binary(bytes(70_000), 1)
    socket.send_binary(bytes(300), 1)
    sent = parse_messages(b"".join(socket.connection.transport.written))
    assert [len(message) for message in sent] == [70_000, 300]
