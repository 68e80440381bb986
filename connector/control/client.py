"""Steers a cluster from outside: writes commands, waits for their replies, reads its state.

Nothing here is privileged: it writes the same messages to `kite.control` as any other program.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import ConsumerGroupState, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from connector.control.commands import Command, Status
from connector.control.held_rules import HeldRule
from connector.control.limits import Limits
from connector.control.records import Subscription, SubscriptionRecord, token_of
from connector.control.reply import Reply
from connector.control.state import Layout, State
from connector.errors import BrokerUnreachableError, KafkaError, NoReplyError
from connector.kafka.config import client_properties, is_embedded, refused_properties
from connector.kafka.group_members import read_group
from connector.kafka.groups import cluster_group
from connector.kafka.reader import Reader, bytes_of, text_of
from connector.kafka.topics import TopicNames
from connector.settings.models import DEFAULT_NAME, KafkaSettings

REPLY_SECONDS: Final = 30.0
"""A reply may take so long: a new leader is found after a session timeout and reads the state."""
BROKER_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2
_QUIET: Final = {"log_level": 0}
"""What goes wrong is raised: a log would only stand between a command line's own lines."""


class Carried(NamedTuple):
    """An instrument as the cluster has it: its slot, and the record itself."""

    slot: int
    subscription: SubscriptionRecord


class Subscribed(NamedTuple):
    """All that the cluster is to stream, and the revision of it."""

    revision: int
    carried: dict[int, Carried]
    """Each instrument with its slot, by token."""
    rules: Mapping[str, HeldRule] = MappingProxyType({})
    """The rules of watchlists, by the name under which each claims."""
    limits: Mapping[str, Limits] = MappingProxyType({})
    """The limits of watchlists that have any."""

    @property
    def records(self) -> list[SubscriptionRecord]:
        """What is wanted of each instrument."""
        return [one.subscription for one in self.carried.values()]


class Change(NamedTuple):
    """What `watch` yields: a reply, or a record of a slot; `subscription` None is its end."""

    reply: Reply | None = None
    slot: int | None = None
    token: int | None = None
    subscription: SubscriptionRecord | None = None


def new_id() -> str:
    """Return an id that no other command has."""
    return str(uuid.uuid4())


