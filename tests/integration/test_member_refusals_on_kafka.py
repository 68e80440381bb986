"""Brokers that do not let a replica into its group: it says why, and what to change."""

import re

import pytest

from tests.integration.containers import kafka_container
from tests.integration.service_process import connector

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def strict():
    """Long session timeouts only, groups of one member, and no KIP-848."""
    with kafka_container(
        KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS="30000",
        KAFKA_GROUP_MAX_SIZE="1",
        KAFKA_GROUP_COORDINATOR_REBALANCE_PROTOCOLS="classic",
    ) as kafka:
        yield kafka


@pytest.fixture
def environment(strict, simulated_feed):
    return simulated_feed.environment | {
        "KITE_KAFKA__BOOTSTRAP_SERVERS": strict.bootstrap_servers,
        "KITE_REGISTRY__URL": "mock://refusals",
    }


def test_a_session_timeout_that_the_brokers_do_not_allow(environment, tmp_path):
    with connector(tmp_path / "log", environment) as running:
        reason = running.until_reason("Invalid session timeout")
        assert "cluster.session_timeout_seconds is 10" in reason
        assert "group.min.session.timeout.ms" in reason
        # over many tries it is said once
        assert len(re.findall("member_refused", running.log)) == 1
        assert running.stop() == 0


def test_a_group_protocol_that_the_brokers_do_not_have(environment, tmp_path):
    more = {"KITE_CLUSTER__GROUP_PROTOCOL": "consumer"}
    with connector(tmp_path / "log", environment, more) as running:
        reason = running.until_reason("API version not supported")
        assert "cluster.group_protocol is consumer" in reason
        assert running.stop() == 0


def test_a_group_that_is_full(environment, tmp_path):
    longer = {"KITE_CLUSTER__SESSION_TIMEOUT_SECONDS": "30"}
    with connector(tmp_path / "first", environment, longer) as first:
        first.until_ready()
        with connector(tmp_path / "second", environment, longer) as second:
            second.until_reason("group.max.size")
            assert second.stop() == 0
        assert first.stop() == 0
