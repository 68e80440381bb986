"""The whole service on three brokers that are killed and restarted under load: nothing is lost."""

import asyncio

import pytest

from tests.integration.streaming import streaming
from tests.integration.three_brokers import NODES, three_brokers

pytestmark = pytest.mark.integration


# longer than any outage here, also on a busy machine: what is tested is no change of owners
PATIENT = {"session_timeout_seconds": 120}


@pytest.fixture(scope="module")
def cluster_of_three():
    with three_brokers() as running:
        yield running


@pytest.fixture
def brokers(cluster_of_three):
    yield cluster_of_three
    print(cluster_of_three.logs())


async def test_brokers_that_are_killed_lose_nothing_and_stop_nothing(brokers, tmp_path):
    """First the one that coordinates the group, then the one that leads the control topic."""
    async with streaming(tmp_path, brokers.bootstrap_servers, cluster=PATIENT) as run:
        name, topics = run.topics.prefix, run.topics  # the connector's name is the prefix
        await run.start(2)
        sockets = len(run.watch.sockets)
        for number, victim in enumerate(
            (lambda: brokers.coordinator(name), lambda: brokers.leader(topics.control))
        ):
            node = await asyncio.to_thread(victim)
            await asyncio.to_thread(brokers.kill, node)
            token = run.spare[number]
            command = await run.command("subscribe", watchlist="w", instruments=[token])
            reply = await run.reply(command)
            assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
            await run.until_delivered()
            assert not await asyncio.to_thread(brokers.whole)
            assert token in run.server.subscriptions()
            await asyncio.to_thread(brokers.start_again, node)
            await asyncio.to_thread(brokers.wait_until_whole)
        await run.until_in_charge()
        # nobody closed a socket over it: these are those of the start
        assert len(run.watch.sockets) == sockets
        assert await run.prove() > 10_000


async def test_brokers_that_are_restarted_one_by_one_lose_nothing(brokers, tmp_path):
    async with streaming(tmp_path, brokers.bootstrap_servers, cluster=PATIENT) as run:
        await run.start(2)
        sockets = len(run.watch.sockets)
        for node in NODES:
            await asyncio.to_thread(brokers.stop, node)
            await run.until_delivered()
            await asyncio.to_thread(brokers.start_again, node)
            await asyncio.to_thread(brokers.wait_until_whole)
        await run.until_in_charge()
        assert len(run.watch.sockets) == sockets
        assert await run.prove() > 10_000


async def test_records_wait_while_two_of_three_brokers_are_away(brokers, tmp_path):
    """One broker is connected and takes nothing: fewer are in sync than the topics ask for."""
    small = {"queue_max_messages": 5000}  # so that it is soon the spool that they wait in
    async with streaming(tmp_path, brokers.bootstrap_servers, kafka=small, cluster=PATIENT) as run:
        (replica,) = await run.start(1)
        await asyncio.to_thread(brokers.kill, 2, 3)
        command = await run.command("subscribe", watchlist="w", instruments=run.spare[:1])
        await run.until_status(
            replica,
            lambda status: (
                status["not_ready"]
                and status["not_ready"][0].startswith("Kafka has taken no record for ")
                and status["producer"]["broker_reachable"]
                and status["accounting"]["spooled"] > 0
            ),
        )
        await asyncio.to_thread(brokers.start_again, 2, 3)
        assert (await run.reply(command))["status"] == "APPLIED"
        await run.until_delivered()
        await asyncio.to_thread(brokers.wait_until_whole)
        await run.until_in_charge()
        assert len(run.watch.sockets) == 3
        # what was under way for more than 20 s is taken back, and may have been written
        assert await run.prove(repeats=True) > 10_000
