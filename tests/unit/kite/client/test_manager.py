import asyncio
import functools
import json

import pytest
import structlog

from connector import (
    CapacityError,
    ChannelId,
    ChannelPolicy,
    ConnectionClosedError,
    ConnectionState,
    EventType,
    FeedUnreachableError,
    FileCredentials,
    HealthStatus,
    KiteTickerManager,
    Mode,
    StaticCredentials,
    TickMessage,
    TokenRejectedError,
)
from connector.testing import FakeFeed, RecordingHandler, settle

FULL, QUOTE, LTP = Mode.FULL, Mode.QUOTE, Mode.LTP


def token(number):
    """A token of the NSE."""
    return number << 8 | 1


@pytest.fixture
def make(over_feed):
    return functools.partial(over_feed, "manager")


@pytest.fixture
async def feed_and_manager(make):
    feed, manager = make()
    await feed.start(manager)
    return feed, manager


@pytest.fixture
def feed(feed_and_manager):
    return feed_and_manager[0]


@pytest.fixture
def manager(feed_and_manager):
    return feed_and_manager[1]


class TestLife:
    async def test_three_connections_open_and_close(self, make):
        feed, manager = make()
        async with manager as manager:
            await settle()
            assert len(feed.sockets) == 3
            assert await manager.wait_connected()
            assert manager.get_stats().connected == 3
        assert all(socket.closed for socket in feed.sockets)
        assert feed.clock.pending == []
        with pytest.raises(ConnectionClosedError):
            await manager.start()
        with pytest.raises(ConnectionClosedError):
            manager.subscribe_symbols([257])
        with pytest.raises(ConnectionClosedError):
            manager.add_account(StaticCredentials("k", "t", "second"))
        manager.unsubscribe_symbols([257])

    async def test_starting_twice_is_starting_once(self, feed, manager):
        await manager.start()
        await settle()
        assert len(feed.sockets) == 3

    async def test_fewer_connections(self, make):
        feed, manager = make(max_connections=1)
        await feed.start(manager)
        assert (len(feed.sockets), manager.capacity) == (1, 3000)

    async def test_a_connection_that_fails_leaves_the_others(self, make):
        feed, manager = make(FeedUnreachableError("ws://feed", "refused"))
        await feed.start(manager)
        assert not await manager.wait_connected()
        assert manager.get_stats().connected == 2

    async def test_without_an_api_key_there_is_nothing_to_manage(self):
        with pytest.raises(ValueError, match="api_key"):
            KiteTickerManager()

    async def test_channels_end_but_what_is_queued_can_be_read(self, feed, manager):
        feed.sockets[1].text({"type": "error", "data": "no"})
        await manager.stop()
        messages = [message async for message in manager.get_channel(1)]
        assert [message.text for message in messages[:1]] == ["no"]

    async def test_repr_shows_no_secret(self, feed, manager):
        manager.subscribe_symbols([1])
        assert repr(manager) == "KiteTickerManager(connections=3, instruments=1/9000)"
        assert "SECRET" not in repr(vars(manager))


