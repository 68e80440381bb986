"""The topics: their names, their shape, and making or checking them.

The connector makes its topics itself, with stated partitions and retention: a broker that makes
them at the first write would give them its own defaults, and the wrong ones for compaction.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import structlog
from confluent_kafka import KafkaError as Code
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names, not re-exported
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.config import ClientLog, client_properties, is_embedded, refused_properties
from connector.kafka.diagnosis import Complaints
from connector.kafka.topic_configs import (
    blocked,
    config_differences,
    config_faults,
    config_losses,
)
from connector.kite.wire.models import Exchange
from connector.settings.models import KafkaSettings
from connector.settings.topics import TopicSettings

USUAL_REPLICATION = 3
"""Replicas of a topic where the settings name no number and there are brokers enough."""
_IN_SYNC = "min.insync.replicas"
_TIMESTAMP_TYPE = "message.timestamp.type"
_HOUR_MS = 3_600_000
_VISIBLE_SECONDS = 0.1  # between looks whether brokers know what was made just now
# of kite.control, which many may write to
_BOUNDED = {
    # the broker then unpacks what comes compressed, and sees how long it is: see `_unbounded`
    "compression.type": "uncompressed",
    # Kafka's own default, stated: what a leader reads at once is bounded by it
    "max.message.bytes": str(1024 * 1024 + 12),
}

_NOT_YET = {
    Code.NOT_LEADER_FOR_PARTITION,
    Code.LEADER_NOT_AVAILABLE,
    Code.UNKNOWN_TOPIC_OR_PART,
    Code.REPLICA_NOT_AVAILABLE,
    Code.FENCED_LEADER_EPOCH,
    Code.UNKNOWN_LEADER_EPOCH,
    Code._TIMED_OUT,  # noqa: SLF001 - librdkafka's own name
}
"""What a broker says of a partition whose leader is not known to everybody yet."""


class TopicNames:
    """The names of all topics under one prefix."""

    def __init__(self, prefix: str = "kite") -> None:
        self.prefix = prefix
        self.ticks_prefix = f"{prefix}.ticks."
        self.orders = f"{prefix}.orders"
        self.events = f"{prefix}.events"
        self.control = f"{prefix}.control"
        self.replies = f"{prefix}.control.replies"
        self.subscriptions = f"{prefix}.subscriptions"
        self.instruments = f"{prefix}.instruments"
        self.latest = f"{prefix}.latest"
        self.backfill = f"{prefix}.backfill.1m"
        self.deadletter = f"{prefix}.deadletter"

    def ticks(self, exchange: Exchange) -> str:
        """Return the topic of one exchange's ticks."""
        return f"{self.ticks_prefix}{exchange.name.lower()}"

    def all_ticks(self) -> dict[Exchange, str]:
        """Return the tick topic of every exchange."""
        return {exchange: self.ticks(exchange) for exchange in Exchange}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What one topic must be: `config` holds Kafka's own topic properties, as text."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    partitions_are: Literal["wished", "exact", "at_least"] = "wished"
    """What another number of partitions of a topic that exists means: it is only worth a warning,
    or breaks the topic's meaning, or too few of them are added to (no key's partition rests on
    their number)."""
    cleanup_is: Literal["wished", "exact"] = "wished"
    """Whether another cleanup.policy of a topic that exists is only worth a warning, or loses
    state."""
    bounded: bool = False
    """Whether a topic that exists is refused where it admits longer messages than `config` says."""

    @property
    def compacted(self) -> bool:
        """Whether the topic keeps the last record of each key for ever."""
        return "compact" in self.config.get("cleanup.policy", "delete")


@dataclass(slots=True)
class TopicsReport:
    """What `ensure_topics` did and saw."""

    created: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    partitions: dict[str, int] = field(default_factory=dict)
    """Topic → how many partitions it has."""
    max_message_bytes: dict[str, int] = field(default_factory=dict)
    """Topic → its largest batch, of those that tell: the topics made just now do not."""
    timestamp_after_max_ms: dict[str, int] = field(default_factory=dict)
    """Topic → how far a record's time may be ahead of the brokers' clock, likewise."""
    missing: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Why topics lose what the connector keeps there, or take nothing, each with what helps."""
    losses: list[str] = field(default_factory=list)
    """What breaks a promise to readers, each with what helps."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Topic → why its configuration cannot be read."""


