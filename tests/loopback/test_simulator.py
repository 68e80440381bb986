"""The simulator as its users see it: over its own ports."""

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed

from connector.kite.feed.capture import CaptureWriter
from connector.kite.wire.models import Mode
from connector.kite.wire.packets import parse_frame
from connector.simulator import (
    FaultKind,
    FaultSpec,
    SimulatorConfig,
    SimulatorServer,
    run_simulator,
)
from connector.simulator.wire import encode_frame, quote_packet
from tests.support.feed_client import ask, client, receive

STEPPED = SimulatorConfig(stepped=True, instruments=50, connect_messages=False, sent_log_frames=100)
INFY, RELIANCE, NIFTY = 408065, 738561, 256265


def ticks(*frames):
    return [tick for frame in frames for tick in parse_frame(frame)]


async def test_steps_send_exactly_what_the_server_says():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY, NIFTY])
        await ask(ws, "mode", ["full", [INFY]])
        await server.until(lambda: len(server.requests) == 2)
        assert await server.step(5) == [INFY, NIFTY, INFY, NIFTY, INFY]
        (socket,) = server.sockets
        frames = await receive(ws, socket.frames)
        assert frames == list(socket.sent)
        assert len(ticks(*frames)) == socket.packets == 7
        assert server.subscriptions() == {INFY: "full", NIFTY: "quote"}
        assert [request.action for request in server.requests] == ["subscribe", "mode"]


async def test_equal_seeds_send_equal_bytes():
    async def run():
        simulator = SimulatorServer(STEPPED, clock=lambda: 1_788_252_000.0)
        async with simulator as server, client(server) as ws:
            await ask(ws, "subscribe", [INFY, NIFTY])
            await server.until(lambda: server.requests)
            await server.step(10)
            return await receive(ws, 2)

    assert await run() == await run()


async def test_it_runs_by_itself_with_heartbeats():
    config = SimulatorConfig(instruments=50, updates_per_second=500, heartbeat_seconds=0.01)
    async with SimulatorServer(config) as server, client(server) as ws:
        assert [json.loads(text)["type"] for text in await receive(ws, 2)] == [
            "instruments_meta",
            "app_code",
        ]
        await ask(ws, "subscribe", [INFY])
        seen = set()
        while not {1, 48} <= seen:  # a frame may have several packets
            seen.add(len(await ws.recv()))


async def test_bursts_are_faster():
    config = SimulatorConfig(
        instruments=50, updates_per_second=1, burst_factor=1000, burst_seconds=10
    )
    async with SimulatorServer(config) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY])
        while server.feed.total_packets < 10:
            await ws.recv()


async def test_the_first_quote_comes_even_when_the_market_is_shut():
    config = STEPPED.model_copy(update={"market_open": False})
    async with SimulatorServer(config) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY])
        await ask(ws, "mode", ["full", [INFY]])
        quote, full = ticks(*await receive(ws, 2))
        assert (quote.mode, full.mode) == (Mode.QUOTE, Mode.FULL)
        assert await server.step(3) == []
        server.set_market(is_open=True)
        assert await server.step(1) == [INFY]


async def test_silence_is_total():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY])
        await ws.recv()
        await server.inject("silence")
        pong = await ws.ping()
        await server.heartbeat()
        await server.step(3)
        await ask(ws, "subscribe", [RELIANCE])
        await server.until(lambda: len(server.requests) == 2)
        assert not pong.done()
        server.clear_faults()
        await server.heartbeat()
        assert await ws.recv() == b"\0", "what was not sent then is not sent later"
        assert not pong.done()
        assert server.sockets[0].packets == 1


async def test_a_mute_feed_still_beats():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY])
        await ws.recv()
        await server.inject(FaultSpec(kind=FaultKind.MUTE))
        await server.step(3)
        await server.heartbeat()
        assert await ws.recv() == b"\0"
        await (await ws.ping())
        server.clear_faults(FaultKind.MUTE)
        await server.step(1)
        assert len(await ws.recv()) == 48


async def test_a_slow_feed_delivers_whole_frames_in_order():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY])
        await ws.recv()
        await server.inject("slow", chunk_bytes=7, delay_seconds=0.0001)
        await server.step(2)
        await (await ws.ping())
        await server.heartbeat()
        frames = await receive(ws, 2)
        assert (len(ticks(frames[0])), frames[1]) == (2, b"\0")


