import asyncio

import pytest

from connector import (
    Channel,
    ChannelPolicy,
    ConnectionClosedError,
    ErrorMessage,
    Exchange,
    FrameMessage,
    Mode,
    Tick,
    TickMessage,
)
from connector.testing import settle

DROP_OLDEST, DROP_NEWEST, BLOCK = ChannelPolicy


def ticks(*prices):
    return TickMessage([Tick(1, Mode.LTP, Exchange.NSE, True, price) for price in prices], 0)


def drain(channel):
    found = []
    while (message := channel.get_nowait()) is not None:
        found.append(message)
    return found


def prices(channel):
    return [message.ticks[0].last_price for message in drain(channel)]


def balanced(channel):
    stats = channel.stats
    return stats.received == stats.delivered + stats.queued + stats.dropped


async def test_messages_come_in_order():
    channel = Channel(3)
    for price in (1.0, 2.0):
        assert channel.put(ticks(price)) == 0
    assert (await channel.get()).ticks[0].last_price == 1.0
    assert (await channel.get()).ticks[0].last_price == 2.0
    assert channel.get_nowait() is None


@pytest.mark.parametrize(("policy", "kept"), [(DROP_OLDEST, [3, 4, 5]), (DROP_NEWEST, [1, 2, 3])])
def test_a_full_channel_drops_and_counts(policy, kept):
    channel = Channel(3, policy)
    dropped = [channel.put(ticks(float(price), 0.0)) for price in range(1, 6)]
    assert dropped == [0, 0, 0, 1, 1]
    stats = channel.stats
    assert (stats.dropped, stats.dropped_ticks, stats.peak, stats.queued) == (2, 4, 3, 3)
    assert balanced(channel)
    assert prices(channel) == kept
    assert balanced(channel)


@pytest.mark.parametrize("policy", [DROP_OLDEST, DROP_NEWEST])
def test_ticks_give_way_to_what_nothing_replaces(policy):
    channel = Channel(2, policy)
    channel.put(ErrorMessage("a"))
    channel.put(ticks(1.0))
    channel.put(ErrorMessage("b"))
    assert channel.stats.dropped_ticks == 1
    assert drain(channel) == [ErrorMessage("a"), ErrorMessage("b")]


@pytest.mark.parametrize(("policy", "kept"), [(DROP_OLDEST, "bc"), (DROP_NEWEST, "ab")])
def test_where_there_are_no_ticks_the_policy_decides(policy, kept):
    channel = Channel(2, policy)
    for text in "abc":
        channel.put(ErrorMessage(text))
    assert drain(channel) == [ErrorMessage(text) for text in kept]
    assert (channel.stats.dropped, channel.stats.dropped_ticks) == (1, 0)


@pytest.mark.parametrize("policy", [DROP_OLDEST, DROP_NEWEST])
def test_a_tick_never_displaces_an_order(policy):
    channel = Channel(1, policy)
    channel.put(ErrorMessage("a"))
    channel.put(ticks(1.0, 2.0))
    assert drain(channel) == [ErrorMessage("a")]
    assert (channel.stats.dropped, channel.stats.dropped_ticks) == (1, 2)


def test_a_lost_frame_counts_as_one_tick():
    channel = Channel(1)
    channel.put(FrameMessage(b"abc", 0))
    channel.put(FrameMessage(b"abc", 0))
    assert channel.stats.dropped_ticks == 1


