"""Reading the connector's own topics, decoded: for `kite-connector tail`, and for a look inside.

Reads by assignment, without a consumer group: it leaves nothing behind on the brokers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol, cast

import structlog
from confluent_kafka import Message, TopicPartition

from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.avro_records import RecordDecoder
from connector.kafka.reader import ADDED_SECONDS, BEGINNING, END, Reader
from connector.kafka.registry import schema_by_id
from connector.kafka.registry_client import registry_client
from connector.kafka.topics import TopicNames
from connector.settings.models import DEFAULT_NAME, KafkaSettings, RegistrySettings

_log = structlog.get_logger("connector.kafka")

_BATCH = 500  # records of one call of the thread: a filter may pass over most of them
_WAIT_SECONDS = 0.2  # for what comes next, until it is looked at whether anybody still waits
_WAITS = 5  # in one call of the thread
SILENT_SECONDS: Final = 30.0
"""Without a word from the brokers for so long, reading to an end has failed."""


@dataclass(frozen=True, slots=True)
class TailRecord:
    """One record of a topic, decoded."""

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


class Since(NamedTuple):
    """Where reading begins in each partition: at a time or an offset; one of them is None."""

    time_ms: int | None = None
    """The first record of this time, UTC milliseconds; older ones behind it are left out too."""
    offset: int | None = None
    """Below 0: so many records before the end. Beyond what is there: the first, or the end."""


class RecordFilter(Protocol):
    """Chooses records; both methods are called in the thread that reads."""

    def may_match(self, topic: str, key: bytes | None) -> bool:
        """Whether a record of this key could be one: else it is not even decoded."""

    def matches(self, record: TailRecord) -> bool:
        """Whether the decoded record is one."""


async def tail(
    kafka: KafkaSettings,
    registry: RegistrySettings | None,
    names: TopicNames,
    topics: Sequence[str],
    *,
    start: Literal["earliest", "latest"] | Since = "latest",
    follow: bool = True,
    keys: Collection[str] | None = None,
    wanted: RecordFilter | None = None,
    timeout_seconds: float = 10.0,
    name: str = DEFAULT_NAME,
    caught_up: Callable[[], None] | None = None,
) -> AsyncIterator[TailRecord]:
    """Yield the records of `topics`, each partition in order.

    Args:
        kafka: the brokers.
        registry: where schemas are; None takes the shipped ones.
        names: tells which topics are Avro.
        topics: what to read, by name.
        start: from the oldest record, only what comes from now on, or from a place.
        follow: go on for ever; else end at what was there at the start.
        keys: only the records of these keys; the others are not even decoded.
        wanted: only the records that this chooses.
        timeout_seconds: for the brokers to answer at first.
        name: the connector's, with which the reader's group begins.
        caught_up: called once, behind the last record that was there when the reading began.

    Raises:
        BrokerUnreachableError: no broker answers; or without `follow`, none has for a while.
        TopicError: a topic is not there.
    """
    reader = Reader(kafka, name, "tail", timeout_seconds=timeout_seconds)
    decoding = _Decoding(reader, registry, names, keys, wanted)
    try:
        await asyncio.to_thread(decoding.open, topics, start)
        looked = heard = time.monotonic()
        while follow or reader.unfinished:
            left = len(reader.unfinished)
            for record in await asyncio.to_thread(decoding.read):
                yield record
            if decoding.read_any or len(reader.unfinished) < left:
                heard = time.monotonic()
            elif not follow and time.monotonic() - heard > SILENT_SECONDS:
                raise BrokerUnreachableError(
                    kafka.bootstrap_servers, "the topics could not be read to their ends"
                )
            if follow and time.monotonic() - looked >= ADDED_SECONDS:
                await asyncio.to_thread(decoding.look)
                looked = time.monotonic()
            if caught_up is not None and not reader.unfinished:
                caught_up()
                caught_up = None
    finally:
        # its thread cannot be cancelled: it ends within _WAIT_SECONDS, and only then can be closed
        decoding.closing = True
        await asyncio.to_thread(decoding.close)


async def written_records(kafka: KafkaSettings, topics: Sequence[str]) -> dict[str, int]:
    """How many records were ever written to each topic, kept or not: the sum of its end offsets.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic is not there.
    """

    def count() -> dict[str, int]:
        with Reader(kafka, DEFAULT_NAME, "tail") as reader:
            return {topic: sum(end.offset for end in reader.ends(topic)) for topic in topics}

    return await asyncio.to_thread(count)


class _Decoding:
    """The blocking half: reads, and decodes.

    Args:
        reader: of the topics.
        registry: where schemas are; None takes the shipped ones.
        names: tells which topics are Avro.
        keys: only the records of these keys; None: all.
        wanted: only the records that this chooses; None: all.
    """

    def __init__(
        self,
        reader: Reader,
        registry: RegistrySettings | None,
        names: TopicNames,
        keys: Collection[str] | None,
        wanted: RecordFilter | None,
    ) -> None:
        self.reader = reader
        self.closing = False
        """Nobody waits for what is read: a `read` under way ends soon."""
        self.read_any = False
        """Whether the last `read` found records, wanted or not."""
        self._wanted = wanted
        # records of a partition are not in order of time: later ones may be older than the start
        self._since_ms: int | None = None
        self._keys = None if keys is None else frozenset(key.encode() for key in keys)
        self._registry = (
            None if registry is None else registry_client(registry, timeout_seconds=3.0)
        )
        self._decoder = RecordDecoder(names, self._schema_by_id if self._registry else None)
        # one that is cancelled leaves its `read` running in a thread: `close` waits for it
        self._lock = threading.Lock()
        self._away: set[str] = set()
        """The topics that could not be found at the last look."""

    def open(self, topics: Sequence[str], start: Literal["earliest", "latest"] | Since) -> None:
        if isinstance(start, Since):
            self._since_ms = start.time_ms
        self.reader.tail_from([place for topic in topics for place in self._places(topic, start)])

    def _places(
        self, topic: str, start: Literal["earliest", "latest"] | Since
    ) -> list[TopicPartition]:
        if not isinstance(start, Since):
            return self.reader.every(topic, BEGINNING if start == "earliest" else END)
        if start.time_ms is not None:
            return self.reader.at_time(topic, start.time_ms)
        return self.reader.near(topic, start.offset or 0)

    def look(self) -> None:
        """Read partitions that were added too; a topic that is away may come back."""
        with self._lock, contextlib.suppress(BrokerUnreachableError):
            for topic in self.reader.topics():
                if self.closing:
                    return
                try:
                    self.reader.follow_added(topic)
                except TopicError as exc:
                    if topic not in self._away:  # librdkafka says nothing of it, and waits
                        _log.warning("topic_away", topic=topic, reason=exc.reason)
                    self._away.add(topic)
                else:
                    self._away.discard(topic)

    def read(self) -> list[TailRecord]:
        """Wait a moment for the next records."""
        with self._lock:
            messages = []
            message = self._next()
            while message is not None:
                messages.append(message)
                message = self.reader.next() if len(messages) < _BATCH else None
            self.read_any = bool(messages)
        # by key and time first: what is not wanted is not even decoded
        records = [self._record(one) for one in messages if self._may_be_wanted(one)]
        if self._wanted is not None:
            records = [record for record in records if self._wanted.matches(record)]
        return records

    def _next(self) -> Message | None:
        left = len(self.reader.unfinished)
        for _ in range(_WAITS):
            message = self.reader.next(_WAIT_SECONDS)
            if message is not None or self.closing or len(self.reader.unfinished) < left:
                return message
        return None

    def close(self) -> None:
        with self._lock:
            self.reader.close()

    def _may_be_wanted(self, message: Message) -> bool:
        key = message.key()
        if self._keys is not None and key not in self._keys:
            return False
        if self._since_ms is not None and message.timestamp()[1] < self._since_ms:
            return False
        return self._wanted is None or self._wanted.may_match(str(message.topic()), key)

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
