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
from connector.testing import RecordingHandler, settle
from tests.support import packets

FULL, QUOTE = Mode.FULL, Mode.QUOTE
NSE, NFO = packets.NSE, packets.NFO
UNREACHABLE = FeedUnreachableError("ws://feed", "refused")


class TestOpening:
    async def test_the_constructor_does_nothing(self, make):
        feed, connection = make()
        await settle()
        assert connection.state is ConnectionState.IDLE
        assert feed.tries == []

    async def test_states_and_events_up_to_connected(self, make):
        feed, connection = make()
        await feed.open(connection)
        assert connection.state is ConnectionState.CONNECTED
        assert feed.handler.event_types == ["connecting", "connected"]
        assert feed.tries == [("key", "token")]
        assert await connection.first_outcome() is None

    async def test_the_handler_knows_of_the_session_before_its_first_frame(self, make):
        feed, connection = make()
        connection.update({NSE: FULL})
        socket = await feed.open(connection)
        assert feed.handler.names() == ["event", "opened", "event", "expect", "event"]
        assert not socket.paused
        session_id = feed.clock.time_us() // 1000
        assert feed.handler.calls[1] == ("opened", session_id)
        assert connection.stats.session_id == session_id
        assert feed.handler.events[1].session_id == session_id

    async def test_what_is_wanted_is_asked_for(self, make):
        feed, connection = make()
        connection.update({NSE: FULL, NFO: QUOTE})
        socket = await feed.open(connection)
        assert socket.subscriptions == {NSE: FULL, NFO: QUOTE}
        assert feed.handler.event_types[-1] == "resubscribed"

    async def test_starting_twice_is_starting_once(self, make):
        feed, connection = make()
        await feed.open(connection)
        await feed.open(connection)
        assert len(feed.sockets) == 1

    @pytest.mark.parametrize("error", [UNREACHABLE, HandshakeError(500), TokenRejectedError(403)])
    async def test_the_first_outcome_is_known(self, make, error):
        _feed, connection = make(error)
        connection.start()
        assert await connection.first_outcome() is error

    async def test_not_started_has_no_outcome(self, make):
        with pytest.raises(ConnectionClosedError):
            await make()[1].first_outcome()

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
        feed, connection = make()
        socket = await feed.open(connection)
        socket.listener.text_too_long("beg", 50_000)
        ((message, raw),) = feed.handler.messages
        assert raw == "beg"
        assert (message.fault, message.size_bytes) == ("text_too_long", 50_000)
        assert connection.stats.messages == 1

    async def test_a_frame_is_stamped_and_handed_over(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        await feed.clock.advance(1)
        socket.deliver(packets.ltp(NSE))
        assert feed.handler.frames == [(packets.frame(packets.ltp(NSE)), feed.clock.time_us())]
        assert connection.stats.frames == 1
        assert connection.stats.bytes == 12
        assert (
            connection.stats.last_tick_us == connection.stats.last_frame_us == feed.clock.time_us()
        )

    async def test_heartbeats_are_counted_and_go_no_further(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        socket.heartbeat()
        socket.listener.binary_received(b"")
        assert feed.handler.frames == []
        assert (
            connection.stats.heartbeats,
            connection.stats.frames,
            connection.stats.last_tick_us,
        ) == (2, 0, 0)
        assert connection.stats.last_frame_us == feed.clock.time_us()

    async def test_texts_are_decoded(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        socket.text({"type": "order", "data": {"order_id": "1"}})
        socket.text({"type": "error", "data": "no"})
        socket.text("what is this")
        (order, raw), (error, _), (odd, _) = feed.handler.messages
        assert isinstance(order, OrderMessage)
        assert raw == '{"type": "order", "data": {"order_id": "1"}}'
        assert error == ErrorMessage("no")
        assert odd.type == ""
        assert connection.stats.messages == 3

    async def test_confirmations_reach_the_session(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        connection.update({NSE: FULL, NFO: QUOTE})
        assert connection.silent_tokens() == [NSE, NFO]
        socket.confirm()
        assert (connection.stats.confirmed, connection.stats.unconfirmed) == (2, 0)
        assert connection.silent_tokens() == []

    @pytest.mark.parametrize("method", ["opened", "expect", "frame", "message", "event", "forget"])
    async def test_a_handler_that_fails_harms_nobody(self, make, method):
        feed, connection = make()
        feed.handler.fail_in = {method}
        with structlog.testing.capture_logs() as logs:
            connection.update({NSE: QUOTE})
            socket = await feed.open(connection)
            socket.confirm()
            socket.text({"type": "x"})
            connection.update({NSE: None})
        assert connection.state is ConnectionState.CONNECTED
        assert socket.subscriptions == {}
        assert connection.stats.handler_errors >= 1
        assert any(entry["event"] == "handler_failed" for entry in logs)


class TestUpdating:
    async def test_changes_take_effect_without_reconnecting(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        connection.update({NSE: FULL})
        assert socket.subscriptions == {NSE: FULL}
        connection.update({NSE: QUOTE, NFO: QUOTE})
        assert socket.subscriptions == {NSE: QUOTE, NFO: QUOTE}
        connection.update({NSE: None})
        assert socket.subscriptions == {NFO: QUOTE} == connection.desired()
        assert connection.stats.connects == 1
        assert ("forget", [NSE]) in feed.handler.calls

    async def test_the_handler_expects_before_the_request_goes_out(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        sent_when_told = []
        feed.handler.expect = lambda tokens: sent_when_told.append(list(socket.requests))
        connection.update({NSE: QUOTE})
        assert sent_when_told == [[]]

    async def test_overflow_is_refused_by_name_and_the_rest_is_done(self, make):
        feed, connection = make(max_symbols_per_connection=2)
        socket = await feed.open(connection)
        with pytest.raises(CapacityError) as caught:
            connection.update({1: QUOTE, 2: QUOTE, 3: QUOTE, 4: QUOTE})
        assert caught.value.refused == [3, 4]
        assert socket.subscriptions == {1: QUOTE, 2: QUOTE}

    async def test_silent_instruments_are_asked_for_again_and_then_reported(self, make):
        feed, connection = make(confirm_timeout_seconds=5, confirm_attempts=2)
        socket = await feed.open(connection)
        connection.update({NSE: QUOTE})
        asked = len(socket.requests)
        await feed.advance_alive(6)
        assert socket.requests[asked] == ("subscribe", [NSE])
        await feed.advance_alive(12)
        (event,) = [e for e in feed.handler.events if e.type is EventType.UNCONFIRMED]
        assert event.tokens == (NSE,)
        assert connection.stats.given_up == 1


class TestReconnecting:
    async def test_everything_is_replayed_and_the_gap_is_told(self, make):
        feed, connection = make(random=0.5)
        socket = await feed.open(connection)
        connection.update({NSE: FULL, NFO: QUOTE})
        socket.confirm()
        last_ms = feed.clock.time_us() // 1000
        await feed.advance_alive(20)  # by heartbeats alone
        socket.drop(1006, "gone")
        await settle()
        assert connection.state is ConnectionState.BACKING_OFF
        assert connection.stats.last_error == "gone"
        assert (connection.stats.confirmed, connection.stats.unconfirmed) == (0, 2)
        assert socket.aborted
        await feed.clock.advance(0.25)  # half of the first delay
        assert connection.state is ConnectionState.CONNECTED
        assert feed.socket is not socket
        assert feed.socket.subscriptions == {NSE: FULL, NFO: QUOTE}

        disconnected, connecting, connected, gap, resubscribed = feed.handler.events[-5:]
        assert (disconnected.type, disconnected.code, disconnected.reason) == (
            EventType.DISCONNECTED, 1006, "gone",
        )  # fmt: skip
        assert disconnected.state is ConnectionState.BACKING_OFF
        assert connecting.type is EventType.CONNECTING
        assert connected.type is EventType.CONNECTED
        assert gap.type is EventType.GAP
        assert (gap.gap_from_ms, gap.gap_to_ms) == (last_ms, feed.clock.time_us() // 1000)
        assert (gap.instruments, resubscribed.instruments) == (2, 2)
        assert set(gap.tokens) == {NSE, NFO}
        assert connected.session_id > disconnected.session_id

        feed.socket.confirm()
        assert feed.handler.event_types[-1] == "snapshot_done"

    async def test_a_gap_names_who_was_there_before_it_and_who_is_behind_it(self, make):
        feed, connection = make(random=0.5)
        socket = await feed.open(connection)
        connection.update({NSE: FULL})
        socket.drop(1006, "gone")
        await settle()
        connection.update({NSE: None, NFO: QUOTE})
        await feed.clock.advance(0.25)  # half of the first delay
        (gap,) = [event for event in feed.handler.events if event.type is EventType.GAP]
        assert (set(gap.tokens), gap.instruments) == ({NSE, NFO}, 2)

    async def test_tries_go_on_for_ever_with_growing_delays(self, make):
        feed, connection = make(*[UNREACHABLE] * 50, random=1.0)
        await feed.start(connection)
        delays = []
        while not feed.sockets:
            (delay,) = feed.clock.pending
            delays.append(delay)
            await feed.clock.advance(delay)
        assert delays == [0.5, 1, 2, 4, 8, 16, *[30] * 44]
        assert connection.stats.failures == 50
        assert connection.state is ConnectionState.CONNECTED

    async def test_a_socket_that_lived_sets_the_delay_back(self, make):
        feed, connection = make(*[UNREACHABLE] * 5, random=1.0, liveness_threshold_seconds=6)
        await feed.start(connection)
        await feed.clock.advance(100)
        await feed.advance_alive(6)
        feed.socket.drop()
        await settle()
        assert feed.clock.pending == [0.5]

    async def test_a_socket_that_did_not_live_does_not(self, make):
        feed, connection = make(*[UNREACHABLE] * 5, random=1.0)
        await feed.start(connection)
        await feed.clock.advance(16)
        feed.socket.drop()
        await settle()
        assert feed.clock.pending == [16]

    async def test_the_number_of_tries_may_be_bounded(self, make):
        feed, connection = make(*[UNREACHABLE] * 9, max_reconnect_attempts=2)
        await feed.start(connection)
        await feed.clock.advance(1000)
        assert connection.state is ConnectionState.FAILED
        assert len(feed.tries) == 3
        assert feed.handler.event_types[-1] == "failed"

    async def test_with_none_allowed_the_first_loss_is_the_end(self, make):
        feed, connection = make(max_reconnect_attempts=0)
        socket = await feed.open(connection)
        socket.drop()
        await settle()
        assert feed.handler.event_types[-2:] == ["disconnected", "failed"]

    async def test_out_of_failed_a_reconnect_begins_anew(self, make):
        feed, connection = make(UNREACHABLE, max_reconnect_attempts=0)
        await feed.start(connection)
        assert connection.state is ConnectionState.FAILED
        await connection.reconnect()
        await settle()
        assert connection.state is ConnectionState.CONNECTED

    async def test_asked_for_it_is_done_at_once(self, make):
        feed, connection = make()
        connection.update({NSE: QUOTE})
        socket = await feed.open(connection)
        await connection.reconnect()
        await settle()
        assert socket.closed
        assert len(feed.sockets) == 2
        assert feed.socket.subscriptions == {NSE: QUOTE}
        assert feed.handler.event_types[3:6] == ["disconnected", "connecting", "connected"]

    async def test_a_slow_farewell_does_not_end_the_next_socket(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        socket.may_close.clear()
        reconnecting = asyncio.create_task(connection.reconnect())
        await settle()
        assert len(feed.sockets) == 2
        socket.may_close.set()
        await reconnecting
        await settle()
        assert len(feed.sockets) == 2
        assert connection.state is ConnectionState.CONNECTED

    async def test_asked_for_while_backing_off_it_waits_no_longer(self, make):
        feed, connection = make(UNREACHABLE)
        await feed.start(connection)
        assert connection.state is ConnectionState.BACKING_OFF
        await connection.reconnect()
        await settle()
        assert connection.state is ConnectionState.CONNECTED

    async def test_sessions_differ_even_if_the_clock_is_set_back(self, make):
        feed, connection = make()
        await feed.open(connection)
        first = connection.stats.session_id
        feed.clock.step(-3600)
        await connection.reconnect()
        await settle()
        assert connection.stats.session_id == first + 1

    @pytest.mark.parametrize("set_while", ["open", "away"])
    async def test_a_clock_that_is_set_back_does_not_hide_a_gap(self, make, set_while):
        feed, connection = make(None, UNREACHABLE, random=0.5)
        socket = await feed.open(connection)
        if set_while == "open":
            feed.clock.step(-3600)
            socket.heartbeat()
        socket.drop(1006, "gone")
        await settle()
        if set_while == "away":
            feed.clock.step(-3600)
        await feed.clock.advance(3)
        (gap,) = [one for one in feed.handler.events if one.type is EventType.GAP]
        assert gap.gap_to_ms == gap.time_ms
        # half of the first delay, and half of the second
        assert gap.gap_to_ms - gap.gap_from_ms == 750

    async def test_a_clock_that_is_set_forward_makes_a_gap_longer_and_never_shorter(self, make):
        feed, connection = make(random=0.5)
        socket = await feed.open(connection)
        socket.drop(1006, "gone")
        await settle()
        feed.clock.step(60)
        await feed.clock.advance(0.25)
        (gap,) = [one for one in feed.handler.events if one.type is EventType.GAP]
        assert gap.gap_to_ms - gap.gap_from_ms == 60_250

    async def test_an_unforeseen_error_is_a_failed_try(self, make):
        feed, connection = make(RuntimeError("wss://feed?access_token=SECRET"))
        with structlog.testing.capture_logs() as logs:
            await feed.start(connection)
        assert connection.state is ConnectionState.BACKING_OFF
        assert "SECRET" not in f"{logs} {feed.handler.events} {connection.stats}"
        await feed.clock.advance(1)
        assert connection.state is ConnectionState.CONNECTED


class TestToken:
    async def test_403_waits_for_a_new_token_and_then_tries_at_once(self, make):
        feed, connection = make(TokenRejectedError(403))
        await feed.start(connection)
        assert connection.state is ConnectionState.WAITING_FOR_TOKEN
        await feed.clock.advance(TOKEN_RETRY_MIN_SECONDS / 2)
        assert len(feed.tries) == 1
        connection.credentials.set_access_token("new")
        await settle()
        assert connection.state is ConnectionState.CONNECTED
        assert feed.tries[1] == ("key", "new")
        assert feed.handler.event_types == [
            "connecting", "waiting_for_token", "connecting", "connected",
        ]  # fmt: skip

    async def test_a_refused_token_is_tried_again_slowly(self, make):
        feed, connection = make(*[TokenRejectedError(403)] * 1000, random=0.999)
        await feed.start(connection)
        await feed.clock.advance(24 * 3600)
        # 30, 60, 120, 240, 480 s, then each 600 s
        assert 24 * 6 <= len(feed.tries) <= 24 * 6 + 5
        assert connection.state is ConnectionState.WAITING_FOR_TOKEN

    async def test_a_good_token_that_was_refused_by_mistake_streams_again(self, make):
        feed, connection = make(*[TokenRejectedError(403)] * 2, liveness_threshold_seconds=1000)
        await feed.start(connection)
        await feed.clock.advance(3 * TOKEN_RETRY_MIN_SECONDS)
        assert connection.state is ConnectionState.CONNECTED
        assert feed.tries == [("key", "token")] * 3

    async def test_what_is_not_kites_refusal_is_backed_off_from(self, make):
        page = HandshakeError(403, "Access Denied by Example Gateway", foreign=True)
        feed, connection = make(*[page] * 3)
        await feed.start(connection)
        assert connection.state is ConnectionState.BACKING_OFF
        assert "Access Denied by Example Gateway" in connection.stats.last_error
        assert "login" not in connection.stats.last_error
        await feed.clock.advance(5)
        assert connection.state is ConnectionState.CONNECTED

    async def test_after_a_new_token_delays_begin_anew(self, make):
        feed, connection = make(
            *[UNREACHABLE] * 4, TokenRejectedError(403), UNREACHABLE, random=1.0
        )
        await feed.start(connection)
        await feed.clock.advance(20)
        assert connection.state is ConnectionState.WAITING_FOR_TOKEN
        connection.credentials.set_access_token("new")
        await settle()
        assert feed.clock.pending == [0.5]

    async def test_a_token_that_came_during_the_try_is_not_missed(self, make):
        feed, connection = make(TokenRejectedError(403))
        connection.start()
        await asyncio.sleep(0)
        connection.credentials.set_access_token("new")
        await settle()
        assert feed.tries[-1] == ("key", "new")

    async def test_without_a_token_nothing_is_tried(self, make):
        feed, connection = make(token=None)
        connection.start()
        assert isinstance(await connection.first_outcome(), TokenMissingError)
        assert (connection.state, feed.tries) == (ConnectionState.WAITING_FOR_TOKEN, [])
        connection.credentials.set_access_token("first")
        await settle()
        assert feed.tries == [("key", "first")]

    async def test_a_reconnect_tries_with_the_token_that_is_there(self, make):
        feed, connection = make(TokenRejectedError(403))
        await feed.start(connection)
        await connection.reconnect()
        await settle()
        assert feed.tries == [("key", "token")] * 2

    async def test_a_new_token_leaves_an_open_socket_alone(self, make):
        feed, connection = make()
        await feed.open(connection)
        connection.credentials.set_access_token("new")
        await settle()
        assert len(feed.sockets) == 1

    async def test_credentials_that_cannot_be_watched_are_tried_now_and_then(self, make):
        feed, connection = make(TokenRejectedError(403), reconnect_max_delay_seconds=30)

        async def broken(since):
            raise OSError("too many watches")

        connection.credentials.changed = broken
        await feed.start(connection)
        assert connection.state is ConnectionState.WAITING_FOR_TOKEN
        await feed.clock.advance(TOKEN_RETRY_MIN_SECONDS)
        assert connection.state is ConnectionState.CONNECTED

    async def test_a_source_of_tokens_that_fails_is_tried_again(self, make):
        feed, connection = make()
        token = connection.credentials.access_token

        def away():
            raise PermissionError("SECRET path")

        connection.credentials.access_token = away
        with structlog.testing.capture_logs() as logs:
            await feed.start(connection)
        assert connection.state is ConnectionState.BACKING_OFF
        assert "SECRET" not in f"{logs} {connection.stats}"
        connection.credentials.access_token = token
        await feed.clock.advance(1)
        assert connection.state is ConnectionState.CONNECTED


class TestClosing:
    async def test_it_closes_the_socket_politely(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        await connection.close()
        assert socket.closed
        assert connection.state is ConnectionState.CLOSED
        assert feed.handler.event_types[-1] == "closed"
        assert feed.clock.pending == []

    @pytest.mark.parametrize(
        "answer", [UNREACHABLE, TokenRejectedError(403), TooManyConnectionsError(429)]
    )
    async def test_it_ends_any_wait(self, make, answer):
        feed, connection = make(answer)
        await feed.start(connection)
        await connection.close()
        assert connection.state is ConnectionState.CLOSED
        assert feed.clock.pending == []

    async def test_it_ends_a_handshake(self, make):
        feed, connection = make()
        feed.never = True
        connection.start()
        outcome = asyncio.create_task(connection.first_outcome())
        await settle()
        await connection.close()
        assert isinstance(await outcome, ConnectionClosedError)

    async def test_twice_is_once_and_there_is_no_way_back(self, make):
        feed, connection = make()
        await feed.open(connection)
        await asyncio.gather(connection.close(), connection.close())
        await connection.close()
        assert feed.handler.event_types.count("closed") == 1
        with pytest.raises(ConnectionClosedError):
            connection.start()

    async def test_a_cancelled_close_can_be_finished(self, make):
        feed, connection = make()
        socket = await feed.open(connection)
        socket.closed = True  # its end is never told
        socket.may_close.clear()
        closing = asyncio.create_task(connection.close())
        await settle()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        socket.may_close.set()
        await connection.close()
        assert socket.aborted
        assert connection.state is ConnectionState.CLOSED
        assert feed.handler.event_types.count("closed") == 1

    async def test_never_started_it_can_be_closed(self, make):
        _feed, connection = make()
        await connection.close()
        assert connection.state is ConnectionState.CLOSED

    async def test_as_a_context(self, make):
        _feed, connection = make()
        async with connection:
            await settle()
            assert connection.state is ConnectionState.CONNECTED
        assert connection.state is ConnectionState.CLOSED

    async def test_pinging_and_reconnecting_without_a_socket_do_nothing(self, make):
        feed, connection = make()
        assert not connection.ping()
        await connection.reconnect()
        assert feed.tries == []


async def test_a_defect_of_the_supervisor_is_seen(make):
    feed, connection = make()
    connection._watchdog.open = None
    with structlog.testing.capture_logs() as logs:
        await feed.start(connection)
    assert connection.state is ConnectionState.FAILED
    assert "supervisor_failed" in [entry["event"] for entry in logs]


async def test_no_secret_is_shown(make):
    feed, connection = make(UNREACHABLE, token="SECRET-T")
    with structlog.testing.capture_logs() as logs:
        await feed.start(connection)
        await feed.clock.advance(1)
    shown = f"{connection!r} {connection} {connection.stats} {feed.handler.events} {logs}"
    assert "SECRET" not in shown
