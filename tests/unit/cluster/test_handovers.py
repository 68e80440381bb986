"""Both sides of a hand-over, over a register in memory."""

import asyncio

import pytest
import structlog

from connector.cluster import handovers
from connector.cluster.handover_register import Entry, Stage
from connector.cluster.handovers import Handovers
from connector.errors import KafkaError
from connector.testing import FakeClock, until

NEVER = 300.0
"""Seconds that nobody waits for."""


class Shelf:
    """The brokers of all registers of a test."""

    def __init__(self):
        self.entries = {}
        self.group = 2
        self.down = False
        self.written = []
        self.made = self.closed = 0
        self.reads = []
        self.writes = 0

    def register(self):
        if self.down == "client":
            raise KafkaError("no such file")
        self.made += 1
        return self

    def _answer(self):
        if self.down:
            raise KafkaError("no broker answered")

    def read(self, slots):
        self._answer()
        found = {slot: self.entries[slot] for slot in slots if slot in self.entries}
        self.reads.append(list(slots))
        return found

    def write(self, entries):
        self._answer()
        self.writes += 1
        self.entries |= entries
        self.written += entries.items()

    def members(self):
        self._answer()
        return self.group

    def close(self):
        self.closed += 1


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def old(shelf):
    return Handovers(shelf.register)


@pytest.fixture
def new(shelf):
    return Handovers(shelf.register)


async def test_a_slot_is_released_when_it_is_wanted_and_taken_when_it_is_released(shelf, old, new):
    said = await old.announce([1, 2])
    assert {slot: entry.stage for slot, entry in shelf.entries.items()} == {
        1: Stage.LEAVING, 2: Stage.LEAVING,
    }  # fmt: skip
    waits = asyncio.create_task(old.wanted(1, said[1], NEVER))
    takes = asyncio.create_task(new.arriving([1])(1))
    assert await waits
    assert not takes.done()
    await old.release(1, said[1], 17)
    assert await takes == 17
    assert [entry.stage for slot, entry in shelf.written if slot == 1] == list(Stage)
    assert shelf.entries[2].stage is Stage.LEAVING


async def test_slots_of_one_replica_are_waited_for_together(shelf, old, new):
    said = await old.announce(range(39))
    waits = [asyncio.create_task(old.wanted(slot, said[slot], NEVER)) for slot in said]
    ready = new.arriving(list(said))
    takes = [asyncio.create_task(ready(slot)) for slot in said]
    assert all(await asyncio.gather(*waits))
    await asyncio.gather(*(old.release(slot, said[slot], slot + 1) for slot in said))
    assert await asyncio.gather(*takes) == [slot + 1 for slot in said]
    # the old owner's announcement and its wait, and the new owner's
    assert shelf.made <= 4


