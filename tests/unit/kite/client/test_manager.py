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
    KiteManagerConfig,
    KiteTickerManager,
    Mode,
    StaticCredentials,
    TickMessage,
    TokenRejectedError,
)
from tests.support.clock import FakeClock, settle
from tests.support.feed_socket import FakeFeed, RecordingHandler

FULL, QUOTE, LTP = Mode.FULL, Mode.QUOTE, Mode.LTP


def token(number):
    """A token of the NSE."""
    return number << 8 | 1


class Kit:
    def __init__(self, *answers, accounts=(), handler_factory=None, **config):
        self.clock = FakeClock()
        self.feed = FakeFeed(*answers)
        self.events = []
        self.manager = KiteTickerManager(
            "SECRET-K", "SECRET-T", KiteManagerConfig(**config), accounts=accounts,
            root="ws://feed", handler_factory=handler_factory, on_event=self.events.append,
            clock=self.clock, random=lambda: 0.5, opener=self.feed,
        )  # fmt: skip

    async def open(self):
        await self.manager.start()
        await settle()
        return self.manager

    @property
    def on_the_wire(self):
        """What the feed has, by socket in the order in which they were opened."""
        return [socket.subscriptions for socket in self.feed.sockets]


@pytest.fixture
async def make():
    kits = []

    def make(*answers, **options):
        kits.append(Kit(*answers, **options))
        return kits[-1]

    yield make
    for kit in kits:
        await kit.manager.stop()


@pytest.fixture
async def kit(make):
    kit = make()
    await kit.open()
    return kit


class TestLife:
    async def test_three_connections_open_and_close(self, make):
        kit = make()
        async with kit.manager as manager:
            await settle()
            assert len(kit.feed.sockets) == 3
            assert await manager.wait_connected()
            assert manager.get_stats().connected == 3
        assert all(socket.closed for socket in kit.feed.sockets)
        assert kit.clock.pending == []
        with pytest.raises(ConnectionClosedError):
            await manager.start()
        with pytest.raises(ConnectionClosedError):
            manager.subscribe_symbols([257])
        with pytest.raises(ConnectionClosedError):
            manager.add_account(StaticCredentials("k", "t", "second"))
        manager.unsubscribe_symbols([257])

    async def test_starting_twice_is_starting_once(self, kit):
        await kit.manager.start()
        await settle()
        assert len(kit.feed.sockets) == 3

    async def test_fewer_connections(self, make):
        kit = make(max_connections=1)
        manager = await kit.open()
        assert (len(kit.feed.sockets), manager.capacity) == (1, 3000)

    async def test_a_connection_that_fails_leaves_the_others(self, make):
        kit = make(FeedUnreachableError("ws://feed", "refused"))
        manager = await kit.open()
        assert not await manager.wait_connected()
        assert manager.get_stats().connected == 2

    async def test_without_an_api_key_there_is_nothing_to_manage(self):
        with pytest.raises(ValueError, match="api_key"):
            KiteTickerManager()

    async def test_channels_end_but_what_is_queued_can_be_read(self, kit):
        kit.feed.sockets[1].text({"type": "error", "data": "no"})
        await kit.manager.stop()
        messages = [message async for message in kit.manager.get_channel(1)]
        assert [message.text for message in messages[:1]] == ["no"]

    async def test_repr_shows_no_secret(self, kit):
        kit.manager.subscribe_symbols([1])
        assert repr(kit.manager) == "KiteTickerManager(connections=3, instruments=1/9000)"
        assert "SECRET" not in repr(vars(kit.manager))


