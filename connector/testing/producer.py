"""A producer that keeps what it is given, in place of one that writes to Kafka."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from connector.kafka.broker_health import BrokerHealth
from connector.kafka.producer_state import RecordCounts
from connector.kafka.refusals import TopicTrouble
from connector.kite.feed.wait import within


class ProducedRecord(NamedTuple):
    """A record as it would go to Kafka."""

    topic: str
    value: bytes | None
    key: bytes | None
    timestamp_ms: int
    """UTC milliseconds since 1970; 0 for the time of production."""
    headers: Sequence[tuple[str, bytes | None]] | None


class RecordingProducer:
    """Looks like the service's producer, keeps every record in `records`, and needs no Kafka.

    What is produced counts as delivered, but for `in_flight` records. A test sets the other
    attributes to what a producer in trouble would show.

    Args:
        troubles: the topics that accept nothing.
        counts: what `counts` is to be, in place of what was produced.
        health: the brokers as the client sees them; by default one that knows nothing yet.
    """

    def __init__(
        self,
        *troubles: TopicTrouble,
        counts: RecordCounts | None = None,
        health: BrokerHealth | None = None,
    ) -> None:
        self.records: list[ProducedRecord] = []
        self.calls: list[object] = []
        """The names of the calls that open, bound, flush and close, in order."""
        self.troubles: Sequence[TopicTrouble] = troubles
        self.health = health or BrokerHealth(None)
        self.in_flight = 0
        self.waiting_of: dict[str, int] = {}
        """How many records of a topic wait for Kafka."""
        self.way = "native"
        """What it says of its way to librdkafka; empty where there is no client yet."""
        self.way = "native"
        self.broker_reachable = True
        self.last_error: str | None = None
        self.dead_letters = RecordCounts()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.spool_problem: str | None = None
        self.spool_bytes = self.spool_peak_bytes = self.spool_limit_bytes = self.queue_peak = 0
        self.clean = True
        """What `close` answers: whether everything was acknowledged or spooled."""
        self.flushed = asyncio.Event()
        """While it is not set, `flush` waits."""
        self.flushed.set()
        self._counts = counts

    @property
    def counts(self) -> RecordCounts:
        """Where all records are."""
        produced = len(self.records)
        return self._counts or RecordCounts(produced, produced - self.in_flight, self.in_flight)

    def produce_all(self, records: Iterable[tuple[str, bytes, bytes]], timestamp_ms: int) -> None:
        """Keep (topic, key, value) of each record; all have the same timestamp."""
        for topic, key, value in records:
            self.produce(topic, value, key, timestamp_ms)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int = 0,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Keep one record as it would go to Kafka."""
        self.records.append(ProducedRecord(topic, value, key, timestamp_ms, headers))

    def waiting(self, topic: str) -> int:
        """Return how many records of a topic wait for Kafka, see `waiting_of`."""
        return self.waiting_of.get(topic, 0)

    def bound_batches(self, max_bytes: int) -> None:
        """Note the bound of a batch."""
        self.calls.append(("bound", max_bytes))

    async def start(self) -> None:
        """Note the start of the producer."""
        self.calls.append("start")

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until `flushed` is set; False where that takes longer than the timeout."""
        self.calls.append("flush")
        return await within(timeout_seconds, self.flushed.wait())

    async def close(self, grace_seconds: float) -> bool:
        """Note the end; returns `clean`."""
        self.calls.append("close")
        return self.clean
