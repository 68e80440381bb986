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
from connector.kite.feed.events import ConnectionState

VERSION: Final = connector.__version__

MAX_UNRESOLVED_SHOWN = 1000
"""/status names so many instruments without a connection; all are counted."""
MAX_UNSERVED_SHOWN: Final = 100
"""/status names so many unserved instruments, those that are so longest; all are counted."""


@dataclass(frozen=True)
class Accounting:
    """Where everything is that was received: always `received == everything else together`.

    Counted are records for Kafka: each packet of the feed (also those that are no ticks), each
    order update, each connection event and each changed row of the instrument master.
    """

    received: int = 0
    delivered: int = 0
    """How many records the broker has acknowledged."""
    in_flight: int = 0
    """How many records the producer holds that are not acknowledged yet."""
    spooled: int = 0
    """How many records are on disk, until the broker accepts them."""
    dead_lettered: int = 0
    """How many are in the dead-letter topic, acknowledged: bytes that are no tick, and what Kafka
    refused."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many records were lost, by reason."""

    @property
    def total_dropped(self) -> int:
        """How many records were lost, whatever the reason."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for."""
        return self.received == (
            self.delivered + self.in_flight + self.spooled + self.dead_lettered + self.total_dropped
        )


@dataclass(frozen=True)
class ConnectionStatus:
    """The state and the counts of one WebSocket."""

    slot: int
    account: str
    state: str
    session_id: int | None = None
    desired: int = 0
    """How many instruments the connection is to carry."""
    confirmed: int = 0
    """How many of these sent a packet in the mode asked for."""
    silent: int = 0
    """How many of these sent no packet yet, in whatever mode."""
    unserved: int = 0
    """How many of these sent none, although asked for again."""
    trouble: str | None = None
    """Why it does not stream what it should in market hours, although connected."""
    renewals: int = 0
    """How many sockets were replaced since they were mute or half served."""
    frames: int = 0
    bytes: int = 0
    heartbeats: int = 0
    packets: int = 0
    connects: int = 0
    ticks_per_second: float = 0.0
    last_frame_age_seconds: float | None = None
    last_tick_age_seconds: float | None = None
    last_error: str | None = None

    @property
    def present_trouble(self) -> str | None:
        """What is wrong now: the last error of a connection that is open is over."""
        if self.state == ConnectionState.CONNECTED.value:
            return self.trouble
        return self.trouble or self.last_error


@dataclass(frozen=True)
class UnservedInstrument:
    """An instrument that sends nothing while its market is open, although asked for again."""

    token: int
    symbol: str | None
    slot: int
    seconds: float
    """Seconds since it was asked for first; it has answered no request since."""


@dataclass(frozen=True)
class ExchangeStatus:
    """The ticks of one exchange."""

    exchange: str
    topic: str
    ticks: int = 0
    ticks_per_second: float = 0.0


@dataclass(frozen=True)
class ProducerStatus:
    """The producer: the way into Kafka."""

    bootstrap_servers: str = ""
    way: str = ""
    """How records go to librdkafka: native, or confluent and why."""
    broker_reachable: bool = False
    queued: int = 0
    spooled: int = 0
    spool_bytes: int = 0
    queue_peak: int = 0
    """The most records that librdkafka's queue was seen to hold."""
    spool_peak_bytes: int = 0
    spool_limit_bytes: int = 0
    """How large the spool can become: spool.max_mib, or what the file system has room for."""
    spool_problem: str | None = None
    """Why the spool cannot be written or read; None where it can."""
    files_refused: str | None = None
    """Why no broker takes the certificates, key or secret that the files hold now; what was read
    before is used meanwhile."""
    found_in_spool: int = 0
    """How many records an earlier process left there; they are part of what is received."""
    last_error: str | None = None
    refused: Sequence[tuple[str, str, int]] = ()
    """How often Kafka refused records, with a batch or alone: (topic, reason, records)."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """The topics that accept nothing, each with the reason; their records wait."""
    throttled_seconds: float = 0.0
    """How long quotas of the brokers held it back, in all."""


@dataclass(frozen=True)
class InstrumentListStatus:
    """The daily list of instruments: what is in use, and why nothing newer is."""

    instruments: int = 0
    origin: str | None = None
    """Where the list in use is from: Kite, cache or kite.instruments."""
    confirmed_ms: int | None = None
    """When Kite last gave or confirmed it, UTC milliseconds."""
    held_back: str | None = None
    """Why the last list that Kite gave is not used; None where it is."""
    error: str | None = None
    """Why the last try to get a list failed; None where it did not."""
    unreadable_rows: int = 0
    defaulted_cells: int = 0
    """How many cells are not needed and could not be read."""
    repeated_tokens: int = 0
    """How many rows have a token that another row has under another name."""
    ambiguous_names: int = 0
    """How many names have several tokens."""
    rows_kept: int = 0
    """How many rows of contracts are damaged, and as the last good list had them."""
    missing: int = 0
    """How many subscribed instruments it lacks; only where this replica knows all claims."""


@dataclass(frozen=True)
class BackfillStatus:
    """The candles that are fetched for gaps; the leader fetches them, all others have none."""

    gaps_waiting: int = 0
    """How many gaps wait, or are being mended."""
    gaps_ended: int = 0
    """How many gaps were dealt with, whatever could be had."""
    candles: int = 0
    """How many candles were written."""
    rows_refused: int = 0
    """How many rows of Kite's answers were no candles of what was asked for."""
    lacking: Mapping[str, int] = field(default_factory=dict)
    """How many instruments of gaps lack candles, by why: those of `kite.events`."""


