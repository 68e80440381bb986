"""Names of the consumer groups and of the transactional.id: one prefix in the ACLs is enough."""

from __future__ import annotations

import uuid


def cluster_group(name: str, prefix: str) -> str:
    """The group whose members share the slots under one topic prefix.

    The prefix is part of it: two connectors that left their name at its default, each with topics
    of its own, would else be one group with two subscriptions, and fence each other's leader. A
    colon stands between, which neither a name nor a topic may have: no two pairs give one group.

    Args:
        name: of the connector, as in its settings.
        prefix: of its topics.
    """
    return f"{name}:{prefix}"


def handover_group(name: str, prefix: str) -> str:
    """The group that nobody joins, whose offsets say how far a slot's hand-over has come.

    Args:
        name: of the connector, as in its settings.
        prefix: of its topics.
    """
    return f"{cluster_group(name, prefix)}-handover"


def leader_transactional_id(name: str, prefix: str) -> str:
    """Return the transactional.id by which a new leader fences the one before it."""
    return f"{cluster_group(name, prefix)}-leader"


def reader_group(name: str, purpose: str) -> str:
    """A group that nobody joins and nothing is committed for: librdkafka wants one all the same.

    Each has a name of its own, so that no two readers are ever taken for members of one group.

    Args:
        name: of the connector, as in its settings.
        purpose: who reads: tail, ctl, instruments.
    """
    return f"{name}-{purpose}-{uuid.uuid4().hex[:8]}"
