import asyncio
import functools

import pytest

from connector import (
    CapacityError,
    ChannelPolicy,
    ClosingMessage,
    ConnectionClosedError,
    ConnectionConfig,
    ConnectionState,
    ErrorMessage,
    EventType,
    FeedUnreachableError,
    FileCredentials,
    FrameMessage,
    KiteTickerAsync,
    Mode,
    TickMessage,
    TokenRejectedError,
)
from connector.kite.client.ticker import Connecting
from connector.testing import FakeFeed, settle
from tests.support import packets

FULL, QUOTE, LTP = Mode.FULL, Mode.QUOTE, Mode.LTP
NSE, NFO, BSE = packets.NSE, packets.NFO, packets.BSE


@pytest.fixture
def make(over_feed):
    return functools.partial(over_feed, "ticker")


@pytest.fixture
async def feed_and_ticker(make):
    feed, ticker = make()
    await ticker.open()
    return feed, ticker


@pytest.fixture
def feed(feed_and_ticker):
    return feed_and_ticker[0]


@pytest.fixture
def ticker(feed_and_ticker):
    return feed_and_ticker[1]


def drain(subscriber):
    found = []
    while (message := subscriber.channel.get_nowait()) is not None:
        found.append(message)
    return found


def tokens(messages):
    return [[tick.instrument_token for tick in message] for message in messages]


class TestConnecting:
    async def test_awaited(self, make):
        _feed, ticker = make()
        ticker = await Connecting(ticker)
        assert ticker.is_connected()
        assert ticker.state is ConnectionState.CONNECTED

    async def test_entered(self, make):
        _feed, ticker = make()
        async with Connecting(ticker) as ticker:
            assert ticker.is_connected()
        assert ticker.state is ConnectionState.CLOSED

    async def test_the_ticker_itself_entered(self, make):
        _feed, ticker = make()
        async with ticker as ticker:
            assert ticker.is_connected()
        assert not ticker.is_connected()

    async def test_entered_after_it_was_awaited(self, make):
        feed, ticker = make()
        async with await Connecting(ticker) as ticker:
            assert ticker.is_connected()
        assert len(feed.sockets) == 1

    @pytest.mark.parametrize(
        "error", [TokenRejectedError(403), FeedUnreachableError("ws://feed", "refused")]
    )
    async def test_the_first_try_raises_and_leaves_nothing_behind(self, make, error):
        feed, ticker = make(error)
        with pytest.raises(type(error)):
            await Connecting(ticker)
        assert ticker.state is ConnectionState.CLOSED
        assert feed.clock.pending == []

    async def test_cancelled_it_leaves_nothing_behind(self, make):
        feed, ticker = make()
        feed.never = True
        opening = asyncio.create_task(ticker.open())
        await settle()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert ticker.state is ConnectionState.CLOSED

    async def test_connect_builds_the_ticker(self):
        connecting = KiteTickerAsync.connect("SECRET-K", "SECRET-T", root="ws://feed", raw=True)
        assert isinstance(connecting, Connecting)
        assert "SECRET" not in repr(connecting) + repr(vars(connecting))