def replication(topics: TopicSettings, brokers: int) -> int:
    """Return how many replicas a topic gets that is created now."""
    return topics.replication_factor or max(1, min(USUAL_REPLICATION, brokers))


def topic_specs(
    topics: TopicSettings, *, slots: int, brokers: int = USUAL_REPLICATION
) -> list[TopicSpec]:
    """Every topic as the settings ask for it.

    Args:
        topics: names and shape.
        slots: connections, summed over the api_keys.
        brokers: how many there are, for topics whose replication is not set.
    """
    names = TopicNames(topics.prefix)
    # one less than there are: a broker may be away and acks=all still means two of three
    in_sync = topics.min_insync_replicas or max(1, replication(topics, brokers) - 1)
    # CreateTime: the record's time is that of the tick's receipt; LogAppendTime would replace it
    common = {_IN_SYNC: str(in_sync), _TIMESTAMP_TYPE: "CreateTime"}
    # of what leaders write in transactions, and whoever sends commands: brokers refuse a record
    # whose own time is an hour ahead of their clock, and a leader has no other time to try
    at_brokers_time = {_TIMESTAMP_TYPE: "LogAppendTime"}

    def kept(hours: float) -> dict[str, str]:
        return {**common, "cleanup.policy": "delete", "retention.ms": str(round(hours * _HOUR_MS))}

    # Small segments: the active one is never compacted, and whoever takes over reads all of it.
    compacted = {
        **common,
        "cleanup.policy": "compact",
        # an hour at most in the active segment, compacted once a tenth of the log is new since then
        "segment.ms": str(_HOUR_MS),
        "min.cleanable.dirty.ratio": "0.1",
        # a reader that was away for less than a day sees what was deleted meanwhile
        "delete.retention.ms": str(24 * _HOUR_MS),
    }
    control = {**kept(topics.control_retention_hours), **at_brokers_time}
    # an option that has expired is not to stay for ever: nobody writes a tombstone for it
    latest = {
        **compacted,
        "cleanup.policy": "compact,delete",
        "retention.ms": str(round(topics.latest_retention_hours * _HOUR_MS)),
    }
    backfill = kept(topics.backfill_retention_hours)
    return [
        *(
            TopicSpec(name, topics.tick_partitions, kept(topics.tick_retention_hours))
            for name in names.all_ticks().values()
        ),
        TopicSpec(names.orders, topics.order_partitions, kept(topics.order_retention_hours)),
        # rare records, read by everybody: one partition, so one order
        TopicSpec(names.events, 1, kept(topics.event_retention_hours)),
        # compacted, it would lose each command but the last one under a key
        TopicSpec(
            names.control,
            1,
            {**control, **_BOUNDED},
            partitions_are="exact",
            cleanup_is="exact",
            bounded=True,
        ),
        # the audit trail: kept as long as the commands, each of them
        TopicSpec(names.replies, 1, control),
        # partition k is slot k: with fewer, some slots would have no owner
        TopicSpec(
            names.subscriptions,
            slots,
            {**compacted, **at_brokers_time},
            partitions_are="at_least",
            cleanup_is="exact",
        ),
        # as many as the ticks: the same token is in the same partition of both, for joins
        TopicSpec(names.instruments, topics.tick_partitions, compacted, cleanup_is="exact"),
        *([TopicSpec(names.latest, topics.tick_partitions, latest)] if topics.latest else []),
        *([TopicSpec(names.backfill, topics.tick_partitions, backfill)] if topics.backfill else []),
        TopicSpec(
            names.deadletter, 1, {**kept(topics.deadletter_retention_hours), **at_brokers_time}
        ),
    ]


