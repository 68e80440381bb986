import asyncio

import pytest

from connector.kite.feed.capture import CaptureReader, CaptureWriter, PayloadKind
from connector.kite.wire.packets import parse_frame
from connector.service.recording import record
from connector.simulator import SimulatorConfig
from connector.testing import until
from tests.support.stack import stack


async def test_what_the_feed_sends_is_in_the_file(tmp_path):
    path = tmp_path / "capture.gz"
    simulator = SimulatorConfig(stepped=True, instruments=200, sent_log_frames=1000)
    progress = []
    async with stack(simulator) as around:
        stop = asyncio.Event()
        task = asyncio.create_task(
            record(around.settings, path, stop, on_progress=lambda *said: progress.append(said))
        )
        # the last request of each socket: no snapshot of before is under way
        wanted = ["full"] * 3 + ["quote"] * 2
        await around.simulator.until(
            lambda: sorted(around.simulator.subscriptions().values()) == wanted
        )
        for _ in range(10):
            await around.simulator.step(5)
        await around.simulator.post_order({"order_id": "1", "status": "COMPLETE"})
        sockets = around.simulator.sockets
        # beside its frames each socket sent two greetings and the order update
        due = sum(len(socket.sent) + 3 for socket in sockets)
        await until(lambda: progress and progress[-1][0] >= due)
        stop.set()
        messages = await task
        sent = {tuple(socket.sent) for socket in sockets}
    frames = {}
    texts = []
    for received in CaptureReader(path):
        if received.kind is PayloadKind.BINARY:
            frames.setdefault(received.slot, []).append(received.payload)
        else:
            texts.append(received.payload)
    assert {tuple(of_slot) for of_slot in frames.values()} == sent
    assert sum(b'"order"' in text for text in texts) == 3
    assert messages == sum(map(len, frames.values())) + len(texts)
    assert progress[-1] == (messages, 3)
    names = {
        tick.instrument_token
        for of_slot in frames.values()
        for f in of_slot
        for tick in parse_frame(f)
    }
    assert len(names) == 5, "names of the settings were resolved"


async def test_text_frames_can_be_left_out(tmp_path):
    path = tmp_path / "capture"
    async with stack(instrument_master={"load": False}, instruments=[]) as around:
        stop = asyncio.Event()
        task = asyncio.create_task(record(around.settings, path, stop, text=False))
        await around.simulator.until(lambda: len(around.simulator.sockets) == 3)
        assert await around.simulator.post_order({"order_id": "1", "status": "COMPLETE"}) == 3
        stop.set()
        assert await task == 0
    assert list(CaptureReader(path)) == []


async def test_a_full_disk_ends_the_recording(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CaptureWriter, "write", full)
    async with stack(instrument_master={"load": False}, instruments=[]) as around:
        task = asyncio.create_task(record(around.settings, tmp_path / "c", asyncio.Event()))
        await around.simulator.until(lambda: len(around.simulator.sockets) == 3)
        await around.simulator.post_order({"order_id": "1", "status": "COMPLETE"})
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(task, 20)
