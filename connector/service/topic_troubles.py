"""Topics that accept nothing: said in `/ready`, and made again where one is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

import structlog

from connector.errors import ConnectorError
from connector.kafka.broker_health import BrokerHealth
from connector.kafka.producer_state import Counts
from connector.kafka.refusals import Trouble
from connector.settings.models import KafkaSettings

_log = structlog.get_logger("connector.service")

LOOK_SECONDS: Final = 1.0
MAKE_MIN_SECONDS: Final = 1.0
MAKE_MAX_SECONDS: Final = 30.0


class RefusedProducer(Protocol):
    """The part of the producer that knows what Kafka refuses."""

    health: BrokerHealth

    @property
    def troubles(self) -> Sequence[Trouble]:
        """Topics that accept nothing."""

    @property
    def counts(self) -> Counts:
        """Where all records are."""

    def waiting(self, topic: str) -> int:
        """Records of one of these topics."""


class TopicTroubles:
    """Looks at the producer's troubles.

    Args:
        producer: whose.
        kafka: for the commands that help.
        make: makes these topics; raises ConnectorError. None where the connector makes no topics.
    """

    def __init__(
        self,
        producer: RefusedProducer,
        kafka: KafkaSettings,
        make: Callable[[Collection[str]], Awaitable[object]] | None,
    ) -> None:
        self._producer = producer
        self._kafka = kafka
        self._make = make
        self._cannot_make: str | None = None

    def reasons(self) -> list[str]:
        """Why records are not accepted, each with what helps; a look changes nothing."""
        reasons = []
        for trouble in self._producer.troubles:
            reason = trouble.explain(self._kafka)
            if trouble.missing:
                reason += f": {self._about_missing(trouble.topic)}"
            waiting = self._producer.waiting(trouble.topic)
            reasons.append(f"{reason} ({waiting} records for {trouble.topic} wait)")
        if throttled := self._producer.health.throttled_seconds_now():
            counts = self._producer.counts
            waiting = counts.in_flight + counts.spooled
            reasons.append(
                f"a quota of the brokers holds this client back, for {throttled:.1f} s at a time, "
                f"and {waiting} records wait: raise producer_byte_rate for "
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
            await asyncio.sleep(pause)
            missing = {trouble.topic for trouble in self._producer.troubles if trouble.missing}
            if not missing or self._make is None:
                pause, self._cannot_make = LOOK_SECONDS, None
                continue
            try:
                await self._make(missing)
            except Exception as exc:  # noqa: BLE001 - whatever it was: streaming goes on, and so does this
                reason = str(exc) if isinstance(exc, ConnectorError) else repr(exc)
                if self._cannot_make != reason:
                    _log.error("topic_not_recreated", topics=sorted(missing), reason=reason)
                self._cannot_make = reason
            else:
                self._cannot_make = None
                _log.warning("topic_recreated", topics=sorted(missing))
            # not at once again: the producer notices within seconds that it is there
            pause = min(max(pause, MAKE_MIN_SECONDS) * 2, MAKE_MAX_SECONDS)
