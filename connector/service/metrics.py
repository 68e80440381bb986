"""The service's metrics for Prometheus, read from a snapshot when somebody asks.

Nothing on the tick path knows of prometheus-client: plain ints are counted there, and this
collector turns them into families at each scrape. Labels are few and bounded: slot, account,
exchange, reason, state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

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

from connector.control.records import Halt
from connector.kafka.histogram import Histogram
from connector.kite.feed.events import ConnectionState
from connector.service.status import (
    BackfillStatus,
    ConnectionStatus,
    InstrumentListStatus,
    Latencies,
    ProducerStatus,
    ServiceStatus,
    TopicsStatus,
)
from connector.service.trading_calendar import listed_until_seconds

PREFIX = "kite_connector_"
_SLOT = ("slot", "account")


class StatusCollector(Collector):
    """Makes metric families of the service's status."""

    def __init__(self, status: Callable[[], ServiceStatus]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        """Yield nothing: registering must not take a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family as it is at this moment."""
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
        yield _gauges(
            "market_open",
            "1 while an exchange trades, by the calendar in use.",
            *_by("exchange", status.market_open),
        )
        if status.trading_days_listed_until is not None:
            yield _gauge(
                "trading_days_listed_until_timestamp_seconds",
                "End of the last day for which holidays and special sessions are listed.",
                listed_until_seconds(status.trading_days_listed_until),
            )
        yield from _cluster(status.cluster)
        yield from _topics(status.topics)
        yield from _latencies(status.latencies)


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


_Rows: TypeAlias = Iterable[tuple[Sequence[str], float]]
"""The series of a family: the values of its labels, and the number."""


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, help_text, value=float(value))


def _gauges(name: str, help_text: str, labels: Sequence[str], rows: _Rows) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, help_text, labels=labels), rows)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, help_text, value=float(value))


def _counters(name: str, help_text: str, labels: Sequence[str], rows: _Rows) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, help_text, labels=labels), rows)


def _by(label: str, numbers: Mapping[str, float]) -> tuple[list[str], _Rows]:
    """Return the label and the series of a family with one for each of these."""
    return [label], [([value], number) for value, number in numbers.items()]


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: _Rows) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, float(value))
    return family


def _histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    buckets, total = histogram.cumulative(), histogram.total
    return HistogramMetricFamily(PREFIX + name, help_text, buckets=buckets, sum_value=total)


