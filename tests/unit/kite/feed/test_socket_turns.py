"""A flood of anything takes a bounded part of each turn of the loop, and nothing of it is lost."""

import asyncio

import pytest

from connector.kite.feed.socket import (
    FRAMES_PER_TURN,
    KEPT_TEXT_BYTES,
    MAX_FRAME_BYTES,
    MAX_TEXT_BYTES,
)
from tests.support import packets
from tests.support.server_frames import server_frame
from tests.unit.kite.feed.test_socket import Kit

READ_BYTES = 256 * 2**10
"""The most that uvloop reads at once."""


BINARY, TEXT, PING, PONG = (lambda data, opcode=opcode: server_frame(opcode, data)
                            for opcode in (2, 1, 9, 10))  # fmt: skip
FLOODS = {
    "no bytes": BINARY(b""),
    "heartbeats": BINARY(b"\0"),
    "three bytes": BINARY(b"\0\1x"),
    "three bytes that promise 65535 packets": BINARY(b"\xff\xffx"),
    "one packet": BINARY(packets.frame(packets.full(packets.NSE))),
    "many packets": BINARY(packets.frame(*[packets.ltp(packets.NSE)] * 3000)),
    "empty packets": BINARY(b"\xff\xff" + bytes(2 * 65535)),
    "pings": PING(b""),
    "pongs": PONG(b"x" * 125),
    "texts": TEXT(b"{}"),
    "no json": TEXT(b"["),
    "long texts": TEXT(b"x" * 2000),
    "fragments": server_frame(2, b"a", fin=False) + server_frame(0, b"", fin=False) * 3
                 + server_frame(0, b"b"),
}  # fmt: skip


@pytest.fixture
async def kit(frame_reader):
    kit = Kit()
    kit.accept()
    yield kit
    kit.socket.abort()
    kit.socket.connection_lost(None)


class Turns:
    """Counts turns of the loop, and what the listener received in each."""

    def __init__(self, listener):
        self.listener = listener
        self.received = []
        self.running = True
        self._turn()

    def _turn(self):
        self.received.append(len(self.listener.received))
        if self.running:
            asyncio.get_running_loop().call_soon(self._turn)

    @property
    def most(self):
        return max(b - a for a, b in zip(self.received, self.received[1:], strict=False))


