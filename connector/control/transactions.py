"""The leader's side of Kafka: reads the topics, and writes each step in one transaction.

Everything blocks; it belongs to the leader's thread. The transactional.id is that of
the connector and its topics, so opening a second log anywhere fences this one. The offset applied
is a record of the step; the group's is no part of the transaction, since librdkafka's call for
that ignores its timeout (librdkafka issue 5456): a broker that went away in its middle held the
leader for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaError as Code
from confluent_kafka import (
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from connector.control.bounds import (
    BATCH_BYTES,
    BATCH_MESSAGES,
    DEAD_LETTER_BYTES,
    bounded,
)
from connector.control.records import MOVED_TO, StateRecord
from connector.errors import (
    BrokerUnreachableError,
    FencedError,
    KafkaError,
    ProducerExpiredError,
    RecordRefusedError,
    TransactionAbortedError,
)
from connector.kafka.config import ClientLog, client_properties, is_embedded
from connector.kafka.diagnosis import translated
from connector.kafka.groups import cluster_group, leader_transactional_id
from connector.kafka.logins import Borrowed, follow
from connector.kafka.reader import TIMEOUT_SECONDS, Reader, bytes_of, text_of
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings

_QUEUE_KIB: Final = 16 * 1024
"""So many KiB of a transaction librdkafka queues: producing more waits for the broker."""
_PRODUCED_MAX_BYTES: Final = 1_000_000
"""The longest record, with key and headers; `MAX_RECORD_BYTES` leaves room below it."""


class ControlMessage(NamedTuple):
    """A message of `kite.control`, with its offset."""

    offset: int
    value: bytes | None


class DeadLetter(NamedTuple):
    """A message that nobody can be answered about: its beginning, and what tells the whole."""

    value: bytes
    reason: str
    errors: tuple[str, ...]
    offset: int
    time_ms: int
    length: int
    sha256: str
    """The SHA-256 of the whole message, in hexadecimal."""

    @classmethod
    def of(
        cls, message: ControlMessage, errors: tuple[str, ...], time_ms: int, *, kept: bool = True
    ) -> DeadLetter:
        """Make the dead letter of a message; with `kept` off it has no byte of it."""
        value = message.value or b""
        return cls(
            value[:DEAD_LETTER_BYTES] if kept else b"",
            "invalid_command",
            bounded(errors),
            message.offset,
            time_ms,
            len(value),
            hashlib.sha256(value).hexdigest(),
        )


class TransactionStep(NamedTuple):
    """The records and replies that one transaction writes."""

    records: Sequence[StateRecord]
    replies: Sequence[tuple[str, bytes]] = ()
    """The replies, each as (command id, JSON)."""
    dead_letters: Sequence[DeadLetter] = ()


class TopicIds(NamedTuple):
    """Which topics there are, by their ids; None is not known."""

    control: str | None = None
    subscriptions: str | None = None
    missing: Collection[str] = ()
    """The topics of the leader that do not exist."""


NO_TOPIC_IDS: Final = TopicIds()
"""What a broker without ids tells of its topics."""


class ControlLog:
    """One leadership's clients.

    Args:
        kafka: how brokers are reached.
        topics: the topics' names.
        name: the connector's, the first part of its group and transactional.id.
        timeout_seconds: for each answer of the broker; a transaction that takes longer is tried
            on, not given up.
        batch_messages: how many messages a `poll` returns at most.
        batch_bytes: of messages, from which on a `poll` returns.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicNames,
        name: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        batch_messages: int = BATCH_MESSAGES,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._batch_messages = batch_messages
        self._batch_bytes = batch_bytes
        # transactional, and so the one that fences; None before `open` and after `close`
        self._producer: Producer | None = None
        # hands the producer a login that changes while it lives
        self._login: Borrowed | None = None
        # reads kite.subscriptions whole, then follows kite.control; commits nothing
        self._reader: Reader | None = None
        # of the present transaction: topic → why a record of it was not taken
        self._refused: dict[str, Code] = {}
        # for the topic's id alone; made when it is first asked for, and kept, since a client has
        # threads
        self._admin: AdminClient | None = None
        self._has_topic_ids: bool | None = None  # it has not been looked at

    @property
    def at_end(self) -> bool:
        """Whether the last `poll` came to the end of `kite.control`."""
        return self._opened_reader().at_end

    def open(self) -> None:
        """Take the transactional.id: any leader before this one is fenced from here on.

        Raises:
            BrokerUnreachableError: no coordinator answered in time; trying again may help.
            KafkaError: the broker refuses; the text says why.
        """
        self._reader = Reader(
            self._kafka,
            self._name,
            "leader",
            timeout_seconds=self._timeout_seconds,
            **{
                "fetch.error.backoff.ms": 100,
                # not to join it: what its members have committed is asked for
                "group.id": cluster_group(self._name, self._topics.prefix),
            },
        )
        self._producer = Producer(
            client_properties(
                self._kafka,
                **{
                    "client.id": f"{self._name}-leader",
                    "transactional.id": leader_transactional_id(self._name, self._topics.prefix),
                    # what a killed leader left open is aborted by the next one's init_transactions
                    # (KIP-98); where none comes, by the broker after so long: until then nobody
                    # reads behind it in read_committed
                    "transaction.timeout.ms": 30_000,
                    "linger.ms": 0,
                    # a leader that has no state of this producer admits any batch as the first:
                    # were the first one refused with a second under way, it would never be stored
                    "max.in.flight.requests.per.connection": 1,
                    # a transaction right after another is told to wait for its markers: not for
                    # the usual 100 ms, which is longer than all else together
                    "retry.backoff.ms": 10,
                    # read by every client out of the box, those without native libraries too
                    "compression.type": "gzip",
                    "queue.buffering.max.messages": 100_000,
                    "queue.buffering.max.kbytes": _QUEUE_KIB,
                    "message.max.bytes": _PRODUCED_MAX_BYTES,
                    "delivery.report.only.error": True,
                    # one for all: a callback of each record's own costs as much as the record
                    "on_delivery": self._delivered,
                    "partitioner": "murmur2_random",
                },
            ),
            logger=ClientLog("leader"),
        )
        self._login = Borrowed(self._producer)
        follow(self._kafka, self._login)
        try:
            self._producer.init_transactions(self._timeout_seconds)
        except KafkaException as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """Give up an open transaction and let the clients go."""
        producer, self._producer = self._producer, None
        self._login = None
        self._admin = self._has_topic_ids = None
        reader, self._reader = self._reader, None
        if producer is not None:
            # a fenced producer refuses even these
            with contextlib.suppress(KafkaException):
                # short: whoever gave the leadership up is waited for
                producer.abort_transaction(1.0)
            with contextlib.suppress(KafkaException):
                producer.flush(0)
        if reader is not None:
            reader.close()

    def read(self) -> list[tuple[int, str, bytes | None]]:
        """All of `kite.subscriptions`: (partition, key, value), in order within each partition.

        Raises:
            BrokerUnreachableError: the end was not reached in time.
            TopicError: there is no such topic.
        """
        return [
            (message.partition() or 0, text_of(key), bytes_of(message.value()))
            for message in self._opened_reader().read_to_end(self._topics.subscriptions)
            if (key := message.key()) is not None
        ]

    def topic_ids(self) -> TopicIds:
        """Return which `kite.control` and `kite.subscriptions` there are, and what is missing.

        A topic of the same name made anew has another id. There is none where the broker has none
        (KIP-516: Kafka 2.8 and newer, not librdkafka's mock).

        Raises:
            BrokerUnreachableError: no answer in time.
            KafkaError: the broker refuses.
        """
        topics = self._topics
        names = [topics.control, topics.subscriptions, topics.replies, topics.deadletter]
        found: dict[str, str | None] = {}
        missing: set[str] = set()
        try:
            if self._has_topic_ids is None:
                metadata = self._opened_reader().consumer.list_topics(
                    topics.control, timeout=self._timeout_seconds
                )
                self._has_topic_ids = not is_embedded(metadata)
            if not self._has_topic_ids:
                return NO_TOPIC_IDS  # the mock would let it wait its time out
            if self._admin is None:
                self._admin = AdminClient(
                    client_properties(self._kafka, **{"client.id": f"{self._name}-leader"}),
                    logger=ClientLog("leader"),
                )
            asked = self._admin.describe_topics(
                TopicCollection(names), request_timeout=self._timeout_seconds
            )
            for name in names:
                try:
                    text = str(asked[name].result(self._timeout_seconds + 1).topic_id)
                except KafkaException as error:
                    if error.args[0].code() == Code.UNKNOWN_TOPIC_OR_PART:
                        missing.add(name)
                    elif name in names[:2]:
                        raise
                else:
                    found[name] = None if text == _ZERO_UUID else text
        except KafkaException as error:
            if error.args[0].code() in _NO_TOPIC_IDS:
                self._has_topic_ids = False
                return NO_TOPIC_IDS
            raise self._translated(error) from error
        except TimeoutError as error:
            raise BrokerUnreachableError(
                self._kafka.bootstrap_servers, "did not describe the control topics in time"
            ) from error
        return TopicIds(found.get(topics.control), found.get(topics.subscriptions), missing)

    def progress_kept(self) -> int:
        """Return up to which message leaders said that all is applied; 0 where none said so.

        It is in the group's offsets, for whoever monitors its lag (`connector.cluster.membership`),
        and so it outlives `kite.subscriptions`. Brokers that give no answer say nothing.
        """
        place = TopicPartition(self._topics.control, 0)
        try:
            (found,) = self._opened_reader().consumer.committed(
                [place], timeout=self._timeout_seconds
            )
        except (KafkaException, ValueError):
            return 0
        return max(found.offset, 0)

    def partitions(self) -> int:
        """Return how many partitions `kite.subscriptions` has: the slots usable now."""
        return self._opened_reader().partitions(self._topics.subscriptions)

    def follow(self, offset: int) -> None:
        """Go on reading `kite.control` at an offset; at the oldest where that is gone."""
        self._opened_reader().tail_from([TopicPartition(self._topics.control, 0, offset)])

    def poll(self, timeout_seconds: float) -> list[ControlMessage]:
        """The next messages of `kite.control`; waits for the first one only.

        Raises:
            KafkaError: the topic cannot be read any more.
        """
        reader = self._opened_reader()
        messages: list[ControlMessage] = []
        size = 0
        message = reader.next(timeout_seconds)
        while message is not None:
            messages.append(ControlMessage(message.offset() or 0, bytes_of(message.value())))
            size += len(messages[-1].value or b"")
            if len(messages) >= self._batch_messages or size >= self._batch_bytes:
                break
            message = reader.next()
        return messages

    def write(self, step: TransactionStep) -> None:
        """Write a step: all of it counts, or nothing.

        Raises:
            TransactionAbortedError: nothing was written; trying again may help.
            RecordRefusedError: nothing was written, since one of the records never can be.
            ProducerExpiredError: the broker has forgotten this producer: open another log.
            FencedError: another leader is at work; this log is of no more use.
            BrokerUnreachableError: no answer in time, and nothing is known of the outcome.
        """
        producer = self._producer
        if producer is None:
            raise KafkaError("the control log is not open")
        topics = self._topics
        self._refused.clear()
        try:
            producer.begin_transaction()
            for partition, key, value, moved_to in step.records:
                self._produce(
                    topics.subscriptions,
                    key,
                    value,
                    partition,
                    None if moved_to is None else [(MOVED_TO, b"%d" % moved_to)],
                )
            for command_id, reply in step.replies:
                self._produce(topics.replies, command_id, reply)
            for letter in step.dead_letters:
                self._produce(
                    topics.deadletter,
                    topics.control,
                    letter.value,
                    headers=[
                        ("reason", letter.reason.encode()),
                        ("receive_time_us", b"%d" % (letter.time_ms * 1000)),
                        ("errors", "; ".join(letter.errors).encode()),
                        ("offset", b"%d" % letter.offset),
                        ("length", b"%d" % letter.length),
                        ("sha256", letter.sha256.encode()),
                    ],
                )
            # until here nothing is visible to readers in read_committed, and an abort leaves
            # nothing of it
            self._commit(producer)
        except KafkaException as error:
            raise self._given_up(producer, error) from error
        except (TypeError, ValueError) as error:
            # what cannot even be handed to the client; the transaction stands open
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(self._timeout_seconds)
            raise RecordRefusedError(repr(error)) from error

    def _commit(self, producer: Producer) -> None:
        # a time-out leaves the outcome open: the same call goes on waiting for it
        for attempt in range(3):
            try:
                producer.commit_transaction(self._timeout_seconds)
                return
            except KafkaException as error:
                if attempt == 2 or not error.args[0].retriable():
                    raise

    def _given_up(self, producer: Producer, error: KafkaException) -> KafkaError:
        """Abort what can be aborted; returns the error to raise."""
        code = error.args[0]
        # a fenced or forgotten producer may not even abort: the broker has no transaction of it
        # open
        given = self._translated(error)
        if isinstance(given, FencedError | ProducerExpiredError) or code.fatal():
            return given
        try:
            producer.abort_transaction(self._timeout_seconds)
        except KafkaException as second:
            return self._translated(second)
        said = "; ".join(f"{topic}: {_explained(why)}" for topic, why in self._refused.items())
        if any(why.code() in _FAULTS_OF_RECORDS for why in self._refused.values()):
            return RecordRefusedError(said)
        return TransactionAbortedError(said or code.str())

    def _delivered(self, error: Code | None, message: Message) -> None:
        # what is only taken back with the rest says nothing
        if error is not None and error.code() not in _TAKEN_BACK:
            self._refused[str(message.topic())] = error

    def _produce(
        self,
        topic: str,
        key: str,
        value: bytes | None,
        partition: int = -1,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        producer = self._producer
        assert producer is not None  # noqa: S101 - write() looked
        while True:
            try:
                # positional, as keywords cost: two names of a callback, then the timestamp
                if headers is None:
                    producer.produce(topic, value, key, partition)
                else:
                    producer.produce(topic, value, key, partition, None, None, 0, headers)
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                self._refused[topic] = error.args[0]
                raise

    def _opened_reader(self) -> Reader:
        if self._reader is None:
            raise KafkaError("the control log is not open")
        return self._reader

    def _translated(self, error: KafkaException) -> KafkaError:
        return translated(error, self._kafka.bootstrap_servers)


_FAULTS_OF_RECORDS = {
    Code.MSG_SIZE_TOO_LARGE,
    Code.RECORD_LIST_TOO_LARGE,
    Code.INVALID_MSG_SIZE,
    Code.INVALID_RECORD,
}
"""The reasons that lie in the record and not in the cluster: a retry is refused again."""
_CLOCK_ADVICE: Final = (
    "set this machine's clock by NTP, or the topic's message.timestamp.type to LogAppendTime"
)
_NO_TOPIC_IDS = {Code._UNSUPPORTED_FEATURE, Code.UNSUPPORTED_VERSION}  # noqa: SLF001
# sixteen zero bytes in base64: Kafka's way to say that a topic has no id
_ZERO_UUID = "AAAAAAAAAAAAAAAAAAAAAA"
# an abort purges whatever of the transaction was not acknowledged yet
_TAKEN_BACK = {Code._PURGE_QUEUE, Code._PURGE_INFLIGHT}  # noqa: SLF001


def _explained(error: Code) -> str:
    said = str(error.str())
    return f"{said}: {_CLOCK_ADVICE}" if error.code() == Code.INVALID_TIMESTAMP else said
