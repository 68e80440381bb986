import pytest

from connector.kite.feed.capture import CaptureReader, CaptureWriter
from connector.kite.wire.models import Mode
from connector.kite.wire.packets import parse_frame
from connector.simulator import replay as module
from connector.simulator import wire
from connector.simulator.replay import CaptureReplay
from tests.support.simulated import attached_feed, messages

QUOTE = wire.quote_packet(408065, 157315)
FULL = wire.full_packet(wire.quote_packet(738561, 141250), exchange_time=1_788_252_000)
INDEX = wire.index_packet(256265, 2480000, exchange_time=1_788_252_000)
FRAMES = [wire.encode_frame([QUOTE, FULL]), wire.encode_frame([INDEX])]


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "feed.cap"
    with CaptureWriter(path, created_us=0) as writer:
        writer.write(1_000_000, 0, FRAMES[0])
        writer.write(2_000_000, 1, FRAMES[1])
        writer.write(3_000_000, 1, '{"type":"message"}')
        writer.write(4_000_000, 7, FRAMES[0])
    return CaptureReader(path)


@pytest.fixture
def feed():
    feed = attached_feed(2)
    feed.source = CaptureReplay()
    return feed


async def test_by_slot_every_frame_is_unchanged(feed, capture):
    result = await feed.source.play(feed, capture, speed=0, route="slot")
    assert messages(feed.sockets[0]) == [FRAMES[0]]
    assert messages(feed.sockets[1]) == [FRAMES[1], '{"type":"message"}']
    assert (result.records, result.frames, result.packets, result.unrouted) == (4, 2, 3, 1)


async def test_by_subscription_each_socket_gets_what_it_asked_for(feed, capture):
    first, second = feed.sockets.values()
    feed.request(first, '{"a":"subscribe","v":[738561]}')
    feed.request(first, '{"a":"mode","v":["full",[738561]]}')
    feed.request(second, '{"a":"subscribe","v":[408065,738561,256265]}')
    feed.request(second, '{"a":"mode","v":["ltp",[738561]]}')
    feed.request(second, '{"a":"mode","v":["full",[408065]]}')
    assert messages(first) == [], "nothing was played yet, so there is no snapshot"
    result = await feed.source.play(feed, capture, speed=0)
    (tick,) = [tick for frame in messages(first)[:1] for tick in parse_frame(frame)]
    assert (tick.instrument_token, tick.mode) == (738561, Mode.FULL)
    frames = [frame for frame in messages(second) if isinstance(frame, bytes)]
    assert [
        (tick.instrument_token, tick.mode) for frame in frames for tick in parse_frame(frame)
    ] == [
        (408065, Mode.QUOTE),  # full was not recorded, and is not made up
        (738561, Mode.LTP),
        (256265, Mode.QUOTE),
        (408065, Mode.QUOTE),
        (738561, Mode.LTP),
    ]
    assert result.unrouted == 0


async def test_snapshots_are_what_was_played_last(feed, capture):
    await feed.source.play(feed, capture, speed=0)
    feed.request(feed.sockets[0], '{"a":"subscribe","v":[738561,4711]}')
    *_, snapshot = messages(feed.sockets[0])
    assert snapshot == wire.encode_frame([FULL[:44]])


async def test_the_recorded_speed(feed, capture, monkeypatch):
    now, slept = [10.0], []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    await feed.source.play(feed, capture, speed=4, monotonic=lambda: now[0])
    assert [seconds for seconds in slept if seconds] == [0.25, 0.25, 0.25]
