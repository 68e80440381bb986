"""Sending of a few records when the producer is closed already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from connector.errors import SettingsError
from connector.kafka.config import ClientLog, client_properties
from connector.kafka.spool import Record
from connector.settings.models import KafkaSettings


def send_last(
    kafka: KafkaSettings, client_id: str, records: Sequence[Record], timeout_seconds: float
) -> bool:
    """Send them with a client of their own; blocks until they are acknowledged or time is over.

    Returns:
        Whether the brokers acknowledged all of them.
    """
    failed: list[str] = []

    def report(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(error.str())

    try:
        client = Producer(
            client_properties(
                kafka,
                **{
                    "client.id": client_id,
                    "acks": "all",
                    "partitioner": "murmur2_random",
                    "linger.ms": 0,
                    # librdkafka gives up by itself: 0 would mean for ever
                    "message.timeout.ms": max(1, round(timeout_seconds * 1000)),
                },
            ),
            logger=ClientLog(client_id),
        )
        for record in records:
            client.produce(
                record.topic,
                record.value,
                record.key,
                timestamp=record.timestamp_ms,
                on_delivery=report,
            )
        left = client.flush(timeout_seconds)
        # what is not acknowledged by now is not to be sent while the process ends
        if left:
            client.purge()
            client.flush(0)
    # a stop goes on whatever this comes to: the loss is in the log and the exit code as well
    except (KafkaException, SettingsError):
        return False
    return left == 0 and not failed
