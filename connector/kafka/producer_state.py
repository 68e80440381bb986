"""What the producer says of its records: where they go, where they all are, which one failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from connector.kafka.spool import Record


class ProducerState(StrEnum):
    """Where a record goes."""

    NEW = "new"
    """Not started."""
    DIRECT = "direct"
    """Into librdkafka's queue."""
    SPOOLING = "spooling"
    """To the spool, which drains into the queue as far as there is room."""
    RECOVERING = "recovering"
    """To the spool; what the failed client still holds comes back before it."""
    CLOSED = "closed"
    """Nowhere: it is counted as dropped."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Where all records are.

    Always produced == delivered + in_flight + spooled + sum(failed) + sum(dropped).
    """

    produced: int
    """Taken by `produce`, and found in the spool at the start."""
    delivered: int
    """Acknowledged by Kafka."""
    in_flight: int
    """In memory: in librdkafka's queue, under way, or not yet on disk."""
    spooled: int
    """On disk: written, so that the death of the process loses none of them."""
    failed: Mapping[str, int]
    """By reason: Kafka will never take them; each was given to `on_failed`."""
    dropped: Mapping[str, int]
    """By reason: lost."""
    found: int
    """Of the produced: left by an earlier process in the spool."""


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record that Kafka will never take, and why: `reason` is librdkafka's name in lower case."""

    record: Record
    reason: str
    detail: str
