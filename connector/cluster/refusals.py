"""Why brokers refuse a member of the group, and the setting or the command that helps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from confluent_kafka import KafkaError as Code

from connector.settings.models import ClusterSettings

_GROUP_FULL: Final = (
    "the group {group} has as many members as group.max.size of the brokers allows: "
    "run fewer replicas, or raise it"
)
_MIXED: Final = (
    "the members that the group {group} has use another protocol or assignor: "
    "cluster.group_protocol must be the same in all replicas, and no other program may use the "
    "group. Stop all of them, then start them"
)
_NO_CONSUMER_PROTOCOL: Final = (
    "cluster.group_protocol is {protocol}, which needs brokers of version 4.0 or newer whose "
    "group.coordinator.rebalance.protocols allow it: set classic"
)
_INSTANCE_ID: Final = (
    "another member of the group {group} has the same cluster.instance, or group.instance.id of "
    "kafka.client: leave it out, or give each replica its own"
)
_GROUP_RIGHT: Final = "grant this account Read on the group {group}"
_ADVICE: Final[Mapping[int, str]] = MappingProxyType(
    {
        Code.INVALID_SESSION_TIMEOUT: (
            "cluster.session_timeout_seconds is {timeout:g}, outside of what the brokers allow "
            "(group.min.session.timeout.ms to group.max.session.timeout.ms): change it"
        ),
        Code.GROUP_MAX_SIZE_REACHED: _GROUP_FULL,
        Code.INCONSISTENT_GROUP_PROTOCOL: _MIXED,
        Code.GROUP_ID_NOT_FOUND: _MIXED,
        Code.UNSUPPORTED_ASSIGNOR: (
            "the brokers' group.consumer.assignors do not have the assignor that kafka.client "
            "asks for: leave group.remote.assignor out"
        ),
        Code.UNRELEASED_INSTANCE_ID: _INSTANCE_ID,
        Code.FENCED_INSTANCE_ID: _INSTANCE_ID,
        Code.UNSUPPORTED_VERSION: _NO_CONSUMER_PROTOCOL,
        Code._UNSUPPORTED_FEATURE: _NO_CONSUMER_PROTOCOL,  # noqa: SLF001 - librdkafka's own name
        Code.INVALID_GROUP_ID: "the group {group} is made of name and topics.prefix: change them",
        Code.GROUP_AUTHORIZATION_FAILED: _GROUP_RIGHT,
        Code.TOPIC_AUTHORIZATION_FAILED: "grant this account Read on it",
        Code.CLUSTER_AUTHORIZATION_FAILED: (
            "grant this account the rights that docs/security.md lists"
        ),
        Code.UNKNOWN_TOPIC_OR_PART: (
            "it does not exist: it is made again, or has to be where topics.create is off"
        ),
    }
)
_MAX_TEXT: Final = 300


def fenced(error: Any) -> bool:
    """Whether another member has taken this one's instance id, and its partitions with it.

    Args:
        error: a `confluent_kafka.KafkaError` of the member's consumer.
    """
    return Code(Code.FENCED_INSTANCE_ID).str() in error.str()


def refusal(error: Any, topic: str | None, group: str, cluster: ClusterSettings) -> str | None:
    """What a broker said to the member, with what to do about it; None where waiting is enough.

    Args:
        error: a `confluent_kafka.KafkaError` of the member's consumer. A fatal one has its true
            code in its text alone.
        topic: the topic that it is about, where it is about one.
        group: the member's group.
        cluster: the settings that the brokers may refuse.
    """
    code = error.code()
    text = error.str()[:_MAX_TEXT]
    if code == Code._FATAL:  # noqa: SLF001
        known = (one for one in _ADVICE if Code(one).str() in text)
        code = next(known, code)
        # it says the same twice, with the name of a request between
        text = text.removeprefix("Fatal error: ").partition(": ConsumerGroupHeartbeat")[0]
    advice = _ADVICE.get(code)
    if advice is None:
        return None
    if topic and topic not in text:
        text = f"{topic}: {text}"
    shown = advice.format(
        group=group, timeout=cluster.session_timeout_seconds, protocol=cluster.group_protocol
    )
    return f"{text}: {shown}"
