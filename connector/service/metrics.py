"""The service's metrics for Prometheus, read from a snapshot when somebody asks.

Nothing on the tick path knows of prometheus-client: plain ints are counted there, and this
collector turns them into families at each scrape. Labels are few and bounded: slot, account,
exchange, reason, state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from connector.kafka.histogram import Histogram
from connector.kite.wire.models import ConnectionState
from connector.service.status import (
    ConnectionStatus,
    InstrumentListStatus,
    ProducerStatus,
    ServiceStatus,
)

PREFIX = "kite_connector_"
_SLOT = ("slot", "account")


class StatusCollector(Collector):
    """Makes metric families of the service's status."""

    def __init__(self, status: Callable[[], ServiceStatus]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not take a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, at this moment."""
        status = self._status()
        yield InfoMetricFamily(
            f"{PREFIX}build",
            "Always 1; its labels say what is running.",
            {"version": status.version, "codec": status.codec, "name": status.name},
        )
        yield _gauge("ready", "1 when the replica does all that it is there for.", status.ready)
        yield from _accounting(status)
        yield from _exchanges(status)
        yield from _connections(status.connections)
        yield from _producer(status.producer)
        yield _gauge(
            "unresolved_instruments",
            "Instruments of the settings that have no connection; /status names them.",
            len(status.unresolved),
        )
        if status.instrument_list is not None:
            yield from _instrument_list(status.instrument_list)
        yield from _cluster(status.cluster)
        latencies = status.latencies
        for name, help_text, histogram in [
            (
                "exchange_to_receive_seconds",
                (
                    "From the exchange's timestamp, which is whole seconds, to the socket; "
                    "one tick of each frame."
                ),
                latencies.exchange_to_receive,
            ),
            (
                "receive_to_produce_seconds",
                "From the socket to the producer, for the last tick of each frame.",
                latencies.receive_to_produce,
            ),
            (
                "produce_to_ack_seconds",
                (
                    "From the producer to the brokers' acknowledgement, without time in the spool. "
                    "Count and mean are librdkafka's own, the buckets are interpolated between "
                    "the percentiles that it tells of each second."
                ),
                latencies.produce_to_ack,
            ),
            (
                "event_loop_lag_seconds",
                (
                    "What a timer of the event loop waits beyond its time: more than some "
                    "milliseconds is a lack of CPU."
                ),
                latencies.event_loop_lag,
            ),
        ]:
            yield _histogram(name, help_text, histogram)


class Metrics:
    """The registry behind /metrics: the service's own families and the process's."""

    def __init__(self, status: Callable[[], ServiceStatus]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StatusCollector(status))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def expose(self, *, openmetrics: bool = False) -> tuple[bytes, str]:
        """The page and its content type.

        The format is the caller's choice and not made of a request's Accept header: the library
        answers some of those with an exception, and repeats others in its own header.
        """
        encoder, content_type = choose_encoder("application/openmetrics-text" * openmetrics)
        return encoder(self._registry), content_type


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, help_text, value=float(value))


def _counter(name: str, help_text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, help_text, value=float(value))


def _histogram(name: str, help_text: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(
        PREFIX + name,
        help_text,
        buckets=histogram.cumulative(),
        sum_value=histogram.total,
    )


def _accounting(status: ServiceStatus) -> Iterator[Metric]:
    accounting = status.accounting
    yield _counter(
        "records_received",
        "Everything for Kafka: packets, orders, events, instruments, and what was in the spool.",
        accounting.received,
    )
    yield _counter(
        "records_delivered",
        "Records that brokers acknowledged, without dead letters.",
        accounting.delivered,
    )
    yield _gauge("records_in_flight", "Records not acknowledged yet.", accounting.in_flight)
    yield _gauge("records_spooled", "Records on disk, until brokers take them.", accounting.spooled)
    yield _counter(
        "records_dead_lettered",
        "Records in kite.deadletter: bytes that are no tick, and what Kafka refused.",
        accounting.dead_lettered,
    )
    dropped = CounterMetricFamily(
        f"{PREFIX}records_dropped", "Records lost for good.", labels=["reason"]
    )
    for reason, count in accounting.dropped.items():
        dropped.add_metric([reason], count)
    yield dropped
    rejected = CounterMetricFamily(
        f"{PREFIX}packets_rejected",
        "Packets that are no ticks, and text frames that cannot be read.",
        labels=["reason"],
    )
    for reason, count in status.rejected.items():
        rejected.add_metric([reason], count)
    yield rejected
    yield _counter(
        "packets_unkept",
        "Packets that are no ticks and in no dead letter: of a frame 65 are kept.",
        status.unkept,
    )
    yield _counter(
        "implausible_exchange_times",
        "Ticks whose event_time is the receive time, since the exchange's time is more than a "
        "minute ahead of it or seven days behind.",
        status.implausible_times,
    )
    yield _counter("order_updates", "Order updates written, each once.", status.orders)
    yield _counter(
        "order_repeats",
        "Copies of order updates that came on other connections and were left out.",
        status.order_repeats,
    )
    yield _counter("events", "Records written to kite.events.", status.events)
    yield _counter(
        "instrument_records",
        "Rows of the instrument master written to kite.instruments, those that changed.",
        status.instruments,
    )


def _producer(producer: ProducerStatus) -> Iterator[Metric]:
    yield _gauge(
        "broker_reachable",
        "1 when a Kafka broker is connected, as of the last second.",
        producer.broker_reachable,
    )
    yield _gauge(
        "queue_peak_records",
        "The most records that the producer's queue in memory was seen to hold since the start.",
        producer.queue_peak,
    )
    refused = CounterMetricFamily(
        f"{PREFIX}records_refused",
        "Records that Kafka refused, each time, with a batch or alone; what is at fault itself "
        "becomes a dead letter, all else is sent again.",
        labels=["topic", "reason"],
    )
    for topic, reason, count in producer.refused:
        refused.add_metric([topic, reason], count)
    yield refused
    trouble = GaugeMetricFamily(
        f"{PREFIX}topic_in_trouble",
        "1 for each topic that accepts nothing; its records wait, /ready says what helps.",
        labels=["topic", "reason"],
    )
    for topic, reason in producer.troubles.items():
        trouble.add_metric([topic, reason], 1.0)
    yield trouble
    yield _counter(
        "throttled_seconds",
        "How long quotas of the brokers held the producer back.",
        producer.throttled_seconds,
    )
    yield _gauge("spool_bytes", "Size of the spool's files.", producer.spool_bytes)
    yield _gauge(
        "spool_peak_bytes",
        "The most that the spool's files were since the start.",
        producer.spool_peak_bytes,
    )
    yield _gauge(
        "spool_limit_bytes",
        "How large the spool's files can become: spool.max_mib, or what the disk has room for.",
        producer.spool_limit_bytes,
    )
    yield _gauge(
        "spool_usable",
        "1 when the spool can be written and read; at 0 ticks are lost while Kafka is away.",
        producer.spool_problem is None,
    )


def _instrument_list(found: InstrumentListStatus) -> Iterator[Metric]:
    yield _gauge(
        "instrument_list_held_back",
        "1 while the last list of instruments that Kite gave is not used; /status says why.",
        found.held_back is not None,
    )
    yield _gauge(
        "instrument_list_instruments", "Rows of the list of instruments in use.", found.instruments
    )
    if found.confirmed_ms is not None:
        yield _gauge(
            "instrument_list_confirmed_timestamp_seconds",
            "When Kite last gave or confirmed the list of instruments in use.",
            found.confirmed_ms / 1000,
        )
    faults = GaugeMetricFamily(
        f"{PREFIX}instrument_list_faults",
        "What is wrong in the list of instruments in use, without making it useless.",
        labels=["kind"],
    )
    for kind, count in (
        ("unreadable_row", found.unreadable_rows),
        ("defaulted_cell", found.defaulted_cells),
        ("repeated_token", found.repeated_tokens),
        ("ambiguous_name", found.ambiguous_names),
    ):
        faults.add_metric([kind], count)
    yield faults
    yield _gauge(
        "instruments_missing",
        "Subscribed instruments that the list in use does not have: their claims are kept. Known "
        "to the leader alone.",
        found.missing,
    )


def _cluster(cluster: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Nothing without a cluster; what is said of commands only of the replica that leads."""
    if cluster is None:
        return
    yield _gauge(
        "cluster_leader", "1 on the replica that owns kite.control and leads.", cluster["leader"]
    )
    yield _gauge(
        "cluster_slots_owned",
        "Connections (slots) that this replica owns, open or not.",
        # an account with fewer than three connections has slots that stay empty
        sum(slot["account"] is not None for slot in cluster["slots"].values()),
    )
    yield _gauge(
        "cluster_revision",
        "Revision of the subscriptions, as far as this replica has seen it.",
        cluster["revision"],
    )
    yield _counter(
        "cluster_rebalances",
        "Assignments and revocations of slots and leadership.",
        cluster["rebalances"],
    )
    commands = cluster["commands"]
    if commands is not None:
        yield _gauge(
            "cluster_leader_serving",
            "Only of the leader: 1 when it applies commands, as soon as they come.",
            commands["serving"],
        )
        for name, key, help_text in (
            ("commands", "applied", "messages of kite.control dealt with since it leads."),
            ("commands_rejected", "rejected", "those of them that are no command."),
            ("transactions_aborted", "aborted", "transactions that it had to try again."),
            ("transactions_refused", "refused", "transactions that Kafka can never write."),
            ("leader_fenced", "fenced", "times that another leader took over unnoticed."),
        ):
            yield _counter(f"cluster_{name}", f"Only of the leader: {help_text}", commands[key])


def _exchanges(status: ServiceStatus) -> Iterator[Metric]:
    ticks = CounterMetricFamily(f"{PREFIX}ticks", "Ticks received.", labels=["exchange"])
    for exchange in status.exchanges:
        ticks.add_metric([exchange.exchange], exchange.ticks)
    yield ticks


def _connections(connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
    def counter(name: str, help_text: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"{PREFIX}connection_{name}", help_text, labels=_SLOT)

    state = GaugeMetricFamily(
        f"{PREFIX}connection_state",
        "1 for the connection's present state, 0 for all others.",
        labels=(*_SLOT, "state"),
    )
    instruments = GaugeMetricFamily(
        f"{PREFIX}connection_instruments",
        "Instruments that the connection shall carry (desired), those of them that sent a "
        "packet in the mode asked for (confirmed), and those that sent none although asked for "
        "again (unserved).",
        labels=(*_SLOT, "kind"),
    )
    last_frame = GaugeMetricFamily(
        f"{PREFIX}connection_last_frame_timestamp_seconds",
        "When any frame came last, heartbeats too.",
        labels=_SLOT,
    )
    last_tick = GaugeMetricFamily(
        f"{PREFIX}connection_last_tick_timestamp_seconds",
        "When a frame with ticks came last.",
        labels=_SLOT,
    )
    frames = counter("frames", "Frames with packets.")
    heartbeats = counter("heartbeats", "Frames without packets: the feed is alive.")
    size = counter("received_bytes", "Size of all frames.")
    packets = counter("packets", "Packets, whether they are ticks or not.")
    connects = counter("connects", "Sockets opened.")
    renewals = counter("renewals", "Sockets replaced since they were mute or half served.")
    impaired = GaugeMetricFamily(
        f"{PREFIX}connection_impaired",
        "1 while the connection does not stream what it should in market hours although it is "
        "open: mute, or half served. Sockets are replaced meanwhile.",
        labels=_SLOT,
    )
    now = time.time()
    for connection in connections:
        labels = [str(connection.slot), connection.account]
        for each in ConnectionState:
            state.add_metric([*labels, each.value], float(connection.state == each.value))
        instruments.add_metric([*labels, "desired"], connection.desired)
        instruments.add_metric([*labels, "confirmed"], connection.confirmed)
        instruments.add_metric([*labels, "unserved"], connection.unserved)
        impaired.add_metric(labels, float(connection.trouble is not None))
        renewals.add_metric(labels, connection.renewals)
        frames.add_metric(labels, connection.frames)
        heartbeats.add_metric(labels, connection.heartbeats)
        size.add_metric(labels, connection.bytes)
        packets.add_metric(labels, connection.packets)
        connects.add_metric(labels, connection.connects)
        for family, age in [
            (last_frame, connection.last_frame_age_seconds),
            (last_tick, connection.last_tick_age_seconds),
        ]:
            if age is not None:
                family.add_metric(labels, now - age)
    yield from (state, instruments, last_frame, last_tick, impaired)
    yield from (frames, heartbeats, size, packets, connects, renewals)
