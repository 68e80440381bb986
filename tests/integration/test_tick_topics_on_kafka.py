"""A tick topic that somebody deletes, or gives more partitions, while slots change their owner."""

import asyncio
import signal

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from connector.kite.wire.models import Exchange
from tests.chaos.ticks import TickReader
from tests.integration.streaming import streaming

pytestmark = pytest.mark.integration


def ticks_in_order(bootstrap_servers, topics):
    """How many ticks each topic has; each instrument's are in the order of its sessions."""
    with TickReader(bootstrap_servers, topics) as reader:
        while not reader.at_the_end():
            pass
    counts, last, over = {}, {}, set()
    for place, _, token, _, session_id, sequence in reader.ticks():
        session, before = last.get((place, token), (None, 0))
        if session != session_id:
            over.add((place, token, session))
            before = 0
        assert (place, token, session_id) not in over, "a session goes on behind a later one"
        assert sequence > before
        last[place, token] = session_id, sequence
        counts[place[0]] = counts.get(place[0], 0) + 1
    return counts


@pytest.mark.parametrize("change", ["deleted", "extended"])
async def test_a_slot_changes_its_owner_while_a_tick_topic_is_changed(
    bootstrap_servers, tmp_path, change
):
    """All are ready again when it is there, and its ticks are in order."""
    async with streaming(tmp_path, bootstrap_servers, topics={"replication_factor": 1}) as run:
        await run.start(2)
        await run.until_delivered()
        admin, topic = (
            AdminClient({"bootstrap.servers": bootstrap_servers}),
            run.topics.ticks(Exchange.NSE),
        )
        if change == "deleted":
            changed = admin.delete_topics([topic])[topic]
        else:
            changed = admin.create_partitions([NewPartitions(topic, 6)])[topic]
        await asyncio.to_thread(changed.result, 30)
        leaving = await run.fleet.leader()
        leaving.send_signal(signal.SIGTERM)
        assert await run.fleet.ended(leaving, 60) == 0
        # within three minutes; the leader looks at all topics every five
        await run.until_in_charge()
        await run.until_delivered()
        await run.until_drained()
        for process in run.fleet.alive:
            await run.stop(process)
        counts = await asyncio.to_thread(ticks_in_order, bootstrap_servers, run.topics)
        assert counts[topic] > 100
