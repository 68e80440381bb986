"""Makes the service's status of the parts' own counters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Protocol

from connector.codec import IMPLEMENTATION
from connector.kafka.broker_health import BrokerHealth
from connector.kafka.histogram import MILLISECONDS, SECONDS, Histogram
from connector.kafka.producer_state import Counts
from connector.kafka.refusals import Trouble
from connector.service.dead_letters import DeadLetters
from connector.service.instrument_list import InstrumentListLoader
from connector.service.looplag import LoopLag
from connector.service.pipeline import Pipeline
from connector.service.rates import Rates
from connector.service.slots import SlotOwner
from connector.service.status import (
    VERSION,
    Accounting,
    ConnectionStatus,
    ExchangeStatus,
    Latencies,
    ProducerStatus,
    ServiceStatus,
)
from connector.settings.models import Settings


class CountingProducer(Protocol):
    """The part of the producer that is reported."""

    @property
    def counts(self) -> Counts:
        """Where all records are, but dead letters."""

    @property
    def dead_letters(self) -> Counts:
        """Where all dead letters are."""

    refusals: Counter[tuple[str, str]]
    """Records by topic and reason, each time that Kafka refused them."""

    @property
    def troubles(self) -> Sequence[Trouble]:
        """Topics that accept nothing."""

    @property
    def broker_reachable(self) -> bool:
        """A broker is connected."""

    @property
    def last_error(self) -> str | None:
        """What the client complained of last."""

    @property
    def spool_bytes(self) -> int:
        """Of the spool's files."""

    @property
    def spool_peak_bytes(self) -> int:
        """The most that they ever were."""

    @property
    def spool_limit_bytes(self) -> int:
        """How large they can become."""

    @property
    def spool_problem(self) -> str | None:
        """Why the spool does not work."""

    @property
    def queue_peak(self) -> int:
        """The most records that librdkafka's queue was seen to hold."""

    @property
    def health(self) -> BrokerHealth:
        """What librdkafka's statistics tell of the brokers."""