class TestSubscribing:
    async def test_instruments_are_spread_evenly(self, kit):
        kit.manager.subscribe_symbols(range(1, 8), FULL)
        assert kit.on_the_wire == [
            {1: FULL, 4: FULL, 7: FULL}, {2: FULL, 5: FULL}, {3: FULL, 6: FULL},
        ]  # fmt: skip
        assert kit.manager.get_symbol_distribution() == {0: [1, 4, 7], 1: [2, 5], 2: [3, 6]}

    async def test_before_the_start_it_is_kept(self, make):
        kit = make()
        kit.manager.subscribe_symbols([1, 2])
        await kit.open()
        assert kit.on_the_wire == [{1: QUOTE}, {2: QUOTE}, {}]

    async def test_those_that_are_there_stay_where_they_are(self, kit):
        kit.manager.subscribe_symbols([1, 2, 3, 4, 5, 6])
        kit.manager.unsubscribe_symbols([1, 4])
        kit.manager.subscribe_symbols([7, 2, 8], FULL)
        assert kit.manager.get_symbol_distribution() == {0: [7, 8], 1: [2, 5], 2: [3, 6]}
        assert kit.manager.subscriptions()[2] is FULL
        assert kit.manager.subscriptions()[5] is QUOTE

    async def test_without_a_mode_the_known_keep_theirs(self, kit):
        kit.manager.subscribe_symbols([1], FULL)
        kit.manager.subscribe_symbols([1, 2])
        assert kit.manager.subscriptions() == {1: FULL, 2: QUOTE}

    async def test_the_default_mode_is_configured(self, make):
        kit = make(default_mode=LTP)
        manager = await kit.open()
        manager.subscribe_symbols([1])
        assert kit.on_the_wire[0] == {1: LTP}

    async def test_the_9001st_is_refused_by_name_and_the_rest_is_there(self, kit):
        kit.manager.subscribe_symbols(range(1, 8001), LTP)
        with pytest.raises(CapacityError) as caught:
            kit.manager.subscribe_symbols(range(7001, 9003), FULL)
        assert caught.value.refused == [9001, 9002]
        assert caught.value.capacity == 9000
        assert [len(wire) for wire in kit.on_the_wire] == [3000] * 3
        # also the known ones of the same request, whose mode was to change
        modes = kit.manager.subscriptions()
        assert [modes[number] for number in (7000, 7001, 9000)] == [LTP, FULL, FULL]

    async def test_modes_change_without_reconnecting(self, kit):
        kit.manager.subscribe_symbols([1, 2, 3])
        kit.manager.change_mode([1, 3], FULL)
        assert kit.on_the_wire == [{1: FULL}, {2: QUOTE}, {3: FULL}]
        assert kit.manager.get_stats().reconnects == 0

    async def test_the_mode_of_a_stranger_cannot_be_changed(self, kit):
        kit.manager.subscribe_symbols([1])
        with pytest.raises(KeyError, match="9"):
            kit.manager.change_mode([1, 9], FULL)
        assert kit.manager.subscriptions() == {1: QUOTE}

    async def test_unsubscribing_strangers_does_nothing(self, kit):
        kit.manager.unsubscribe_symbols([1, 2])
        assert kit.on_the_wire == [{}, {}, {}]

    @pytest.mark.parametrize("wrong", ["408065", 1.0, None, True, 0, -5, 2**32])
    async def test_what_is_no_token_is_refused_at_once(self, kit, wrong):
        with pytest.raises((TypeError, ValueError)):
            kit.manager.subscribe_symbols([1, wrong])
        assert kit.manager.subscriptions() == {}

    async def test_rebalancing_asks_at_the_new_place_first(self, kit):
        kit.manager.subscribe_symbols(range(1, 10), FULL)
        kit.manager.unsubscribe_symbols([2, 3, 5, 6])
        order = []
        for number, socket in enumerate(kit.feed.sockets):
            send = socket.send
            socket.send = lambda text, send=send, number=number: (
                order.append((number, json.loads(text)["a"])), send(text)
            )  # fmt: skip
        moves = kit.manager.rebalance()
        assert moves == {7: 1}
        assert order == [(1, "subscribe"), (1, "mode"), (0, "unsubscribe")]
        assert kit.manager.get_symbol_distribution() == {0: [1, 4], 1: [8, 7], 2: [9]}
        assert kit.manager.subscriptions()[7] is FULL
        assert kit.manager.rebalance() == {}


