"""Three nodes of Apache Kafka (KRaft) in containers, to be killed and restarted one by one.

Each is broker and controller, has a name on a network of their own for the other two, and a fixed
port of the loopback for the tests: address and data last over kill and start.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.integration.containers import KAFKA_IMAGE, START_SECONDS, require_engine

NODES = (1, 2, 3)
ANSWER_SECONDS = 10.0


class ThreeBrokers:
    """A cluster whose internal topics are in sync on all three nodes, as in production."""

    def __init__(self, network: Network) -> None:
        ports = dict(zip(NODES, _free_ports(len(NODES)), strict=True))
        self.bootstrap_servers = ",".join(f"127.0.0.1:{port}" for port in ports.values())
        self._containers = {
            node: DockerContainer(KAFKA_IMAGE)
            .with_network(network)
            .with_network_aliases(f"kafka-{node}")
            .with_bind_ports(9092, port)
            .with_envs(**_environment(node, port))
            for node, port in ports.items()
        }
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
        """Whether every node answers, and every replica of every topic is in sync."""
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


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _environment(node: int, port: int) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": str(node),
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": ",".join(f"{n}@kafka-{n}:9093" for n in NODES),
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": "HOST://:9092,INTERNAL://:19092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": (
            f"HOST://127.0.0.1:{port},INTERNAL://kafka-{node}:19092"
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
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "5000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
        "KAFKA_HEAP_OPTS": "-Xms128m -Xmx384m",
        # they live for seconds: compiling well costs them more than it gains
        "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseG1GC -XX:TieredStopAtLevel=1",
    }  # fmt: skip


@contextlib.contextmanager
def three_brokers() -> Iterator[ThreeBrokers]:
    """A cluster of one's own."""
    require_engine()
    with Network() as network:
        brokers = ThreeBrokers(network)
        try:
            brokers.start()
            yield brokers
        finally:
            brokers.close()