class TestSubscribing:
    async def test_instruments_are_spread_evenly(self, feed, manager):
        manager.subscribe_symbols(range(1, 8), FULL)
        assert feed.subscriptions == [
            {1: FULL, 4: FULL, 7: FULL}, {2: FULL, 5: FULL}, {3: FULL, 6: FULL},
        ]  # fmt: skip
        assert manager.get_symbol_distribution() == {0: [1, 4, 7], 1: [2, 5], 2: [3, 6]}

    async def test_before_the_start_it_is_kept(self, make):
        feed, manager = make()
        manager.subscribe_symbols([1, 2])
        await feed.start(manager)
        assert feed.subscriptions == [{1: QUOTE}, {2: QUOTE}, {}]

    async def test_those_that_are_there_stay_where_they_are(self, feed, manager):
        manager.subscribe_symbols([1, 2, 3, 4, 5, 6])
        manager.unsubscribe_symbols([1, 4])
        manager.subscribe_symbols([7, 2, 8], FULL)
        assert manager.get_symbol_distribution() == {0: [7, 8], 1: [2, 5], 2: [3, 6]}
        assert manager.subscriptions()[2] is FULL
        assert manager.subscriptions()[5] is QUOTE

    async def test_without_a_mode_the_known_keep_theirs(self, feed, manager):
        manager.subscribe_symbols([1], FULL)
        manager.subscribe_symbols([1, 2])
        assert manager.subscriptions() == {1: FULL, 2: QUOTE}

    async def test_the_default_mode_is_configured(self, make):
        feed, manager = make(default_mode=LTP)
        await feed.start(manager)
        manager.subscribe_symbols([1])
        assert feed.subscriptions[0] == {1: LTP}

    async def test_the_9001st_is_refused_by_name_and_the_rest_is_there(self, feed, manager):
        manager.subscribe_symbols(range(1, 8001), LTP)
        with pytest.raises(CapacityError) as caught:
            manager.subscribe_symbols(range(7001, 9003), FULL)
        assert caught.value.refused == [9001, 9002]
        assert caught.value.capacity == 9000
        assert [len(wire) for wire in feed.subscriptions] == [3000] * 3
        # also the known ones of the same request, whose mode was to change
        modes = manager.subscriptions()
        assert [modes[number] for number in (7000, 7001, 9000)] == [LTP, FULL, FULL]

    async def test_modes_change_without_reconnecting(self, feed, manager):
        manager.subscribe_symbols([1, 2, 3])
        manager.change_mode([1, 3], FULL)
        assert feed.subscriptions == [{1: FULL}, {2: QUOTE}, {3: FULL}]
        assert manager.get_stats().reconnects == 0

    async def test_the_mode_of_a_stranger_cannot_be_changed(self, feed, manager):
        manager.subscribe_symbols([1])
        with pytest.raises(KeyError, match="9"):
            manager.change_mode([1, 9], FULL)
        assert manager.subscriptions() == {1: QUOTE}

    async def test_unsubscribing_strangers_does_nothing(self, feed, manager):
        manager.unsubscribe_symbols([1, 2])
        assert feed.subscriptions == [{}, {}, {}]

    @pytest.mark.parametrize("wrong", ["408065", 1.0, None, True, 0, -5, 2**32])
    async def test_what_is_no_token_is_refused_at_once(self, feed, manager, wrong):
        with pytest.raises((TypeError, ValueError)):
            manager.subscribe_symbols([1, wrong])
        assert manager.subscriptions() == {}

    async def test_rebalancing_asks_at_the_new_place_first(self, feed, manager):
        manager.subscribe_symbols(range(1, 10), FULL)
        manager.unsubscribe_symbols([2, 3, 5, 6])
        order = []
        for number, socket in enumerate(feed.sockets):
            send = socket.send
            socket.send = lambda text, send=send, number=number: (
                order.append((number, json.loads(text)["a"])), send(text)
            )  # fmt: skip
        moves = manager.rebalance()
        assert moves == {7: 1}
        assert order == [(1, "subscribe"), (1, "mode"), (0, "unsubscribe")]
        assert manager.get_symbol_distribution() == {0: [1, 4], 1: [8, 7], 2: [9]}
        assert manager.subscriptions()[7] is FULL
        assert manager.rebalance() == {}


