"""Two whole services on a real Kafka, with both group protocols: one leaves, one dies."""

import signal

import pytest

from tests.integration.streaming import streaming

pytestmark = pytest.mark.integration


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
