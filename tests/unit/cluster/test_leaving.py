"""The old owner's side of hand-overs, with slots and an announcement in memory."""

import asyncio
from types import SimpleNamespace

import pytest
import structlog

from connector.cluster.leaving import LeavingSlots
from connector.cluster.slot import SlotPhase
from connector.kite.feed.events import ConnectionState
from connector.testing import until

SECONDS = 8.0


class FakeHandovers:
    def __init__(self):
        self.taken = {}
        self.released = []
        self.reached = True

    async def announce(self, slots):
        if not self.reached:
            return {}
        self.taken |= {slot: asyncio.get_running_loop().create_future() for slot in slots}
        return {slot: f"handover-{slot}" for slot in slots}

    async def wanted(self, slot, handover, seconds):
        assert (handover, seconds) == (f"handover-{slot}", SECONDS)
        return await self.taken[slot]

    async def release(self, slot, handover, last_frame_us):
        self.released.append((slot, handover, last_frame_us))


class FakeSlot:
    def __init__(
        self, number, phase=SlotPhase.STREAMING, state=ConnectionState.CONNECTED, frame_us=17
    ):
        self.number, self.phase, self.gap_from_us = number, phase, frame_us
        self.connection = None if state is None else SimpleNamespace(state=state)

    def leave(self):
        self.phase = SlotPhase.LEAVING


@pytest.fixture
def handovers():
    return FakeHandovers()


@pytest.fixture
def closed():
    return []


@pytest.fixture
def leaving(handovers, closed):
    async def close(numbers):
        closed.extend(numbers)

    return LeavingSlots(handovers, close, SECONDS)


async def test_only_what_streams_is_announced(leaving, handovers):
    slots = [
        FakeSlot(0),
        FakeSlot(1, SlotPhase.LOADING),
        FakeSlot(2, SlotPhase.HELD),
        FakeSlot(3, state=None),
        FakeSlot(4, state=ConnectionState.BACKING_OFF),
    ]
    assert set(await leaving.announce(slots)) == {0}
    assert [slot.phase for slot in slots if slot.phase is SlotPhase.LEAVING] == [SlotPhase.LEAVING]
    handovers.taken[0].set_result(True)
    await leaving.taken(asyncio.Event())


async def test_a_slot_is_closed_when_it_is_taken_and_then_released(leaving, handovers, closed):
    await leaving.announce([FakeSlot(0), FakeSlot(1)])
    ends = asyncio.create_task(leaving.taken(asyncio.Event()))
    handovers.taken[1].set_result(True)
    await until(lambda: handovers.released)
    assert closed == [1]
    assert handovers.released == [(1, "handover-1", 17)]
    assert not ends.done()
    handovers.taken[0].set_result(True)
    await ends
    assert sorted(closed) == [0, 1]


async def test_a_stop_waits_until_the_next_owner_is_told(leaving, handovers, closed, monkeypatch):
    told = asyncio.Event()

    async def release(*said):
        await told.wait()
        handovers.released.append(said)

    monkeypatch.setattr(handovers, "release", release)
    await leaving.announce([FakeSlot(0)])
    ends = asyncio.create_task(leaving.taken(asyncio.Event()))
    handovers.taken[0].set_result(True)
    await until(lambda: closed)
    for _ in range(5):  # more turns of the event loop than an end takes
        await asyncio.sleep(0)
    assert not ends.done()
    told.set()
    await ends
    assert handovers.released == [(0, "handover-0", 17)]


async def test_a_slot_that_nobody_takes_is_closed_and_that_is_told(leaving, handovers, closed):
    await leaving.announce([FakeSlot(0)])
    with structlog.testing.capture_logs() as log:
        handovers.taken[0].set_result(False)
        await leaving.taken(asyncio.Event())
    assert closed == [0]
    assert [(line["event"], line["slot"]) for line in log] == [("slot_not_taken", 0)]
    await until(lambda: handovers.released)


async def test_a_slot_that_comes_back_is_not_closed_and_nobody_waits_for_it(
    leaving, handovers, closed
):
    await leaving.announce([FakeSlot(0)])
    await asyncio.sleep(0)
    leaving.take_back(0)
    await leaving.taken(asyncio.Event())
    await until(lambda: handovers.released)
    assert closed == []


async def test_nothing_is_waited_for_where_brokers_did_not_take_the_announcement(
    leaving, handovers
):
    handovers.reached = False
    slot = FakeSlot(0)
    assert not await leaving.announce([slot])
    assert slot.phase is SlotPhase.STREAMING
    await leaving.taken(asyncio.Event())


async def test_a_hurried_stop_waits_for_nobody(leaving, handovers):
    await leaving.announce([FakeSlot(0)])
    hurry = asyncio.Event()
    hurry.set()
    await leaving.taken(hurry)
    assert handovers.released == []
    handovers.taken[0].set_result(True)
    await leaving.taken(asyncio.Event())


async def test_a_slot_is_closed_whatever_goes_wrong_while_it_waits(leaving, handovers, closed):
    await leaving.announce([FakeSlot(0)])
    handovers.taken[0].set_exception(RuntimeError("no such thing"))
    with structlog.testing.capture_logs() as log:
        await leaving.taken(asyncio.Event())
    assert closed == [0]
    assert [line["event"] for line in log] == ["slot_wait_failed"]