class TestChannels:
    async def test_each_connection_has_its_own(self, kit):
        kit.manager.subscribe_symbols([token(1), token(2), token(3)])
        for socket in kit.feed.sockets:
            socket.confirm()
        channels = kit.manager.get_all_channels()
        assert list(channels) == [0, 1, 2]
        for number, channel in channels.items():
            message = await channel.get()
            assert isinstance(message, TickMessage)
            assert [tick.instrument_token for tick in message] == [token(number + 1)]

    @pytest.mark.parametrize("wrong", [-1, 3, 99])
    async def test_there_is_no_other(self, kit, wrong):
        with pytest.raises(KeyError):
            kit.manager.get_channel(wrong)
        with pytest.raises(KeyError):
            await kit.manager.reconnect(ChannelId(wrong))

    async def test_drops_are_seen_everywhere(self, make):
        kit = make(channel_size=2)
        manager = await kit.open()
        manager.subscribe_symbols([token(1)])
        for _ in range(5):
            kit.feed.sockets[0].confirm()
        stats = manager.get_stats()
        assert (stats.dropped, stats.dropped_ticks) == (3, 3)
        assert stats.channels[ChannelId(0)].peak == 2
        assert stats.ticks == 5
        assert kit.events[-1].type is EventType.DROPPED
        health = manager.get_health()
        assert health.status is HealthStatus.DEGRADED
        assert "drops messages" in health.reasons[0]

    async def test_block_holds_only_its_own_socket(self, make):
        kit = make(channel_size=1, channel_policy=ChannelPolicy.BLOCK)
        manager = await kit.open()
        manager.subscribe_symbols([token(1), token(2)])
        kit.feed.sockets[0].confirm()
        assert [socket.paused for socket in kit.feed.sockets] == [True, False, False]
        assert manager.get_stats().connections[ChannelId(0)].paused
        await manager.get_channel(0).get()
        assert not kit.feed.sockets[0].paused

    async def test_handlers_of_ones_own_take_their_place(self, make):
        handlers = {}

        def factory(slot):
            handlers[slot] = RecordingHandler()
            return handlers[slot]

        kit = make(handler_factory=factory)
        manager = await kit.open()
        manager.subscribe_symbols([token(1)])
        kit.feed.sockets[0].confirm()
        assert len(handlers[0].frames) == 1
        assert manager.get_all_channels() == {}
        assert manager.get_stats().channels == {}
        assert manager.get_health().status is HealthStatus.HEALTHY
        with pytest.raises(KeyError):
            manager.get_channel(0)


class TestOrders:
    def order(self, order_id, **data):
        return {"type": "order", "data": {"order_id": order_id, **data}}

    async def test_one_view_without_copies(self, kit):
        for socket in kit.feed.sockets:
            socket.text(self.order("1", filled_quantity=0))
        for socket in kit.feed.sockets:
            socket.text(self.order("1", filled_quantity=5))
            socket.text(self.order("2"))
        await kit.manager.stop()
        seen = [message.order async for message in kit.manager.orders()]
        assert [(order.order_id, order.filled_quantity) for order in seen] == [
            ("1", 0), ("1", 5), ("2", None),
        ]  # fmt: skip
        assert kit.manager.get_stats().order_duplicates == 6

    async def test_the_channels_still_have_every_copy(self, kit):
        for socket in kit.feed.sockets:
            socket.text(self.order("1"))
        for channel in kit.manager.get_all_channels().values():
            assert (await channel.get()).order.order_id == "1"


