"""Three nodes of Apache Kafka (KRaft) in containers, to be killed and restarted one by one.

Each is broker and controller, has an address on a network of their own for the other two, and a
port of the loopback for the tests. Both last over kill and start, as do the data: Docker would give
two nodes that died together each other's address, and Kafka's controllers look theirs up only once.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from docker.constants import DEFAULT_DOCKER_API_VERSION as API_VERSION
from docker.errors import APIError
from docker.types import EndpointConfig, IPAMConfig, IPAMPool
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.integration.containers import KAFKA_IMAGE, START_SECONDS, require_engine
from tests.support.ports import free_ports

NODES = (1, 2, 3)
ANSWER_SECONDS = 10.0


class ThreeBrokers:
    """A cluster whose internal topics are in sync on all three nodes, as in production."""

    def __init__(self, network: Network, addresses: Iterable[str]) -> None:
        ports = dict(zip(NODES, free_ports(len(NODES)), strict=True))
        addresses_of = dict(zip(NODES, addresses, strict=False))
        self.bootstrap_servers = ",".join(f"127.0.0.1:{port}" for port in ports.values())
        self._containers = {
            node: DockerContainer(
                KAFKA_IMAGE,
                networking_config={
                    network.name: EndpointConfig(API_VERSION, ipv4_address=addresses_of[node])
                },
            )
            .with_network(network)
            .with_envs(**_environment(node, port, addresses_of))
            for node, port in ports.items()
        }
        for node, port in ports.items():
            self._containers[node].ports = {"9092": ("127.0.0.1", port)}
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def start(self) -> None:
        """Run all three, and wait until they are in sync."""
        self._at_once("start")
        self.wait_until_whole()

    def close(self) -> None:
        """Delete the containers and their data."""
        self._at_once("stop")

    def kill(self, *nodes: int) -> None:
        """End nodes as a crash of the machine does: at the same time, if several."""
        for node in nodes:
            self._containers[node].get_wrapped_container().kill()

    def stop(self, node: int) -> None:
        """End a node in order, as for an upgrade."""
        self._containers[node].get_wrapped_container().stop(timeout=60)

    def start_again(self, *nodes: int) -> None:
        """Start nodes with the data they had; they come back when they can."""
        for node in nodes:
            self._containers[node].get_wrapped_container().start()

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads a partition; -1 where none does."""
        found = self._admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        return found.partitions[partition].leader

    def coordinator(self, group: str) -> int:
        """The node that a group's members are told by who owns what."""
        described = self._admin.describe_consumer_groups([group])[group].result(ANSWER_SECONDS)
        return described.coordinator.id

    def whole(self) -> bool:
        """Whether every node answers, and every replica of every topic is in sync.

        So the nodes believe: one that is left alone by both others never learns of it.
        """
        try:
            metadata = self._admin.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException:
            return False
        return len(metadata.brokers) == len(NODES) and all(
            partition.leader > 0 and len(partition.isrs) == len(partition.replicas)
            for topic in metadata.topics.values()
            for partition in topic.partitions.values()
        )

    def wait_until_whole(self) -> None:
        """Poll `whole`; blocks."""
        end = time.monotonic() + START_SECONDS
        while not self.whole():
            if time.monotonic() > end:
                raise TimeoutError("the three brokers did not come to be in sync")
            time.sleep(0.1)

    def logs(self) -> str:
        """The ends of the nodes' logs, for a failed test."""
        return "\n".join(
            f"--- kafka-{node}\n{container.get_wrapped_container().logs(tail=60).decode()}"
            for node, container in self._containers.items()
        )

    def _at_once(self, method: str) -> None:
        with ThreadPoolExecutor(len(NODES)) as pool:
            for _ in pool.map(lambda one: getattr(one, method)(), self._containers.values()):
                pass


def _environment(node: int, port: int, addresses: Mapping[int, str]) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": str(node),
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": ",".join(f"{n}@{addresses[n]}:9093" for n in NODES),
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": "HOST://:9092,INTERNAL://:19092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": (
            f"HOST://127.0.0.1:{port},INTERNAL://{addresses[node]}:19092"
        ),
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
            "HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_MIN_INSYNC_REPLICAS": "2",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "3",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "3",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "2",
        # of these the default is 50, which takes long to lead anew with three JVMs on two cores
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "3",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        # how long a killed node is missed before others lead: the default is 9 s
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "6000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
        # twice the defaults: a busy machine is no reason to elect another controller
        "KAFKA_CONTROLLER_QUORUM_ELECTION_TIMEOUT_MS": "2000",
        "KAFKA_CONTROLLER_QUORUM_FETCH_TIMEOUT_MS": "4000",
        "KAFKA_HEAP_OPTS": "-Xms128m -Xmx384m",
        # they live for seconds: compiling well costs them more than it gains
        "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseG1GC -XX:TieredStopAtLevel=1",
    }  # fmt: skip


@contextlib.contextmanager
def _network() -> Iterator[tuple[Network, list[str]]]:
    """A network and addresses in it: Docker keeps addresses only in a subnet that it was told."""
    while True:
        subnet = f"10.{random.randrange(16, 250)}.{random.randrange(250)}"
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=f"{subnet}.0/28")])
        network = Network(docker_network_kw={"ipam": ipam})
        try:
            network.create()
        except APIError as error:
            if "overlaps" not in str(error):
                raise
        else:
            break
    try:
        # the first one is the host's
        yield network, [f"{subnet}.{1 + node}" for node in NODES]
    finally:
        network.remove()


@contextlib.contextmanager
def three_brokers() -> Iterator[ThreeBrokers]:
    """A cluster of one's own."""
    require_engine()
    with _network() as (network, addresses):
        brokers = ThreeBrokers(network, addresses)
        try:
            brokers.start()
            yield brokers
        finally:
            brokers.close()
