import pytest

from connector import (
    ConnectionState,
    Mode,
)
from tests.support import packets

FULL, QUOTE = Mode.FULL, Mode.QUOTE
NSE, NFO = packets.NSE, packets.NFO


class TestWatching:
    async def test_silence_ends_the_socket(self, make):
        kit = make(liveness_threshold=6)
        socket = await kit.open()
        await kit.clock.advance(6)
        assert kit.state is ConnectionState.CONNECTED
        await kit.clock.advance(1)
        assert socket.aborted
        assert kit.stats.last_error == "no frame for 7.0 s: the connection is dead"
        await kit.clock.advance(1)
        assert len(kit.feed.sockets) == 2

    @pytest.mark.parametrize("sign", ["heartbeat", "pong", "text", "ticks"])
    async def test_any_frame_is_life(self, make, sign):
        kit = make()
        socket = await kit.open()
        for _ in range(30):
            match sign:
                case "heartbeat":
                    socket.heartbeat()
                case "pong":
                    socket.listener.control_received()
                case "text":
                    socket.text({"type": "x"})
                case "ticks":
                    socket.deliver(packets.ltp(NSE))
            await kit.clock.advance(5)
        assert len(kit.feed.sockets) == 1

    async def test_it_pings_by_itself(self, make):
        kit = make(ping_interval=2.5)
        socket = await kit.open()
        await kit.advance_alive(30)
        assert socket.pings == 10
        assert kit.connection.ping()
        assert socket.pings == 11

    async def test_a_stall_is_told_apart_from_death(self, make):
        kit = make(stall_threshold=60)
        socket = await kit.open()
        kit.connection.update({NSE: Mode.QUOTE})
        socket.confirm()
        await kit.advance_alive(62)
        assert kit.handler.event_types[-1] == "stalled"
        assert kit.stats.stalled
        assert kit.state is ConnectionState.CONNECTED
        socket.deliver(packets.quote(NSE))
        await kit.advance_alive(1)
        assert kit.handler.event_types[-1] == "ticks_resumed"
        assert not kit.stats.stalled

    async def test_a_held_socket_is_not_dead_and_its_instruments_not_silent(self, make):
        kit = make(confirm_timeout=5)
        socket = await kit.open()
        kit.connection.update({NSE: Mode.QUOTE})
        asked = len(socket.requests)
        kit.connection.pause_reading()
        assert socket.paused
        assert kit.stats.paused
        await kit.clock.advance(100)
        assert len(kit.feed.sockets) == 1
        assert len(socket.requests) == asked
        kit.connection.resume_reading()
        assert not socket.paused

    async def test_a_socket_opened_while_held_stays_held(self, make):
        kit = make()
        kit.connection.pause_reading()
        socket = await kit.open()
        assert socket.paused
        # a socket that is only not resumed yet goes on reading, and keeps all that it reads
        assert socket.pauses == 1
        kit.connection.resume_reading()
        assert not socket.paused
