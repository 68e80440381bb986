import asyncio
import threading

import pytest

from connector.cluster import leadership
from connector.cluster.leadership import Leadership


class FakeLeader:
    """Leads until it is stopped."""

    def __init__(self):
        self.leading = threading.Event()
        self.stopped = threading.Event()
        self.ended = threading.Event()

    def run(self):
        self.leading.set()
        assert self.stopped.wait(60)
        self.ended.set()

    def stop(self):
        self.stopped.set()


@pytest.fixture
def patient(monkeypatch):
    """A leader that waits for the slots as long as it has to."""
    monkeypatch.setattr(leadership, "SLOTS_FIRST_SECONDS", 600.0)


async def happens(event):
    assert await asyncio.to_thread(event.wait, 60)


@pytest.mark.usefixtures("patient")
async def test_a_leader_begins_when_the_slots_stream():
    leads = Leadership(FakeLeader)
    assert not leads.waits
    leads.start()
    assert leads.waits
    assert not leads.leader.leading.is_set()
    leads.begin()
    assert not leads.waits
    await happens(leads.leader.leading)
    await leads.stop()
    assert not leads.waits


async def test_slots_that_do_not_stream_do_not_keep_it_for_ever(monkeypatch):
    monkeypatch.setattr(leadership, "SLOTS_FIRST_SECONDS", 0.0)
    leads = Leadership(FakeLeader)
    leads.start()
    await happens(leads.leader.leading)
    assert not leads.waits
    await leads.stop()


async def test_a_stop_waits_for_the_end_of_the_thread():
    leads = Leadership(FakeLeader)
    leads.start()
    leads.begin()
    leader = leads.leader
    await happens(leader.leading)
    await leads.stop()
    assert leader.ended.is_set()
    assert leads.leader is None
    assert leads.last is leader


@pytest.mark.usefixtures("patient")
async def test_one_that_waits_for_the_slots_ends_too():
    leads = Leadership(FakeLeader)
    leads.start()
    leader = leads.leader
    await leads.stop()
    assert leader.ended.is_set()


@pytest.mark.usefixtures("patient")
async def test_a_later_leader_waits_anew():
    leads = Leadership(FakeLeader)
    leads.start()
    leads.begin()
    await leads.stop()
    leads.start()
    assert not leads.leader.leading.is_set()
    await leads.stop()


async def test_a_leader_that_hangs_is_left_behind(monkeypatch):
    class Hangs(FakeLeader):
        def stop(self):
            pass

    monkeypatch.setattr(leadership, "LEADER_STOP_SECONDS", 0.0)
    leads = Leadership(Hangs)
    leads.start()
    leader = leads.leader
    await leads.stop()
    assert not leader.ended.is_set()
    leader.stopped.set()
    leads.start()
    leads.begin()
    assert leads.leader is not leader
    leads.leader.stopped.set()
