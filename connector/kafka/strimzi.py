"""Topics and users as resources of Strimzi's operators: KafkaTopic and KafkaUser, version v1.

Pure: settings in, documents out. Tried against the schemas of Strimzi 1.2.0.

Source: strimzi.io/docs/operators/latest/configuring.html.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from connector.errors import SettingsError
from connector.kafka.rights import Principal, Right, rights, rights_of
from connector.kafka.topics import USUAL_REPLICATION, TopicSpec, replication, topic_specs
from connector.settings.models import KafkaSettings, Settings

Authentication = Literal["scram-sha-512", "tls", "tls-external", "none"]
"""What the User Operator makes for a user: a password, a certificate, or nothing. With `none` the
users are known by other means: PLAIN, SCRAM-SHA-256, tokens."""

API_VERSION = "kafka.strimzi.io/v1"
MAX_TLS_NAME = 64
"""The common name of a certificate has at most so many characters (RFC 5280, upper bounds)."""
_RESOURCES = {"topic": "topic", "group": "group", "transactional id": "transactionalId"}
# RFC 1123, as Kubernetes wants the names of resources
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME = 253


def authentication_of(kafka: KafkaSettings) -> Authentication:
    """How the User Operator lets users in that reach the brokers as the settings say.

    Settings that tell nothing, since they let anybody in, mean a password.
    """
    if kafka.security_protocol.startswith("SASL"):
        return "scram-sha-512" if kafka.sasl_mechanism == "SCRAM-SHA-512" else "none"
    return "scram-sha-512" if kafka.ssl_certificate_file is None else "tls"


def strimzi_resources(
    settings: Settings,
    *,
    slots: int,
    cluster: str,
    namespace: str | None = None,
    user: str | None = None,
    authentication: Authentication | None = None,
) -> list[dict[str, Any]]:
    """A KafkaTopic for each topic, and a KafkaUser for each principal.

    Args:
        settings: the connector's.
        slots: connections, summed over the api_keys.
        cluster: the name of the Kafka resource that the operators belong to.
        namespace: where the operators watch; None leaves it to whoever applies the documents.
        user: the connector's name to the brokers; None takes it from the settings. The others are
            called like it, with `-operator` and `-consumer` behind.
        authentication: of the users; None goes by the settings.

    Raises:
        SettingsError: a user's name cannot be that of a KafkaUser.
    """
    metadata: dict[str, Any] = {"labels": {"strimzi.io/cluster": cluster}}
    if namespace is not None:
        metadata["namespace"] = namespace
    return [
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        for kind, name, spec in (*_topics(settings, slots), *_users(settings, user, authentication))
    ]


def _topics(settings: Settings, slots: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for spec in topic_specs(settings.topics, slots=slots):
        yield "KafkaTopic", _resource_name(spec.name), _topic(spec, settings)


def _topic(spec: TopicSpec, settings: Settings) -> dict[str, Any]:
    # a name that no resource may have stands in a field of its own
    named = {} if _resource_name(spec.name) == spec.name else {"topicName": spec.name}
    return {
        **named,
        "partitions": spec.partitions,
        # how many brokers there are nobody knows here: three, unless a setting says otherwise
        "replicas": replication(settings.topics, USUAL_REPLICATION),
        "config": dict(spec.config),
    }


def _users(
    settings: Settings, user: str | None, authentication: Authentication | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    topics = settings.topics
    table = list(
        rights(settings.name, topics.prefix, latest=topics.latest, backfill=topics.backfill)
    )
    kind = authentication or authentication_of(settings.kafka)
    setting = "kafka.sasl_username" if settings.kafka.sasl_username else "name"
    first = user or settings.kafka.sasl_username or settings.name
    itself: tuple[Principal, ...] = ("connector", "creator") if topics.create else ("connector",)
    for name, principals in (
        (first, itself),
        (f"{first}-operator", ("operator",)),
        (f"{first}-consumer", ("consumer",)),
    ):
        if reason := _unfit(name, kind):
            raise SettingsError.of("--user" if user else setting, f"{name} {reason}: give --user")
        yield "KafkaUser", name, _user(rights_of(table, *principals), kind)


def _user(given: Iterable[Right], kind: Authentication) -> dict[str, Any]:
    authentication = {} if kind == "none" else {"authentication": {"type": kind}}
    acls = [
        {
            "resource": {
                "type": _RESOURCES[right.resource],
                "name": right.name,
                "patternType": "prefix" if right.prefixed else "literal",
            },
            "operations": list(right.operations),
        }
        for right in given
    ]
    return {**authentication, "authorization": {"type": "simple", "acls": acls}}


def _unfit(name: str, kind: Authentication) -> str:
    """Why a KafkaUser cannot be called so; "" where it can."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        return (
            "cannot be the name of a KafkaUser, which has lower-case letters, digits, - and . only"
        )
    if kind.startswith("tls") and len(name) > MAX_TLS_NAME:
        return f"has {len(name)} characters, and the name in a certificate at most {MAX_TLS_NAME}"
    return ""


def _resource_name(topic: str) -> str:
    """The name of a topic's resource: its own, or one like it that no other topic's can be."""
    if _NAME.fullmatch(topic):
        return topic
    like = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")
    return f"{like}-{hashlib.sha256(topic.encode()).hexdigest()[:8]}"
