"""librdkafka's producer, made to lose nothing, and which of its errors speak against a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Producer

from connector.kafka.config import ClientLog, client_properties, overridden, refused_properties
from connector.settings.models import KafkaSettings

# Failures that say nothing against the record: it is sent again, through the spool.
_RECOVERABLE = frozenset(
    {
        "_PURGE_QUEUE",
        "_PURGE_INFLIGHT",
        "_FATAL",
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_TIMED_OUT",
        "_MSG_TIMED_OUT",
        "_DESTROY",
        "_INCONSISTENT",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "UNKNOWN_PRODUCER_ID",
        "INVALID_PRODUCER_EPOCH",
    }
)


def new_producer(
    kafka: KafkaSettings,
    client_id: str,
    *,
    on_error: Callable[[Any], None],
    on_statistics: Callable[[str], None],
) -> Producer:
    """An idempotent producer that reports failures alone.

    Args:
        kafka: brokers, queue limits, compression, and the properties of the user.
        client_id: for the brokers' logs.
        on_error: called from its `poll` with what is wrong with the client or the brokers.
        on_statistics: called from its `poll` once a second, with librdkafka's JSON document.

    Raises:
        SettingsError: librdkafka refuses a property.
    """
    properties = client_properties(
        kafka,
        **{
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": kafka.compression,
            "linger.ms": kafka.linger_ms,
            "queue.buffering.max.messages": kafka.queue_max_messages,
            "queue.buffering.max.kbytes": kafka.queue_max_mib * 1024,
            # never: a broker that is away is no fault of the record
            "message.timeout.ms": 0,
            "delivery.report.only.error": True,
            "statistics.interval.ms": 1000,
            "error_cb": on_error,
            "stats_cb": on_statistics,
        },
    )
    if ignored := overridden(kafka, properties):
        log = structlog.get_logger("connector.kafka").bind(client=client_id)
        log.warning("kafka.client cannot change these", properties=ignored)
    with refused_properties(kafka):
        return Producer(properties, logger=ClientLog(client_id))


def ends_the_client(error: Any) -> bool:
    """Whether what failed so leaves a client of no more use; its records are sent again.

    What may be tried again on the same client, librdkafka does by itself, without end.
    """
    return bool(error.fatal()) or error.name() in _RECOVERABLE
