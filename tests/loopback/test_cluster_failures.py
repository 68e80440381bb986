"""Replicas in processes of their own: killed, frozen, asked to end."""

import asyncio
import json
import signal

import pytest

from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.processes import in_charge, replica_processes

TOKENS = [n << 8 | 1 for n in range(1, 31)]
KEY = "simulated_key"
SLOTS = (0, 1, 2)
ROUNDS = 3


@pytest.fixture
async def feed():
    async with SimulatorServer(SimulatorConfig(stepped=False, updates_per_second=0)) as simulator:
        yield simulator


async def test_a_killed_leader_is_replaced_and_nothing_is_applied_twice(kafka, feed, steering):
    async with replica_processes(kafka, feed, 2) as members:
        await until(lambda: in_charge(members, SLOTS))
        reply = await steering.send("subscribe", id="1", watchlist="w", instruments=TOKENS)
        assert reply["accepted"] == 30
        await until(lambda: len(feed.subscriptions()) == 30)
        (first,) = [member for member in members if member.leads]
        (second,) = [member for member in members if not member.leads]
        first.send_signal(signal.SIGKILL)
        await first.ended()
        again = await steering.send("subscribe", 40, id="1", watchlist="w", instruments=TOKENS)
        assert again == reply
        await until(lambda: in_charge([second], SLOTS))
        await until(lambda: len(feed.subscriptions()) == 30)
        assert (await steering.send("status"))["payload"]["watchlists"] == {"w": 30}
    assert feed.max_open_sockets(KEY) == 3


async def test_commands_are_applied_in_order_whoever_leads(kafka, feed, steering):
    """Each command doubles as its own check: expected_revision is the number before it."""
    async with replica_processes(kafka, feed, 3) as members:
        await until(lambda: in_charge(members, SLOTS))
        for number, token in enumerate(TOKENS):
            if number in (10, 20):
                (leader,) = [member for member in members if member.leads]
                leader.send_signal(signal.SIGKILL if number == 10 else signal.SIGTERM)
                await leader.ended()
                members.remove(leader)
            reply = await steering.send(
                "subscribe", 40, instruments=[token], expected_revision=number
            )
            assert (reply["status"], reply["revision"]) == ("APPLIED", number + 1)
        await until(lambda: in_charge(members, SLOTS))
        await until(lambda: set(feed.subscriptions()) == set(TOKENS))


async def test_a_frozen_replica_loses_its_slots_and_closes_them_when_it_wakes(
    kafka, feed, steering
):
    async with replica_processes(kafka, feed, 2) as members:
        await until(lambda: in_charge(members, SLOTS))
        await steering.send("subscribe", instruments=TOKENS)
        (frozen,) = [member for member in members if member.leads]
        (other,) = [member for member in members if not member.leads]
        frozen.send_signal(signal.SIGSTOP)
        await until(lambda: other.leads and len(other.slots) == 3, 120)
        # its sockets are still open over there: the feed has no more for this api_key
        assert feed.open_sockets(KEY) == 3
        reply = await steering.send("set-mode", 40, mode="full")
        assert reply["status"] == "APPLIED"
        frozen.send_signal(signal.SIGCONT)
        await until(lambda: in_charge(members, SLOTS), 120)
        await until(lambda: set(feed.subscriptions().values()) == {"full"})
        assert (await steering.send("status"))["payload"]["modes"] == {"full": 30}
    assert feed.max_open_sockets(KEY) == 3


async def test_a_replica_that_is_asked_to_end_does_so_cleanly(kafka, feed):
    async with replica_processes(kafka, feed, 1) as (member,):
        await until(lambda: in_charge([member], SLOTS))
        member.send_signal(signal.SIGTERM)
        assert await member.ended() == 0
        assert member.slots == {}
        assert feed.open_sockets(KEY) == 0


async def test_a_leader_whose_broker_goes_away_in_the_middle_goes_on(kafka, feed, steering):
    """Seen as a leader that hung for ever in a call of librdkafka's that ignores its timeout."""
    async with replica_processes(kafka, feed, 1) as members:
        await until(lambda: in_charge(members, SLOTS))
        for number in range(ROUNDS):
            for token in range(5):
                steering.produce(json.dumps({"id": f"{number}-{token}", "type": "status"}).encode())
                await asyncio.sleep(0.01)
            kafka.set_down()
            await asyncio.sleep(0.3)
            kafka.set_up()
            await steering.reply(f"{number}-4", 60)
    assert [reply["id"] for reply in steering.replies] == [
        f"{number}-{token}" for number in range(ROUNDS) for token in range(5)
    ]
