import socket

import pytest

from connector.cluster.member_client import member_properties
from connector.settings.models import ClusterSettings, KafkaSettings


def properties(**cluster):
    return member_properties(KafkaSettings(), ClusterSettings(**cluster), "kite", "kite", None)


def test_properties_of_both_protocols():
    classic = properties(session_timeout_seconds=8)
    assert classic["session.timeout.ms"] == 8000
    assert classic["partition.assignment.strategy"] == "cooperative-sticky"
    assert classic["isolation.level"] == "read_committed"
    assert classic["enable.auto.commit"] is False
    consumer = properties(group_protocol="consumer")
    assert consumer["group.protocol"] == "consumer"
    # librdkafka refuses to start with any of these
    assert not consumer.keys() & {
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "partition.assignment.strategy",
    }


@pytest.mark.parametrize(
    ("host", "shown"),
    [("kite-0", "kite-0"), ("node7", "kite-node7"), ("kitesurf", "kite-kitesurf")],
)
def test_a_host_that_is_named_after_the_connector_is_shown_once(monkeypatch, host, shown):
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert properties()["client.id"] == shown