class Reporter:
    """Knows where everything is counted; `status` is a snapshot of it all."""

    def __init__(
        self,
        settings: Settings,
        producer: CountingProducer,
        owner: SlotOwner,
        dead_letters: DeadLetters,
    ) -> None:
        self.pipeline: Pipeline | None = None
        """Set once there is one."""
        self.instrument_list: InstrumentListLoader | None = None
        """Set once there is one."""
        self.lag = LoopLag()
        self._settings = settings
        self._producer = producer
        self._owner = owner
        self._dead_letters = dead_letters
        self._rates = Rates()
        self._started = time.monotonic()
        self._started_ms = time.time_ns() // 1_000_000

    def sample(self) -> None:
        """Note the counters for the rates; to be called about once a second."""
        if self.pipeline is not None:
            counts: dict[Hashable, int] = dict(self.pipeline.ticks.items())
            for slot in self.pipeline.slots:
                counts[slot] = self.pipeline.packets(slot)
            self._rates.sample(time.monotonic(), counts)

    def accounting(self) -> Accounting:
        """Where everything is that was received.

        The two sides come from different counters: what was received from the pipeline's, what
        became of it from the producer's.
        """
        counts, dead = self._producer.counts, self._producer.dead_letters
        received = self.pipeline.received if self.pipeline else 0
        return balance(
            counts,
            dead,
            received=counts.found + dead.found + received,
            redirected=self._dead_letters.redirected,
        )

    def status(self, phase: str, not_ready: Sequence[str]) -> ServiceStatus:
        """Everything at this moment."""
        pipeline = self.pipeline
        return ServiceStatus(
            name=self._settings.name,
            version=VERSION,
            codec=IMPLEMENTATION,
            started_ms=self._started_ms,
            uptime_seconds=round(time.monotonic() - self._started, 1),
            phase=phase,
            not_ready=not_ready,
            connections=self._connections(),
            exchanges=self._exchanges(),
            accounting=self.accounting(),
            producer=self._producer_status(),
            latencies=Latencies(
                pipeline.exchange_to_receive if pipeline else Histogram(SECONDS),
                pipeline.receive_to_produce if pipeline else Histogram(MILLISECONDS),
                self._producer.health.acknowledgement.histogram,
                self.lag.histogram,
                self.lag.last_seconds,
            ),
            rejected=dict(pipeline.rejected) if pipeline else {},
            unkept=pipeline.unkept if pipeline else 0,
            implausible_times=pipeline.implausible_times if pipeline else 0,
            orders=pipeline.orders if pipeline else 0,
            order_repeats=pipeline.order_desk.repeats if pipeline else 0,
            events=pipeline.events if pipeline else 0,
            instruments=pipeline.instruments if pipeline else 0,
            unresolved=self._owner.unresolved(),
            instrument_list=self.instrument_list.status() if self.instrument_list else None,
            cluster=self._owner.status(),
        )

    def _connections(self) -> list[ConnectionStatus]:
        pipeline = self.pipeline
        now_us = time.time_ns() // 1000
        return [
            ConnectionStatus(
                slot=stats.slot,
                account=stats.account,
                state=stats.state.value,
                session_id=stats.session_id or None,
                desired=stats.desired,
                confirmed=stats.confirmed,
                frames=stats.frames,
                bytes=stats.bytes,
                heartbeats=stats.heartbeats,
                packets=pipeline.packets(stats.slot) if pipeline else 0,
                unserved=stats.unserved,
                trouble=stats.trouble or None,
                connects=stats.connects,
                renewals=stats.renewals,
                ticks_per_second=self._rates.per_second(stats.slot),
                last_frame_age_seconds=_age_seconds(now_us, stats.last_frame_us),
                last_tick_age_seconds=_age_seconds(now_us, stats.last_tick_us),
                last_error=stats.last_error or None,
            )
            for stats in self._owner.stats()
        ]

    def _exchanges(self) -> list[ExchangeStatus]:
        if self.pipeline is None:
            return []
        return [
            ExchangeStatus(
                exchange.name,
                self.pipeline.tick_topics[exchange],
                count,
                self._rates.per_second(exchange),
            )
            for exchange, count in self.pipeline.ticks.items()
        ]

    def _producer_status(self) -> ProducerStatus:
        producer = self._producer
        counts, dead = producer.counts, producer.dead_letters
        return ProducerStatus(
            bootstrap_servers=self._settings.kafka.bootstrap_servers,
            broker_reachable=producer.broker_reachable,
            queued=counts.in_flight + dead.in_flight,
            spooled=counts.spooled + dead.spooled,
            spool_bytes=producer.spool_bytes,
            queue_peak=producer.queue_peak,
            spool_peak_bytes=producer.spool_peak_bytes,
            spool_limit_bytes=producer.spool_limit_bytes,
            spool_problem=producer.spool_problem,
            found_in_spool=counts.found + dead.found,
            refused=[
                (topic, reason, count) for (topic, reason), count in producer.refusals.items()
            ],
            troubles={trouble.topic: trouble.reason for trouble in producer.troubles},
            throttled_seconds=round(producer.health.throttled_seconds, 3),
            last_error=producer.last_error,
        )


def balance(counts: Counts, dead: Counts, *, received: int, redirected: int) -> Accounting:
    """The balance, from the producer's counts.

    Args:
        counts: of all records but dead letters.
        dead: of dead letters.
        received: records that should be there, each packet, order or event being one.
        redirected: dead letters that were produced besides, for records that Kafka refused.
    """
    dropped = Counter(counts.dropped) + Counter(dead.dropped)
    # each was counted, and then made a dead letter
    if unkept := sum(counts.failed.values()) - redirected:
        dropped["refused"] += unkept
    return Accounting(
        received=received,
        delivered=counts.delivered,
        in_flight=counts.in_flight + dead.in_flight,
        spooled=counts.spooled + dead.spooled,
        dead_lettered=dead.delivered,
        dropped=dict(dropped),
    )


def _age_seconds(now_us: int, then_us: int) -> float | None:
    return max(0.0, round((now_us - then_us) / 1e6, 3)) if then_us else None
