"""Names of the consumer groups of clients that only read: one prefix in the ACLs is enough."""

from __future__ import annotations

import uuid


def reader_group(name: str, purpose: str) -> str:
    """A group that nobody joins and nothing is committed for: librdkafka wants one all the same.

    Each has a name of its own, so that no two readers are ever taken for members of one group.

    Args:
        name: of the connector, as in its settings.
        purpose: who reads: tail, ctl, instruments.
    """
    return f"{name}-{purpose}-{uuid.uuid4().hex[:8]}"
