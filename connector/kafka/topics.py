"""The topics: their names, their shape, and making or checking them.

The connector makes its topics itself, with stated partitions and retention: a broker that makes
them at the first write would give them its own defaults, and the wrong ones for compaction.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaError as Code
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names, not re-exported
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.config import ClientLog, client_properties
from connector.kite.models import Exchange
from connector.settings import KafkaSettings, TopicSettings

_HOUR_MS = 3_600_000


class TopicNames:
    """The name of every topic under one prefix."""

    def __init__(self, prefix: str = "kite") -> None:
        self.prefix = prefix
        self.orders = f"{prefix}.orders"
        self.events = f"{prefix}.events"
        self.control = f"{prefix}.control"
        self.replies = f"{prefix}.control.replies"
        self.subscriptions = f"{prefix}.subscriptions"
        self.instruments = f"{prefix}.instruments"
        self.deadletter = f"{prefix}.deadletter"

    def ticks(self, exchange: Exchange) -> str:
        """The topic of one exchange's ticks."""
        return f"{self.prefix}.ticks.{exchange.name.lower()}"

    def all_ticks(self) -> dict[Exchange, str]:
        """The tick topic of every exchange."""
        return {exchange: self.ticks(exchange) for exchange in Exchange}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What one topic must be: `config` holds Kafka's own topic properties, as text."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    exact_partitions: bool = False
    """More partitions than asked for would break the topic's meaning."""

    @property
    def compacted(self) -> bool:
        """Keeps the last record of each key for ever."""
        return "compact" in self.config.get("cleanup.policy", "delete")


@dataclass(slots=True)
class TopicsReport:
    """What `ensure_topics` did and saw."""

    created: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def topic_specs(topics: TopicSettings, *, slots: int) -> list[TopicSpec]:
    """Every topic as the settings ask for it; `slots` is connections, summed over the api_keys."""
    names = TopicNames(topics.prefix)
    in_sync = topics.min_insync_replicas or max(1, topics.replication_factor - 1)
    common = {"min.insync.replicas": str(in_sync), "message.timestamp.type": "CreateTime"}

    def kept(hours: float) -> dict[str, str]:
        return {**common, "cleanup.policy": "delete", "retention.ms": str(round(hours * _HOUR_MS))}

    # Small segments: the active one is never compacted, and whoever takes over reads all of it.
    compacted = {
        **common,
        "cleanup.policy": "compact",
        "segment.ms": str(_HOUR_MS),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": str(24 * _HOUR_MS),
    }
    control = kept(topics.control_retention_hours)
    return [
        *(
            TopicSpec(name, topics.tick_partitions, kept(topics.tick_retention_hours))
            for name in names.all_ticks().values()
        ),
        TopicSpec(names.orders, topics.order_partitions, kept(topics.order_retention_hours)),
        # rare records, read by everybody: one partition, so one order
        TopicSpec(names.events, 1, kept(topics.event_retention_hours)),
        TopicSpec(names.control, 1, control, exact_partitions=True),
        TopicSpec(names.replies, 1, control),
        TopicSpec(names.subscriptions, slots, compacted),
        # as many as the ticks: the same token is in the same partition of both, for joins
        TopicSpec(names.instruments, topics.tick_partitions, compacted),
        TopicSpec(names.deadletter, 1, kept(topics.deadletter_retention_hours)),
    ]


async def ensure_topics(
    kafka: KafkaSettings,
    topics: TopicSettings,
    *,
    slots: int,
    timeout_seconds: float = 10.0,
) -> TopicsReport:
    """Make the topics that are missing and check the others; with `topics.create` off only check.

    Raises:
        BrokerUnreachableError: no broker answers in time; trying again may help.
        TopicError: a topic is missing and may not be made, or is of no use as it is.
    """
    specs = topic_specs(topics, slots=slots)
    return await asyncio.to_thread(_ensure, kafka, topics, specs, timeout_seconds)


def _ensure(
    kafka: KafkaSettings, topics: TopicSettings, specs: list[TopicSpec], timeout_seconds: float
) -> TopicsReport:
    properties = client_properties(kafka, **{"client.id": "kite-connector-topics"})
    # referenced until the last future has ended: else they fail with _DESTROY
    admin = AdminClient(properties, logger=ClientLog("topics"))
    metadata = _metadata(admin, kafka, timeout_seconds)
    existing = {
        name: len(topic.partitions)
        for name, topic in metadata.topics.items()
        if topic.error is None
    }
    missing = [spec for spec in specs if spec.name not in existing]
    report = TopicsReport()
    if missing and not topics.create:
        raise TopicError(
            ", ".join(spec.name for spec in missing),
            "missing, and topics.create is off: create it, or turn topics.create on",
        )
    if missing:
        _create(admin, missing, topics, len(metadata.brokers), timeout_seconds)
        report.created = [spec.name for spec in missing]
    _check(
        admin, [s for s in specs if s.name in existing], existing, topics, report, timeout_seconds
    )
    return report


