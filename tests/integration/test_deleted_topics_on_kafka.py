"""Topics of the control plane that somebody deletes while replicas stream, on a real Kafka."""

import asyncio

import pytest
from confluent_kafka.admin import AdminClient

from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.integration.test_control_on_kafka import KEY, TOKENS, Kafka
from tests.support.replicas import Steering, replicas, settings

pytestmark = pytest.mark.integration


def delete(kafka, *topics):
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for future in admin.delete_topics(list(topics)).values():
        future.result(30)


async def make_missing(kafka, members):
    """Make what the members find missing, as the service does, until all is well with them."""

    def missing():
        return {topic for member in members for topic in member.cluster.missing_topics()}

    await until(missing, 60)
    while missing():
        await kafka.create()
        await asyncio.sleep(0.2)


@pytest.fixture(params=["classic", "consumer"])
async def running(request, bootstrap_servers):
    kafka = Kafka(bootstrap_servers, request.param)
    await kafka.create()
    config = SimulatorConfig(stepped=False, updates_per_second=0, accounts=[{"api_key": KEY}])
    async with SimulatorServer(config) as feed:
        tree = settings(bootstrap_servers, feed.ws_url, **kafka.changes)
        async with replicas(tree) as members:
            steering = Steering(bootstrap_servers, kafka.topics)
            reply = await steering.send("subscribe", watchlist="w", instruments=TOKENS)
            assert reply["accepted"] == len(TOKENS)
            await until(lambda: set(feed.subscriptions()) == set(TOKENS), 60)
            yield kafka, feed, members, steering
            steering.close()


async def test_nothing_is_unsubscribed_when_the_subscriptions_are_deleted(running):
    kafka, feed, members, steering = running
    sessions = [slot.connection.stats.session_id for slot in members[0].cluster.slots.values()]
    delete(kafka, kafka.topics.subscriptions)
    await make_missing(kafka, members)
    await until(lambda: [one.type for one in members[0].events] == ["subscriptions_restored"], 60)
    await until(lambda: members[0].cluster.not_ready() == [], 60)
    # on the sockets that were open
    assert set(feed.subscriptions()) == set(TOKENS)
    assert not [request for request in feed.requests if request.action == "unsubscribe"]
    assert sessions == [
        slot.connection.stats.session_id for slot in members[0].cluster.slots.values()
    ]
    # what was written again is what the next leader reads
    await steering.send("unsubscribe", watchlist="w", instruments=TOKENS[:1])
    await until(lambda: set(feed.subscriptions()) == set(TOKENS[1:]), 60)
    tree = members[0].cluster._settings
    await members[0].stop()
    async with replicas(tree):
        await until(lambda: set(feed.subscriptions()) == set(TOKENS[1:]), 60)


async def test_commands_go_on_when_the_control_topic_and_the_replies_are_deleted(running):
    kafka, feed, members, steering = running
    delete(kafka, kafka.topics.control, kafka.topics.replies)
    await make_missing(kafka, members)
    await until(lambda: members[0].cluster.not_ready() == [], 60)
    steering.close()
    again = Steering(kafka.bootstrap_servers, kafka.topics)
    reply = await again.send("unsubscribe", watchlist="w", instruments=TOKENS[:2])
    assert reply["accepted"] == 2
    await until(lambda: set(feed.subscriptions()) == set(TOKENS[2:]), 60)
    again.close()