class ControlClient:
    """A context manager; its methods block, and belong to one thread.

    Args:
        kafka: how brokers are reached.
        topics: the topics' names.
        name: the connector's; group and client id begin with it.
        broker_seconds: for each answer of the brokers.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicNames,
        *,
        name: str = DEFAULT_NAME,
        broker_seconds: float = BROKER_SECONDS,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._name = name
        # for an answer of the brokers; that of a leader has a time of its own, in each call
        self._broker_seconds = broker_seconds
        # both clients are made by `__enter__`: constructing asks nobody anything
        self._producer: Producer | None = None
        self._reader: Reader | None = None

    def __enter__(self) -> Self:
        with refused_properties(self._kafka):
            # one command at a time, so there is nothing to linger for
            self._producer = Producer(self._properties(**{"linger.ms": 0, "acks": "all"}))
        self._reader = Reader(
            self._kafka,
            self._name,
            "ctl",
            timeout_seconds=self._broker_seconds,
            **_QUIET,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.close()
        self._producer = self._reader = None

    def send(self, command: Command, timeout_seconds: float = REPLY_SECONDS) -> Reply:
        """Write a command and wait for its reply.

        Raises:
            NoReplyError: none came in time; the command stays written, and may be applied later.
            BrokerUnreachableError: it could not be written.
            TopicError: a topic is missing.
        """
        # before the command is written: else its reply might come too soon to be seen
        self._from_the_end(self._topics.replies)
        offset = self._write(command)
        key = command.id.encode()
        for message in self._messages(time.monotonic() + timeout_seconds):
            if message.key() == key and (reply := _reply(message)) is not None:
                return reply
        # with those that run, for whoever has written to a name under which nobody does
        running = self.clusters()
        raise NoReplyError(command.id, timeout_seconds, running, held=self._is_held(offset))

    def status(self, timeout_seconds: float = REPLY_SECONDS) -> Reply:
        """Ask the leader for its status: all pages of watchlists, as one reply.

        Raises:
            NoReplyError, BrokerUnreachableError, TopicError: as `send`.
        """
        reply = self.send(Status(id=new_id(), type="status"), timeout_seconds)
        payload = last = reply.payload
        if payload is None or last is None:
            return reply
        watchlists, limits = dict(payload.watchlists), dict(payload.limits)
        # each page is a command of its own, since a reply has to fit into a message
        while last is not None and last.after is not None:
            command = Status(id=new_id(), type="status", after=last.after)
            last = self.send(command, timeout_seconds).payload
            if last is not None:
                watchlists.update(last.watchlists)
                limits.update(last.limits)
        whole = payload.model_copy(
            update={"watchlists": watchlists, "limits": limits, "after": None}
        )
        return reply.model_copy(update={"payload": whole})

    def subscribed(self) -> Subscribed:
        """What the cluster is to stream at this moment, and at which revision.

        Raises:
            BrokerUnreachableError: the topic could not be read to its end.
            TopicError: it is missing.
        """
        records = [
            (message.partition() or 0, text_of(message.key()), bytes_of(message.value()))
            for message in self._open().read_to_end(self._topics.subscriptions)
        ]
        # where things may be placed is the leader's affair: what is carried can be told without
        state, _ = State.replay(Layout((), 0), records)
        carried = {
            token: Carried(subscription.slot, SubscriptionRecord.of(token, subscription))
            for token, subscription in state.subscriptions.items()
        }
        return Subscribed(state.revision, carried, state.rules, state.limits)

    def owners(self, name: str) -> dict[int | None, str] | None:
        """Which member of the cluster owns each slot; None as the key: which one leads.

        Asked of the group's coordinator, so it is true at this moment.

        Returns:
            Members as client id and address; None where the broker does not tell: without the
            right to describe the group, or the embedded broker.
        """
        group = cluster_group(name, self._topics.prefix)
        try:
            members = read_group(self._properties(), group, self._broker_seconds).members
        except KafkaError:
            return None
        owned: dict[int | None, str] = {}
        for member in members:
            for topic, partition in member.partitions:
                if topic == self._topics.subscriptions:
                    owned[partition] = member.name
                elif topic == self._topics.control:
                    owned[None] = member.name
        return owned

    def found(self, name: str) -> tuple[str, dict[int | None, str] | None]:
        """Return the name of the cluster that is meant, and its `owners`.

        That is `name`, or the only cluster that runs where nobody runs under `name`.
        """
        owners = self.owners(name)
        # of several none is guessed: a command to the wrong cluster is worse than a question
        if owners == {} and (running := self.clusters()) is not None and len(running) == 1:
            return running[0], self.owners(running[0])
        return name, owners

    def clusters(self) -> list[str] | None:
        """The names of the clusters with this prefix that have members at this moment.

        None where the broker does not tell: without the right, or the embedded broker.
        """
        admin = AdminClient(self._properties())
        # a group is called NAME:PREFIX
        behind = cluster_group("", self._topics.prefix)
        try:
            if is_embedded(admin.list_topics(timeout=self._broker_seconds)):
                return None
            answer = admin.list_consumer_groups(request_timeout=self._broker_seconds)
            groups = answer.result(self._broker_seconds).valid
        except (KafkaException, TimeoutError):
            return None
        return sorted(
            group.group_id.removesuffix(behind)
            for group in groups
            if group.group_id.endswith(behind) and group.state != ConsumerGroupState.EMPTY
        )

    def watch(self, timeout_seconds: float | None = None) -> Iterator[Change]:
        """Replies and changed subscriptions as they are written, from now on.

        What other programs write to these topics, and is neither, is left out.

        Args:
            timeout_seconds: end after so long; None: never.
        """
        self._from_the_end(self._topics.replies, self._topics.subscriptions)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for message in self._messages(deadline):
            change: Change | None
            if message.topic() != self._topics.replies:
                change = _change(message)
            else:
                reply = _reply(message)
                change = None if reply is None else Change(reply=reply)
            if change is not None:
                yield change

    def _properties(self, **own: Any) -> dict[str, Any]:
        return client_properties(self._kafka, **{"client.id": f"{self._name}-ctl", **_QUIET, **own})

    def _is_held(self, offset: int) -> bool:
        """Whether a reader of what is committed does not come to a command that was written."""
        try:
            return self._open().ends(self._topics.control)[0].offset <= offset
        except KafkaError:
            return False

    def _write(self, command: Command) -> int:
        """Write a command; returns its offset."""
        producer = self._producer
        if producer is None:
            raise KafkaError("the control client is not open")
        failures: list[str] = []
        offsets: list[int] = []

        def delivered(error: object, message: Message) -> None:
            offsets.append(message.offset() or 0)
            if error is not None:
                failures.append(str(error))

        producer.produce(
            self._topics.control,
            command.model_dump_json(exclude_none=True).encode(),
            key=command.id.encode(),
            partition=0,  # the leader reads no other, should there be any
            on_delivery=delivered,
        )
        if producer.flush(self._broker_seconds):
            # a command that its sender has given up must not be applied later
            producer.purge()
            producer.flush(1)
            failures = ["the command was not acknowledged in time, and was taken back"]
        if failures:
            raise BrokerUnreachableError(self._kafka.bootstrap_servers, failures[0])
        return offsets[0]

    def _from_the_end(self, *topics: str) -> None:
        reader = self._open()
        # by offsets that are asked for now: "latest" is resolved when the first fetch is answered
        reader.tail_from([place for topic in topics for place in reader.ends(topic)])

    def _messages(self, deadline: float | None) -> Iterator[Message]:
        reader = self._open()
        while deadline is None or time.monotonic() < deadline:
            # in short turns: librdkafka's poll does not return for a signal, such as Ctrl-C
            left = _POLL_SECONDS if deadline is None else deadline - time.monotonic()
            message = reader.next(min(_POLL_SECONDS, max(0.0, left)))
            if message is not None:
                yield message

    def _open(self) -> Reader:
        if self._reader is None:
            raise KafkaError("the control client is not open")
        return self._reader


def _reply(message: Message) -> Reply | None:
    """The reply in a message; None where another program wrote something else there."""
    try:
        return Reply.model_validate_json(bytes_of(message.value()) or b"")
    except ValueError:
        return None


def _change(message: Message) -> Change | None:
    """A changed subscription; None for the leader's own records, and what is no subscription."""
    slot, value = message.partition() or 0, bytes_of(message.value())
    try:
        token = token_of(text_of(message.key()))
        record = SubscriptionRecord.of(token, Subscription.decode(slot, value)) if value else None
    except ValueError:
        return None
    return Change(slot=slot, token=token, subscription=record)
