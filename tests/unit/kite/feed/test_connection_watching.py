import pytest

from connector import (
    ConnectionState,
    EventType,
    Mode,
)
from connector.testing.clock import settle
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

    @pytest.mark.parametrize("closes", [False, True], ids=["open", "closed meanwhile"])
    @pytest.mark.parametrize("end", ["dropped", "renewed", "reconnect", "given up"])
    async def test_a_gap_begins_with_the_last_tick_of_a_mute_socket(self, make, end, closes):
        feed, connection = make(stall_threshold_seconds=60, random=0.0)
        socket = await feed.open(connection)
        connection.update({NSE: QUOTE})
        socket.confirm()
        await feed.advance_alive(10)
        socket.deliver(packets.quote(NSE))
        last_tick_us = feed.clock.time_us()
        await feed.advance_alive(20)
        # nobody has asked yet: heartbeats are all that a quiet market sends
        assert connection.last_frame_us > last_tick_us
        await feed.advance_alive(70 if end == "renewed" else 40)
        if closes:
            feed.clock.step(6 * 3600)
            await feed.advance_alive(20)
        assert "ticks_resumed" not in feed.handler.event_types
        match end:
            case "given up":
                assert connection.last_frame_us == last_tick_us
                return
            case "dropped":
                socket.drop()
                await settle()
                await feed.clock.advance(1)
            case "reconnect":
                await connection.reconnect()
                await settle()
        assert len(feed.sockets) == 2
        gaps = [event for event in feed.handler.events if event.type is EventType.GAP]
        assert [gap.gap_from_ms for gap in gaps] == [last_tick_us // 1000]

    @pytest.mark.parametrize("quiet", [3, 20, 29])
    async def test_a_gap_begins_with_the_last_tick_though_nobody_has_asked_yet(self, make, quiet):
        """Whether the market is quiet or the socket mute is not known before the question."""
        feed, connection = make(stall_threshold_seconds=60, random=0.0)
        socket = await feed.open(connection)
        connection.update({NSE: QUOTE})
        assert connection.gap_from_us == 0
        await feed.advance_alive(10)
        assert connection.gap_from_us == connection.stats.session_id * 1000
        socket.confirm()
        await feed.advance_alive(1)
        socket.deliver(packets.quote(NSE))
        last_tick_us = feed.clock.time_us()
        await feed.advance_alive(quiet)
        assert connection.gap_from_us == last_tick_us < connection.last_frame_us
        socket.drop()
        await settle()
        await feed.clock.advance(1)
        gaps = [event for event in feed.handler.events if event.type is EventType.GAP]
        assert [gap.gap_from_ms for gap in gaps] == [last_tick_us // 1000]

    async def test_while_no_market_is_open_a_gap_begins_with_the_last_frame(self, make):
        feed, connection = make(stall_threshold_seconds=60, random=0.0)
        socket = await feed.open(connection)
        connection.update({NSE: QUOTE})
        socket.confirm()
        await feed.advance_alive(5)
        feed.clock.step(10 * 3600)
        await feed.advance_alive(20)
        assert connection.gap_from_us == connection.last_frame_us > connection.stats.last_tick_us
        # the market opens, and nothing has come of it yet
        feed.clock.step(13.9 * 3600)
        before_us = connection.last_frame_us
        await feed.advance_alive(20)
        assert connection.gap_from_us == before_us < connection.last_frame_us
        socket.deliver(packets.quote(NSE))
        assert connection.gap_from_us == feed.clock.time_us()

    async def test_a_mute_socket_behind_a_mute_one_has_a_gap_of_its_own(self, make):
        feed, connection = make(stall_threshold_seconds=60)
        await feed.open(connection)
        connection.update({NSE: QUOTE})
        await feed.advance_alive(80)
        assert len(feed.sockets) == 2
        opened_us = connection.stats.session_id * 1000
        await feed.advance_alive(40)
        assert len(feed.sockets) == 2
        assert connection.last_frame_us == opened_us

    async def test_ticks_resume_with_a_tick_and_not_with_the_close_of_the_market(self, make):
        feed, connection = make(stall_threshold_seconds=60, random=0.0)
        socket = await feed.open(connection)
        connection.update({NSE: QUOTE})
        socket.confirm()
        await feed.advance_alive(62)
        feed.clock.step(6 * 3600)
        await feed.advance_alive(2)
        assert not connection.stats.stalled
        assert feed.handler.event_types[-1] == "stalled"
        socket.deliver(packets.quote(NSE))
        await feed.advance_alive(3)
        assert feed.handler.event_types[-1] == "ticks_resumed"
        assert connection.last_frame_us > connection.stats.last_tick_us

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