async def test_abort_and_close_codes():
    async with SimulatorServer(STEPPED) as server:
        async with client(server) as ws:
            await server.inject("abort")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd is None
        async with client(server) as ws:
            await server.inject("close", code=4001, text="go away")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "go away")
        await server.until(lambda: not server.sockets)


async def test_scheduled_faults_begin_by_themselves():
    config = STEPPED.model_copy(update={"faults": (FaultSpec(kind=FaultKind.REFUSE, count=1),)})
    async with SimulatorServer(config) as server:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="503"):
            async with client(server):
                pass


async def test_a_flood_is_counted_exactly():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY, NIFTY])
        await ws.recv()
        flood = asyncio.create_task(server.flood(packets=25_000, packets_per_frame=3))
        received = 0
        while received < 25_000:
            received += len(parse_frame(await ws.recv()))
        (result,) = (await flood).values()
        assert received == result.packets == 25_000
        await server.heartbeat()
        assert await ws.recv() == b"\0", "not one packet more"


async def test_orders_and_messages_reach_every_socket():
    async with SimulatorServer(STEPPED) as server, client(server) as one, client(server) as two:
        assert await server.post_order({"order_id": "7"}) == 2
        await server.send_text({"type": "message", "data": "hello"})
        for ws in (one, two):
            order, message = map(json.loads, await receive(ws, 2))
            assert order == {"type": "order", "id": "", "data": {"order_id": "7"}}
            assert message["data"] == "hello"


async def test_any_frame_can_be_sent():
    frame = encode_frame([quote_packet(INFY, 157315)])
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        assert await server.send_frame(frame) == 1
        assert await server.send_frame(frame, sockets=[5]) == 0
        assert await ws.recv() == frame
        assert server.state()["packets"] == 1


def capture(path):
    with CaptureWriter(path, created_us=0) as writer:
        for number in range(20):
            frame = encode_frame([quote_packet(INFY, 157315 + number)])
            writer.write(number * 1000, number % 2, frame)
    return path


async def test_a_capture_is_replayed_to_its_slots(tmp_path):
    config = SimulatorConfig(
        instruments=50,
        connect_messages=False,
        heartbeat_seconds=3600,
        replay=capture(tmp_path / "feed.cap"),
        replay_route="slot",
        replay_sockets=2,
    )
    async with SimulatorServer(config) as server, client(server) as one, client(server) as two:
        first, second = await receive(one, 10), await receive(two, 10)
        prices = [round(tick.last_price * 100) - 157315 for tick in ticks(*first, *second)]
        assert prices == [*range(0, 20, 2), *range(1, 20, 2)]
        await server.until(lambda: server.replays)
        assert server.state()["last_replay"] == {
            "records": 20, "frames": 20, "packets": 20, "unrouted": 0, "truncated": False,
        }  # fmt: skip


async def test_a_replay_begins_with_the_first_subscription_and_may_loop(tmp_path):
    config = STEPPED.model_copy(
        update={
            "replay": capture(tmp_path / "feed.cap.gz"), "replay_speed": 0, "replay_loop": True,
        }
    )  # fmt: skip
    async with SimulatorServer(config) as server, client(server) as ws:
        await ask(ws, "subscribe", [INFY])
        assert len(ticks(*await receive(ws, 50))) == 50


async def test_a_bad_capture_is_told_and_ends_the_replay_alone(tmp_path):
    (tmp_path / "bad").write_text("no capture")
    config = STEPPED.model_copy(update={"replay": tmp_path / "bad", "replay_route": "slot"})
    async with SimulatorServer(config) as server, client(server) as ws:
        await server.heartbeat()
        assert await ws.recv() == b"\0"
        assert server.replays == 0
        assert server.state()["last_replay"] is None


async def test_running_until_told_to_stop():
    stop, urls = asyncio.Event(), []

    def ready(server):
        urls.append(server.ws_url)
        stop.set()

    await run_simulator(STEPPED, stop=stop, on_ready=ready)
    assert urls[0].startswith("ws://127.0.0.1:")