@dataclass(frozen=True)
class TopicsStatus:
    """How the topics are configured, as of the leader's last look."""

    faults: Sequence[str] = ()
    """Why topics lose what the connector keeps there, or take nothing, each with what helps."""
    losses: Sequence[str] = ()
    """What breaks a promise to readers: records that are deleted too soon, or have other times."""
    differences: Sequence[str] = ()
    """What is configured in another way than the settings say."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """The topics whose configuration cannot be read, each with the reason."""
    problem: str | None = None
    """Why the last look came to nothing; None where it did not."""


@dataclass(frozen=True)
class Latencies:
    """How long things take, in seconds."""

    exchange_to_receive: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    receive_to_produce: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))
    produce_to_ack: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))
    event_loop_lag: Histogram = field(default_factory=lambda: Histogram(MILLISECONDS))


@dataclass(frozen=True)
class ServiceStatus:
    """The state of the whole service at one moment."""

    name: str
    version: str
    codec: str
    started_ms: int
    uptime_seconds: float
    phase: str
    """The phase of the service's life: starting, running, stopping."""
    not_ready: Sequence[str]
    """The reasons why it is not ready; empty when it is."""
    accounting: Accounting
    producer: ProducerStatus
    latencies: Latencies
    connections: Sequence[ConnectionStatus] = ()
    """The connections of this process; none while it starts, and where it owns no slot."""
    exchanges: Sequence[ExchangeStatus] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    """How many packets were no ticks, by reason."""
    unkept: int = 0
    """How many packets were no ticks and are not dead letters: a frame had too many of them."""
    implausible_times: int = 0
    """How many ticks have the receive time as event_time: the exchange's was too far from it."""
    orders: int = 0
    """How many order updates there were, each counted once."""
    order_repeats: int = 0
    """How many copies of them came on other connections and were left out."""
    orders_reconciled: int = 0
    """How many order updates no socket had brought: Kite's list of orders told of them."""
    events: int = 0
    instruments: int = 0
    """How many records of the instrument master were written, where they changed."""
    latest: int = 0
    """How many records of newest ticks were written."""
    backfill: BackfillStatus | None = None
    """The candles for gaps; None where none are fetched."""
    unresolved: Sequence[str] = ()
    """The instruments of the settings that have no connection, each with the reason."""
    unserved: Sequence[UnservedInstrument] = ()
    """Instruments of this process that send nothing in market hours although asked for again, the
    longest first; at most `MAX_UNSERVED_SHOWN`."""
    unserved_count: int = 0
    """How many these are in all."""
    instrument_list: InstrumentListStatus | None = None
    """The list of instruments in use; None where the settings have none loaded."""
    topics: TopicsStatus | None = None
    """How the topics are configured; None where another replica leads, which looks at them."""
    market_open: Mapping[str, bool] = field(default_factory=dict)
    """Whether each exchange trades at this moment, by the calendar in use."""
    trading_days_listed_until: str | None = None
    """The last day for which holidays and special sessions are listed, ISO 8601."""
    cluster: Mapping[str, Any] | None = None
    """What this replica owns and leads; None where it is alone."""

    @property
    def ready(self) -> bool:
        """Whether it does all that it is there for."""
        return not self.not_ready

    @property
    def ticks_per_second(self) -> float:
        """How many ticks a second there are over all exchanges."""
        return sum(exchange.ticks_per_second for exchange in self.exchanges)

    def as_json(self) -> dict[str, Any]:
        """Return the document that /status answers."""
        document = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if item.name != "latencies"
        }
        for name in ("connections", "exchanges", "unserved"):
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
        if self.topics is not None:
            document["topics"] = dataclasses.asdict(self.topics)
        if self.backfill is not None:
            document["backfill"] = dataclasses.asdict(self.backfill)
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
    """Replace infinity and NaN, which JSON does not have."""
    return None if value == float("inf") else value
