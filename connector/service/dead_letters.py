"""Records that Kafka refuses for themselves, kept in the dead-letter topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from connector.kafka.avro_records import RecordDecoder
from connector.kafka.producer_state import FailedRecord

Headers = Sequence[tuple[str, bytes | None]]


class DeadLetters:
    """Makes dead letters of refused records.

    Args:
        produce: the producer's, by position: topic, value, key, timestamp_ms, headers.
        topic: the dead-letter topic; the producer itself counts what that refuses.
        decoder: tells of a record which connection it came by.
    """

    def __init__(
        self,
        produce: Callable[[str, bytes | None, bytes | None, int, Headers | None], None],
        topic: str,
        decoder: RecordDecoder,
    ) -> None:
        self._produce = produce
        self._topic = topic
        self._decoder = decoder
        self.redirected = 0
        """Dead letters made here: each stands for a record that was counted as received."""

    def keep(self, failed: FailedRecord) -> None:
        """Keep a record; its key there is the topic that it was meant for."""
        record = failed.record
        self.redirected += 1
        try:
            # a record does not carry where it came from; refusals are rare enough to read it out of
            # the value
            decoded = self._decoder.decode(record.topic, record.value).value
        except ValueError:
            decoded = None
        origin = decoded if isinstance(decoded, dict) else {}
        headers = [
            ("reason", failed.reason.encode()),
            ("slot", b"%d" % _whole(origin.get("slot"), 0)),
            (
                "receive_time_us",
                b"%d" % _whole(origin.get("receive_time_us"), record.timestamp_ms * 1000),
            ),
            ("session_id", b"%d" % _whole(origin.get("session_id"), 0)),
        ]
        key = record.topic.encode()
        self._produce(self._topic, record.value, key, record.timestamp_ms, headers)


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
