"""Replicas whose clocks are wrong, apart or set while slots and the leadership change hands."""

import asyncio
import signal

import pytest

from connector.kafka.completeness import Completeness
from tests.chaos.ticks import TickReader
from tests.integration.streaming import streaming
from tests.support.shifted_clock import ShiftedClock

pytestmark = pytest.mark.integration

HOUR = 3600
MINUTE = 60


@pytest.fixture
def run_of(bootstrap_servers, tmp_path):
    return streaming(
        tmp_path,
        bootstrap_servers,
        topics={"replication_factor": 1},
        cluster={"session_timeout_seconds": 6},
    )


async def started(run, tmp_path, *seconds_ahead):
    """Replicas with a clock each; returns both of each."""
    made = []
    for place, seconds in enumerate(seconds_ahead, len(run.fleet.all)):
        clock = ShiftedClock(tmp_path, f"clock-{place}")
        clock.set_to(seconds)
        made.append((await run.fleet.start(place, clock=clock), clock))
    await run.until_in_charge()
    await run.until_delivered()
    return made


async def commanded(run, token):
    """A command is applied and answered once, and its instrument streams."""
    reply = await run.reply(await run.command("subscribe", watchlist="w", instruments=[token]))
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
    await run.until_delivered()
    assert token in run.server.subscriptions()


async def judged(run, bootstrap_servers):
    """Stop all; every tick that was counted is there, each instrument's in order over its sessions.

    The sessions' numbers are times of clocks that are wrong, so that counts and places judge.
    """
    for process in run.fleet.alive:
        await run.stop(process)
    return await asyncio.to_thread(_judge, bootstrap_servers, run.topics)


def _judge(bootstrap_servers, topics):
    with TickReader(bootstrap_servers, topics) as reader:
        while not reader.at_the_end():
            pass
    ticks = list(reader.ticks())
    known = Completeness(topics, {place[:2]: 0.0 for place, *_ in ticks})
    for event in reader.events():
        known.event(event)
    last, over, written = {}, set(), set()
    for place, _, token, slot, session_id, sequence in ticks:
        known.tick(place[:2], slot, session_id, sequence)
        session, before = last.get(token, (None, 0))
        if (session_id, sequence) in written:
            continue  # a repeat
        written.add((session_id, sequence))
        if session != session_id:
            over.add((token, session))
            before = 0
        assert (token, session_id) not in over, "a session goes on behind a later one"
        assert sequence > before
        last[token] = session_id, sequence
    assert known.unreadable == 0
    assert known.wanted == 0
    return len(ticks)


@pytest.mark.parametrize("seconds", [2 * HOUR, -2 * HOUR])
async def test_a_leader_serves_while_its_clock_is_wrong_and_when_it_is_set_right(
    run_of, tmp_path, seconds
):
    async with run_of as run:
        ((only, clock),) = await started(run, tmp_path, 0)
        clock.set_to(seconds)
        # no message wakes anybody for two session timeouts
        uptime = (await run.fleet.status(only))["uptime_seconds"]
        await run.until_status(only, lambda status: status["uptime_seconds"] > uptime + 12)
        await commanded(run, run.spare[0])
        status = await run.fleet.status(only)
        assert status["cluster"]["rebalances"] == 1
        assert status["cluster"]["commands"]["serving"]
        clock.set_to(0)
        await run.until_in_charge()
        await commanded(run, run.spare[1])
        assert run.server.max_open_sockets() == 3


async def test_slots_change_hands_between_replicas_whose_clocks_are_apart(
    run_of, bootstrap_servers, tmp_path
):
    async with run_of as run:
        ((ahead, _), (right, clock)) = await started(run, tmp_path, 5 * MINUTE, 0)
        await commanded(run, run.spare[0])
        # handed over by one that is ahead; then the clock is set while nobody else is there
        await run.stop(ahead)
        await run.until_in_charge()
        await commanded(run, run.spare[1])
        clock.set_to(-10 * MINUTE)
        ((other, _),) = await started(run, tmp_path, MINUTE)
        right.killed = True
        right.send_signal(signal.SIGKILL)
        await run.fleet.ended(right, 10)
        await run.until_in_charge()
        await commanded(run, run.spare[2])
        assert await run.slots(other) == [0, 1, 2]
        assert run.server.max_open_sockets() == 3
        assert await judged(run, bootstrap_servers) > 1_000
        for events in (await run.events("connected", "gap")).values():
            sessions = [one["session_id"] for one in events if one["type"] == "connected"]
            gaps = [one for one in events if one["type"] == "gap"]
            # one for each opening, none that ends before it begins
            assert [one["session_id"] for one in gaps] == sessions
            assert all(one["gap_from"] is None or one["gap_from"] <= one["gap_to"] for one in gaps)


async def test_what_waits_in_the_spool_over_a_clock_that_is_set_is_there_once_and_in_order(
    own_kafka, tmp_path
):
    async with streaming(
        tmp_path,
        own_kafka.bootstrap_servers,
        topics={"replication_factor": 1},
        cluster={"session_timeout_seconds": 6},
    ) as run:
        ((only, clock),) = await started(run, tmp_path, 0)
        with own_kafka.paused():
            await run.until_status(only, lambda status: status["accounting"]["spooled"] > 1000)
            clock.set_to(2 * HOUR)
            spooled = (await run.fleet.status(only))["accounting"]["spooled"]
            await run.until_status(
                only, lambda status: status["accounting"]["spooled"] > spooled + 1000
            )
            clock.set_to(-HOUR)
        await run.until_in_charge()
        await run.until_delivered()
        await run.until_drained()
        assert await judged(run, own_kafka.bootstrap_servers) > 2_000
