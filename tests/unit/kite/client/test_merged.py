"""One stream of all connections, and what accounts, raw frames and batches are to a manager."""

import asyncio

import pytest

from connector import (
    CapacityError,
    ChannelId,
    ChannelPolicy,
    ConnectionClosedError,
    FrameMessage,
    HealthStatus,
    Mode,
    StaticCredentials,
    TickMessage,
)
from connector.kite.feed.wait import cancelled
from connector.testing import FakeFeed, settle
from connector.testing.fake_feed import packet

TWO = StaticCredentials("key2", "token2", "two")


@pytest.fixture
async def feed():
    return FakeFeed()


@pytest.fixture
async def manager(feed):
    manager = feed.manager(accounts=[TWO], max_connections=1, max_symbols_per_connection=3)
    await feed.start(manager)
    yield manager
    await manager.stop()


def deliver(feed, number, token):
    feed.sockets[number].deliver(packet(token, Mode.LTP))


def shown(tagged):
    return tagged.account, tagged.channel_id, tagged.message.ticks[0].instrument_token


async def test_messages_are_tagged_and_connections_take_turns(feed, manager):
    for token in (257, 513):
        deliver(feed, 0, token)
    deliver(feed, 1, 769)
    merged = manager.get_merged_channel()
    assert [shown(await merged.get()) for _ in range(3)] == [
        ("main", 0, 257), ("two", 1, 769), ("main", 0, 513),
    ]  # fmt: skip
    assert merged.get_nowait() is None
    assert [stats.delivered for stats in manager.get_stats().channels.values()] == [2, 1]


async def test_it_waits_for_whichever_comes_first(feed, manager):
    merged = manager.get_merged_channel()
    for number, account in ((1, "two"), (0, "main")):
        waiting = asyncio.create_task(merged.get())
        await settle()
        deliver(feed, number, 257)
        assert (await waiting).account == account


async def test_an_account_that_is_added_meanwhile_is_heard(feed, manager):
    merged = manager.get_merged_channel()
    waiting = asyncio.create_task(merged.get())
    await settle()
    assert manager.add_account(StaticCredentials("key3", "t", "three")) == [2]
    await settle()
    deliver(feed, 2, 257)
    assert shown(await waiting) == ("three", 2, 257)


async def test_a_wait_that_is_cancelled_takes_nothing_with_it(feed, manager):
    merged = manager.get_merged_channel()
    waiting = asyncio.create_task(merged.get())
    await settle()
    await cancelled(waiting)
    deliver(feed, 0, 257)
    assert shown(await merged.get()) == ("main", 0, 257)


async def test_a_batch_is_what_waits_and_no_more_than_asked_for(feed, manager):
    for token in (257, 513, 769):
        deliver(feed, 0, token)
    merged = manager.get_merged_channel()
    assert len(await merged.get_batch(2)) == 2
    assert len(await merged.get_batch()) == 1


async def test_it_ends_with_the_manager_once_all_is_read(feed, manager):
    deliver(feed, 0, 257)
    await manager.stop()
    merged = manager.get_merged_channel()
    ticks = [tagged async for tagged in merged if isinstance(tagged.message, TickMessage)]
    assert [shown(tagged) for tagged in ticks] == [("main", 0, 257)]
    with pytest.raises(ConnectionClosedError):
        await merged.get_batch()


async def test_an_account_may_be_named_for_new_instruments(manager):
    manager.subscribe_symbols([1, 2], account="two")
    manager.subscribe_symbols([2, 3], account="main")
    assert manager.get_symbol_distribution() == {ChannelId(0): [3], ChannelId(1): [1, 2]}
    with pytest.raises(CapacityError) as error:
        manager.subscribe_symbols([4, 5], account="two")
    assert (error.value.refused, error.value.capacity) == ([5], 3)
    with pytest.raises(KeyError, match="there are main, two"):
        manager.subscribe_symbols([6], account="three")
    assert manager.get_accounts() == {"main": [0], "two": [1]}


