"""What the service says of itself: one snapshot, read by /status, /metrics and the live view.

Plain data. Whoever runs the service fills it in from counters; nothing here costs the tick path
anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import connector
from connector.kafka.histogram import MILLISECONDS, SECONDS, Histogram

VERSION: Final = connector.__version__

MAX_UNRESOLVED_SHOWN = 1000
"""Instruments without a connection that /status names; all are counted."""


@dataclass(frozen=True)
class Accounting:
    """Where everything is that was received: always `received == everything else together`.

    Counted are records for Kafka: each packet of the feed (also those that are no ticks), each
    order update, each connection event and each changed row of the instrument master.
    """

    received: int = 0
    delivered: int = 0
    """acknowledged by the broker"""
    in_flight: int = 0
    """with the producer, not acknowledged yet"""
    spooled: int = 0
    """on disk, until the broker takes them"""
    dead_lettered: int = 0
    """in the dead-letter topic, acknowledged: bytes that are no tick, and what Kafka refused"""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """lost, by reason"""

    @property
    def total_dropped(self) -> int:
        """Lost, whatever the reason."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for."""
        return self.received == (
            self.delivered + self.in_flight + self.spooled + self.dead_lettered + self.total_dropped
        )


@dataclass(frozen=True)
class ConnectionStatus:
    """One WebSocket."""

    slot: int
    account: str
    state: str
    session_id: int | None = None
    desired: int = 0
    """instruments it shall carry"""
    confirmed: int = 0
    """of these, how many sent a packet in the mode asked for"""
    unserved: int = 0
    """of these, how many sent none, although asked for again"""
    trouble: str | None = None
    """why it does not stream what it should in market hours, although connected"""
    renewals: int = 0
    """sockets replaced since they were mute or half served"""
    frames: int = 0
    bytes: int = 0
    heartbeats: int = 0
    packets: int = 0
    connects: int = 0
    ticks_per_second: float = 0.0
    last_frame_age_seconds: float | None = None
    last_tick_age_seconds: float | None = None
    last_error: str | None = None


@dataclass(frozen=True)
class ExchangeStatus:
    """One exchange's ticks."""

    exchange: str
    topic: str
    ticks: int = 0
    ticks_per_second: float = 0.0


@dataclass(frozen=True)
class ProducerStatus:
    """The way into Kafka."""

    bootstrap_servers: str = ""
    way: str = ""
    """native, or confluent and why: how records go to librdkafka"""
    broker_reachable: bool = False
    queued: int = 0
    spooled: int = 0
    spool_bytes: int = 0
    queue_peak: int = 0
    """the most records that librdkafka's queue was seen to hold"""
    spool_peak_bytes: int = 0
    spool_limit_bytes: int = 0
    """how large they can become: spool.max_mib, or what the file system has room for"""
    spool_problem: str | None = None
    """why the spool cannot be written or read"""
    found_in_spool: int = 0
    """left there by an earlier process, and part of what is received"""
    last_error: str | None = None
    refused: Sequence[tuple[str, str, int]] = ()
    """(topic, reason, records): each time that Kafka refused them, with a batch or alone"""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """topic → reason, of topics that accept nothing; their records wait"""
    throttled_seconds: float = 0.0
    """how long quotas of the brokers held it back, in all"""


@dataclass(frozen=True)
class InstrumentListStatus:
    """The daily list of instruments: what is in use, and why nothing newer is."""

    instruments: int = 0
    origin: str | None = None
    """where the one in use is from: Kite, cache or kite.instruments"""
    confirmed_ms: int | None = None
    """when Kite last gave or confirmed it"""
    held_back: str | None = None
    """why the last list that Kite gave is not used"""
    error: str | None = None
    """why the last try to get one failed"""
    unreadable_rows: int = 0
    defaulted_cells: int = 0
    """cells that are not needed and could not be read"""
    repeated_tokens: int = 0
    """rows whose token another row has under another name"""
    ambiguous_names: int = 0
    """names of several tokens"""
    missing: int = 0
    """subscribed instruments that it does not have; only where this replica knows all claims"""


@dataclass(frozen=True)
class Latencies:
    """How long things take, in seconds."""

    exchange_to_receive: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    receive_to_produce: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))
    produce_to_ack: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))
    event_loop_lag: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))


@dataclass(frozen=True)
class ServiceStatus:
    """Everything at one moment."""

    name: str
    version: str
    codec: str
    started_ms: int
    uptime_seconds: float
    phase: str
    """what it is doing: starting, running, stopping"""
    not_ready: Sequence[str]
    """why it is not ready; empty when it is"""
    accounting: Accounting
    producer: ProducerStatus
    latencies: Latencies
    connections: Sequence[ConnectionStatus] = ()
    """while it starts, and where no slot is owned, none"""
    exchanges: Sequence[ExchangeStatus] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    """packets that were no ticks, by reason"""
    unkept: int = 0
    """more packets of one frame that were no ticks than the dead letters keep"""
    implausible_times: int = 0
    """ticks whose event_time is the receive time, since the exchange's was too far from it"""
    orders: int = 0
    """order updates, each once"""
    order_repeats: int = 0
    """copies of them on other connections, left out"""
    events: int = 0
    instruments: int = 0
    """records of the instrument master, written where they changed"""
    unresolved: Sequence[str] = ()
    """instruments of the settings that have no connection, each with the reason"""
    instrument_list: InstrumentListStatus | None = None
    """None where none is loaded, by the settings"""
    cluster: Mapping[str, Any] | None = None
    """what this replica owns and leads; None where it is alone"""

    @property
    def ready(self) -> bool:
        """Whether it does all that it is there for."""
        return not self.not_ready

    @property
    def ticks_per_second(self) -> float:
        """Over all exchanges."""
        return sum(exchange.ticks_per_second for exchange in self.exchanges)

    def as_json(self) -> dict[str, Any]:
        """The document that /status answers."""
        document = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name != "latencies"
        }
        for name in ("connections", "exchanges"):
            document[name] = [dataclasses.asdict(part) for part in document[name]]
        # of a whole market without names, say: a page is for people
        document["unresolved"] = list(self.unresolved[:MAX_UNRESOLVED_SHOWN])
        document["unresolved_count"] = len(self.unresolved)
        document["accounting"] = {
            **dataclasses.asdict(self.accounting),
            "balanced": self.accounting.balanced,
        }
        document["producer"] = dataclasses.asdict(self.producer)
        if self.instrument_list is not None:
            document["instrument_list"] = dataclasses.asdict(self.instrument_list)
        document["ready"] = self.ready
        document["ticks_per_second"] = round(self.ticks_per_second, 1)
        document["latency_seconds"] = {
            name: {
                "count": histogram.count,
                "p50_below": _finite(histogram.quantile(0.5)),
                "p99_below": _finite(histogram.quantile(0.99)),
            }
            for name, histogram in [
                ("exchange_to_receive", self.latencies.exchange_to_receive),
                ("receive_to_produce", self.latencies.receive_to_produce),
                ("produce_to_ack", self.latencies.produce_to_ack),
                ("event_loop_lag", self.latencies.event_loop_lag),
            ]
        }
        return document


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return None if value == float("inf") else value