class TestSubscribers:
    async def test_one(self, feed, ticker):
        subscriber = ticker.subscribe([NSE, NFO], FULL)
        assert feed.socket.subscriptions == {NSE: FULL, NFO: FULL}
        feed.socket.deliver(packets.quote(NSE), packets.full(NFO))
        message = await subscriber.next_message()
        assert isinstance(message, TickMessage)
        assert tokens([message]) == [[NSE, NFO]]

    async def test_the_highest_mode_wins_and_nobody_takes_it_from_another(self, feed, ticker):
        low = ticker.subscribe([NSE], LTP)
        high = ticker.subscribe([NSE, NFO], FULL)
        socket = feed.socket
        assert socket.subscriptions == {NSE: FULL, NFO: FULL} == ticker.get_subscribed()
        low.set_mode([NSE], QUOTE)
        assert socket.subscriptions[NSE] is FULL
        high.unsubscribe([NSE])
        assert socket.subscriptions == {NSE: QUOTE, NFO: FULL}
        low.close()
        assert socket.subscriptions == {NFO: FULL}
        high.close()
        assert socket.subscriptions == {}

    async def test_each_gets_its_own_ticks_and_all_get_messages(self, feed, ticker):
        first, second = ticker.subscribe([NSE]), ticker.subscribe([NFO, BSE])
        feed.socket.deliver(packets.ltp(NSE), packets.ltp(NFO), packets.ltp(BSE))
        feed.socket.deliver(packets.ltp(NFO))
        feed.socket.text({"type": "error", "data": "no"})
        *ticks, error = drain(first)
        assert (tokens(ticks), error) == ([[NSE]], ErrorMessage("no"))
        *ticks, error = drain(second)
        assert (tokens(ticks), error) == ([[NFO, BSE], [NFO]], ErrorMessage("no"))

    async def test_a_lone_one_gets_no_packet_that_was_under_way_for_another(self, feed, ticker):
        stays, leaves = ticker.subscribe([NSE]), ticker.subscribe([NFO])
        leaves.close()
        feed.socket.deliver(packets.ltp(NFO))
        feed.socket.deliver(packets.ltp(NFO), packets.ltp(NSE))
        assert tokens(drain(stays)) == [[NSE]]

    async def test_more_than_a_connection_carries(self, make):
        feed, ticker = make(config=ConnectionConfig(max_symbols_per_connection=2))
        async with ticker as ticker:
            first = ticker.subscribe([1])
            with pytest.raises(CapacityError) as caught:
                ticker.subscribe([2, 3])
            # all or nothing where there is no subscriber to show for it
            assert caught.value.refused == [3]
            assert feed.socket.subscriptions == {1: QUOTE}
            with pytest.raises(CapacityError):
                first.subscribe([2, 3])
            assert first.get_subscribed() == {1: QUOTE, 2: QUOTE} == ticker.get_subscribed()

    async def test_an_empty_one_gets_messages(self, feed, ticker):
        subscriber = ticker.subscribe()
        feed.socket.text({"type": "message", "data": "hello"})
        assert (await subscriber.next_message()).data == "hello"

    async def test_on_a_closed_ticker_there_is_none(self, feed, ticker):
        subscriber = ticker.subscribe([NSE])
        await ticker.close()
        with pytest.raises(ConnectionClosedError):
            ticker.subscribe([1])
        assert await subscriber.next_message() is None
        subscriber.close()


class TestRaw:
    async def test_frames_come_whole_and_still_confirm(self, make):
        feed, ticker = make(raw=True)
        async with ticker as ticker:
            first, second = ticker.subscribe([NSE], FULL), ticker.subscribe([NFO])
            frame = packets.frame(packets.full(NSE), packets.quote(NFO), b"strange")
            feed.socket.listener.binary_received(frame)
            expected = FrameMessage(frame, feed.clock.time_us())
            assert await first.next_frame() == expected
            assert await second.next_frame() == expected
            assert ticker.stats.confirmed == 2


class TestLosses:
    async def test_a_lost_socket_is_a_message_and_everything_comes_back(self, feed, ticker):
        subscriber = ticker.subscribe([NSE], FULL)
        feed.socket.drop(1006, "gone")
        await feed.clock.advance(1)
        assert drain(subscriber) == [ClosingMessage(1006, "gone")]
        assert feed.socket.subscriptions == {NSE: FULL}
        feed.socket.confirm()
        assert tokens(drain(subscriber)) == [[NSE]]
        assert EventType.GAP in [event.type for event in feed.events]

    async def test_without_reconnecting_the_stream_ends(self, make):
        feed, ticker = make(config=ConnectionConfig(max_reconnect_attempts=0))
        async with ticker as ticker:
            subscriber = ticker.subscribe([NSE])
            feed.socket.drop()
            await settle()
            assert [type(message) async for message in subscriber] == [ClosingMessage]
            with pytest.raises(ConnectionClosedError, match="failed"):
                ticker.subscribe([NSE])

    async def test_what_ended_readers_had_is_not_asked_for_when_it_is_opened_again(self, make):
        feed, ticker = make(config=ConnectionConfig(max_reconnect_attempts=0))
        async with ticker as ticker:
            subscriber = ticker.subscribe([NSE], FULL)
            feed.socket.drop()
            await settle()
            async with ticker:
                ticker.subscribe([NFO], QUOTE)
                subscriber.close()
                assert feed.socket.subscriptions == {NFO: QUOTE}
                assert ticker.get_subscribed() == {NFO: QUOTE}

    async def test_a_new_token_is_taken_at_run_time(self, make):
        feed, ticker = make(None, TokenRejectedError(403))
        async with ticker as ticker:
            feed.socket.drop()
            await feed.clock.advance(1)
            assert ticker.state is ConnectionState.WAITING_FOR_TOKEN
            ticker.set_access_token("new")
            await settle()
            assert ticker.is_connected()

    async def test_a_token_from_a_file_cannot_be_set(self, tmp_path):
        ticker = KiteTickerAsync(FileCredentials("k", tmp_path / "token"), root="ws://feed")
        with pytest.raises(TypeError, match="token"):
            ticker.set_access_token("new")


