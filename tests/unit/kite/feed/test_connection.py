import asyncio

import pytest
import structlog

from connector import (
    CapacityError,
    ConnectionClosedError,
    ConnectionConfig,
    ConnectionState,
    ErrorMessage,
    EventType,
    FeedUnreachableError,
    HandshakeError,
    Mode,
    OrderMessage,
    StaticCredentials,
    TokenMissingError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.feed.backoff import TOKEN_RETRY_MIN_SECONDS
from connector.kite.feed.connection import Connection
from tests.support import packets
from tests.support.clock import settle
from tests.support.feed_socket import RecordingHandler

FULL, QUOTE = Mode.FULL, Mode.QUOTE
NSE, NFO = packets.NSE, packets.NFO
UNREACHABLE = FeedUnreachableError("ws://feed", "refused")


class TestOpening:
    async def test_the_constructor_does_nothing(self, make):
        kit = make()
        await settle()
        assert kit.state is ConnectionState.IDLE
        assert kit.feed.tries == []

    async def test_states_and_events_up_to_connected(self, make):
        kit = make()
        await kit.open()
        assert kit.state is ConnectionState.CONNECTED
        assert kit.handler.event_types == ["connecting", "connected"]
        assert kit.feed.tries == [("key", "token")]
        assert await kit.connection.first_outcome() is None

    async def test_the_handler_knows_of_the_session_before_its_first_frame(self, make):
        kit = make()
        kit.connection.update({NSE: FULL})
        socket = await kit.open()
        assert kit.handler.names() == ["event", "opened", "event", "expect", "event"]
        assert not socket.paused
        session_id = kit.clock.time_us() // 1000
        assert kit.handler.calls[1] == ("opened", session_id)
        assert kit.stats.session_id == session_id
        assert kit.handler.events[1].session_id == session_id

    async def test_what_is_wanted_is_asked_for(self, make):
        kit = make()
        kit.connection.update({NSE: FULL, NFO: QUOTE})
        socket = await kit.open()
        assert socket.subscriptions == {NSE: FULL, NFO: QUOTE}
        assert kit.handler.event_types[-1] == "resubscribed"

    async def test_starting_twice_is_starting_once(self, make):
        kit = make()
        await kit.open()
        await kit.open()
        assert len(kit.feed.sockets) == 1

    @pytest.mark.parametrize("error", [UNREACHABLE, HandshakeError(500), TokenRejectedError(403)])
    async def test_the_first_outcome_is_known(self, make, error):
        kit = make(error)
        kit.connection.start()
        assert await kit.connection.first_outcome() is error

    async def test_not_started_has_no_outcome(self, make):
        with pytest.raises(ConnectionClosedError):
            await make().connection.first_outcome()

    @pytest.mark.parametrize(
        "root", ["https://feed", "feed", "ws://feed?api_key=1", "ws://user@feed", "ws://"]
    )
    async def test_a_root_that_is_none_is_refused_at_once(self, root):
        with pytest.raises(ValueError, match="root"):
            Connection(
                0, StaticCredentials("k", "t"), ConnectionConfig(), RecordingHandler(), root=root
            )


class TestFrames:
    async def test_of_a_text_that_is_too_long_the_beginning_is_handed_on(self, make):
        kit = make()
        socket = await kit.open()
        socket.listener.text_too_long("beg", 50_000)
        ((message, raw),) = kit.handler.messages
        assert raw == "beg"
        assert (message.fault, message.size_bytes) == ("text_too_long", 50_000)
        assert kit.stats.messages == 1

    async def test_a_frame_is_stamped_and_handed_over(self, make):
        kit = make()
        socket = await kit.open()
        await kit.clock.advance(1)
        socket.deliver(packets.ltp(NSE))
        assert kit.handler.frames == [(packets.frame(packets.ltp(NSE)), kit.clock.time_us())]
        assert kit.stats.frames == 1
        assert kit.stats.bytes == 12
        assert kit.stats.last_tick_us == kit.stats.last_frame_us == kit.clock.time_us()

    async def test_heartbeats_are_counted_and_go_no_further(self, make):
        kit = make()
        socket = await kit.open()
        socket.heartbeat()
        socket.listener.binary_received(b"")
        assert kit.handler.frames == []
        assert (kit.stats.heartbeats, kit.stats.frames, kit.stats.last_tick_us) == (2, 0, 0)
        assert kit.stats.last_frame_us == kit.clock.time_us()

    async def test_texts_are_decoded(self, make):
        kit = make()
        socket = await kit.open()
        socket.text({"type": "order", "data": {"order_id": "1"}})
        socket.text({"type": "error", "data": "no"})
        socket.text("what is this")
        (order, raw), (error, _), (odd, _) = kit.handler.messages
        assert isinstance(order, OrderMessage)
        assert raw == '{"type": "order", "data": {"order_id": "1"}}'
        assert error == ErrorMessage("no")
        assert odd.type == ""
        assert kit.stats.messages == 3

    async def test_confirmations_reach_the_session(self, make):
        kit = make()
        socket = await kit.open()
        kit.connection.update({NSE: FULL, NFO: QUOTE})
        assert kit.connection.silent_tokens() == [NSE, NFO]
        socket.confirm()
        assert (kit.stats.confirmed, kit.stats.unconfirmed) == (2, 0)
        assert kit.connection.silent_tokens() == []

    @pytest.mark.parametrize("method", ["opened", "expect", "frame", "message", "event", "forget"])
    async def test_a_handler_that_fails_harms_nobody(self, make, method):
        kit = make()
        kit.handler.fail_in = {method}
        with structlog.testing.capture_logs() as logs:
            kit.connection.update({NSE: QUOTE})
            socket = await kit.open()
            socket.confirm()
            socket.text({"type": "x"})
            kit.connection.update({NSE: None})
        assert kit.state is ConnectionState.CONNECTED
        assert socket.subscriptions == {}
        assert kit.stats.handler_errors >= 1
        assert any(entry["event"] == "the handler failed" for entry in logs)


class TestUpdating:
    async def test_changes_take_effect_without_reconnecting(self, make):
        kit = make()
        socket = await kit.open()
        kit.connection.update({NSE: FULL})
        assert socket.subscriptions == {NSE: FULL}
        kit.connection.update({NSE: QUOTE, NFO: QUOTE})
        assert socket.subscriptions == {NSE: QUOTE, NFO: QUOTE}
        kit.connection.update({NSE: None})
        assert socket.subscriptions == {NFO: QUOTE} == kit.connection.desired()
        assert kit.stats.connects == 1
        assert ("forget", [NSE]) in kit.handler.calls

    async def test_the_handler_expects_before_the_request_goes_out(self, make):
        kit = make()
        socket = await kit.open()
        sent_when_told = []
        kit.handler.expect = lambda tokens: sent_when_told.append(list(socket.requests))
        kit.connection.update({NSE: QUOTE})
        assert sent_when_told == [[]]

    async def test_overflow_is_refused_by_name_and_the_rest_is_done(self, make):
        kit = make(max_symbols_per_connection=2)
        socket = await kit.open()
        with pytest.raises(CapacityError) as caught:
            kit.connection.update({1: QUOTE, 2: QUOTE, 3: QUOTE, 4: QUOTE})
        assert caught.value.refused == [3, 4]
        assert socket.subscriptions == {1: QUOTE, 2: QUOTE}

    async def test_silent_instruments_are_asked_for_again_and_then_reported(self, make):
        kit = make(confirm_timeout=5, confirm_attempts=2)
        socket = await kit.open()
        kit.connection.update({NSE: QUOTE})
        asked = len(socket.requests)
        await kit.advance_alive(6)
        assert socket.requests[asked] == ("subscribe", [NSE])
        await kit.advance_alive(12)
        (event,) = [e for e in kit.handler.events if e.type is EventType.UNCONFIRMED]
        assert event.tokens == (NSE,)
        assert kit.stats.given_up == 1


class TestReconnecting:
    async def test_everything_is_replayed_and_the_gap_is_told(self, make):
        kit = make(random=0.5)
        socket = await kit.open()
        kit.connection.update({NSE: FULL, NFO: QUOTE})
        socket.confirm()
        await kit.advance_alive(20)
        last_ms = kit.clock.time_us() // 1000 - 1000
        socket.drop(1006, "gone")
        await settle()
        assert kit.state is ConnectionState.BACKING_OFF
        assert kit.stats.last_error == "gone"
        assert (kit.stats.confirmed, kit.stats.unconfirmed) == (0, 2)
        assert socket.aborted
        await kit.clock.advance(0.25)  # half of the first delay
        assert kit.state is ConnectionState.CONNECTED
        assert kit.feed.socket is not socket
        assert kit.feed.socket.subscriptions == {NSE: FULL, NFO: QUOTE}

        disconnected, connecting, connected, gap, resubscribed = kit.handler.events[-5:]
        assert (disconnected.type, disconnected.code, disconnected.reason) == (
            EventType.DISCONNECTED, 1006, "gone",
        )  # fmt: skip
        assert disconnected.state is ConnectionState.BACKING_OFF
        assert connecting.type is EventType.CONNECTING
        assert connected.type is EventType.CONNECTED
        assert gap.type is EventType.GAP
        assert (gap.gap_from_ms, gap.gap_to_ms) == (last_ms, kit.clock.time_us() // 1000)
        assert (gap.instruments, resubscribed.instruments) == (2, 2)
        assert connected.session_id > disconnected.session_id

        kit.feed.socket.confirm()
        assert kit.handler.event_types[-1] == "snapshot_done"

    async def test_tries_go_on_for_ever_with_growing_delays(self, make):
        kit = make(*[UNREACHABLE] * 50, random=1.0)
        await kit_started(kit)
        delays = []
        while not kit.feed.sockets:
            (delay,) = kit.clock.pending
            delays.append(delay)
            await kit.clock.advance(delay)
        assert delays == [0.5, 1, 2, 4, 8, 16, *[30] * 44]
        assert kit.stats.failures == 50
        assert kit.state is ConnectionState.CONNECTED

    async def test_a_socket_that_lived_sets_the_delay_back(self, make):
        kit = make(*[UNREACHABLE] * 5, random=1.0, liveness_threshold=6)
        await kit_started(kit)
        await kit.clock.advance(100)
        await kit.advance_alive(6)
        kit.feed.socket.drop()
        await settle()
        assert kit.clock.pending == [0.5]

    async def test_a_socket_that_did_not_live_does_not(self, make):
        kit = make(*[UNREACHABLE] * 5, random=1.0)
        await kit_started(kit)
        await kit.clock.advance(16)
        kit.feed.socket.drop()
        await settle()
        assert kit.clock.pending == [16]

    async def test_the_number_of_tries_may_be_bounded(self, make):
        kit = make(*[UNREACHABLE] * 9, max_reconnect_attempts=2)
        await kit_started(kit)
        await kit.clock.advance(1000)
        assert kit.state is ConnectionState.FAILED
        assert len(kit.feed.tries) == 3
        assert kit.handler.event_types[-1] == "failed"

    async def test_with_none_allowed_the_first_loss_is_the_end(self, make):
        kit = make(max_reconnect_attempts=0)
        socket = await kit.open()
        socket.drop()
        await settle()
        assert kit.handler.event_types[-2:] == ["disconnected", "failed"]

    async def test_out_of_failed_a_reconnect_begins_anew(self, make):
        kit = make(UNREACHABLE, max_reconnect_attempts=0)
        await kit_started(kit)
        assert kit.state is ConnectionState.FAILED
        await kit.connection.reconnect()
        await settle()
        assert kit.state is ConnectionState.CONNECTED

    async def test_asked_for_it_is_done_at_once(self, make):
        kit = make()
        kit.connection.update({NSE: QUOTE})
        socket = await kit.open()
        await kit.connection.reconnect()
        await settle()
        assert socket.closed
        assert len(kit.feed.sockets) == 2
        assert kit.feed.socket.subscriptions == {NSE: QUOTE}
        assert kit.handler.event_types[3:6] == ["disconnected", "connecting", "connected"]

    async def test_a_slow_farewell_does_not_end_the_next_socket(self, make):
        kit = make()
        socket = await kit.open()
        socket.may_close.clear()
        reconnecting = asyncio.create_task(kit.connection.reconnect())
        await settle()
        assert len(kit.feed.sockets) == 2
        socket.may_close.set()
        await reconnecting
        await settle()
        assert len(kit.feed.sockets) == 2
        assert kit.state is ConnectionState.CONNECTED

    async def test_asked_for_while_backing_off_it_waits_no_longer(self, make):
        kit = make(UNREACHABLE)
        await kit_started(kit)
        assert kit.state is ConnectionState.BACKING_OFF
        await kit.connection.reconnect()
        await settle()
        assert kit.state is ConnectionState.CONNECTED

    async def test_sessions_differ_even_if_the_clock_is_set_back(self, make):
        kit = make()
        await kit.open()
        first = kit.stats.session_id
        kit.clock._time_us -= 3_600_000_000
        await kit.connection.reconnect()
        await settle()
        assert kit.stats.session_id == first + 1

    async def test_an_unforeseen_error_is_a_failed_try(self, make):
        kit = make(RuntimeError("wss://feed?access_token=SECRET"))
        with structlog.testing.capture_logs() as logs:
            await kit_started(kit)
        assert kit.state is ConnectionState.BACKING_OFF
        assert "SECRET" not in f"{logs} {kit.handler.events} {kit.stats}"
        await kit.clock.advance(1)
        assert kit.state is ConnectionState.CONNECTED


class TestToken:
    async def test_403_waits_for_a_new_token_and_then_tries_at_once(self, make):
        kit = make(TokenRejectedError(403))
        await kit_started(kit)
        assert kit.state is ConnectionState.WAITING_FOR_TOKEN
        await kit.clock.advance(TOKEN_RETRY_MIN_SECONDS / 2)
        assert len(kit.feed.tries) == 1
        kit.credentials.set_access_token("new")
        await settle()
        assert kit.state is ConnectionState.CONNECTED
        assert kit.feed.tries[1] == ("key", "new")
        assert kit.handler.event_types == [
            "connecting", "waiting_for_token", "connecting", "connected",
        ]  # fmt: skip

    async def test_a_refused_token_is_tried_again_slowly(self, make):
        kit = make(*[TokenRejectedError(403)] * 1000, random=0.999)
        await kit_started(kit)
        await kit.clock.advance(24 * 3600)
        # 30, 60, 120, 240, 480 s, then each 600 s
        assert 24 * 6 <= len(kit.feed.tries) <= 24 * 6 + 5
        assert kit.state is ConnectionState.WAITING_FOR_TOKEN

    async def test_a_good_token_that_was_refused_by_mistake_streams_again(self, make):
        kit = make(*[TokenRejectedError(403)] * 2, liveness_threshold=1000)
        await kit_started(kit)
        await kit.clock.advance(3 * TOKEN_RETRY_MIN_SECONDS)
        assert kit.state is ConnectionState.CONNECTED
        assert kit.feed.tries == [("key", "token")] * 3

    async def test_what_is_not_kites_refusal_is_backed_off_from(self, make):
        page = HandshakeError(403, "Access Denied by Example Gateway", foreign=True)
        kit = make(*[page] * 3)
        await kit_started(kit)
        assert kit.state is ConnectionState.BACKING_OFF
        assert "Access Denied by Example Gateway" in kit.stats.last_error
        assert "login" not in kit.stats.last_error
        await kit.clock.advance(5)
        assert kit.state is ConnectionState.CONNECTED

    async def test_after_a_new_token_delays_begin_anew(self, make):
        kit = make(*[UNREACHABLE] * 4, TokenRejectedError(403), UNREACHABLE, random=1.0)
        await kit_started(kit)
        await kit.clock.advance(20)
        assert kit.state is ConnectionState.WAITING_FOR_TOKEN
        kit.credentials.set_access_token("new")
        await settle()
        assert kit.clock.pending == [0.5]

    async def test_a_token_that_came_during_the_try_is_not_missed(self, make):
        kit = make(TokenRejectedError(403))
        kit.connection.start()
        await asyncio.sleep(0)
        kit.credentials.set_access_token("new")
        await settle()
        assert kit.feed.tries[-1] == ("key", "new")

    async def test_without_a_token_nothing_is_tried(self, make):
        kit = make(token=None)
        kit.connection.start()
        assert isinstance(await kit.connection.first_outcome(), TokenMissingError)
        assert (kit.state, kit.feed.tries) == (ConnectionState.WAITING_FOR_TOKEN, [])
        kit.credentials.set_access_token("first")
        await settle()
        assert kit.feed.tries == [("key", "first")]

    async def test_a_reconnect_tries_with_the_token_that_is_there(self, make):
        kit = make(TokenRejectedError(403))
        await kit_started(kit)
        await kit.connection.reconnect()
        await settle()
        assert kit.feed.tries == [("key", "token")] * 2

    async def test_a_new_token_leaves_an_open_socket_alone(self, make):
        kit = make()
        await kit.open()
        kit.credentials.set_access_token("new")
        await settle()
        assert len(kit.feed.sockets) == 1

    async def test_credentials_that_cannot_be_watched_are_tried_now_and_then(self, make):
        kit = make(TokenRejectedError(403), reconnect_max_delay=30)

        async def broken(since):
            raise OSError("too many watches")

        kit.credentials.changed = broken
        await kit_started(kit)
        assert kit.state is ConnectionState.WAITING_FOR_TOKEN
        await kit.clock.advance(TOKEN_RETRY_MIN_SECONDS)
        assert kit.state is ConnectionState.CONNECTED

    async def test_a_source_of_tokens_that_fails_is_tried_again(self, make):
        kit = make()
        token = kit.credentials.access_token

        def away():
            raise PermissionError("SECRET path")

        kit.credentials.access_token = away
        with structlog.testing.capture_logs() as logs:
            await kit_started(kit)
        assert kit.state is ConnectionState.BACKING_OFF
        assert "SECRET" not in f"{logs} {kit.stats}"
        kit.credentials.access_token = token
        await kit.clock.advance(1)
        assert kit.state is ConnectionState.CONNECTED


class TestSlot:
    async def test_429_waits_for_the_slot_as_often_as_it_takes(self, make):
        kit = make(*[TooManyConnectionsError(429)] * 20, slot_wait=2, random=0.5,
                   max_reconnect_attempts=3)  # fmt: skip
        await kit_started(kit)
        assert kit.state is ConnectionState.WAITING_FOR_SLOT
        assert kit.clock.pending == [2]
        await kit.clock.advance(39)
        assert len(kit.feed.tries) == 20
        await kit.clock.advance(1)
        assert kit.state is ConnectionState.CONNECTED


class TestClosing:
    async def test_it_closes_the_socket_politely(self, make):
        kit = make()
        socket = await kit.open()
        await kit.connection.close()
        assert socket.closed
        assert kit.state is ConnectionState.CLOSED
        assert kit.handler.event_types[-1] == "closed"
        assert kit.clock.pending == []

    @pytest.mark.parametrize(
        "answer", [UNREACHABLE, TokenRejectedError(403), TooManyConnectionsError(429)]
    )
    async def test_it_ends_any_wait(self, make, answer):
        kit = make(answer)
        await kit_started(kit)
        await kit.connection.close()
        assert kit.state is ConnectionState.CLOSED
        assert kit.clock.pending == []

    async def test_it_ends_a_handshake(self, make):
        kit = make()
        kit.feed.never = True
        kit.connection.start()
        outcome = asyncio.create_task(kit.connection.first_outcome())
        await settle()
        await kit.connection.close()
        assert isinstance(await outcome, ConnectionClosedError)

    async def test_twice_is_once_and_there_is_no_way_back(self, make):
        kit = make()
        await kit.open()
        await asyncio.gather(kit.connection.close(), kit.connection.close())
        await kit.connection.close()
        assert kit.handler.event_types.count("closed") == 1
        with pytest.raises(ConnectionClosedError):
            kit.connection.start()

    async def test_a_cancelled_close_can_be_finished(self, make):
        kit = make()
        socket = await kit.open()
        socket.closed = True  # its end is never told
        socket.may_close.clear()
        closing = asyncio.create_task(kit.connection.close())
        await settle()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        socket.may_close.set()
        await kit.connection.close()
        assert socket.aborted
        assert kit.state is ConnectionState.CLOSED
        assert kit.handler.event_types.count("closed") == 1

    async def test_never_started_it_can_be_closed(self, make):
        kit = make()
        await kit.connection.close()
        assert kit.state is ConnectionState.CLOSED

    async def test_as_a_context(self, make):
        kit = make()
        async with kit.connection:
            await settle()
            assert kit.state is ConnectionState.CONNECTED
        assert kit.state is ConnectionState.CLOSED

    async def test_pinging_and_reconnecting_without_a_socket_do_nothing(self, make):
        kit = make()
        assert not kit.connection.ping()
        await kit.connection.reconnect()
        assert kit.feed.tries == []


async def test_a_defect_of_the_supervisor_is_seen(make):
    kit = make()
    kit.connection._watchdog.open = None
    with structlog.testing.capture_logs() as logs:
        await kit_started(kit)
    assert kit.state is ConnectionState.FAILED
    assert "the supervisor failed" in [entry["event"] for entry in logs]


async def test_no_secret_is_shown(make):
    kit = make(UNREACHABLE, token="SECRET-T")
    with structlog.testing.capture_logs() as logs:
        await kit_started(kit)
        await kit.clock.advance(1)
    shown = f"{kit.connection!r} {kit.connection} {kit.stats} {kit.handler.events} {logs}"
    assert "SECRET" not in shown


async def kit_started(kit):
    kit.connection.start()
    await settle()
