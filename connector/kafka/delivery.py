"""librdkafka's producer, made to lose nothing and to keep the order, whatever is refused."""

from __future__ import annotations

from typing import Final

import structlog

from connector.kafka.clients import Client, ClientCallbacks, new_client
from connector.kafka.config import client_properties, overridden, refused_properties
from connector.kafka.logins import follow
from connector.kafka.spool_format import Record
from connector.settings.models import KafkaSettings

_PROPAGATION: Final = "topic.metadata.propagation.max.ms"
PROPAGATION_MS: Final = 5_000
"""librdkafka takes a topic that brokers do not know for a new one, whose news are still under way,
for so long after its client first met it, 30 s by default. Longer than a client lives that gets no
acknowledgement (`TAKE_BACK_SECONDS`), and it would never say that a topic was deleted."""


BATCH_BYTES: Final = 1_000_000
"""librdkafka's default of the largest batch."""
# of a client for groups: longer than to hand one over takes, which `flush` ends
_LINGER_MS: Final = 60_000
_BATCH_RECORDS: Final = 10_000
# librdkafka counts 36 for a record's numbers, and for a header's two up to 5 each
_RECORD_OVERHEAD_BYTES: Final = 50
_HEADER_OVERHEAD_BYTES: Final = 10


def new_producer(
    kafka: KafkaSettings,
    client_id: str,
    handlers: ClientCallbacks,
    *,
    wake: int = -1,
    batch_bytes: int | None = None,
    in_groups: bool = False,
    one_by_one: bool = False,
) -> Client:
    """A producer that reports failures alone.

    It is idempotent and ends at the first refusal (`enable.gapless.guarantee`), before it sends
    what follows: only so can the records of a refused batch be sent again before newer ones.

    Args:
        kafka: brokers, queue limits, compression, and the properties of the user.
        client_id: for the brokers' logs.
        handlers: whom it calls, from its `poll`.
        wake: a descriptor that it writes to when there is something to poll; -1: none.
        batch_bytes: no batch is larger, unless it is one record; None is librdkafka's default.
        in_groups: for one batch a partition under way at a time, sent by `flush`. Nothing can
            follow a refused one, so that the client need not end with it, and it begins half a
            second sooner.
        one_by_one: of a group each record is a batch, sent at once; any may be refused.

    Raises:
        SettingsError: librdkafka refuses a property.
    """
    propagation_ms = kafka.client.get(_PROPAGATION, PROPAGATION_MS)
    bound: dict[str, int] = {}
    if batch_bytes is not None or in_groups:
        bound["batch.size"] = _batch_bytes(kafka, batch_bytes)
    if in_groups:
        # by no other name either, of those that librdkafka has for it
        bound |= {
            "queue.buffering.max.ms": _LINGER_MS,
            "batch.num.messages": 1 if one_by_one else _BATCH_RECORDS,
        }
    properties = client_properties(
        kafka,
        **{
            "client.id": client_id,
            "acks": "all",
            # brokers refuse what is out of sequence: retries double and reorder nothing (KIP-98)
            "enable.idempotence": not in_groups,
            # an error that would leave a gap ends the client, before what follows it is sent
            "enable.gapless.guarantee": not in_groups,
            # as Java's clients do: what one joins by a key is in the same partition of both topics
            "partitioner": "murmur2_random",
            "compression.type": kafka.compression,
            "linger.ms": _LINGER_MS if in_groups else kafka.linger_ms,
            "queue.buffering.max.messages": kafka.queue_max_messages,
            "queue.buffering.max.kbytes": kafka.queue_max_mib * 1024,
            # never: a broker that is away is no fault of the record
            "message.timeout.ms": 0,
            _PROPAGATION: propagation_ms,
            # for each success Python would be woken, see docs/performance.md
            "delivery.report.only.error": True,
            # the only word of a broker that is up again, and of latencies: see BrokerHealth
            "statistics.interval.ms": 1000,
            **bound,
        },
    )
    if ignored := overridden(kafka, properties):
        log = structlog.get_logger("connector.kafka").bind(client=client_id)
        log.warning("kafka_client_properties_ignored", properties=ignored)
    with refused_properties(kafka):
        client = new_client(properties, handlers, wake)
    follow(kafka, client)
    return client


def largest_group(kafka: KafkaSettings, batch_bytes: int | None) -> int:
    """The bytes, by `bytes_in_a_batch`, of records of which a partition's are one batch for sure.

    Args:
        kafka: the properties of the user.
        batch_bytes: as for `new_producer`.
    """
    given = kafka.client.get("message.max.bytes")  # librdkafka's other bound of a batch
    most = _batch_bytes(kafka, batch_bytes)
    # what compression can add to a batch is far less than this leaves
    return (min(most, given) if isinstance(given, int) else most) // 2


def bytes_in_a_batch(record: Record) -> int:
    """How many bytes a record takes at most, before the batch is compressed."""
    size = _RECORD_OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers or ():
        size += _HEADER_OVERHEAD_BYTES + len(name.encode()) + len(value or b"")
    return size


def _batch_bytes(kafka: KafkaSettings, most: int | None) -> int:
    """The lesser of a bound and the user's own; a wrong one is librdkafka's to refuse."""
    most = BATCH_BYTES if most is None else most
    given = kafka.client.get("batch.size")
    return min(most, given) if isinstance(given, int) else most