def _latencies(latencies: Latencies) -> Iterator[Metric]:
    yield _histogram(
        "exchange_to_receive_seconds",
        "Time from the exchange's timestamp, which is whole seconds, to the socket; of one "
        "frame in 10 ms a slot.",
        latencies.exchange_to_receive,
    )
    yield _histogram(
        "receive_to_produce_seconds",
        "Time from the socket to the producer, for the last tick of one frame in 10 ms a slot.",
        latencies.receive_to_produce,
    )
    yield _histogram(
        "produce_to_ack_seconds",
        "Time from the producer to the brokers' acknowledgement, without time in the spool. Count "
        "and mean are librdkafka's own, the buckets are interpolated between the percentiles "
        "that it "
        "reports each second.",
        latencies.produce_to_ack,
    )
    yield _histogram(
        "event_loop_lag_seconds",
        "What a timer of the event loop waits beyond its time: more than some milliseconds is a "
        "lack of CPU.",
        latencies.event_loop_lag,
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
    yield _counters(
        "records_dropped",
        "Records lost for good.",
        *_by("reason", accounting.dropped),
    )
    yield _counters(
        "packets_rejected",
        "Packets that are no ticks, and text frames that cannot be read.",
        *_by("reason", status.rejected),
    )
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
    yield _counter(
        "order_updates_reconciled",
        "Order updates written that no socket had brought: Kite's list of orders told of them.",
        status.orders_reconciled,
    )
    yield _counter("events", "Records written to kite.events.", status.events)
    yield _counter(
        "instrument_records",
        "Rows of the instrument master written to kite.instruments, those that changed.",
        status.instruments,
    )
    if status.backfill is not None:
        yield from _backfill(status.backfill)
    yield _counter(
        "latest_records", "Records of newest ticks written to kite.latest.", status.latest
    )


def _backfill(found: BackfillStatus) -> Iterator[Metric]:
    yield _gauge(
        "backfill_gaps_waiting",
        "Gaps whose candles are still to be fetched. Known to the leader alone.",
        found.gaps_waiting,
    )
    yield _counter(
        "backfill_gaps_ended",
        "Gaps that were dealt with, whatever candles could be had.",
        found.gaps_ended,
    )
    yield _counter(
        "backfill_candles", "Candles of gaps written to kite.backfill.1m.", found.candles
    )
    yield _counters(
        "backfill_instruments_lacking",
        "Instruments of gaps for which candles could not be had; kite.events has the reasons.",
        *_by("reason", found.lacking),
    )
    yield _counter(
        "backfill_rows_refused",
        "Rows of Kite's answers that are no candles of what was asked for.",
        found.rows_refused,
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
    yield _counters(
        "records_refused",
        "Records that Kafka refused, each time, with a batch or alone; what is at fault itself "
        "becomes a dead letter, all else is sent again.",
        ["topic", "reason"],
        [([topic, reason], count) for topic, reason, count in producer.refused],
    )
    yield _gauges(
        "topic_in_trouble",
        "1 for each topic that accepts nothing; its records wait, /ready says what helps.",
        ["topic", "reason"],
        [([topic, reason], 1) for topic, reason in producer.troubles.items()],
    )
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
    yield _gauge(
        "kafka_files_refused",
        "1 when no broker takes the certificates, key or secret that the files hold now; what was "
        "read before is used until it ends.",
        producer.files_refused is not None,
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
    yield _gauges(
        "instrument_list_faults",
        "What is wrong in the list of instruments in use, without making it useless.",
        ["kind"],
        [
            (["unreadable_row"], found.unreadable_rows),
            (["defaulted_cell"], found.defaulted_cells),
            (["repeated_token"], found.repeated_tokens),
            (["ambiguous_name"], found.ambiguous_names),
            (["kept_row"], found.rows_kept),
        ],
    )
    yield _gauge(
        "instruments_missing",
        "Subscribed instruments that the list in use does not have: their claims are kept. Known "
        "to the leader alone.",
        found.missing,
    )


def _topics(found: TopicsStatus | None) -> Iterator[Metric]:
    """Yield nothing where another replica leads and looks at the topics."""
    if found is None:
        return
    yield _gauges(
        "topics_misconfigured",
        "Only of the leader: what is wrong with the configuration of topics. A fault loses what is "
        "kept there or takes no record, a loss deletes records too soon or changes their times; a "
        "difference is only not what the settings say. /status has each.",
        ["kind"],
        [
            (["fault"], len(found.faults)),
            (["loss"], len(found.losses)),
            (["difference"], len(found.differences)),
        ],
    )


def _cluster(cluster: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Yield nothing without a cluster, and the counts of commands only where this replica leads."""
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
    halts = [slot.get("halt") for slot in cluster["slots"].values()]
    yield _gauges(
        "cluster_slots_halted",
        "Connections (slots) of this replica that somebody paused or stopped, until resume.",
        *_by("halt", {halt.value: halts.count(halt.value) for halt in Halt}),
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
    yield _gauge(
        "cluster_foreign_partitions",
        "Slots, and the leadership, that a member of the group holds which is no connector, as "
        "of the last half minute: nobody serves them. /status names it.",
        len(cluster.get("foreign", ())),
    )
    rules = cluster.get("rules")
    if rules is not None:
        kept = sum(rule["problem"] is not None for rule in rules)
        yield _gauges(
            "cluster_rules",
            "Only of the leader: rules of watchlists, those that are followed and those that keep "
            "what they had; status says why.",
            *_by("state", {"followed": len(rules) - kept, "kept": kept}),
        )
    waiting = cluster.get("waiting_for_room")
    if waiting is not None:
        yield _gauge(
            "cluster_unplaced_instruments",
            "Only of the leader: instruments that wait for room, on an account whose slots are "
            "full or since theirs are gone; status counts them by account.",
            sum(waiting.values()),
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
    ticks = {exchange.exchange: exchange.ticks for exchange in status.exchanges}
    yield _counters("ticks", "Ticks received from the feed, by exchange.", *_by("exchange", ticks))


_OF_A_CONNECTION: Final = (
    ("frames", "frames", "Frames with packets."),
    ("heartbeats", "heartbeats", "Frames without packets: the feed is alive."),
    ("received_bytes", "bytes", "Size of all frames."),
    ("packets", "packets", "Packets, whether they are ticks or not."),
    ("connects", "connects", "Sockets that were opened since the start."),
    ("renewals", "renewals", "Sockets replaced since they were mute or half served."),
)
"""Counters: the metric's name, the field of a `ConnectionStatus`, the help text."""


def _connections(connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
    labelled = [([str(one.slot), one.account], one) for one in connections]
    yield _gauges(
        "connection_state",
        "1 for the connection's present state, 0 for all others.",
        (*_SLOT, "state"),
        [
            ([*labels, state.value], one.state == state.value)
            for labels, one in labelled
            for state in ConnectionState
        ],
    )
    yield _gauges(
        "connection_instruments",
        "Instruments that the connection shall carry (desired), those of them that sent a "
        "packet in the mode asked for (confirmed), and those that sent none although asked for "
        "again (unserved).",
        (*_SLOT, "kind"),
        [
            ([*labels, kind], getattr(one, kind))
            for labels, one in labelled
            for kind in ("desired", "confirmed", "unserved")
        ],
    )
    now = time.time()
    for kind, help_text in (
        ("last_frame", "When any frame came last, heartbeats too."),
        ("last_tick", "When a frame with ticks came last."),
    ):
        ages = [(labels, getattr(one, f"{kind}_age_seconds")) for labels, one in labelled]
        yield _gauges(
            f"connection_{kind}_timestamp_seconds",
            help_text,
            _SLOT,
            [(labels, now - age) for labels, age in ages if age is not None],
        )
    yield _gauges(
        "connection_impaired",
        "1 while the connection does not stream what it should in market hours although it is "
        "open: mute, or half served. Sockets are replaced meanwhile.",
        _SLOT,
        [(labels, one.trouble is not None) for labels, one in labelled],
    )
    for name, attribute, help_text in _OF_A_CONNECTION:
        rows = [(labels, getattr(one, attribute)) for labels, one in labelled]
        yield _counters(f"connection_{name}", help_text, _SLOT, rows)
