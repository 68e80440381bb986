import asyncio
import json

import pytest

from connector.kite.wire.packets import parse_packets
from connector.simulator import injector as module
from connector.simulator.access import Access, RefusedError
from connector.simulator.config import SimulatedAccount
from connector.simulator.faults import FaultKind, FaultSpec
from connector.simulator.historical import HistoricalApi
from connector.simulator.injector import GARBAGE_TEXTS, UNKNOWN_SEGMENTS, Injector
from tests.support.simulated import attached_feed, messages


@pytest.fixture
def access():
    return Access([SimulatedAccount()], max_sockets=3, release_seconds=0, monotonic=lambda: 0.0)


@pytest.fixture
def feed():
    feed = attached_feed(2)
    feed.request(feed.sockets[0], '{"a":"subscribe","v":[408065]}')
    for socket in feed.sockets.values():
        messages(socket)
    return feed


@pytest.fixture
def injector(feed, access):
    historical = HistoricalApi(feed.market, 3, monotonic=lambda: 0.0)
    return Injector(feed, access, historical)


def spec(kind, **details):
    return FaultSpec(kind=kind, **details)


async def test_silence_mute_and_slow_last_until_cleared(injector, feed):
    first, second = feed.sockets.values()
    for kind in (FaultKind.SILENCE, FaultKind.MUTE, FaultKind.SLOW):
        assert await injector.inject(spec(kind, sockets=(0,))) == 1
    assert (first.connection.tap.silent, first.muted, first.connection.tap.slow) == (True,) * 3
    assert (second.connection.tap.silent, second.muted, second.connection.tap.slow) == (False,) * 3
    injector.clear(FaultKind.MUTE)
    assert (first.muted, first.connection.tap.silent) == (False, True)
    injector.clear()
    assert (first.connection.tap.silent, first.connection.tap.slow) == (False, False)


async def test_a_duration_ends_it_by_itself(injector, feed, monkeypatch):
    ends = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        loop, "call_later", lambda seconds, end: ends.append((seconds, end)) or len(ends)
    )
    await injector.inject(spec(FaultKind.MUTE, seconds=8, sockets=(0,)))
    ((seconds, end),) = ends
    assert (seconds, feed.sockets[0].muted) == (8, True)
    end()
    assert feed.sockets[0].muted is False


async def test_a_half_frame_has_a_good_beginning(injector, feed):
    await injector.inject(spec(FaultKind.HALF_FRAME))
    for socket in feed.sockets.values():  # one has a subscription, the other a stand-in
        (payload,) = messages(socket)
        good, bad = parse_packets(payload)
        assert [tick.instrument_token for tick in good] == [408065, 408065]
        assert bad
        assert socket.packets == (3 if socket.number == 0 else 2)


async def test_unknown_lengths_and_segments_stand_between_good_packets(injector, feed):
    await injector.inject(spec(FaultKind.UNKNOWN_LENGTH, count=2, sockets=(0,)))
    for payload in messages(feed.sockets[0]):
        good, bad = parse_packets(payload)
        assert len(good) == 3
        assert [len(packet) for _, packet in bad] == [12, 492]
    await injector.inject(spec(FaultKind.UNKNOWN_SEGMENT, sockets=(0,)))
    (payload,) = messages(feed.sockets[0])
    good, bad = parse_packets(payload)
    assert len(good) == 2
    assert [packet[3] for _, packet in bad] == list(UNKNOWN_SEGMENTS)


async def test_garbage_and_error_texts(injector, feed):
    await injector.inject(spec(FaultKind.GARBAGE_TEXT, count=len(GARBAGE_TEXTS), sockets=(0,)))
    assert messages(feed.sockets[0]) == list(GARBAGE_TEXTS)
    await injector.inject(spec(FaultKind.ERROR_FRAME, text="bad luck", sockets=(0,)))
    assert list(map(json.loads, messages(feed.sockets[0]))) == [
        {"type": "error", "data": "bad luck"}
    ]


async def test_abort_and_close(injector, feed):
    first, second = feed.sockets.values()
    await injector.inject(spec(FaultKind.ABORT, sockets=(0,)))
    await injector.inject(spec(FaultKind.CLOSE, sockets=(1,), code=1012, text="restart"))
    assert first.connection.transport.calls == ["abort"]
    assert second.connection.closed_with == (1012, "restart")


async def test_handshakes(injector, access):
    assert await injector.inject(spec(FaultKind.REFUSE, status=502, count=2)) == 0
    with pytest.raises(RefusedError) as refused:
        access.admit("simulated_key", "simulated_token")
    assert refused.value.status == 502
    injector.clear()
    access.admit("simulated_key", "simulated_token")
    await injector.inject(spec(FaultKind.EXPIRE_TOKEN))
    with pytest.raises(RefusedError):
        access.admit("simulated_key", "simulated_token")


async def test_faults_come_at_their_times(injector, feed, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    await injector.schedule(
        [spec(FaultKind.ERROR_FRAME, at_seconds=30, every_seconds=10, sockets=(0,))]
    )
    # its time, one pass of the loop after the fault, the distance, …
    assert slept == [30, 0, 10, 0]
    assert len(messages(feed.sockets[0])) == 2


async def test_faults_of_candles_concern_no_socket(injector, feed):
    assert await injector.inject(spec("no_candles")) == 0
    query = {"from": "2026-09-01 10:00:00", "to": "2026-09-01 10:00:59"}
    feed.market.trade(feed.market.quote(408065), 1500.0, 1, 1_788_237_000)
    historical = injector._historical
    asked = [historical.answer("key", "408065", "minute", query)["candles"] for _ in range(2)]
    assert [len(rows) for rows in asked] == [0, 1]
    await injector.inject(spec("no_candles"))
    injector.clear()
    assert historical.answer("key", "408065", "minute", query)["candles"]