class TestChannels:
    async def test_each_connection_has_its_own(self, feed, manager):
        manager.subscribe_symbols([token(1), token(2), token(3)])
        for socket in feed.sockets:
            socket.confirm()
        channels = manager.get_all_channels()
        assert list(channels) == [0, 1, 2]
        for number, channel in channels.items():
            message = await channel.get()
            assert isinstance(message, TickMessage)
            assert [tick.instrument_token for tick in message] == [token(number + 1)]

    @pytest.mark.parametrize("wrong", [-1, 3, 99])
    async def test_there_is_no_other(self, feed, manager, wrong):
        with pytest.raises(KeyError):
            manager.get_channel(wrong)
        with pytest.raises(KeyError):
            await manager.reconnect(ChannelId(wrong))

    async def test_drops_are_seen_everywhere(self, make):
        feed, manager = make(channel_size=2)
        await feed.start(manager)
        manager.subscribe_symbols([token(1)])
        for _ in range(5):
            feed.sockets[0].confirm()
        stats = manager.get_stats()
        assert (stats.dropped, stats.dropped_ticks) == (3, 3)
        assert stats.channels[ChannelId(0)].peak == 2
        assert stats.ticks == 5
        assert feed.events[-1].type is EventType.DROPPED
        health = manager.get_health()
        assert health.status is HealthStatus.DEGRADED
        assert "drops messages" in health.reasons[0]

    async def test_block_holds_only_its_own_socket(self, make):
        feed, manager = make(channel_size=1, channel_policy=ChannelPolicy.BLOCK)
        await feed.start(manager)
        manager.subscribe_symbols([token(1), token(2)])
        feed.sockets[0].confirm()
        assert [socket.paused for socket in feed.sockets] == [True, False, False]
        assert manager.get_stats().connections[ChannelId(0)].paused
        await manager.get_channel(0).get()
        assert not feed.sockets[0].paused

    async def test_handlers_of_ones_own_take_their_place(self, make):
        handlers = {}

        def factory(slot):
            handlers[slot] = RecordingHandler()
            return handlers[slot]

        feed, manager = make(handler_factory=factory)
        await feed.start(manager)
        manager.subscribe_symbols([token(1)])
        feed.sockets[0].confirm()
        assert len(handlers[0].frames) == 1
        assert manager.get_all_channels() == {}
        assert manager.get_stats().channels == {}
        assert manager.get_health().status is HealthStatus.HEALTHY
        with pytest.raises(KeyError):
            manager.get_channel(0)


class TestOrders:
    def order(self, order_id, **data):
        return {"type": "order", "data": {"order_id": order_id, **data}}

    async def test_one_view_without_copies(self, feed, manager):
        for socket in feed.sockets:
            socket.text(self.order("1", filled_quantity=0))
        for socket in feed.sockets:
            socket.text(self.order("1", filled_quantity=5))
            socket.text(self.order("2"))
        await manager.stop()
        seen = [message.order async for message in manager.orders()]
        assert [(order.order_id, order.filled_quantity) for order in seen] == [
            ("1", 0), ("1", 5), ("2", None),
        ]  # fmt: skip
        assert manager.get_stats().order_duplicates == 6

    async def test_the_channels_still_have_every_copy(self, feed, manager):
        for socket in feed.sockets:
            socket.text(self.order("1"))
        for channel in manager.get_all_channels().values():
            assert (await channel.get()).order.order_id == "1"


class TestAccounts:
    async def test_more_api_keys_are_more_connections(self, make):
        feed, manager = make(accounts=[StaticCredentials("key2", "token2", "two")])
        await feed.start(manager)
        assert manager.capacity == 18_000
        assert [key for key, _ in feed.tries] == ["SECRET-K"] * 3 + ["key2"] * 3
        manager.subscribe_symbols(range(1, 9002))
        assert sum(len(wire) for wire in feed.subscriptions) == 9001
        accounts = [stats.account for stats in manager.get_stats().connections.values()]
        assert accounts == ["main"] * 3 + ["two"] * 3

    async def test_accounts_alone(self):
        manager = KiteTickerManager(
            accounts=[StaticCredentials("k1", "t", "a"), StaticCredentials("k2", "t", "b")],
            root="ws://feed",
        )
        assert manager.capacity == 18_000

    async def test_one_may_be_added_while_running(self, feed, manager):
        manager.subscribe_symbols([1, 2, 3])
        added = manager.add_account(StaticCredentials("key2", "token2", "two"))
        assert added == [3, 4, 5]
        await settle()
        assert len(feed.sockets) == 6
        manager.subscribe_symbols([4])
        assert manager.get_symbol_distribution()[ChannelId(3)] == [4]
        assert manager.get_channel(5).stats.received == 0

    async def test_two_of_one_name_are_refused(self, feed, manager):
        with pytest.raises(ValueError, match="main"):
            manager.add_account(StaticCredentials("key2", "token2"))

    async def test_a_new_token_starts_the_connections_that_wait(self, make):
        feed, manager = make(*[TokenRejectedError(403)] * 3)
        await feed.start(manager)
        states = {stats.state for stats in manager.get_stats().connections.values()}
        assert states == {ConnectionState.WAITING_FOR_TOKEN}
        manager.set_access_token("new")
        await settle()
        assert manager.get_stats().connected == 3
        assert feed.tries[-1] == ("SECRET-K", "new")

    async def test_with_several_accounts_the_token_needs_a_name(self, make, tmp_path):
        _feed, manager = make(
            accounts=[
                StaticCredentials("key2", "token2", "two"),
                FileCredentials("key3", tmp_path / "token", "three"),
            ]
        )
        with pytest.raises(KeyError, match="name one"):
            manager.set_access_token("new")
        with pytest.raises(KeyError, match="four"):
            manager.set_access_token("new", "four")
        with pytest.raises(TypeError, match="three"):
            manager.set_access_token("new", "three")
        manager.set_access_token("new", "two")


