"""Reading the connector's own topics, decoded: for `kite-connector tail`, and for a look inside.

Reads by assignment, without a consumer group: it leaves nothing behind on the brokers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
)

from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.config import ClientLog, client_properties, refused_properties
from connector.kafka.diagnosis import Complaints, passing
from connector.kafka.groups import reader_group
from connector.kafka.records import RecordDecoder
from connector.kafka.registry import schema_by_id
from connector.kafka.registry_client import registry_client
from connector.kafka.topics import TopicNames
from connector.settings.models import DEFAULT_NAME, KafkaSettings, RegistrySettings

_BATCH = 500
_WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class TailRecord:
    """One record as read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str | None
    value: Any
    """A dict for Avro and JSON values, else bytes; None for a tombstone."""
    headers: dict[str, str]
    schema_id: int | None
    source: str
    """Whose schema decoded it: registry, shipped (the registry did not answer), json or raw."""
    problem: str | None = None
    """Why the value could not be decoded, and is bytes."""


async def tail(
    kafka: KafkaSettings,
    registry: RegistrySettings | None,
    names: TopicNames,
    topics: Sequence[str],
    *,
    start: Literal["earliest", "latest"] = "latest",
    follow: bool = True,
    keys: Collection[str] | None = None,
    timeout_seconds: float = 10.0,
    name: str = DEFAULT_NAME,
) -> AsyncIterator[TailRecord]:
    """Yield the records of `topics`, each partition in order.

    Args:
        kafka: the brokers.
        registry: where schemas are; None takes the shipped ones.
        names: tells which topics are Avro.
        topics: what to read, by name.
        start: from the oldest record, or only what comes from now on.
        follow: go on for ever; else end at what was there at the start.
        keys: only the records of these keys; the others are not even decoded.
        timeout_seconds: for the brokers to answer at first.
        name: the connector's, with which the reader's group begins.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic is not there.
    """
    reader = _Reader(kafka, registry, names, keys, name)
    try:
        await asyncio.to_thread(reader.open, topics, start, timeout_seconds)
        while follow or not reader.at_end:
            for record in await asyncio.to_thread(reader.read):
                yield record
    finally:
        await asyncio.to_thread(reader.close)


async def written_records(
    kafka: KafkaSettings, topics: Sequence[str], *, timeout_seconds: float = 10.0
) -> dict[str, int]:
    """How many records were ever written to each topic, kept or not: the sum of its end offsets.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic is not there.
    """
    reader = _Reader(kafka, None, TopicNames(), None)
    try:
        return await asyncio.to_thread(reader.written, topics, timeout_seconds)
    finally:
        await asyncio.to_thread(reader.close)


class _Reader:
    """The blocking half."""

    def __init__(
        self,
        kafka: KafkaSettings,
        registry: RegistrySettings | None,
        names: TopicNames,
        keys: Collection[str] | None,
        name: str = DEFAULT_NAME,
    ) -> None:
        self._kafka = kafka
        self._keys = None if keys is None else frozenset(key.encode() for key in keys)
        self._registry = (
            None if registry is None else registry_client(registry, timeout_seconds=3.0)
        )
        self._decoder = RecordDecoder(names, self._schema_by_id if self._registry else None)
        self._complaints = Complaints(kafka)
        properties = client_properties(
            kafka,
            **{
                "error_cb": self._complaints,
                # librdkafka wants one, even where no group is joined
                "group.id": reader_group(name, "tail"),
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "auto.offset.reset": "earliest",
            },
        )
        with refused_properties(kafka):
            self._consumer = Consumer(properties, logger=ClientLog("tail"))
        # a reader that is cancelled leaves its `read` running in a thread: `close` waits for it
        self._lock = threading.Lock()
        self._unfinished: set[tuple[str, int]] = set()

    @property
    def at_end(self) -> bool:
        return not self._unfinished

    def open(self, topics: Sequence[str], start: str, timeout_seconds: float) -> None:
        offset = OFFSET_BEGINNING if start == "earliest" else OFFSET_END
        partitions = self._partitions(topics, offset, timeout_seconds)
        self._unfinished = {(p.topic, p.partition) for p in partitions}
        self._consumer.assign(partitions)

    def written(self, topics: Sequence[str], timeout_seconds: float) -> dict[str, int]:
        counts = dict.fromkeys(topics, 0)
        for partition in self._partitions(topics, OFFSET_END, timeout_seconds):
            try:
                _, end = self._consumer.get_watermark_offsets(partition, timeout_seconds)
            except KafkaException as exc:
                raise BrokerUnreachableError(
                    self._kafka.bootstrap_servers, exc.args[0].str()
                ) from exc
            counts[partition.topic] += end
        return counts

    def _partitions(
        self, topics: Sequence[str], offset: int, timeout_seconds: float
    ) -> list[TopicPartition]:
        try:
            metadata = self._consumer.list_topics(timeout=timeout_seconds)
        except KafkaException as exc:
            raise self._complaints.unreachable(exc, self._consumer) from exc
        partitions = []
        for topic in topics:
            found = metadata.topics.get(topic)
            if found is None or found.error is not None:
                raise TopicError(topic, "is not there")
            partitions += [TopicPartition(topic, number, offset) for number in found.partitions]
        return partitions

    def read(self) -> list[TailRecord]:
        with self._lock:
            messages = self._consumer.consume(_BATCH, _WAIT_SECONDS)
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                if self._keys is None or message.key() in self._keys:
                    records.append(self._record(message))
            elif error.name() == "_PARTITION_EOF":
                self._unfinished.discard((str(message.topic()), message.partition() or 0))
            elif not passing(error):
                raise TopicError(str(message.topic()), error.str())
        return records

    def close(self) -> None:
        with self._lock:
            self._consumer.close()

    def _schema_by_id(self, schema_id: int) -> str:
        assert self._registry is not None  # noqa: S101 - given to the decoder only with one
        return schema_by_id(self._registry, schema_id)

    def _record(self, message: Message) -> TailRecord:
        topic, value, problem = str(message.topic()), message.value(), None
        schema_id, source = None, "raw"
        try:
            decoded = self._decoder.decode(topic, value)
        except ValueError as exc:
            problem = str(exc)
        else:
            value, schema_id, source = decoded.value, decoded.schema_id, decoded.source
        key = message.key()
        return TailRecord(
            topic=topic,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            timestamp_ms=message.timestamp()[1],
            key=None if key is None else key.decode(errors="replace"),
            value=value,
            headers=_headers(message),
            schema_id=schema_id,
            source=source,
            problem=problem,
        )


def _headers(message: Message) -> dict[str, str]:
    # a list of pairs whenever it comes from a consumer, whatever the stub allows
    pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return {name: (content or b"").decode(errors="replace") for name, content in pairs}
