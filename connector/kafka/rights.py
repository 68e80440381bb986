"""What each kind of program may do on a broker with ACLs: the one table of them.

docs/security.md shows it, `make integration` runs the connector with exactly these rights, and
`kite-connector kafka-resources` writes them as others' tools want them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

from connector.kafka.groups import cluster_group, handover_group, leader_transactional_id
from connector.kafka.topics import TopicNames

Principal = Literal["connector", "creator", "operator", "consumer"]
"""A principal is the connector itself, the connector while it makes its topics (creator), whoever
runs `ctl` (operator), or whoever reads ticks (consumer)."""
ResourceKind = Literal["topic", "group", "transactional id"]
CONSUMER_GROUPS = "consumer-"
"""The groups of the consumers in the table begin so; those of real ones have names of their own."""


class Right(NamedTuple):
    """What a principal may do with one resource, or with all whose names begin alike."""

    principal: Principal
    resource: ResourceKind
    name: str
    prefixed: bool
    operations: tuple[str, ...]
    """The operations are in Kafka's spelling: Read, Write, DescribeConfigs and so on."""


def rights(
    name: str, prefix: str, *, latest: bool = False, backfill: bool = False
) -> Iterator[Right]:
    """Yield every right that the connector and those around it need, and no other.

    Args:
        name: of the connector, as in its settings.
        prefix: of its topics.
        latest: whether `topics.latest` is on.
        backfill: whether `topics.backfill` is on.
    """
    names = TopicNames(prefix)
    group = cluster_group(name, prefix)
    write, both = ("Write", "DescribeConfigs"), ("Read", "Write", "DescribeConfigs")

    yield Right("connector", "topic", names.ticks_prefix, True, both)
    yield Right("connector", "topic", names.orders, False, both)
    # the gaps that are to be mended are read there, whoever told of them
    yield Right("connector", "topic", names.events, False, both if backfill else write)
    yield Right("connector", "topic", names.deadletter, False, write)
    yield Right("connector", "topic", names.instruments, False, both)
    yield Right("connector", "topic", names.subscriptions, False, both)
    yield Right("connector", "topic", names.control, False, ("Read", "DescribeConfigs"))
    yield Right("connector", "topic", names.replies, False, write)
    if latest:
        yield Right("connector", "topic", names.latest, False, write)
    if backfill:
        yield Right("connector", "topic", names.backfill, False, both)
    yield Right("connector", "group", group, False, ("Read",))
    yield Right("connector", "group", handover_group(name, prefix), False, ("Read",))
    transactional_id = leader_transactional_id(name, prefix)
    yield Right("connector", "transactional id", transactional_id, False, ("Write",))
    # Alter: partitions are added to kite.subscriptions with an api_key
    yield Right("creator", "topic", f"{prefix}.", True, ("Create", "Alter"))
    yield Right("operator", "topic", names.control, False, ("Write",))
    yield Right("operator", "topic", names.replies, False, ("Read",))
    yield Right("operator", "topic", names.subscriptions, False, ("Read",))
    yield Right("operator", "group", group, False, ("Describe",))
    yield Right("consumer", "topic", names.ticks_prefix, True, ("Read",))
    yield Right("consumer", "topic", names.events, False, ("Read",))
    if latest:
        yield Right("consumer", "topic", names.latest, False, ("Read",))
    if backfill:
        yield Right("consumer", "topic", names.backfill, False, ("Read",))
    yield Right("consumer", "group", CONSUMER_GROUPS, True, ("Read",))


def rights_of(table: Collection[Right], *principals: Principal) -> list[Right]:
    """The rights of these principals together, in the order of the table."""
    return [right for right in table if right.principal in principals]