async def ensure_topics(
    kafka: KafkaSettings,
    topics: TopicSettings,
    *,
    slots: int,
    timeout_seconds: float = 10.0,
    only: Collection[str] | None = None,
) -> TopicsReport:
    """Make the topics that are missing and check the others; with `topics.create` off only check.

    Args:
        kafka: how to reach the brokers.
        topics: names and shape.
        slots: connections, summed over the api_keys.
        timeout_seconds: of each request.
        only: names of the topics that are meant; None is all.

    Raises:
        BrokerUnreachableError: no broker answers in time; trying again may help.
        SettingsError: librdkafka refuses a property.
        TopicError: a topic is missing and may not be made, or is of no use as it is.
    """
    run = _Topics(kafka, topics, slots, timeout_seconds, only)
    report = await asyncio.to_thread(run.ensure)
    ours = {spec.name for spec in topic_specs(topics, slots=slots)}
    if foreign := sorted(set(only or ()) - ours):
        # its records were left in the spool by a process with other settings
        raise TopicError(
            ", ".join(foreign),
            f"not one of this connector's, whose topics.prefix is {topics.prefix}: create it",
        )
    return report


async def look_at_topics(
    kafka: KafkaSettings, topics: TopicSettings, *, slots: int, timeout_seconds: float = 10.0
) -> TopicsReport:
    """Look whether all topics are as they have to be; makes, changes and logs nothing.

    Arguments and errors are those of `ensure_topics`, but for TopicError.
    """
    return await asyncio.to_thread(_Topics(kafka, topics, slots, timeout_seconds).look)