async def test_stats_and_health_tell_of_each_account(feed, manager):
    manager.subscribe_symbols([257], account="two")
    deliver(feed, 1, 257)
    stats = manager.get_stats().accounts
    assert stats["two"].ticks == stats["two"].frames == stats["two"].desired == 1
    assert (stats["main"].ticks, stats["main"].capacity) == (0, 3)
    assert stats["main"].channel_ids == (0,)
    feed.sockets[0].drop()
    await settle()
    health = manager.get_health()
    assert health.unhealthy_connections == (0,)
    assert health.accounts == {"main": 0.0, "two": 100.0}
    assert health.status is HealthStatus.DEGRADED
    assert manager.get_stats().accounts["main"].connected == 0


async def test_raw_frames_come_beside_the_ticks_from_the_first_call_on(feed, manager):
    deliver(feed, 0, 257)
    raw = manager.get_raw_channel(0)
    assert raw is manager.get_raw_channel(0)
    deliver(feed, 0, 513)
    assert [len(message) for message in await manager.get_channel(0).get_batch()] == [1, 1]
    (frame,) = await raw.get_batch()
    assert isinstance(frame, FrameMessage)
    assert frame.data.endswith(packet(513, Mode.LTP))
    await manager.stop()
    with pytest.raises(ConnectionClosedError):
        await raw.get()
    with pytest.raises(KeyError):
        manager.get_raw_channel(9)


async def test_a_socket_is_read_again_when_neither_of_its_channels_is_full(feed):
    manager = feed.manager(max_connections=1, channel_size=2, channel_policy=ChannelPolicy.BLOCK)
    raw = manager.get_raw_channel(0)
    await feed.start(manager)
    deliver(feed, 0, 257)
    deliver(feed, 0, 513)
    assert feed.socket.paused
    await manager.get_channel(0).get_batch()
    assert feed.socket.paused
    await raw.get_batch()
    assert not feed.socket.paused
    await manager.stop()


async def test_a_raw_manager_parses_nothing():
    from connector.kite.client.manager import KiteTickerManager
    from connector.kite.client.outside import Surroundings, made_with

    feed = FakeFeed()
    manager = made_with(
        Surroundings(feed.clock, lambda: 0.5, feed), KiteTickerManager, "k", "t", raw=True
    )
    await feed.start(manager)
    deliver(feed, 0, 257)
    assert isinstance(await manager.get_channel(0).get(), FrameMessage)
    assert manager.get_stats().ticks == 0
    await manager.stop()


async def test_subscribers_of_frames_and_of_ticks_stand_beside_each_other():
    feed = FakeFeed()
    async with feed.ticker() as ticker:
        ticks, frames = ticker.subscribe([257]), ticker.subscribe(raw=True)
        feed.socket.deliver(packet(257, Mode.LTP), packet(513, Mode.LTP))
        message = await ticks.next_ticks()
        assert [tick.instrument_token for tick in message] == [257]
        frame = await frames.next_frame()
        assert len(frame.data) == 2 + 2 * (2 + 8)
        assert frames.stats.received == ticks.stats.received == 1
    assert await ticks.next_batch() == []


async def test_several_readers_share_the_messages_and_all_see_the_end(feed, manager):
    async def read():
        return [shown(tagged) async for tagged in manager.get_merged_channel()]

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await settle()
    for token in (257, 513, 769):
        deliver(feed, 0, token)
        await settle()
    manager.get_channel(0).close()
    manager.get_channel(1).close()
    found = await asyncio.gather(*readers)
    assert sorted(token for each in found for _, _, token in each) == [257, 513, 769]


async def test_a_reader_that_is_cancelled_after_it_was_woken_wakes_the_next(feed, manager):
    merged = manager.get_merged_channel()
    first, second = (asyncio.create_task(merged.get()) for _ in range(2))
    await settle()
    deliver(feed, 0, 257)
    first.cancel()
    assert shown(await second) == ("main", 0, 257)
    assert first.cancelled()


async def test_one_closed_channel_among_others_is_passed_over(feed, manager):
    merged = manager.get_merged_channel()
    manager.get_channel(0).close()
    waiting = asyncio.create_task(merged.get())
    await settle()  # it waits: it would look again and again, and nothing else would run
    deliver(feed, 1, 257)
    assert shown(await waiting) == ("two", 1, 257)
