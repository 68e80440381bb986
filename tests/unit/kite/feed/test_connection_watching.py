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
        feed, connection = make(liveness_threshold_seconds=6)
        socket = await feed.open(connection)
        await feed.clock.advance(6)
        assert connection.state is ConnectionState.CONNECTED
        await feed.clock.advance(1)
        assert socket.aborted
        assert connection.stats.last_error == "no frame for 7.0 s: the connection is dead"
        await feed.clock.advance(1)
        assert len(feed.sockets) == 2

    @pytest.mark.parametrize("sign", ["heartbeat", "pong", "text", "ticks"])
    async def test_any_frame_is_life(self, make, sign):
        feed, connection = make()
        socket = await feed.open(connection)
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
            await feed.clock.advance(5)
        assert len(feed.sockets) == 1

    async def test_it_pings_by_itself(self, make):
        feed, connection = make(ping_interval_seconds=2.5)
        socket = await feed.open(connection)
        await feed.advance_alive(30)
        assert socket.pings == 10
        assert connection.ping()
        assert socket.pings == 11

    async def test_a_stall_is_told_apart_from_death(self, make):
        feed, connection = make(stall_threshold_seconds=60)
        socket = await feed.open(connection)
        connection.update({NSE: Mode.QUOTE})
        socket.confirm()
        await feed.advance_alive(62)
        assert feed.handler.event_types[-1] == "stalled"
        assert connection.stats.stalled
        assert connection.state is ConnectionState.CONNECTED
        socket.deliver(packets.quote(NSE))
        await feed.advance_alive(1)
        assert feed.handler.event_types[-1] == "ticks_resumed"
        assert not connection.stats.stalled

    async def test_a_held_socket_is_not_dead_and_its_instruments_not_silent(self, make):
        feed, connection = make(confirm_timeout_seconds=5)
        socket = await feed.open(connection)
        connection.update({NSE: Mode.QUOTE})
        asked = len(socket.requests)
        connection.pause_reading()
        assert socket.paused
        assert connection.stats.paused
        await feed.clock.advance(100)
        assert len(feed.sockets) == 1
        assert len(socket.requests) == asked
        connection.resume_reading()
        assert not socket.paused

    async def test_a_socket_opened_while_held_stays_held(self, make):
        feed, connection = make()
        connection.pause_reading()
        socket = await feed.open(connection)
        assert socket.paused
        # a socket that is only not resumed yet goes on reading, and keeps all that it reads
        assert socket.pauses == 1
        connection.resume_reading()
        assert not socket.paused