class _Topics:
    """One run of `ensure_topics` or `look_at_topics`, in a thread: AdminClient blocks.

    It holds the AdminClient until the last future has ended: else they fail with _DESTROY.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        slots: int,
        timeout_seconds: float,
        only: Collection[str] | None = None,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._slots = slots
        self._only = only
        self._timeout = timeout_seconds
        self._log = structlog.get_logger("connector.kafka")
        self._report = TopicsReport()
        self._fatal: TopicError | None = None
        self._complaints = Complaints(kafka)
        properties = client_properties(
            kafka, **{"client.id": "kite-connector-topics", "error_cb": self._complaints}
        )
        with refused_properties(kafka):
            self._admin = AdminClient(properties, logger=ClientLog("topics"))

    def ensure(self) -> TopicsReport:
        metadata = self._list()
        specs = self._specs(metadata)
        partitions = _partitions(metadata)
        missing = [spec for spec in specs if spec.name not in partitions]
        if missing and not self._topics.create:
            raise TopicError(
                ", ".join(spec.name for spec in missing),
                "missing, or this account has no right to it, and topics.create is off: create it, "
                "turn topics.create on, or grant the right",
            )
        if missing:
            # before it is tried: a broker's own refusal names no setting of ours
            self._check_brokers(missing[0].name, len(metadata.brokers))
            if is_embedded(metadata):
                self._ask_for(missing)
            else:
                self._create(missing, len(metadata.brokers))
            # one that somebody deletes meanwhile is made at the next look
            partitions |= self._visible({spec.name: 1 for spec in missing})
        self._report.partitions = {spec.name: partitions[spec.name] for spec in specs}
        there = [spec for spec in specs if spec.name not in self._report.created]
        # not of those made just now: they have what was asked for
        for spec in there:
            self._check_partitions(spec, partitions[spec.name])
        # librdkafka's mock cluster answers no request of AdminClient: each would wait its time out
        if not is_embedded(metadata):
            self._check_configs([self._comparable(spec) for spec in there], metadata)
            self._refuse()
            self._served([*(spec.name for spec in missing), *self._report.extended])
        for difference in self._report.differences:
            self._log.warning("topic_differs_from_settings", difference=difference)
        return self._report

    def look(self) -> TopicsReport:
        metadata = self._list()
        specs = self._specs(metadata)
        there = self._report.partitions = _partitions(metadata)
        self._report.missing = [spec.name for spec in specs if spec.name not in there]
        specs = [spec for spec in specs if spec.name in there]
        for spec in specs:
            exact, least = spec.partitions_are == "exact", spec.partitions_are == "at_least"
            have, need = there[spec.name], spec.partitions
            if (exact and have != need) or (least and have < need):
                must = "exactly" if exact else "at least"
                self._report.faults.append(
                    f"topic {spec.name}: has {have} partitions and must have {must} {need}"
                )
        if not is_embedded(metadata):
            self._check_configs([self._comparable(spec) for spec in specs], metadata)
        return self._report

    def _specs(self, metadata: ClusterMetadata) -> list[TopicSpec]:
        # how many brokers there are decides about replicas, where no setting does
        brokers = len(metadata.brokers)
        every = topic_specs(self._topics, slots=self._slots, brokers=brokers)
        return [spec for spec in every if self._only is None or spec.name in self._only]

    def _refuse(self) -> None:
        """Let no start go on with a topic that would lose what is kept there.

        Raises:
            TopicError: the first of these.
        """
        for topic, reason in self._report.unreadable.items():
            self._log.warning("topic_configuration_unreadable", topic=topic, reason=reason)
        if self._fatal is not None:
            raise self._fatal

    def _comparable(self, spec: TopicSpec) -> TopicSpec:
        """Leave out what rests on how many brokers answer just now: a topic keeps what it got."""
        if self._topics.replication_factor is not None or self._topics.min_insync_replicas:
            return spec
        config = {name: one for name, one in spec.config.items() if name != _IN_SYNC}
        return replace(spec, config=config)

    def _list(self) -> ClusterMetadata:
        try:
            return self._admin.list_topics(timeout=self._timeout)
        except KafkaException as exc:
            raise self._complaints.unreachable(exc, self._admin) from exc

    def _visible(self, least: Mapping[str, int]) -> dict[str, int]:
        """Wait until brokers tell of these topics, with so many partitions: they do so late.

        Returns:
            Topic to partitions, of all topics.
        """
        end = time.monotonic() + self._timeout
        while True:
            partitions = _partitions(self._list())
            late = [name for name, count in least.items() if partitions.get(name, 0) < count]
            if not late:
                return partitions
            if time.monotonic() > end:
                raise BrokerUnreachableError(
                    self._kafka.bootstrap_servers, f"does not know {late[0]} yet, made just now"
                )
            time.sleep(_VISIBLE_SECONDS)

    def _served(self, topics: list[str]) -> None:
        """Wait until each partition of new topics is served; one that has no leader is logged.

        Metadata tells of a new topic before its leaders have heard of it. A leader refuses the
        first batch then and admits the second, and never takes the first again, which librdkafka
        reports as delivered (Kafka issue 15591; seen with Kafka 4.4.0 and librdkafka 2.16.0).
        """
        partitions = _partitions(self._list()) if topics else {}
        waiting = [
            TopicPartition(name, number)
            for name in topics
            for number in range(partitions.get(name, 0))
        ]
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        end = time.monotonic() + self._timeout
        while waiting:
            futures = self._admin.list_offsets(
                dict.fromkeys(waiting, latest), request_timeout=self._timeout
            )
            errors = {partition: _failure(future) for partition, future in futures.items()}
            # what waiting does not change (a right, say) is found by whoever produces
            waiting = [one for one, error in errors.items() if error and error.code() in _NOT_YET]
            if waiting and time.monotonic() > end:
                first = waiting[0]
                self._log.warning(
                    "partitions_without_leader",
                    count=len(waiting),
                    first=f"{first.topic} [{first.partition}]",
                    reason=errors[first].str(),
                )
                return
            if waiting:
                time.sleep(_VISIBLE_SECONDS)

    def _check_brokers(self, name: str, brokers: int) -> None:
        for setting, needed in (
            ("replication_factor", replication(self._topics, brokers)),
            ("min_insync_replicas", self._topics.min_insync_replicas or 1),
        ):
            if brokers < needed:
                raise TopicError(
                    name,
                    f"topics.{setting} is {needed}, but the cluster has {brokers} "
                    f"broker{'s' if brokers != 1 else ''}: lower it, or add brokers",
                )

    def _ask_for(self, missing: list[TopicSpec]) -> None:
        """Make topics of librdkafka's mock cluster: who asks for one has it, with four partitions.

        Their numbers of partitions are checked as those of topics that were there.
        """
        for spec in missing:
            try:
                self._admin.list_topics(spec.name, timeout=self._timeout)
            except KafkaException as exc:
                raise self._complaints.unreachable(exc, self._admin) from exc

    def _create(self, missing: list[TopicSpec], brokers: int) -> None:
        replicas = replication(self._topics, brokers)
        if self._topics.replication_factor is None and replicas < USUAL_REPLICATION:
            self._log.warning(
                "topics_with_few_replicas",
                replicas=replicas,
                brokers=brokers,
                advice="topics.replication_factor states another number; what exists stays",
            )
        futures = self._admin.create_topics(
            [
                NewTopic(
                    spec.name,
                    num_partitions=spec.partitions,
                    replication_factor=replicas,
                    config=dict(spec.config),
                )
                for spec in missing
            ],
            operation_timeout=self._timeout,
            request_timeout=self._timeout,
        )
        for name, future in futures.items():
            error = _failure(future)
            if error is None:
                self._report.created.append(name)
            # another replica was quicker: as good
            elif error.code() != Code.TOPIC_ALREADY_EXISTS:
                raise TopicError(name, f"cannot be created: {error.str().rstrip('.')}")

    def _check_partitions(self, spec: TopicSpec, there: int) -> None:
        if spec.partitions_are == "exact" and there != spec.partitions:
            raise TopicError(
                spec.name, f"has {there} partitions and must have exactly {spec.partitions}"
            )
        if spec.partitions_are == "at_least" and there < spec.partitions:
            self._extend(spec, there)
        elif there != spec.partitions:
            self._report.differences.append(
                f"{spec.name}: {there} partitions, the settings say {spec.partitions}"
            )

    def _extend(self, spec: TopicSpec, there: int) -> None:
        if not self._topics.create:
            raise TopicError(
                spec.name,
                f"has {there} partitions and needs {spec.partitions}, and topics.create is off",
            )
        futures = self._admin.create_partitions(
            [NewPartitions(spec.name, spec.partitions)], request_timeout=self._timeout
        )
        error = _failure(futures[spec.name])
        if error is not None:
            raise TopicError(
                spec.name, f"cannot be extended to {spec.partitions} partitions: {error.str()}"
            )
        self._visible({spec.name: spec.partitions})
        self._report.extended.append(spec.name)

    def _check_configs(self, specs: list[TopicSpec], metadata: ClusterMetadata) -> None:
        resources = {ConfigResource(ResourceType.TOPIC, spec.name): spec for spec in specs}
        if not resources:
            return
        futures = self._admin.describe_configs(list(resources), request_timeout=self._timeout)
        for resource, future in futures.items():
            try:
                # librdkafka's own time-out comes first, and says more
                entries = future.result(self._timeout + 1)
            except (KafkaException, concurrent.futures.TimeoutError) as exc:
                # an account without the right to read it: the topic may well be fine
                reason = exc.args[0].str() if isinstance(exc, KafkaException) else "no answer"
                self._report.unreadable[resource.name] = reason
                continue
            there = {name: entry.value for name, entry in entries.items()}
            if (limit := there.get("max.message.bytes")) is not None:
                self._report.max_message_bytes[resource.name] = int(limit)
            if (after := there.get("message.timestamp.after.max.ms")) is not None:
                self._report.timestamp_after_max_ms[resource.name] = int(after)
            self._compare(resources[resource], there, _replicas(metadata, resource.name))

    def _compare(self, spec: TopicSpec, there: Mapping[str, str | None], replicas: int) -> None:
        report, where = self._report, f"topic {spec.name}: "
        for fault in config_faults(spec, there):
            report.faults.append(where + fault)
            self._fatal = self._fatal or TopicError(spec.name, fault)
        if (why := blocked(spec.name, there, replicas)) is not None:
            report.faults.append(where + why)
        report.losses += [where + loss for loss in config_losses(spec, there)]
        report.differences += config_differences(spec, there)


def _partitions(metadata: ClusterMetadata) -> dict[str, int]:
    return {
        name: len(topic.partitions)
        for name, topic in metadata.topics.items()
        if topic.error is None
    }


def _replicas(metadata: ClusterMetadata, topic: str) -> int:
    """How many replicas the partitions of a topic have at least; 0 where that is not known."""
    found = metadata.topics.get(topic)
    return min((len(one.replicas) for one in found.partitions.values()), default=0) if found else 0


def _failure(future: concurrent.futures.Future[Any]) -> Any:
    error = future.exception()
    if error is None:
        return None
    if isinstance(error, KafkaException):
        return error.args[0]
    raise error
