"""Topics that accept nothing: `/ready` names them, and those that are missing are made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog

from connector.errors import reason_of
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.topics import TopicNames, TopicsReport
from connector.settings.models import KafkaSettings

_log = structlog.get_logger("connector.service")

SMALL_BATCH_BYTES: Final = 64 * 1024
"""A topic that wants smaller batches is named in the log: they cost CPU."""
LOOK_SECONDS: Final = 1.0
MAKE_MIN_SECONDS: Final = 1.0
MAKE_MAX_SECONDS: Final = 30.0


class TopicTroubles:
    """Looks at the producer's troubles.

    Args:
        producer: whose.
        others: the topics that other parts of the service found missing.
        on_made: told which topics were missing and were made again.
        kafka: for the commands that help.
        make: makes these topics; raises ConnectorError. None where the connector makes no topics.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        producer: IsolatingProducer,
        kafka: KafkaSettings,
        make: Callable[[Collection[str]], Awaitable[TopicsReport]] | None,
        *,
        others: Callable[[], Collection[str]] = frozenset,
        on_made: Callable[[str], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._producer = producer
        self._kafka = kafka
        self._make = make
        self._others = others
        self._on_made = on_made
        self._sleep = sleep
        # why a missing topic cannot be made again; written by `run`, shown by `reasons`
        self._cannot_make: str | None = None

    def reasons(self) -> list[str]:
        """Return why records are not accepted, each with what helps; a look changes nothing."""
        reasons = []
        for trouble in self._producer.troubles:
            reason = trouble.explain(self._kafka)
            if trouble.missing:
                reason += f": {self._about_missing(trouble.topic)}"
            waiting = self._producer.waiting(trouble.topic)
            reasons.append(f"{reason} ({waiting} records for {trouble.topic} wait)")
        held = {trouble.topic for trouble in self._producer.troubles}
        reasons += [
            f"{topic} does not exist: {self._about_missing(topic)}"
            for topic in sorted(set(self._others()) - held)
        ]
        if throttled := self._producer.health.throttled_seconds_now():
            reasons.append(
                f"a quota of the brokers holds this client back, for {throttled:.1f} s at a time, "
                f"and {self._producer.counts.waiting} records wait: raise producer_byte_rate for "
                f"{self._kafka.sasl_username or 'this client.id'} with kafka-configs.sh --alter"
            )
        return reasons

    def _about_missing(self, topic: str) -> str:
        if self._make is None:
            return f"create {topic}, or turn topics.create on"
        return self._cannot_make or "it is being made again"

    async def run(self) -> None:
        """Make missing topics again, for as long as this runs."""
        pause = MAKE_MIN_SECONDS
        while True:
            await self._sleep(pause)
            missing = {trouble.topic for trouble in self._producer.troubles if trouble.missing}
            missing.update(self._others())
            if not missing or self._make is None:
                pause, self._cannot_make = LOOK_SECONDS, None
                continue
            try:
                report = await self._make(missing)
            except Exception as exc:  # noqa: BLE001 - whatever it was: streaming goes on, and so does this
                reason = reason_of(exc)
                if self._cannot_make != reason:
                    _log.error("topic_not_recreated", topics=sorted(missing), reason=reason)
                self._cannot_make = reason
            else:
                self._cannot_make = None
                _log.warning("topic_recreated", topics=sorted(missing))
                if report.created and self._on_made is not None:
                    self._on_made(", ".join(sorted(report.created)))
            # not at once again: the producer notices within seconds that it is there
            pause = min(max(pause, MAKE_MIN_SECONDS) * 2, MAKE_MAX_SECONDS)


def heed_limits(producer: IsolatingProducer, topics: TopicNames, report: TopicsReport) -> None:
    """Set what brokers refuse in a producer: times far ahead, batches above max.message.bytes."""
    producer.after_max_ms = report.timestamp_after_max_ms
    written = {*topics.all_ticks().values(), topics.orders, topics.events, topics.deadletter,
               topics.instruments}  # fmt: skip
    limits = [(size, topic) for topic, size in report.max_message_bytes.items() if topic in written]
    if limits:
        size, topic = min(limits)
        if size < SMALL_BATCH_BYTES:
            _log.warning("small_batches", topic=topic, max_message_bytes=size)
        producer.bound_batches(size)
