import asyncio

import pytest

from connector.kite.feed.wait import Wait, cancelled, within
from connector.testing import FakeClock, settle


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def wait(clock):
    return Wait(clock)


async def never():
    await asyncio.Event().wait()


async def test_what_comes_within_the_time_is_told_from_what_does_not():
    there = asyncio.Event()
    there.set()
    assert await within(60, there.wait())
    assert not await within(0, never())


async def test_tasks_are_over_once_they_are_cancelled():
    async def fails():
        raise OSError("no disk")

    done = asyncio.create_task(asyncio.sleep(0, "done"))
    failed = asyncio.create_task(fails())
    await settle()
    result, failure, ended = await cancelled(done, failed, asyncio.create_task(never()))
    assert result == "done"
    assert str(failure) == "no disk"
    assert isinstance(ended, asyncio.CancelledError)


async def test_it_lasts_its_time(clock, wait):
    task = asyncio.create_task(wait.for_seconds(5))
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert task.done()


async def test_whoever_ends_it_leaves_no_timer(clock, wait):
    task = asyncio.create_task(wait.for_seconds(5))
    await settle()
    wait.end()
    await settle()
    assert task.done()
    assert clock.pending == []


async def test_an_end_that_ends_nothing_does_not_shorten_the_next_wait(clock, wait):
    wait.end()
    task = asyncio.create_task(wait.for_seconds(5))
    await clock.advance(4)
    assert not task.done()
    task.cancel()
    await settle()
    assert clock.pending == []


async def test_a_change_ends_it(clock, wait):
    changed = asyncio.Event()
    task = asyncio.create_task(wait.for_change(changed.wait(), 5, pytest.fail))
    await settle()
    changed.set()
    await settle()
    assert task.done()
    assert clock.pending == []


async def test_a_change_that_does_not_come_is_given_up_with_the_time(clock, wait):
    watching = asyncio.create_task(never())
    task = asyncio.create_task(wait.for_change(watching, 5, pytest.fail))
    await clock.advance(5)
    assert task.done()
    assert watching.cancelled()


async def test_a_watch_that_fails_is_told_once_and_the_wait_lasts_its_time(clock, wait):
    async def fails():
        raise OSError("no more watches")

    failures = []
    task = asyncio.create_task(wait.for_change(fails(), 5, failures.append))
    await clock.advance(4)
    assert [str(failure) for failure in failures] == ["no more watches"]
    assert not task.done()
    await clock.advance(1)
    assert task.done()


async def test_a_wait_that_is_cancelled_ends_what_it_watches(clock, wait):
    watching = asyncio.create_task(never())
    task = asyncio.create_task(wait.for_change(watching, 5, pytest.fail))
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert watching.cancelled()
    assert clock.pending == []
