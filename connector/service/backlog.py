"""The long work of a service that somebody may watch: what it is, and how much of it is left."""

from __future__ import annotations

from typing import NamedTuple

from connector.kafka.producer_state import RecordCounts
from connector.service.readiness import Phase


class Backlog(NamedTuple):
    """Work that is under way."""

    what: str
    left: int
    """How many records or rows of it are left."""


def backlog(
    phase: Phase, counts: RecordCounts, *, broker_reachable: bool, rows_left: int
) -> Backlog | None:
    """Return what takes long just now; None where there is nothing of the kind.

    Args:
        phase: of the service.
        counts: of the producer, all records but dead letters.
        broker_reachable: without a broker the spool does not drain.
        rows_left: of the list of instruments that is being published.
    """
    if phase is Phase.STOPPING:
        left = counts.in_flight + counts.spooled
        return Backlog("records to Kafka before the end", left) if left else None
    if phase is not Phase.RUNNING:
        return None
    if counts.spooled and broker_reachable:
        return Backlog("records out of the spool", counts.spooled)
    return Backlog("instruments to Kafka", rows_left) if rows_left else None