@pytest.mark.parametrize("frame", FLOODS.values(), ids=FLOODS)
async def test_no_flood_takes_more_than_its_part_of_a_turn(kit, frame):
    read = (frame * (READ_BYTES // len(frame) + 1))[:READ_BYTES]
    turns = Turns(kit.listener)
    kit.read(read)
    # whatever else is due comes before the rest of a flood
    assert len(kit.listener.received) <= FRAMES_PER_TURN
    assert kit.socket.behind
    assert not kit.transport.reading
    await kit.worked()
    turns.running = False
    assert len(kit.listener.received) == len(read) // len(frame)
    assert turns.most <= FRAMES_PER_TURN
    assert kit.transport.reading


async def test_a_frame_of_many_packets_or_a_long_text_costs_more_of_a_turn(kit):
    big, text = FLOODS["many packets"], TEXT(b"x" * MAX_TEXT_BYTES)
    for frame in (big, text):
        before = len(kit.listener.received)
        kit.read(frame * 4)
        assert len(kit.listener.received) - before <= 2
        await kit.worked()
        assert len(kit.listener.received) - before == 4


async def test_a_frame_that_lies_about_its_packets_costs_what_it_can_hold(kit):
    kit.read(BINARY(b"\xff\xffx") * FRAMES_PER_TURN)
    assert len(kit.listener.received) > FRAMES_PER_TURN // 2


async def test_few_frames_are_delivered_at_once(kit):
    kit.read(FLOODS["one packet"] * 100)
    assert len(kit.listener.received) == 100
    assert not kit.socket.behind
    assert kit.transport.reading


async def test_order_is_kept_over_turns_and_reads(kit):
    for read in range(3):
        kit.read(b"".join(BINARY(b"%d %d" % (read, i)) for i in range(2000)))
    await kit.worked()
    assert kit.listener.received == [b"%d %d" % (read, i) for read in range(3) for i in range(2000)]


@pytest.mark.parametrize("reset", [False, True])
async def test_what_was_read_before_the_end_is_delivered_before_it(kit, reset):
    kit.read(BINARY(b"x") * 5000 + server_frame(8, b"\x03\xe9bye"))
    if not reset:
        kit.socket.eof_received()
    kit.socket.connection_lost(ConnectionResetError() if reset else None)
    assert kit.listener.lost == []
    await kit.worked()
    assert kit.listener.received == [b"x"] * 5000
    assert kit.listener.lost == [(1001, "bye")]


async def test_a_listener_may_pause_in_the_middle_of_a_flood(kit):
    kit.listener.on_binary = kit.socket.pause
    kit.read(BINARY(b"x") * 5000)
    assert kit.listener.received == [b"x"]
    assert not kit.socket.behind
    assert not kit.transport.reading
    kit.listener.on_binary = None
    kit.socket.resume()
    await kit.worked()
    assert kit.listener.received == [b"x"] * 5000
    assert kit.transport.reading


async def test_a_close_delivers_what_was_read(kit):
    kit.read(BINARY(b"x") * 5000)
    closing = asyncio.create_task(kit.socket.close())
    await asyncio.sleep(0)
    kit.read(server_frame(8, b"\x03\xe8"))
    kit.socket.connection_lost(None)
    await closing
    assert kit.listener.received == [b"x"] * 5000
    assert kit.listener.lost == [(1000, "")]


async def test_an_abort_drops_the_rest(kit):
    kit.read(BINARY(b"x") * 5000)
    before = len(kit.listener.received)
    kit.socket.abort()
    kit.socket.connection_lost(None)
    await kit.worked()
    assert len(kit.listener.received) == before
    assert len(kit.listener.lost) == 1


async def test_who_does_not_read_is_not_read(kit):
    """Else a flood of pings would fill our memory with pongs."""
    kit.socket.pause_writing()
    assert not kit.transport.reading
    kit.socket.resume_writing()
    assert kit.transport.reading
    kit.socket.pause()
    kit.socket.pause_writing()
    kit.socket.resume_writing()
    assert not kit.transport.reading
    kit.socket.resume()
    assert kit.transport.reading


async def test_before_the_first_resume_one_read_is_kept_and_no_more(frame_reader):
    kit = Kit()
    kit.accept(resume=False)
    kit.read(BINARY(b"x") * 5000)
    assert not kit.transport.reading
    assert kit.listener.received == []
    kit.socket.resume()
    await kit.worked()
    assert kit.listener.received == [b"x"] * 5000
    assert kit.transport.reading
    kit.socket.connection_lost(None)


async def test_a_text_that_is_too_long_is_not_read(kit):
    kit.read(TEXT(b"y" * MAX_TEXT_BYTES) + TEXT(b"z" * (MAX_TEXT_BYTES + 1)))
    await kit.worked()
    assert kit.listener.received == [
        "y" * MAX_TEXT_BYTES, ("z" * KEPT_TEXT_BYTES, MAX_TEXT_BYTES + 1)
    ]  # fmt: skip


async def test_fragments_without_end_take_no_memory_and_too_long_ones_end_the_socket(kit):
    kit.read(server_frame(2, b"", fin=False))
    for _ in range(3):
        kit.read(server_frame(0, b"", fin=False) * 10_000)
        await kit.worked()
    assert kit.listener.received == []
    part = server_frame(0, bytes(MAX_FRAME_BYTES // 4), fin=False)
    for _ in range(5):
        kit.read(part)
        await kit.worked()
    assert kit.listener.received == []
    assert b"1009" not in kit.transport.written
    (event,) = [event for event in kit.take() if event.opcode == 8]
    assert int.from_bytes(event.data[:2]) == 1009
