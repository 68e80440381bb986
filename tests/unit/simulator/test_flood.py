from collections import Counter

import pytest

from connector.kite.wire.packets import parse_frame
from connector.simulator.flood import flood
from tests.support.simulated import attached_feed, messages


@pytest.fixture
def feed():
    feed = attached_feed(3)
    feed.request(feed.sockets[0], '{"a":"subscribe","v":[408065,738561,256265]}')
    feed.request(feed.sockets[1], '{"a":"subscribe","v":[408065]}')
    feed.request(feed.sockets[1], '{"a":"mode","v":["full",[408065]]}')
    for socket in feed.sockets.values():
        messages(socket)
        socket.packets = socket.frames = socket.bytes = 0
    return feed


@pytest.mark.parametrize("packets", [1, 999, 1000, 12_345])
@pytest.mark.parametrize("packets_per_frame", [1, 7])
async def test_exactly_so_many_packets(feed, packets, packets_per_frame):
    results = await flood(feed, packets=packets, packets_per_frame=packets_per_frame)
    assert set(results) == {0, 1}, "the third subscribes to nothing"
    for number, result in results.items():
        socket = feed.sockets[number]
        frames = messages(socket)
        ticks = [tick for frame in frames for tick in parse_frame(frame)]
        assert result.packets == socket.packets == len(ticks) == packets
        assert result.frames == socket.frames == len(frames)
        assert all(int.from_bytes(frame[:2], "big") <= packets_per_frame for frame in frames)
        counts = Counter(tick.instrument_token for tick in ticks)
        assert set(counts) <= set(socket.subscriptions)
        assert {tick.mode.value for tick in ticks} == {"full" if number else "quote"}


async def test_a_flood_for_a_time(feed):
    now = iter(range(1000))
    results = await flood(feed, seconds=10, sockets=[0], monotonic=lambda: next(now))
    assert results[0].packets == feed.sockets[0].packets > 0
    assert results[0].seconds >= 10
    assert feed.sockets[0].connection.drains > 0


async def test_a_socket_that_cannot_be_sent_to_is_left_out(feed):
    feed.sockets[0].muted = True
    feed.sockets[1].connection.tap.silent = True
    assert await flood(feed, packets=10) == {}


async def test_a_flood_needs_a_bound(feed):
    with pytest.raises(ValueError, match="bound"):
        await flood(feed)
