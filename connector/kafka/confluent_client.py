"""The producing client by way of confluent-kafka's, for where the native one cannot be had.

Every success is reported to Python too, since a success without an offset is none: with
`delivery.report.only.error`, which confluent-kafka keeps for itself, it would not be heard of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connector.kafka.logins import Borrowed
from connector.kafka.spool_format import Headers, Record

if TYPE_CHECKING:
    from connector.kafka.clients import ClientCallbacks

_POLL_RECORDS: Final = 1_000
"""In a flood it polls after so many: what was acknowledged keeps its memory until then, and in the
processor's cache that costs a third less."""
_FLUSH_SECONDS: Final = 0.001


class ConfluentClient:
    """The client over confluent-kafka; the native one has the same methods."""

    wakes: ClassVar[bool] = False
    """Whether it says when there is something to poll."""

    def __init__(
        self, properties: dict[str, Any], handlers: ClientCallbacks, reason: str = ""
    ) -> None:
        self.way = f"confluent: {reason}"
        """`native`, or `confluent` and why it is not native."""
        self._failed = handlers.failed  # of records
        self._error = handlers.error  # of the client
        self._client = Producer(
            {
                **properties,
                "delivery.report.only.error": False,
                "error_cb": handlers.error,
                "stats_cb": handlers.statistics,
                "throttle_cb": handlers.throttle,
            },
            logger=handlers.log,
        )
        # what another thread may call while this one closes the client
        self._login = Borrowed(self._client)
        self._produce = self._client.produce  # bound once: looked up for each record
        self._unpolled = 0  # records since the last poll
        self._unstored: tuple[str | None, int | None, int] | None = None
        """Topic, partition and offset of the record after one that nobody knows the place of."""

    def __len__(self) -> int:
        """Records that are neither acknowledged nor reported, and librdkafka's other events."""
        return len(self._client)

    def produce_all(
        self, records: Sequence[tuple[str, bytes, bytes]], timestamp_ms: int, sequence: int
    ) -> int:
        """Hand over records as (topic, key, value); returns how many were accepted."""
        report = functools.partial(self._report, sequence, timestamp_ms, None)
        produce = self._produce
        accepted = 0
        # positional, since keywords cost a tenth: the None is `on_delivery`, a second name of the
        # callback that stands before the timestamp
        try:
            for topic, key, value in records:
                produce(topic, value, key, -1, report, None, timestamp_ms)
                accepted += 1
        except (BufferError, KafkaException, TypeError, ValueError):
            # the caller offers that one to `produce`, where each error has its meaning
            return accepted
        self._unpolled += accepted
        if self._unpolled >= _POLL_RECORDS:
            self.poll()
        return accepted

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Headers | None,
        sequence: int,
    ) -> None:
        """Hand over one record.

        Raises:
            BufferError: librdkafka's queue is full.
            KafkaException: librdkafka refuses it.
            TypeError, ValueError: it is no record.
        """
        report = functools.partial(self._report, sequence, timestamp_ms, headers)
        if headers:
            self._produce(topic, value, key, -1, report, None, timestamp_ms, list(headers))
        else:
            self._produce(topic, value, key, -1, report, None, timestamp_ms)

    def _report(
        self,
        sequence: int,
        timestamp_ms: int,
        headers: Headers | None,
        error: Any,
        message: Message,
    ) -> None:
        """A record was written, failed, or is said to be written and nobody knows where."""
        if error is None:
            place, offset = (message.topic(), message.partition()), message.offset()
            # its batch has an offset below 0, from which librdkafka counts on: to 0, 1, 2 …
            if offset is not None and (*place, offset) != self._unstored:
                self._unstored = None
                return
            self._unstored = (*place, 0 if offset is None else offset + 1)
            error = KafkaError(
                KafkaError.DUPLICATE_SEQUENCE_NUMBER, "reported as written, without an offset"
            )
        # a failed message has neither timestamp nor headers any more
        record = Record(
            message.topic() or "", message.key(), message.value(), timestamp_ms, headers
        )
        self._failed(record, sequence, message.partition() or 0, error)

    def poll(self) -> None:
        """Serve librdkafka without waiting, and call the handlers with what it said."""
        self._unpolled = 0
        self._serve(self._client.poll, 0)

    def flush(self) -> None:
        """Have librdkafka send what is queued, whatever `linger.ms` is; waits for 1 ms at most."""
        self._serve(self._client.flush, _FLUSH_SECONDS)

    def _serve(self, call: Callable[[float], int], seconds: float) -> None:
        try:
            call(seconds)
        except KafkaException as exc:
            # a fatal error is raised here instead of being reported
            self._error(exc.args[0])

    def purge(self, *, in_flight: bool) -> None:
        """Have librdkafka give back what is queued, and what is under way where asked to."""
        self._client.purge(in_flight=in_flight, blocking=False)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Use these from the next connection on; any thread may call."""
        self._login.set_sasl_credentials(username, password)

    def close(self) -> None:
        """End the client and its threads."""
        # before: confluent-kafka's methods may not run beside its `close`
        self._login.give_back()
        self._client.close()
