"""What the producer says of its records: where they go, where they all are, which one failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from connector.kafka.spool import Record


class ProducerState(StrEnum):
    """The states of a producer: where a record goes."""

    NEW = "new"
    """The producer was not started yet."""
    DIRECT = "direct"
    """Records go into librdkafka's queue."""
    SPOOLING = "spooling"
    """Records go to the spool, which drains into the queue as far as there is room."""
    RECOVERING = "recovering"
    """Records go to the spool; what the failed client still holds comes back before them."""
    CLOSED = "closed"
    """Records go nowhere: each is counted as dropped."""


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Where all records are.

    Always produced == delivered + in_flight + spooled + sum(failed) + sum(dropped).
    """

    produced: int = 0
    """How many `produce` accepted, or were found in the spool at the start."""
    delivered: int = 0
    """How many Kafka has acknowledged."""
    in_flight: int = 0
    """How many are in memory: in librdkafka's queue, under way, or not yet on disk."""
    spooled: int = 0
    """How many are on disk: written, so that the death of the process loses none of them."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """How many Kafka will never accept, by reason; each was given to `on_failed`."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many were lost, by reason."""
    found: int = 0
    """How many of the produced an earlier process left in the spool."""

    @property
    def waiting(self) -> int:
        """How many records Kafka has not acknowledged yet and may still get."""
        return self.in_flight + self.spooled

    def __add__(self, other: RecordCounts) -> RecordCounts:
        """Return the sum of both counts."""
        return RecordCounts(
            produced=self.produced + other.produced,
            delivered=self.delivered + other.delivered,
            in_flight=self.in_flight + other.in_flight,
            spooled=self.spooled + other.spooled,
            failed=Counter(self.failed) + Counter(other.failed),
            dropped=Counter(self.dropped) + Counter(other.dropped),
            found=self.found + other.found,
        )


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record that Kafka will never take, and why: `reason` is librdkafka's name in lower case."""

    record: Record
    reason: str
    detail: str


async def all_written(
    counts: Callable[[], RecordCounts],
    poll_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Wait until Kafka has whatever was produced so far, or will never have it.

    Args:
        counts: of the producer.
        poll_seconds: between two looks at them.
        sleep: waits; tests have their own.
    """
    produced = counts().produced
    while (now := counts()).produced - now.waiting < produced:
        await sleep(poll_seconds)