async def test_what_is_said_at_once_is_written_at_once_whoever_gives_up(shelf, old):
    first, *others = [asyncio.create_task(old.release(slot, "x", slot)) for slot in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(*others)
    assert shelf.writes == 1
    assert shelf.entries == {slot: Entry("x", Stage.RELEASED, slot) for slot in range(5)}


@pytest.mark.parametrize("entry", [None, Entry("x", Stage.RELEASED, 17)])
async def test_what_nobody_streams_is_taken_at_once(shelf, new, entry):
    """What was released once says nothing of the owners since then."""
    shelf.entries = {0: entry} if entry else {}
    assert await new.arriving([0])(0) is None
    assert shelf.written == []


@pytest.mark.parametrize(("ahead_seconds", "known"), [(59, True), (61, False)])
async def test_a_last_frame_that_is_not_yet_is_unknown(shelf, old, ahead_seconds, known):
    clock = FakeClock()
    said = await old.announce([0])
    frame_us = clock.time_us() + ahead_seconds * 1_000_000
    shelf.entries[0] = Entry(said[0], Stage.WANTED)
    takes = asyncio.create_task(Handovers(shelf.register, clock).arriving([0])(0))
    await until(lambda: len(shelf.reads) > 1)
    await old.release(0, said[0], frame_us)
    while not takes.done():
        await clock.advance(handovers.LOOK_SECONDS / 1000)
        await asyncio.sleep(0)
    assert await takes == (frame_us if known else None)


async def test_an_owner_that_lost_the_slot_again_has_asked_for_the_next_one_too(shelf, old, new):
    said = await old.announce([0])
    shelf.entries[0] = Entry(said[0], Stage.WANTED)
    takes = asyncio.create_task(new.arriving([0])(0))
    await until(lambda: shelf.reads)
    await old.release(0, said[0], 5)
    assert await takes == 5
    assert [entry.stage for _, entry in shelf.written] == [Stage.LEAVING, Stage.RELEASED]


async def test_a_release_that_comes_before_the_slot_is_ready_is_not_written_over(shelf, old, new):
    said = await old.announce([0])
    ready = new.arriving([0])
    await until(lambda: shelf.reads)
    await old.release(0, said[0], 5)
    assert await ready(0) == 5
    assert shelf.entries[0] == Entry(said[0], Stage.RELEASED, 5)


async def test_an_old_owner_that_says_nothing_is_waited_for_within_a_bound(shelf):
    clock = FakeClock()
    new = Handovers(shelf.register, clock)
    shelf.entries = {0: Entry("dead", Stage.LEAVING)}
    with structlog.testing.capture_logs() as log:
        takes = asyncio.create_task(new.arriving([0])(0))
        # its bound is set, and it reads
        await until(lambda: shelf.entries[0].stage is Stage.WANTED and len(clock.pending) >= 2)
        await clock.advance(handovers.RELEASE_SECONDS)
        assert await takes is None
    assert [line["slot"] for line in log if line["event"] == "slot_not_released"] == [0]
    # nobody after this one waits for it
    assert shelf.entries[0] == Entry("dead", Stage.RELEASED)
    await until(lambda: new._looking is None or clock.pending)
    await clock.advance(handovers.LOOK_SECONDS)


async def test_a_new_owner_that_says_nothing_is_waited_for_within_a_bound(shelf):
    clock = FakeClock()
    old = Handovers(shelf.register, clock)
    said = await old.announce([0])
    waits = asyncio.create_task(old.wanted(0, said[0], 8))
    await until(lambda: shelf.reads and len(clock.pending) >= 2)
    await clock.advance(8)
    assert not await waits
    await until(lambda: old._looking is None or clock.pending)
    await clock.advance(handovers.LOOK_SECONDS)


async def test_nobody_is_waited_for_once_the_group_is_empty(shelf, old, monkeypatch):
    monkeypatch.setattr(handovers, "COUNT_SECONDS", 0)
    said = await old.announce([0])
    shelf.group = 0
    assert not await old.wanted(0, said[0], NEVER)


async def test_an_owner_before_is_waited_for_although_the_group_is_empty(shelf, new, monkeypatch):
    """It has left the group, and still streams."""
    monkeypatch.setattr(handovers, "COUNT_SECONDS", 0)
    shelf.entries, shelf.group = {0: Entry("x", Stage.LEAVING)}, 0
    takes = asyncio.create_task(new.arriving([0])(0))
    await until(lambda: len(shelf.reads) > 3)
    assert not takes.done()
    await new.release(0, "x", 5)
    assert await takes == 5


@pytest.mark.parametrize(
    ("group", "down", "alone"),
    [(2, False, False), (1, False, True), (0, False, True), (2, True, True), (2, "client", True)],
)
async def test_who_is_alone_or_cannot_know_hands_nothing_over(shelf, old, group, down, alone):
    shelf.group, shelf.down = group, down
    assert await old.alone() is alone


@pytest.mark.parametrize("down", [True, "client"])
async def test_without_an_answer_nothing_is_announced_and_nothing_waited_for(shelf, old, new, down):
    shelf.entries, shelf.down = {0: Entry("x", Stage.LEAVING)}, down
    with structlog.testing.capture_logs() as log:
        assert await old.announce([0]) == {}
        assert await new.arriving([0])(0) is None
    assert "handover_unknown" in [line["event"] for line in log]
    assert all(line["reason"] for line in log)


async def test_an_answer_that_fails_on_the_way_is_asked_for_again(shelf, old):
    said = await old.announce([0])
    waits = asyncio.create_task(old.wanted(0, said[0], NEVER))
    await until(lambda: shelf.reads)
    shelf.down = True
    shelf.entries[0] = Entry(said[0], Stage.WANTED)
    await asyncio.to_thread(lambda: None)
    assert not waits.done()
    shelf.down = False
    assert await waits


async def test_nothing_is_announced_of_no_slots(shelf, old):
    assert await old.announce([]) == {}
    assert shelf.made == 0


async def test_an_entry_that_went_with_its_topic_is_nobody_who_wants_the_slot(shelf, old):
    said = await old.announce([0])
    waits = asyncio.create_task(old.wanted(0, said[0], NEVER))
    await until(lambda: shelf.reads)
    entries, shelf.entries = shelf.entries, {}
    read = len(shelf.reads)
    await until(lambda: len(shelf.reads) > read + 2)
    assert not waits.done()
    shelf.entries = {0: entries[0]._replace(stage=Stage.WANTED)}
    assert await waits
