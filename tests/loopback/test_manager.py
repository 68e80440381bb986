"""The manager against the simulated feed, over real sockets."""

import asyncio
import contextlib

import pytest

from connector import (
    CapacityError,
    ChannelId,
    ChannelPolicy,
    HealthStatus,
    KiteManagerConfig,
    KiteTickerManager,
    Mode,
    StaticCredentials,
    TickMessage,
)
from connector.simulator import (
    FaultKind,
    FaultSpec,
    SimulatedAccount,
    SimulatorConfig,
    SimulatorServer,
)
from connector.simulator.wire import encode_frame, quote_packet
from connector.testing import until

KEY, TOKEN = "simulated_key", "simulated_token"
STEPPED = SimulatorConfig(stepped=True, instruments=12_000, connect_messages=False)


def quick(**changes):
    return KiteManagerConfig(
        reconnect_min_delay_seconds=0.01,
        reconnect_max_delay_seconds=0.05,
        slot_wait_seconds=0.02,
        **changes,
    )


@contextlib.asynccontextmanager
async def feed_and_manager(feed=STEPPED, config=None, **options):
    async with SimulatorServer(feed) as server:
        options.setdefault("root", server.ws_url)
        async with KiteTickerManager(KEY, TOKEN, config or quick(), **options) as manager:
            assert await manager.wait_connected()
            yield server, manager


@pytest.fixture(autouse=True)
async def in_time():
    async with asyncio.timeout(60):
        yield


def tokens_of(server, count):
    return list(server.universe.by_token)[:count]


async def test_9000_instruments_in_full_mode_survive_the_loss_of_all_sockets():
    async with feed_and_manager() as (server, manager):
        tokens = tokens_of(server, 9001)
        with pytest.raises(CapacityError) as caught:
            manager.subscribe_symbols(tokens, Mode.FULL)
        assert caught.value.refused == tokens[9000:]
        wanted = dict.fromkeys(tokens[:9000], "full")
        await server.until(lambda: server.subscriptions() == wanted)
        assert [len(socket.subscriptions) for socket in server.sockets] == [3000] * 3

        distribution = manager.get_symbol_distribution()
        await server.inject(FaultSpec(kind=FaultKind.ABORT))
        await server.until(lambda: not server.subscriptions())
        await server.until(lambda: server.subscriptions() == wanted)
        await until(lambda: manager.get_stats().connected == 3)
        assert manager.get_symbol_distribution() == distribution
        assert manager.get_stats().reconnects == 3
        assert server.max_open_sockets() == 3


async def test_subscriptions_change_at_run_time_on_the_same_sockets():
    async with feed_and_manager() as (server, manager):
        tokens = tokens_of(server, 6)
        manager.subscribe_symbols(tokens[:4], Mode.LTP)
        manager.subscribe_symbols(tokens[4:])
        manager.change_mode(tokens[:2], Mode.FULL)
        manager.unsubscribe_symbols([tokens[5]])
        wanted = dict(zip(tokens, ["full", "full", "ltp", "ltp", "quote"], strict=False))
        await server.until(lambda: server.subscriptions() == wanted)
        assert manager.get_stats().reconnects == 0


async def test_each_channel_has_its_connections_ticks_and_none_is_lost():
    async with feed_and_manager(config=quick(channel_size=1_000)) as (server, manager):
        tokens = tokens_of(server, 30)
        manager.subscribe_symbols(tokens)
        await server.until(lambda: len(server.subscriptions()) == 30)
        await server.step(3_000)
        sent = {socket.number: socket.packets for socket in server.sockets}
        got = {}
        for channel_id, channel in manager.get_all_channels().items():
            mine = set(manager.get_symbol_distribution()[channel_id])
            got[channel_id] = 0
            while got[channel_id] < 1_010:  # snapshots and updates
                message = await channel.get()
                assert isinstance(message, TickMessage)
                assert {tick.instrument_token for tick in message} <= mine
                got[channel_id] += len(message)
        assert sorted(got.values()) == sorted(sent.values())
        assert manager.get_stats().dropped == 0
        assert manager.get_stats().confirmed == 30
        assert manager.get_health().status is HealthStatus.HEALTHY


@pytest.mark.parametrize("policy", ChannelPolicy)
async def test_a_reader_that_is_too_slow(policy):
    config = quick(channel_size=100, channel_policy=policy, max_connections=1)
    async with feed_and_manager(config=config) as (server, manager):
        channel = manager.get_channel(ChannelId(0))
        frames = 20_000
        for number in range(1, frames + 1):
            await server.send_frame(encode_frame([quote_packet(256 * number + 1, number)]))
        if policy is not ChannelPolicy.BLOCK:
            await until(lambda: channel.stats.received == frames)
            stats = channel.stats
            assert (stats.queued, stats.dropped, stats.peak) == (100, frames - 100, 100)
            assert manager.get_stats().dropped_ticks == frames - 100
            message = await channel.get()
            first = 1 if policy is ChannelPolicy.DROP_NEWEST else frames - 99
            assert message.ticks[0].instrument_token == 256 * first + 1
            return
        await until(lambda: channel.stats.blocked)
        prices = [(await channel.get()).ticks[0].instrument_token >> 8 for _ in range(frames)]
        assert prices == list(range(1, frames + 1))
        stats = channel.stats
        assert (stats.dropped, stats.queued, stats.blocked) == (0, 0, False)
        assert stats.peak == 100


async def test_orders_come_once_although_every_socket_brings_them():
    async with feed_and_manager() as (server, manager):
        for number in range(5):
            assert await server.post_order({"order_id": str(number), "status": "OPEN"}) == 3
        orders = manager.orders()
        seen = [(await anext(orders)).order.order_id for _ in range(5)]
        assert seen == ["0", "1", "2", "3", "4"]
        await until(lambda: manager.get_stats().order_duplicates == 10)


async def test_two_api_keys_side_by_side():
    second = SimulatedAccount(api_key="second", access_token="token2", user_id="SIM002")
    feed = STEPPED.model_copy(update={"accounts": (SimulatedAccount(), second)})
    accounts = [StaticCredentials("second", "token2", "second")]
    async with feed_and_manager(feed, accounts=accounts) as (server, manager):
        tokens = tokens_of(server, 9_600)
        manager.subscribe_symbols(tokens, Mode.LTP)
        await server.until(lambda: len(server.subscriptions()) == 9_600)
        assert [server.open_sockets(key) for key in (KEY, "second")] == [3, 3]
        assert {len(socket.subscriptions) for socket in server.sockets} == {1600}


async def test_a_restart_waits_until_the_feed_has_freed_its_connections():
    feed = STEPPED.model_copy(update={"slot_release_seconds": 0.3})
    async with SimulatorServer(feed) as server:
        for _ in range(2):
            async with KiteTickerManager(KEY, TOKEN, quick(), root=server.ws_url) as manager:
                await until(lambda manager=manager: manager.get_stats().connected == 3)
        assert server.max_open_sockets() == 3
