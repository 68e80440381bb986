"""Two whole services on a real Kafka, with both group protocols: one leaves, one dies."""

import signal

import pytest

from connector.testing import until
from tests.integration.streaming import streaming

pytestmark = pytest.mark.integration


def each_session_says_what_it_missed(events):
    """Whoever takes a slot over writes a gap that begins in the session before it."""
    session_ids = [event["session_id"] for event in events if event["type"] == "connected"]
    closed = {event["session_id"]: event["time"] for event in events if event["type"] == "closed"}
    gaps = [event for event in events if event["type"] == "gap"]
    assert [gap["session_id"] for gap in gaps] == session_ids
    assert gaps[0]["gap_from"] is None
    for before, gap in zip(session_ids, gaps[1:], strict=False):
        assert gap["gap_from"] is not None
        assert gap["gap_from"] <= gap["gap_to"]
        # one that was killed says nothing of its end, and may not have kept a time of its own yet
        if before in closed:
            assert before <= gap["gap_from"].timestamp() * 1000
            assert gap["gap_from"] <= closed[before]


def _told(process, message, slot):
    """When a replica's log told of this slot last."""
    return max(
        line["time"]
        for line in process.lines()
        if line["message"] == message and slot in (line.get("slot"), *line.get("slots", ()))
    )


def assigned(process, slot):
    return _told(process, "partitions_assigned", slot)


def closed(process, slot):
    return _told(process, "connection_closed", slot)


def connected(process, slot):
    return _told(process, "connection_connected", slot)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_the_other_replica_takes_over(bootstrap_servers, tmp_path, protocol):
    async with streaming(
        tmp_path,
        bootstrap_servers,
        topics={"replication_factor": 1},
        cluster={"group_protocol": protocol, "session_timeout_seconds": 6},
    ) as run:
        leaving, staying = await run.start(2)
        await run.until_delivered()
        given_up = await run.slots(leaving)
        await run.stop(leaving)
        await run.until_in_charge()
        for slot in given_up:
            assert assigned(staying, slot) < closed(leaving, slot) < connected(staying, slot)
        assert await run.slots(staying) == [0, 1, 2]
        await run.until_delivered()
        (joining,) = await run.start(1)
        dying = await run.fleet.leader()
        (surviving,) = {staying, joining} - {dying}
        dying.killed = True
        dying.send_signal(signal.SIGKILL)
        await run.fleet.ended(dying, 10)
        token = run.spare[0]
        reply = await run.reply(await run.command("subscribe", watchlist="w", instruments=[token]))
        assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
        await run.until_in_charge()
        assert await run.slots(surviving) == [0, 1, 2]
        await run.until_delivered()
        assert token in run.server.subscriptions()
        assert run.server.max_open_sockets() == 3
        assert await run.prove(killed=[dying]) > 1_000
        told = await run.events("connected", "gap", "closed")
        assert told.keys() == {0, 1, 2}
        for events in told.values():
            each_session_says_what_it_missed(events)


NEVER_SECONDS = 300
"""A session timeout that no test waits for: what happens happens without it."""


def patient(tmp_path, bootstrap_servers, **kafka):
    """Replicas whose group never gives one up."""
    return streaming(
        tmp_path,
        bootstrap_servers,
        topics={"replication_factor": 1},
        cluster={"session_timeout_seconds": NEVER_SECONDS},
        kafka=kafka,
    )


async def rebalances(run, process):
    status = await run.fleet.status(process)
    return status["cluster"]["rebalances"]


async def test_a_killed_replica_that_starts_again_has_its_slots_at_once(
    bootstrap_servers, tmp_path
):
    """The other one is told nothing; asked to end, a replica gives its slots up all the same."""
    async with patient(tmp_path, bootstrap_servers) as run:
        dying, other = await run.start(2, named=True)
        await run.until_delivered()
        slots, told = await run.slots(dying), await rebalances(run, other)
        dying.killed = True
        dying.send_signal(signal.SIGKILL)
        await run.fleet.ended(dying, 10)
        again = await run.fleet.start(dying.place, f"place-{dying.place}")
        await run.until_in_charge()
        await run.until_delivered()
        assert await run.slots(again) == slots
        assert await rebalances(run, other) == told
        await run.stop(again)
        await run.until_in_charge()
        assert await run.slots(other) == [0, 1, 2]
        await run.until_delivered()
        assert run.server.max_open_sockets() == 3
        assert await run.prove(killed=[dying]) > 1_000
        for events in (await run.events("connected", "gap", "closed")).values():
            each_session_says_what_it_missed(events)


async def test_of_two_replicas_with_one_name_the_first_closes_its_sockets(
    bootstrap_servers, tmp_path
):
    async with patient(tmp_path, bootstrap_servers) as run:
        first, _ = await run.start(2, named=True)
        await run.until_delivered()
        second = await run.fleet.start(2, f"place-{first.place}")
        await run.until_status(second, lambda status: status["connections"])
        await run.until_in_charge()
        (taken,) = (line for line in first.lines() if line["message"] == "instance_taken")
        assert taken["instance"] == f"place-{first.place}"
        assert run.server.max_open_sockets() == 3


async def test_replicas_with_names_go_on_with_new_clients_and_keep_their_sockets(
    bootstrap_servers, tmp_path
):
    """One of their files changes. This Kafka has no TLS, so that librdkafka leaves it alone."""
    file = tmp_path / "revoked"
    file.write_text("before")
    client = {"ssl.crl.location": str(file)}
    async with patient(tmp_path, bootstrap_servers, client=client) as run:
        both = await run.start(2, named=True)
        await run.until_delivered()
        slots = [await run.slots(one) for one in both]
        opened = await run.events("connected")
        file.write_text("after")
        for one, owned in zip(both, slots, strict=True):
            await until(lambda one=one, owned=owned: resumed(one) == owned)
        assert [await run.slots(one) for one in both] == slots
        reply = await run.reply(
            await run.command("subscribe", watchlist="w", instruments=[run.spare[0]])
        )
        assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
        await run.until_delivered()
        assert await run.events("connected") == opened
        assert run.server.max_open_sockets() == 3
        assert await run.prove() > 1_000


def resumed(process):
    """The slots that were taken up again with a new client, their sockets open all the time."""
    return sorted(line["slot"] for line in process.lines() if line["message"] == "slot_resumed")
