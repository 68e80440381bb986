"""What the producer says of its records: where they go, where they all are, which one failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
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

    produced: int = 0
    """Taken by `produce`, and found in the spool at the start."""
    delivered: int = 0
    """Acknowledged by Kafka."""
    in_flight: int = 0
    """In memory: in librdkafka's queue, under way, or not yet on disk."""
    spooled: int = 0
    """On disk: written, so that the death of the process loses none of them."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """By reason: Kafka will never take them; each was given to `on_failed`."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason: lost."""
    found: int = 0
    """Of the produced: left by an earlier process in the spool."""

    @property
    def waiting(self) -> int:
        """Records that Kafka has not acknowledged yet and may still get."""
        return self.in_flight + self.spooled

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
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
    counts: Callable[[], Counts],
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
