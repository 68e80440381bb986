"""Two whole services on a real Kafka, with both group protocols: one leaves, one dies."""

import signal

import pytest

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
        await run.stop(leaving)
        await run.until_in_charge()
        assert await run.slots(staying) == [0, 1, 2]
        await run.until_delivered()
        (joining,) = await run.start(1)
        dying = await run.leader()
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
