"""librdkafka's producer, made to lose nothing and to keep the order, whatever is refused."""

from __future__ import annotations

from typing import Final

import structlog

from connector.kafka.clients import Client, ClientCallbacks, new_client
from connector.kafka.config import client_properties, overridden, refused_properties
from connector.kafka.logins import follow
from connector.settings.models import KafkaSettings

_PROPAGATION: Final = "topic.metadata.propagation.max.ms"
PROPAGATION_MS: Final = 5_000
"""librdkafka takes a topic that brokers do not know for a new one, whose news are still under way,
for so long after its client first met it, 30 s by default. Longer than a client lives that gets no
acknowledgement (`TAKE_BACK_SECONDS`), and it would never say that a topic was deleted."""


def new_producer(
    kafka: KafkaSettings,
    client_id: str,
    handlers: ClientCallbacks,
    *,
    wake: int = -1,
    batch_bytes: int | None = None,
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
        one_by_one: for one record under way at a time. Nothing can follow a refused one, so that
            the client need not end with it, and it begins half a second sooner.

    Raises:
        SettingsError: librdkafka refuses a property.
    """
    propagation_ms = kafka.client.get(_PROPAGATION, PROPAGATION_MS)
    bound = {} if batch_bytes is None else {"batch.size": _batch_bytes(kafka, batch_bytes)}
    properties = client_properties(
        kafka,
        **{
            "client.id": client_id,
            "acks": "all",
            # brokers refuse what is out of sequence: retries double and reorder nothing (KIP-98)
            "enable.idempotence": not one_by_one,
            # an error that would leave a gap ends the client, before what follows it is sent
            "enable.gapless.guarantee": not one_by_one,
            # as Java's clients do: what one joins by a key is in the same partition of both topics
            "partitioner": "murmur2_random",
            "compression.type": kafka.compression,
            "linger.ms": 0 if one_by_one else kafka.linger_ms,
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


def _batch_bytes(kafka: KafkaSettings, most: int) -> int:
    """The lesser of a bound and the user's own; a wrong one is librdkafka's to refuse."""
    given = kafka.client.get("batch.size")
    return min(most, given) if isinstance(given, int) else most
