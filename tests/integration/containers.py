"""Kafka and a schema registry in containers, for as long as the tests run.

They are published to this machine's loopback only.

Testcontainers starts one more container that cleans up after a killed run; where its image cannot
be pulled, set TESTCONTAINERS_RYUK_DISABLED=true.
"""

from __future__ import annotations

import contextlib
import os
import time
import urllib.request
from collections.abc import Iterator

import docker
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from docker.errors import APIError, DockerException
from testcontainers.core.container import DockerContainer

from tests.support.ports import free_ports

KAFKA_IMAGE = os.environ.get("KAFKA_IMAGE", "apache/kafka:4.4.0")
REGISTRY_IMAGE = os.environ.get("REGISTRY_IMAGE", "apicurio/apicurio-registry:3.3.3")
START_SECONDS = 240.0
PAUSE_TRIES = 5


def unavailable(reason: str) -> None:
    """Skip the test, or fail it where the run is meant to have everything."""
    if os.environ.get("REQUIRE_INTEGRATION") == "1":
        pytest.fail(f"REQUIRE_INTEGRATION=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def require_engine() -> None:
    """Skip or fail without a Docker engine."""
    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except DockerException:
        address = os.environ.get("DOCKER_HOST", "its usual address")
        unavailable(
            f"no Docker engine answers at {address}: start one, or set KAFKA_BOOTSTRAP_SERVERS "
            "and SCHEMA_REGISTRY_URL"
        )


class KafkaContainer:
    """One node of Apache Kafka (KRaft) that keeps address and data over `stop` and `start`.

    Args:
        settings: of the broker, as the image's variables, over those of the tests.
    """

    def __init__(self, **settings: str) -> None:
        # chosen here: Docker would give the container another port at each start
        (port,) = free_ports(1)
        self.bootstrap_servers = f"127.0.0.1:{port}"
        listeners = "HOST://:9092,INTERNAL://:19092,CONTROLLER://:9093"
        defaults = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENERS": listeners,
            "KAFKA_ADVERTISED_LISTENERS": f"HOST://{self.bootstrap_servers},"
            "INTERNAL://localhost:19092",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
                "HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            # a node that was killed registers again only when its old session has ended
            "KAFKA_BROKER_SESSION_TIMEOUT_MS": "4000",
            # of KIP-848's groups, where it is the broker's affair: the default is 45 s
            "KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS": "6000",
            "KAFKA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS": "6000",
            "KAFKA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS": "1000",
            "KAFKA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS": "1000",
            "KAFKA_LOG_CLEANER_BACKOFF_MS": "500",
            "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
        }
        self._container = DockerContainer(KAFKA_IMAGE).with_envs(**{**defaults, **settings})
        self._container.ports = {"9092": ("127.0.0.1", port)}

    def start(self) -> None:
        """Run the container, and wait until the broker answers."""
        self._container.start()
        self._wait()

    def stop_broker(self) -> None:
        """End the broker in order, as for an upgrade."""
        self._container.get_wrapped_container().stop(timeout=30)

    def kill_broker(self) -> None:
        """End the broker as a crash does."""
        self._container.get_wrapped_container().kill()

    def start_broker(self) -> None:
        """Start it again, with the data it had."""
        self._container.get_wrapped_container().start()
        self._wait()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Connections stay open meanwhile, and nobody answers."""
        container = self._container.get_wrapped_container()
        for left in reversed(range(PAUSE_TRIES)):
            try:
                container.pause()
                break
            except APIError:  # a busy kernel did not freeze all of it in time
                if not left:
                    raise
        try:
            yield
        finally:
            container.unpause()

    def run(self, command: str) -> str:
        """What a program inside the container writes."""
        answer = self._container.get_wrapped_container().exec_run(command)
        return str(answer.output.decode())

    def close(self) -> None:
        """Delete the container and its data."""
        self._container.stop()

    def _wait(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(KafkaException):
                if admin.list_topics(timeout=1).brokers:
                    return
        written = self._container.get_wrapped_container().logs(tail=40).decode(errors="replace")
        raise TimeoutError(f"Kafka does not answer; the last lines of its log:\n{written}")


@contextlib.contextmanager
def kafka_container(**settings: str) -> Iterator[KafkaContainer]:
    """A Kafka of one's own; `settings` are the broker's, as the image's variables."""
    require_engine()
    kafka = KafkaContainer(**settings)
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.close()


@contextlib.contextmanager
def registry_container() -> Iterator[str]:
    """A schema registry in memory; yields the URL of its Confluent API."""
    require_engine()
    container = DockerContainer(REGISTRY_IMAGE)
    # whichever ports are free
    container.ports = dict.fromkeys(("8080", "9000"), ("127.0.0.1",))
    try:
        container.start()
        health = f"http://127.0.0.1:{container.get_exposed_port(9000)}/health/ready"
        end = time.monotonic() + START_SECONDS
        while not _answers(health):
            if time.monotonic() > end:
                raise TimeoutError("the schema registry does not answer")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{container.get_exposed_port(8080)}/apis/ccompat/v7"
    finally:
        container.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