class TestBlocking:
    async def test_one_full_subscriber_holds_reading_until_it_has_caught_up(self, make):
        feed, ticker = make(channel_size=2, channel_policy=ChannelPolicy.BLOCK)
        async with ticker as ticker:
            slow, quick = ticker.subscribe([NSE]), ticker.subscribe([NSE])
            socket = feed.socket
            for _ in range(2):
                socket.deliver(packets.ltp(NSE))
            assert socket.paused
            drain(quick)
            assert socket.paused
            await slow.next_message()
            assert not socket.paused

    async def test_closing_the_slow_one_releases_it(self, make):
        feed, ticker = make(channel_size=1, channel_policy=ChannelPolicy.BLOCK)
        async with ticker as ticker:
            slow = ticker.subscribe([NSE])
            feed.socket.deliver(packets.ltp(NSE))
            assert feed.socket.paused
            slow.close()
            assert not feed.socket.paused


async def test_pings(feed, ticker):
    assert ticker.ping()
    assert feed.socket.pings == 1
    await ticker.close()
    assert not ticker.ping()


async def test_repr_shows_no_secret(feed, ticker):
    ticker.subscribe([NSE])
    assert repr(ticker) == "KiteTickerAsync(connected, subscribers=1)"
    assert "SECRET" not in repr(vars(ticker))


async def test_a_callback_may_close_a_subscriber_while_a_frame_goes_to_all(make):
    def on_event(event):
        if event.type is EventType.DROPPED:
            subscribers[0].close()

    feed, ticker = make(on_event=on_event, channel_size=1)
    await ticker.open()
    subscribers = [ticker.subscribe([NSE], LTP) for _ in range(3)]
    for _ in range(3):
        feed.socket.deliver(packets.ltp(NSE))
    assert [one.stats.received for one in subscribers] == [2, 3, 3]


async def test_a_callback_that_raises_at_a_drop_costs_nobody_a_frame(make):
    def on_event(event):
        if event.type is EventType.DROPPED:
            raise RuntimeError("the user's")

    feed, ticker = make(on_event=on_event, channel_size=1)
    await ticker.open()
    subscribers = [ticker.subscribe([NSE], LTP) for _ in range(2)]
    for _ in range(3):
        feed.socket.deliver(packets.ltp(NSE))
    assert [one.stats.received for one in subscribers] == [3, 3]
    assert ticker.stats.confirmed == 1


async def test_entering_one_that_was_closed_says_so(make):
    _feed, ticker = make()
    async with ticker:
        subscriber = ticker.subscribe([NSE])
    with pytest.raises(ConnectionClosedError):
        async with ticker:
            pass
    with pytest.raises(ConnectionClosedError):
        subscriber.subscribe([NFO])


def test_one_whose_event_loop_has_ended_is_closed():
    ticker = FakeFeed().ticker()

    async def forgets_to_close():
        await ticker.open()
        return ticker.subscribe([NSE])

    async def goes_on(subscriber):
        assert await subscriber.next_message() is None
        async with ticker:
            pass

    subscriber = asyncio.run(forgets_to_close())
    with pytest.raises(ConnectionClosedError):
        asyncio.run(goes_on(subscriber))
