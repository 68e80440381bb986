"""The builder of the service's status, from the parts' own counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from datetime import datetime
from heapq import nlargest
from operator import itemgetter
from typing import Any, Final

from connector.codec import IMPLEMENTATION
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.producer_state import RecordCounts
from connector.kite import market_hours
from connector.kite.clock import IST, SYSTEM_CLOCK, Clock
from connector.kite.wire.models import Exchange
from connector.service.dead_letters import DeadLetters
from connector.service.looplag import LoopLag
from connector.service.pipeline import Pipeline
from connector.service.rates import RateHistory, Rates
from connector.service.readiness import ServiceProgress, Snapshot, not_ready
from connector.service.slot_owner import SlotOwner
from connector.service.status import (
    MAX_UNSERVED_SHOWN,
    VERSION,
    Accounting,
    ConnectionStatus,
    ExchangeStatus,
    Latencies,
    ProducerStatus,
    ServiceStatus,
    UnservedInstrument,
)
from connector.service.topic_checks import TopicChecks
from connector.service.topic_troubles import TopicTroubles
from connector.settings.models import Settings

MAX_HOST_CHARS: Final = 64
"""A longer name of a host is cut where other replicas are told of it."""
MAX_TROUBLE_CHARS: Final = 120
"""A longer reason is cut there too."""


class StatusBuilder:
    """Knows where everything is counted; looking changes nothing and logs nothing.

    Args:
        settings: the name of the service, and where its brokers are.
        producer: counts what became of records.
        owner: knows the connections.
        dead_letters: counts the refused records that became some.
        troubles: knows the topics that accept nothing.
        progress: how far the service has come.
        checks: knows how the topics are configured.
        clock: for rates and ages.
    """

    def __init__(
        self,
        settings: Settings,
        producer: IsolatingProducer,
        owner: SlotOwner,
        dead_letters: DeadLetters,
        troubles: TopicTroubles,
        progress: ServiceProgress,
        checks: TopicChecks,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.lag = LoopLag(clock=clock)
        self._clock = clock
        self._settings = settings
        self._producer = producer
        self._owner = owner
        self._dead_letters = dead_letters
        self._troubles = troubles
        self._progress = progress
        self._checks = checks
        # ticks a second of slots and exchanges over the last seconds, for people
        self._rates = Rates()
        self.history = RateHistory()
        """Packets of each slot from second to second."""
        self._started = self._clock.monotonic()
        self._started_ms = clock.time_us() // 1000

    def sample(self, pipeline: Pipeline) -> None:
        """Note the counters for the rates; to be called about once a second."""
        counts: dict[Hashable, int] = dict(pipeline.ticks.items())
        packets: dict[Hashable, int] = {slot: pipeline.packets(slot) for slot in pipeline.slots}
        # an exchange is no number, so it is never taken for a slot
        counts |= packets
        self.history.sample(packets)
        self._rates.sample(self._clock.monotonic(), counts)

    def readiness(self) -> tuple[str, list[str]]:
        """Return the phase, and why the service is not ready."""
        progress, producer = self._progress, self._producer
        instruments = progress.running.instruments if progress.running is not None else None
        snapshot = Snapshot(
            phase=progress.phase,
            waiting_for=progress.waiting_for,
            broker_reachable=producer.broker_reachable,
            last_error=producer.last_error,
            troubles=self._troubles.reasons(),
            silence=progress.silence,
            spool_problem=producer.spool_problem,
            list_held_back=instruments.list.held_back if instruments is not None else None,
            topics=self._checks.faults,
            slots=self._owner.not_ready(),
        )
        return progress.phase.value, not_ready(snapshot)

    def accounting(self) -> Accounting:
        """Return where everything is that was received.

        The two sides come from different counters: what was received from the pipeline's, what
        became of it from the producer's.
        """
        counts, dead, running = (
            self._producer.counts,
            self._producer.dead_letters,
            self._progress.running,
        )
        received = running.pipeline.received if running is not None else 0
        return balance(
            counts,
            dead,
            received=counts.found + dead.found + received,
            redirected=self._dead_letters.redirected,
        )

    def status(self) -> ServiceStatus:
        """Return the state of the whole service at this moment."""
        phase, reasons = self.readiness()
        now = datetime.fromtimestamp(self._clock.time_us() / 1e6, IST)
        status = ServiceStatus(
            name=self._settings.name,
            version=VERSION,
            codec=IMPLEMENTATION,
            started_ms=self._started_ms,
            uptime_seconds=round(self._clock.monotonic() - self._started, 1),
            phase=phase,
            not_ready=reasons,
            accounting=self.accounting(),
            producer=self._producer_status(),
            latencies=Latencies(
                produce_to_ack=self._producer.health.acknowledgement.histogram,
                event_loop_lag=self.lag.histogram,
            ),
            unresolved=self._owner.unresolved(),
            market_open={one.name: market_hours.market_open(one, now) for one in Exchange},
            topics=self._checks.status(),
            trading_days_listed_until=market_hours.in_use().listed_until.isoformat(),
            cluster=self._owner.status(),
        )
        running = self._progress.running
        if running is None:
            return status
        instruments = running.instruments
        return replace(
            status,
            **self._received(running.pipeline, status.latencies),
            instrument_list=instruments.list.status() if instruments is not None else None,
            backfill=running.backfill.status() if running.backfill is not None else None,
        )

    def _received(self, pipeline: Pipeline, latencies: Latencies) -> dict[str, Any]:
        """Return the part of the status about what was received."""
        return {
            "connections": self._connections(pipeline),
            **self._unserved(),
            "exchanges": [
                ExchangeStatus(
                    exchange.name,
                    pipeline.tick_topics[exchange],
                    count,
                    self._rates.per_second(exchange),
                )
                for exchange, count in pipeline.ticks.items()
            ],
            "latencies": replace(
                latencies,
                exchange_to_receive=pipeline.exchange_to_receive,
                receive_to_produce=pipeline.receive_to_produce,
            ),
            "rejected": dict(pipeline.rejected),
            "unkept": pipeline.unkept,
            "implausible_times": pipeline.implausible_times,
            "orders": pipeline.orders,
            "order_repeats": pipeline.order_desk.repeats,
            "orders_reconciled": pipeline.orders_reconciled,
            "events": pipeline.events,
            "instruments": pipeline.instruments,
            "latest": pipeline.latest_written,
        }

    def _unserved(self) -> dict[str, Any]:
        """Return the part of the status about instruments that send nothing."""
        unserved = self._owner.unserved()
        longest = nlargest(MAX_UNSERVED_SHOWN, unserved, key=itemgetter(2))
        symbol = self._owner.names().symbol
        return {
            "unserved": [
                UnservedInstrument(token, symbol(token), slot, round(seconds, 1))
                for slot, token, seconds in longest
            ],
            "unserved_count": len(unserved),
        }

    def notes(self, pipeline: Pipeline, host: str) -> dict[int, dict[str, Any]]:
        """How each slot of this process is, in a few words, for pages of other replicas."""
        return {
            one.slot: {
                "heard_us": stats.last_frame_us,
                "owner": host[:MAX_HOST_CHARS],
                "leads": self._owner.leads,
                "state": one.state,
                "desired": one.desired,
                "confirmed": one.confirmed,
                "rate": round(one.ticks_per_second),
                "trouble": (one.present_trouble or "")[:MAX_TROUBLE_CHARS],
            }
            for stats, one in zip(self._owner.stats(), self._connections(pipeline), strict=True)
        }

    def _connections(self, pipeline: Pipeline) -> list[ConnectionStatus]:
        now_us = self._clock.time_us()
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
                packets=pipeline.packets(stats.slot),
                silent=stats.silent,
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

    def _producer_status(self) -> ProducerStatus:
        producer = self._producer
        counts, dead = producer.counts, producer.dead_letters
        return ProducerStatus(
            bootstrap_servers=self._settings.kafka.bootstrap_servers,
            way=producer.way,
            broker_reachable=producer.broker_reachable,
            queued=counts.in_flight + dead.in_flight,
            spooled=counts.spooled + dead.spooled,
            spool_bytes=producer.spool_bytes,
            queue_peak=producer.queue_peak,
            spool_peak_bytes=producer.spool_peak_bytes,
            spool_limit_bytes=producer.spool_limit_bytes,
            spool_problem=producer.spool_problem,
            files_refused=self._progress.files_refused,
            found_in_spool=counts.found + dead.found,
            refused=[
                (topic, reason, count) for (topic, reason), count in producer.refusals.items()
            ],
            troubles={trouble.topic: trouble.reason for trouble in producer.troubles},
            throttled_seconds=round(producer.health.throttled_seconds, 3),
            last_error=producer.last_error,
        )


def balance(
    counts: RecordCounts, dead: RecordCounts, *, received: int, redirected: int
) -> Accounting:
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
