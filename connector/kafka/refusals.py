"""The one rule for what Kafka refuses: whose fault it is, and so what becomes of the records.

A refusal is of a batch, and says little of each of its records. So nothing is decided by it but
that the topic's records are sent again in ever smaller groups, in order, with nothing else under
way: what is refused alone is refused for itself. See "Durability" in docs/design.md.

Source of the codes: Kafka's `Errors.java`; librdkafka's own begin with an underscore.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from connector.settings.models import KafkaSettings

UNCLEAR_SECONDS: Final = 300.0
"""How long one record that is refused alone, with a code that does not say why, holds up its topic.
Then it is dead-lettered, so that no record can do so for ever."""


class Fault(Enum):
    """Whose fault it is when a record sent alone is refused."""

    RECORD = "record"
    """Its own: no broker writes it as it is, whatever one waits for. It is dead-lettered."""
    TOPIC = "topic"
    """The topic's, a right's, the cluster's or a clock's: its topic is held back, and tried again
    until somebody has mended it."""
    CLIENT = "client"
    """The client's, or nobody's: it is sent again by another client."""
    UNCLEAR = "unclear"
    """The code does not say: as TOPIC, but not for longer than UNCLEAR_SECONDS."""


_RECORD = frozenset(
    {
        "MSG_SIZE_TOO_LARGE",
        "RECORD_LIST_TOO_LARGE",  # larger than a segment of the topic
        "INVALID_RECORD",  # without a key for a compacted topic, or against a schema
    }
)
# Sent again by a new client. What may be tried again on the same client (leaders that change,
# replicas that are missing, disks of brokers that fail) librdkafka tries itself, without end.
_CLIENT = frozenset(
    {
        "_PURGE_QUEUE",
        "_PURGE_INFLIGHT",
        "_FATAL",
        "_GAPLESS_GUARANTEE",
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_RESOLVE",
        "_SSL",
        "_AUTHENTICATION",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_MSG_TIMED_OUT",
        "_DESTROY",
        "_DESTROY_BROKER",
        "_INCONSISTENT",
        "_RETRY",
        "_STATE",
        "_FENCED",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "DUPLICATE_SEQUENCE_NUMBER",
        "UNKNOWN_PRODUCER_ID",
        "INVALID_PRODUCER_EPOCH",
        "INVALID_PRODUCER_ID_MAPPING",
        "PRODUCER_FENCED",
        "NETWORK_EXCEPTION",
    }
)
# brokers before and since topic ids (KIP-516) say it otherwise, and librdkafka of what it knows
_MISSING: Final = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_ID"})
CLOCK: Final = "INVALID_TIMESTAMP"
# code → what is wrong, and what helps; {topic}, {servers} and {user} are filled in
_TOPIC: Final = {
    "UNKNOWN_TOPIC_OR_PART": "{topic} does not exist",
    "_UNKNOWN_TOPIC": "{topic} does not exist",
    "UNKNOWN_TOPIC_ID": "{topic} does not exist",
    "INCONSISTENT_TOPIC_ID": "{topic} was deleted and made anew",
    "_UNKNOWN_PARTITION": "{topic} has fewer partitions than before",
    "TOPIC_EXCEPTION": "{topic} is no name that the brokers accept: choose another topics.prefix",
    "TOPIC_AUTHORIZATION_FAILED": (
        "{user} may not write to {topic}: kafka-acls.sh --bootstrap-server {servers} --add "
        "--allow-principal User:{user} --operation Write --operation Describe --topic {topic}"
    ),
    "CLUSTER_AUTHORIZATION_FAILED": (
        "{user} may not write to this cluster: grant Write on {topic}, and on brokers older than "
        "2.8 IdempotentWrite on the cluster"
    ),
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "{user} may not write to this cluster",
    "SASL_AUTHENTICATION_FAILED": (
        "the brokers refuse the login of {user}: check kafka.sasl_username and kafka.sasl_password"
    ),
    CLOCK: (
        "the brokers refuse the timestamps of records for {topic}: is this machine's clock right, "
        "and do message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic "
        "allow what has waited?"
    ),
    "POLICY_VIOLATION": "a policy of the brokers forbids to write to {topic}: ask who runs them",
    "INVALID_CONFIG": "the configuration of {topic} is invalid: kafka-configs.sh --describe",
    "INVALID_REQUIRED_ACKS": "the brokers refuse acks=all for {topic}",
    "UNSUPPORTED_COMPRESSION_TYPE": (
        "the brokers do not accept kafka.compression: choose another one, lz4 say"
    ),
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": (
        "{topic} keeps records in a format of Kafka before 0.11: set its message.format.version"
    ),
    "UNSUPPORTED_VERSION": "the brokers are older than Kafka 0.11",
    "NOT_ENOUGH_REPLICAS": (
        "fewer replicas of {topic} are in sync than its min.insync.replicas: bring brokers back"
    ),
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": (
        "fewer replicas of {topic} are in sync than its min.insync.replicas: bring brokers back"
    ),
    "_ISR_INSUFF": (
        "fewer replicas of {topic} are in sync than its min.insync.replicas: bring brokers back"
    ),
    "KAFKA_STORAGE_ERROR": "a broker cannot write {topic} to its disk: look at its log",
    "LOG_DIR_NOT_FOUND": "a broker does not find its disk with {topic}: look at its log",
    "THROTTLING_QUOTA_EXCEEDED": (
        "a quota of the brokers holds {user} back: raise producer_byte_rate with kafka-configs.sh "
        "--alter --entity-type users"
    ),
    "LEADER_NOT_AVAILABLE": "a partition of {topic} has no leader: bring brokers back",
    "NOT_LEADER_FOR_PARTITION": "a partition of {topic} has no leader: bring brokers back",
    "BROKER_NOT_AVAILABLE": "a broker of {topic} is away: bring it back",
    "REPLICA_NOT_AVAILABLE": "a broker of {topic} is away: bring it back",
    "FENCED_LEADER_EPOCH": "the leader of a partition of {topic} changes",
    "UNKNOWN_LEADER_EPOCH": "the leader of a partition of {topic} changes",
    "REQUEST_TIMED_OUT": "the replicas of {topic} do not acknowledge in time",
}
_UNCLEAR: Final = "the brokers refuse records for {topic}: {text}"


def fault_of(error: Any) -> Fault:
    """Whose fault the refusal of a record sent alone is.

    Args:
        error: a `confluent_kafka.KafkaError` of a delivery report or of `produce`.
    """
    name = error.name()
    # first: a fatal client reports every record so, whatever the code of the refusal was
    if error.fatal() or name in _CLIENT:
        return Fault.CLIENT
    if name in _RECORD:
        return Fault.RECORD
    # what Kafka adds one day is neither lost nor waited for without end
    return Fault.TOPIC if name in _TOPIC else Fault.UNCLEAR


def reason_of(error: Any) -> str:
    """Return a short fixed word for metrics and the header `reason` of dead letters."""
    return str(error.name()).strip("_").lower()


@dataclass(slots=True)
class TopicTrouble:
    """A topic that is held back, and why."""

    topic: str
    code: str
    """Name of the error with which a record sent alone was refused last; of a batch before that."""
    text: str
    """The error in librdkafka's words."""
    since: float
    """When the trouble began, seconds of a monotonic clock."""
    clock_ahead_ms: int | None = None
    """About how far this machine's clock is ahead of the brokers'; records get a time of theirs."""

    @property
    def reason(self) -> str:
        """The code as metrics show it."""
        return self.code.strip("_").lower()

    @property
    def missing(self) -> bool:
        """Whether the topic does not exist: it may be made again."""
        return self.code in _MISSING

    def explain(self, kafka: KafkaSettings) -> str:
        """Return what is wrong, where, and the setting or command that helps."""
        if self.clock_ahead_ms is not None:
            hours = abs(self.clock_ahead_ms) / 3_600_000
            size = f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
            side = "ahead of" if self.clock_ahead_ms > 0 else "behind"
            return (
                f"this machine's clock is about {size} {side} the brokers': set both by NTP. "
                f"Records for {self.topic} are written with the brokers' time"
            )
        # with TLS alone it is the subject of the certificate, which the brokers may rename
        user = kafka.sasl_username or ("PRINCIPAL" if kafka.ssl_key_file else "ANONYMOUS")
        return _TOPIC.get(self.code, _UNCLEAR).format(
            topic=self.topic, user=user, servers=kafka.bootstrap_servers, text=self.text
        )
