"""Another program's consumer in the connector's group, on a real Kafka: it is named."""

import asyncio
import threading

import pytest
from confluent_kafka import Consumer

from connector.cluster import foreign
from connector.kafka.groups import cluster_group
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.integration.test_control_on_kafka import KEY, Kafka
from tests.support.replicas import replicas, settings, settled

pytestmark = pytest.mark.integration


class Foreigner:
    """Consumes a topic of the connector's with its group.id, as any program may."""

    def __init__(self, kafka, protocol, client_id, topic):
        properties = {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": cluster_group(kafka.name, kafka.topics.prefix),
            "client.id": client_id,
            "group.protocol": protocol,
        }
        if protocol == "classic":
            properties["partition.assignment.strategy"] = "cooperative-sticky"
            properties["session.timeout.ms"] = 6000
        self._consumer = Consumer(properties)
        self._consumer.subscribe([topic])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stopping.is_set():
            self._consumer.poll(0.1)
        self._consumer.close()

    def end(self):
        self._stopping.set()
        self._thread.join()


@pytest.mark.parametrize(
    ("client_id", "taken"),
    [
        ("somebody", "subscriptions"),
        ("{name}-copy", "subscriptions"),
        ("{name}-copy", "control"),
    ],
)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_consumer_of_another_program_that_takes_slots_or_the_leadership_is_named(
    bootstrap_servers, protocol, client_id, taken, monkeypatch
):
    # what has the connector's name is known by its silence: replicas speak within a second
    monkeypatch.setattr(foreign, "LOOK_SECONDS", 0.2 if client_id == "somebody" else 3.0)
    kafka = Kafka(bootstrap_servers, protocol)
    await kafka.create()
    config = SimulatorConfig(stepped=False, updates_per_second=0, accounts=[{"api_key": KEY}])
    async with SimulatorServer(config) as feed:
        tree = settings(bootstrap_servers, feed.ws_url, **kafka.changes)
        async with replicas(tree) as members:
            cluster = members[0].cluster
            watching = asyncio.create_task(cluster.watch())
            await settled(members, range(3))
            client_id = client_id.format(name=kafka.name)
            foreigner = Foreigner(kafka, protocol, client_id, getattr(kafka.topics, taken))
            try:
                await until(lambda: any(f"{client_id} /" in one for one in cluster.not_ready()), 60)
                assert cluster.status()["foreign"]
                told = members[0].events
                await until(lambda: [one.type for one in told[-1:]] == ["foreign_member"])
            finally:
                await asyncio.to_thread(foreigner.end)
            await until(lambda: cluster.not_ready() == [] and len(members[0].owned) == 3, 60)
            watching.cancel()