class TestBlock:
    def make(self, capacity):
        channel = Channel(capacity, BLOCK)
        calls = []
        channel.hold_with(lambda: calls.append("pause"), lambda: calls.append("resume"))
        return channel, calls

    def test_a_full_channel_pauses_and_a_half_empty_one_resumes(self):
        channel, calls = self.make(4)
        for price in range(4):
            channel.put(ticks(float(price)))
        assert calls == ["pause"]
        assert channel.stats.blocked
        channel.get_nowait()
        assert calls == ["pause"]
        channel.get_nowait()
        assert calls == ["pause", "resume"]
        assert not channel.stats.blocked

    def test_nothing_is_lost_even_if_more_comes_after_the_pause(self):
        channel, calls = self.make(1)
        for price in range(3):
            channel.put(ticks(float(price)))
        assert calls == ["pause"]
        assert prices(channel) == [0, 1, 2]
        assert channel.stats.dropped == 0
        assert channel.stats.peak == 3
        assert calls == ["pause", "resume"]

    def test_resuming_may_fill_it_again_at_once(self):
        channel = Channel(2, BLOCK)
        held = [ticks(float(price)) for price in range(2, 6)]
        paused = []

        def resume():
            paused.clear()
            while held and not paused:
                channel.put(held.pop(0))

        channel.hold_with(lambda: paused.append(True), resume)
        channel.put(ticks(0.0))
        channel.put(ticks(1.0))
        assert prices(channel) == [0, 1, 2, 3, 4, 5]

    def test_without_a_socket_to_hold_it_still_loses_nothing(self):
        channel = Channel(1, BLOCK)
        channel.put(ticks(1.0))
        channel.put(ticks(2.0))
        assert prices(channel) == [1, 2]


class TestReading:
    async def test_a_reader_waits_for_the_next_message(self):
        channel = Channel(3)
        reader = asyncio.create_task(channel.get())
        await settle()
        assert not reader.done()
        channel.put(ErrorMessage("a"))
        assert await reader == ErrorMessage("a")

    async def test_readers_share_messages(self):
        channel = Channel(9)
        readers = [asyncio.create_task(channel.get()) for _ in range(3)]
        await settle()
        for text in "abc":
            channel.put(ErrorMessage(text))
        assert {message.text for message in await asyncio.gather(*readers)} == set("abc")

    async def test_a_cancelled_reader_takes_nothing_away(self):
        channel = Channel(9)
        first, second = (asyncio.create_task(channel.get()) for _ in range(2))
        await settle()
        channel.put(ErrorMessage("a"))  # wakes the first …
        first.cancel()  # … which goes away before it runs
        assert await second == ErrorMessage("a")
        third = asyncio.create_task(channel.get())
        await settle()
        third.cancel()
        await settle()
        channel.put(ErrorMessage("b"))
        assert await channel.get() == ErrorMessage("b")

    async def test_closing_lets_what_is_queued_be_read(self):
        channel = Channel(3)
        channel.put(ErrorMessage("a"))
        channel.close()
        assert channel.put(ErrorMessage("b")) == 0
        assert [message async for message in channel] == [ErrorMessage("a")]
        with pytest.raises(ConnectionClosedError):
            await channel.get()

    async def test_closing_ends_all_who_wait(self):
        channel = Channel(3)

        async def read():
            return [message async for message in channel]

        readers = [asyncio.create_task(read()) for _ in range(3)]
        await settle()
        channel.close()
        assert await asyncio.gather(*readers) == [[], [], []]

    async def test_as_a_context_it_is_closed_at_the_end(self):
        async with Channel(1) as channel:
            pass
        assert channel.closed


def test_a_channel_holds_something():
    with pytest.raises(ValueError, match="at least one"):
        Channel(0)


def test_repr_shows_the_state_and_no_content():
    channel = Channel(3)
    channel.put(ErrorMessage("SECRET"))
    assert repr(channel) == "Channel(1/3, drop_oldest, 0 lost)"
    assert len(channel) == 1


async def test_a_full_channel_that_is_closed_lets_go_of_the_socket():
    calls = []
    channel = Channel(2, BLOCK)
    channel.hold_with(lambda: calls.append("pause"), lambda: calls.append("resume"))
    channel.put(ticks(1))
    channel.put(ticks(2))
    assert channel.blocked
    channel.close()
    assert not channel.blocked
    assert calls == ["pause", "resume"]
    channel.put(ticks(3))
    channel.close()
    assert calls == ["pause", "resume"]
    assert prices(channel) == [1, 2]
    assert balanced(channel)