class TestHealth:
    async def test_a_connection_that_waits_degrades_it(self, make):
        feed, manager = make(TokenRejectedError(403))
        await feed.start(manager)
        health = manager.get_health()
        assert health.status is HealthStatus.DEGRADED
        assert (health.connected, health.connections) == (2, 3)
        assert health.reasons[0].startswith("connection 0: waiting for token")

    async def test_a_stall_counts_in_market_hours(self, make):
        # the fake clock stands at 09:30 of a Monday in India
        feed, manager = make(stall_threshold_seconds=5, max_connections=1)
        await feed.start(manager)
        manager.subscribe_symbols([token(1)])
        for _ in range(8):
            feed.sockets[0].heartbeat()
            await feed.clock.advance(1)
        assert "no ticks" in manager.get_health().reasons[0]

    async def test_edges_are_logged_once(self, make):
        feed, manager = make(health_check_interval_seconds=5)
        await feed.start(manager)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await advance_alive(feed, 5)
            for socket in feed.sockets:
                socket.drop()
            feed.never = True
            await feed.clock.advance(20)
        lines = [entry for entry in logs if entry["event"] == "health_changed"]
        assert [entry["status"] for entry in lines] == ["critical"]
        assert len(lines[0]["reasons"]) == 3


class TestReconnecting:
    async def test_one_connection_alone(self, feed, manager):
        manager.subscribe_symbols([1, 2, 3], FULL)
        await manager.reconnect(ChannelId(1))
        await settle()
        assert [socket.closed for socket in feed.sockets] == [False, True, False, False]
        assert feed.subscriptions[3] == {2: FULL}
        assert manager.get_stats().reconnects == 1

    async def test_the_gap_is_an_event(self, feed, manager):
        await advance_alive(feed, 10)
        feed.sockets[2].drop()
        await feed.clock.advance(1)
        (gap,) = [event for event in feed.events if event.type is EventType.GAP]
        assert gap.slot == 2


async def advance_alive(feed, seconds):
    for _ in range(seconds):
        for socket in feed.sockets:
            socket.heartbeat()
        await feed.clock.advance(1)


async def test_a_mode_that_is_none_changes_nothing(feed, manager):
    with pytest.raises(ValueError, match="FULL"):
        manager.subscribe_symbols([token(1)], "FULL")
    assert "instruments=0/" in repr(manager)
    manager.subscribe_symbols([token(1)])
    assert manager.subscriptions() == {token(1): QUOTE}


async def test_a_stop_that_is_cancelled_ends_all_streams(feed, manager):
    for socket in feed.sockets:
        socket.may_close.clear()
    orders = asyncio.create_task(anext(manager.orders(), None))
    stopping = asyncio.create_task(manager.stop())
    await settle()
    stopping.cancel()
    await settle()
    assert all(channel.closed for channel in manager.get_all_channels().values())
    assert await orders is None


def test_one_whose_event_loop_has_ended_cannot_be_started():
    manager = FakeFeed().manager()
    asyncio.run(manager.start())

    async def again():
        assert [message async for message in manager.get_channel(0)] == []
        async with manager:
            pass

    with pytest.raises(ConnectionClosedError, match="event loop"):
        asyncio.run(again())
