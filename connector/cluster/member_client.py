"""The consumer of a member of the group: how librdkafka is told what a cluster needs."""

from __future__ import annotations

import socket
from typing import Any, Final

from connector.kafka.config import client_properties
from connector.kafka.groups import cluster_group
from connector.settings.models import ClusterSettings, KafkaSettings

HEARTBEAT_MS: Final = 250
"""A member hears so soon that another one leaves or comes: it is most of what a hand-over takes."""
_FETCH_WAIT_MS: Final = 100
"""A slot that is new to this replica is read when the fetch under way has been answered."""
METADATA_REFRESH_MS: Final = 10_000
"""A topic that is new is seen so soon; librdkafka's own is five minutes."""


def member_properties(
    kafka: KafkaSettings, cluster: ClusterSettings, prefix: str, name: str, instance: str | None
) -> dict[str, Any]:
    """Return the properties of a member's consumer.

    Args:
        kafka: how brokers are reached; what its `client` says comes last.
        cluster: the protocol, and how long a session lasts.
        prefix: of the topics.
        name: the connector's.
        instance: what the brokers know the process by, over its restarts; None: by nothing.
    """
    timeout_ms = round(cluster.session_timeout_seconds * 1000)
    own: dict[str, Any] = {
        "group.id": cluster_group(name, prefix),
        # a broker's member ids begin with it, and assignors sort by them: so after an outage,
        # when nobody owns anything, slots tend to come back to where they were
        "client.id": _client_id(name, socket.gethostname()),
        "group.protocol": cluster.group_protocol,
        # a commit of librdkafka's own would replace the metadata that `SlotFrames` keeps in the
        # offsets
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # counts where a position is out of range, as in a topic that was made anew
        "auto.offset.reset": "earliest",
        # a transaction that a leader aborts was never commanded
        "isolation.level": "read_committed",
        # the end of a partition is what makes `CaughtUp`
        "enable.partition.eof": True,
        "fetch.wait.max.ms": kafka.client.get("fetch.wait.max.ms", _FETCH_WAIT_MS),
        # librdkafka's 500 ms would delay commands whenever a partition changes its broker
        "fetch.error.backoff.ms": 100,
        # how soon the partitions of a new api_key are seen
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
    }
    # under KIP-848 brokers set all three, and librdkafka (2.16) makes no client that names them
    if cluster.group_protocol == "classic":
        # KIP-429: only what moves is revoked; an eager assignor revokes everything in each
        # rebalance, which would close every socket
        own["partition.assignment.strategy"] = "cooperative-sticky"
        own["session.timeout.ms"] = timeout_ms
        own["heartbeat.interval.ms"] = HEARTBEAT_MS
    if instance is not None:
        own["group.instance.id"] = instance
    return client_properties(kafka, **own)


def _client_id(name: str, host: str) -> str:
    """Name a member to people; a pod's host is named after the connector already."""
    return host if host.startswith(f"{name}-") else f"{name}-{host}"