class TestAccounts:
    async def test_more_api_keys_are_more_connections(self, make):
        kit = make(accounts=[StaticCredentials("key2", "token2", "two")])
        manager = await kit.open()
        assert manager.capacity == 18_000
        assert [key for key, _ in kit.feed.tries] == ["SECRET-K"] * 3 + ["key2"] * 3
        manager.subscribe_symbols(range(1, 9002))
        assert sum(len(wire) for wire in kit.on_the_wire) == 9001
        accounts = [stats.account for stats in manager.get_stats().connections.values()]
        assert accounts == ["main"] * 3 + ["two"] * 3

    async def test_accounts_alone(self):
        manager = KiteTickerManager(
            accounts=[StaticCredentials("k1", "t", "a"), StaticCredentials("k2", "t", "b")],
            root="ws://feed",
        )
        assert manager.capacity == 18_000

    async def test_one_may_be_added_while_running(self, kit):
        kit.manager.subscribe_symbols([1, 2, 3])
        added = kit.manager.add_account(StaticCredentials("key2", "token2", "two"))
        assert added == [3, 4, 5]
        await settle()
        assert len(kit.feed.sockets) == 6
        kit.manager.subscribe_symbols([4])
        assert kit.manager.get_symbol_distribution()[ChannelId(3)] == [4]
        assert kit.manager.get_channel(5).stats.received == 0

    async def test_two_of_one_name_are_refused(self, kit):
        with pytest.raises(ValueError, match="main"):
            kit.manager.add_account(StaticCredentials("key2", "token2"))

    async def test_a_new_token_starts_the_connections_that_wait(self, make):
        kit = make(*[TokenRejectedError(403)] * 3)
        manager = await kit.open()
        states = {stats.state for stats in manager.get_stats().connections.values()}
        assert states == {ConnectionState.WAITING_FOR_TOKEN}
        manager.set_access_token("new")
        await settle()
        assert manager.get_stats().connected == 3
        assert kit.feed.tries[-1] == ("SECRET-K", "new")

    async def test_with_several_accounts_the_token_needs_a_name(self, make, tmp_path):
        kit = make(
            accounts=[
                StaticCredentials("key2", "token2", "two"),
                FileCredentials("key3", tmp_path / "token", "three"),
            ]
        )
        with pytest.raises(KeyError, match="name one"):
            kit.manager.set_access_token("new")
        with pytest.raises(KeyError, match="four"):
            kit.manager.set_access_token("new", "four")
        with pytest.raises(TypeError, match="three"):
            kit.manager.set_access_token("new", "three")
        kit.manager.set_access_token("new", "two")


class TestHealth:
    async def test_a_connection_that_waits_degrades_it(self, make):
        kit = make(TokenRejectedError(403))
        manager = await kit.open()
        health = manager.get_health()
        assert health.status is HealthStatus.DEGRADED
        assert (health.connected, health.connections) == (2, 3)
        assert health.reasons[0].startswith("connection 0: waiting for token")

    async def test_a_stall_counts_in_market_hours(self, make):
        # the fake clock stands at 09:30 of a Monday in India
        kit = make(stall_threshold=5, max_connections=1)
        manager = await kit.open()
        manager.subscribe_symbols([token(1)])
        for _ in range(8):
            kit.feed.sockets[0].heartbeat()
            await kit.clock.advance(1)
        assert "no ticks" in manager.get_health().reasons[0]

    async def test_edges_are_logged_once(self, make):
        kit = make(health_check_interval=5)
        await kit.open()
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await advance_alive(kit, 5)
            for socket in kit.feed.sockets:
                socket.drop()
            kit.feed.never = True
            await kit.clock.advance(20)
        lines = [entry for entry in logs if entry["event"] == "health"]
        assert [entry["status"] for entry in lines] == ["critical"]
        assert len(lines[0]["reasons"]) == 3


class TestReconnecting:
    async def test_one_connection_alone(self, kit):
        kit.manager.subscribe_symbols([1, 2, 3], FULL)
        await kit.manager.reconnect(ChannelId(1))
        await settle()
        assert [socket.closed for socket in kit.feed.sockets] == [False, True, False, False]
        assert kit.on_the_wire[3] == {2: FULL}
        assert kit.manager.get_stats().reconnects == 1

    async def test_the_gap_is_an_event(self, kit):
        await advance_alive(kit, 10)
        kit.feed.sockets[2].drop()
        await kit.clock.advance(1)
        (gap,) = [event for event in kit.events if event.type is EventType.GAP]
        assert gap.slot == 2


async def advance_alive(kit, seconds):
    for _ in range(seconds):
        for socket in kit.feed.sockets:
            socket.heartbeat()
        await kit.clock.advance(1)