def _metadata(admin: AdminClient, kafka: KafkaSettings, timeout_seconds: float) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=timeout_seconds)
    except KafkaException as exc:
        raise BrokerUnreachableError(kafka.bootstrap_servers, exc.args[0].str()) from exc


def _create(
    admin: AdminClient,
    missing: Iterable[TopicSpec],
    topics: TopicSettings,
    brokers: int,
    timeout_seconds: float,
) -> None:
    missing = list(missing)
    if brokers < topics.replication_factor:
        raise TopicError(
            missing[0].name,
            f"topics.replication_factor is {topics.replication_factor}, but the cluster has "
            f"{brokers} broker{'s' if brokers != 1 else ''}: lower it, or add brokers",
        )
    futures = admin.create_topics(
        [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=topics.replication_factor,
                config=dict(spec.config),
            )
            for spec in missing
        ],
        operation_timeout=timeout_seconds,
        request_timeout=timeout_seconds,
    )
    for name, future in futures.items():
        error = _failure(future)
        # another replica was quicker: as good
        if error is not None and error.code() != Code.TOPIC_ALREADY_EXISTS:
            raise TopicError(name, f"cannot be created: {error.str()}")


def _check(
    admin: AdminClient,
    specs: list[TopicSpec],
    existing: Mapping[str, int],
    topics: TopicSettings,
    report: TopicsReport,
    timeout_seconds: float,
) -> None:
    for spec in specs:
        there = existing[spec.name]
        if spec.exact_partitions and there != spec.partitions:
            raise TopicError(
                spec.name, f"has {there} partitions and must have exactly {spec.partitions}"
            )
        if spec.compacted and there < spec.partitions:
            _extend(admin, spec, there, topics, report, timeout_seconds)
        elif there != spec.partitions:
            report.differences.append(
                f"{spec.name}: {there} partitions, the settings say {spec.partitions}"
            )
    for spec in specs:
        _check_config(admin, spec, report, timeout_seconds)
    log = structlog.get_logger("connector.kafka")
    for difference in report.differences:
        log.warning("topic differs from the settings", difference=difference)


def _extend(
    admin: AdminClient,
    spec: TopicSpec,
    there: int,
    topics: TopicSettings,
    report: TopicsReport,
    timeout_seconds: float,
) -> None:
    if not topics.create:
        raise TopicError(
            spec.name,
            f"has {there} partitions and needs {spec.partitions}, and topics.create is off",
        )
    futures = admin.create_partitions(
        [NewPartitions(spec.name, spec.partitions)], request_timeout=timeout_seconds
    )
    error = _failure(futures[spec.name])
    if error is not None:
        raise TopicError(
            spec.name, f"cannot be extended to {spec.partitions} partitions: {error.str()}"
        )
    report.extended.append(spec.name)


def _check_config(
    admin: AdminClient, spec: TopicSpec, report: TopicsReport, timeout_seconds: float
) -> None:
    resource = ConfigResource(ResourceType.TOPIC, spec.name)
    try:
        future = admin.describe_configs([resource], request_timeout=timeout_seconds)[resource]
        there = {name: entry.value for name, entry in future.result(timeout_seconds).items()}
    except (KafkaException, concurrent.futures.TimeoutError) as exc:
        # a broker without the API, or an account without the right: the topic may well be fine
        structlog.get_logger("connector.kafka").debug(
            "topic configuration not readable", topic=spec.name, reason=str(exc)
        )
        return
    if spec.compacted and "compact" not in (there.get("cleanup.policy") or ""):
        raise TopicError(
            spec.name,
            f"cleanup.policy is {there.get('cleanup.policy')} and must be compact: "
            "the state kept there would be deleted by age",
        )
    for name, wanted in spec.config.items():
        if name in there and there[name] != wanted:
            report.differences.append(
                f"{spec.name}: {name} is {there[name]}, the settings say {wanted}"
            )


def _failure(future: concurrent.futures.Future[Any]) -> Any:
    error = future.exception()
    if error is None:
        return None
    if isinstance(error, KafkaException):
        return error.args[0]
    raise error
