"""What a Kafka refuses for a while: timestamps, a right, a topic that is gone.

Each is a context manager, entered in a thread: what it does it undoes at its end.
"""

import contextlib
import time

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

PRODUCE = 0
REFUSED_REQUESTS = 400
"""More than are made in the time that a refusal lasts; what is left of them is taken back."""
ANSWER_SECONDS = 120.0
MADE_SECONDS = 240.0
"""librdkafka believes for half a minute and more that a topic is only late."""
EVERYBODY = "User:ANONYMOUS"


class EmbeddedRefusals:
    """The embedded broker answers each Produce request with an error, of whatever topic."""

    def __init__(self, broker):
        self._broker = broker

    @contextlib.contextmanager
    def clock(self, topics):
        """As if this machine's clock were far from the broker's."""
        with self._answering(KafkaError.INVALID_TIMESTAMP):
            yield

    @contextlib.contextmanager
    def right(self, topics):
        """As if the right to write had been withdrawn."""
        with self._answering(KafkaError.TOPIC_AUTHORIZATION_FAILED):
            yield

    @contextlib.contextmanager
    def _answering(self, code):
        self._broker.push_errors(PRODUCE, *[code] * REFUSED_REQUESTS)
        try:
            yield
        finally:
            self._broker.clear_errors(PRODUCE)


class RealRefusals:
    """A real broker is told to refuse, by the topics' configuration or an ACL.

    Args:
        bootstrap_servers: of a broker that keeps ACLs and lets everybody do what none forbids.
    """

    def __init__(self, bootstrap_servers):
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})

    @contextlib.contextmanager
    def clock(self, topics):
        """No record is new enough: what a broker says of a clock that is far from its own."""
        self._configure(topics, "message.timestamp.before.max.ms", "1")
        try:
            yield
        finally:
            self._configure(topics, "message.timestamp.before.max.ms", None)

    @contextlib.contextmanager
    def right(self, topics):
        """Nobody may write; an ACL that allows the rest, since any ACL ends the rule for none."""
        bindings = [
            AclBinding(
                ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, EVERYBODY, "*",
                operation, permission,
            )
            for topic in topics
            for operation, permission in (
                (AclOperation.ALL, AclPermissionType.ALLOW),
                (AclOperation.WRITE, AclPermissionType.DENY),
            )
        ]  # fmt: skip
        _wait(self._admin.create_acls(bindings))
        try:
            yield
        finally:
            filters = [
                AclBindingFilter(
                    ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, None, None,
                    AclOperation.ANY, AclPermissionType.ANY,
                )
                for topic in topics
            ]  # fmt: skip
            _wait(self._admin.delete_acls(filters))

    def delete(self, topic):
        """Delete a topic; returns once the broker lists it no more."""
        _wait(self._admin.delete_topics([topic], operation_timeout=ANSWER_SECONDS))
        self._until(lambda there: topic not in there)

    def until_made(self, topic):
        """Wait until somebody has made the topic again."""
        self._until(lambda there: topic in there)

    def _until(self, holds):
        end = time.monotonic() + MADE_SECONDS
        while not holds(self._admin.list_topics(timeout=ANSWER_SECONDS).topics):
            if time.monotonic() > end:
                raise TimeoutError("the list of topics is not as it should be")
            time.sleep(0.2)

    def _configure(self, topics, name, value):
        operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        resources = [
            ConfigResource(
                ConfigResource.Type.TOPIC,
                topic,
                incremental_configs=[ConfigEntry(name, value, incremental_operation=operation)],
            )
            for topic in topics
        ]
        _wait(self._admin.incremental_alter_configs(resources))


def _wait(futures):
    for future in futures.values():
        future.result(timeout=ANSWER_SECONDS)
