"""Addresses of real services: from the environment, else of containers that live for the run.

KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL name what is running already. Without them and
without a Docker engine the tests are skipped, or fail with REQUIRE_INTEGRATION=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.containers import KafkaContainer, kafka_container, registry_container
from tests.integration.secured import SecuredKafka, secured_kafka
from tests.integration.service_process import Simulator


@pytest.fixture(scope="session")
def bootstrap_servers() -> Iterator[str]:
    """A Kafka that all tests share: use topics of your own."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    with kafka_container() as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture(scope="session")
def registry_url() -> Iterator[str]:
    """A schema registry that all tests share: use subjects of your own."""
    given = os.environ.get("SCHEMA_REGISTRY_URL")
    if given:
        yield given
        return
    with registry_container() as url:
        yield url


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaContainer]:
    """A Kafka to be stopped and killed: always a container."""
    with kafka_container() as kafka:
        yield kafka


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A Kafka that asks who one is, and what one may do: always a container."""
    with secured_kafka(tmp_path_factory.mktemp("secured")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def simulated_feed() -> Iterator[Simulator]:
    """A simulated feed in a process of its own."""
    simulator = Simulator()
    try:
        yield simulator
    finally:
        simulator.close()
