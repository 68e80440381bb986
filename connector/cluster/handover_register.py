"""Where two replicas agree on a slot that goes from one to the other: one entry a slot, in Kafka.

An entry is the metadata of a committed offset in a group of its own that nobody joins. Brokers take
commits for such a group from whoever may read it, while those of a group with members are for the
members alone; and they keep the last one, so that whoever comes late finds it. No topic has to be
written or read for it: an answer takes some milliseconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka import KafkaError as Code
from confluent_kafka.admin import AdminClient

from connector.errors import KafkaError
from connector.kafka.config import ClientLog, client_properties, refused_properties
from connector.kafka.groups import cluster_group, handover_group
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings

ANSWER_SECONDS: Final = 3.0
"""Brokers get so long for each answer; without one, slots change hands without an agreement. The
slot streams meanwhile, and a node on which replicas start answers late."""
COUNT_SECONDS: Final = 1.0
"""So long for the number of members, which a stop waits for: brokers may be away."""
ASK_AGAIN_SECONDS: Final = 0.1
"""So long after the group's coordinator was found to be another broker, or still reading."""
MAX_ID_CHARACTERS: Final = 64
"""An entry with a longer id is none of ours."""
_COORDINATOR_MOVES: Final = (
    Code.COORDINATOR_LOAD_IN_PROGRESS,
    Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_COORDINATOR,
)


class Stage(StrEnum):
    """How far a hand-over has come."""

    LEAVING = "leaving"
    """The owner before has given the slot up and streams on until the next one is ready."""
    WANTED = "wanted"
    """The next owner is ready to open its socket."""
    RELEASED = "released"
    """The socket is closed, and Kafka has what came over it."""


class Entry(NamedTuple):
    """What the register says of one slot."""

    handover: str
    """Id of the hand-over: each has its own."""
    stage: Stage
    last_frame_us: int | None = None
    """When the owner before received its last frame, UTC microseconds; None where none came."""


class HandoverRegister:
    """Reads and writes entries; blocks, within these bounds. Any thread may call.

    A consumer reads: an admin client that does, and is told that the coordinator is another broker
    now, ends the process (librdkafka 2.16). An admin client writes: a consumer that is let go waits
    three quarters of a minute for a commit that no broker answers.

    Args:
        kafka: how brokers are reached.
        topics: the topics' names.
        name: the connector's, the first part of the groups'.

    Raises:
        SettingsError: librdkafka refuses a property.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicNames, name: str) -> None:
        self._topic = topics.subscriptions
        # whose members share the slots, and the one that has the entries
        self._cluster = cluster_group(name, topics.prefix)
        self._group = handover_group(name, topics.prefix)
        # that the account may not read the group, from when it is told until something is read
        self._lacking: Any = None
        own = {"client.id": f"{name}-handover"}
        # it joins nothing: the group is that whose offsets it reads
        reads = {**own, "group.id": self._group, "enable.auto.commit": False}
        with refused_properties(kafka):
            self._admin = AdminClient(client_properties(kafka, **own), logger=ClientLog("handover"))
            self._consumer = Consumer(
                client_properties(kafka, **reads), logger=ClientLog("handover")
            )

    def read(self, slots: Sequence[int]) -> dict[int, Entry]:
        """Return the entries of these slots; one that has none, or none of ours, is left out.

        Raises:
            KafkaError: the brokers refuse it, or do not answer.
        """
        places = [TopicPartition(self._topic, slot) for slot in slots]
        found = self._asked(lambda seconds: self._committed(places, seconds))
        entries = {place.partition: entry_of(place.metadata) for place in found}
        return {slot: entry for slot, entry in entries.items() if entry is not None}

    def write(self, entries: Mapping[int, Entry]) -> None:
        """Write the entries of slots; returns when the brokers have them.

        Raises:
            KafkaError: the brokers refuse it, or do not answer.
        """
        offsets = [
            TopicPartition(self._topic, slot, 0, metadata=encoded(entry))
            for slot, entry in entries.items()
        ]
        given = [ConsumerGroupTopicPartitions(self._group, offsets)]

        def commit(seconds: float) -> list[TopicPartition]:
            asked = self._admin.alter_consumer_group_offsets(given, request_timeout=seconds)
            return _answer(asked, self._group, seconds).topic_partitions or []

        self._asked(commit)

    def members(self) -> int:
        """Return how many members the cluster's group has.

        Raises:
            KafkaError: the brokers refuse it, do not answer, or cannot tell, as the embedded one.
        """
        asked = self._admin.describe_consumer_groups([self._cluster], request_timeout=COUNT_SECONDS)
        try:
            return len(_answer(asked, self._cluster, COUNT_SECONDS).members)
        except KafkaException as error:
            raise _refused(error.args[0], self._cluster) from error

    def _committed(self, places: list[TopicPartition], seconds: float) -> list[TopicPartition]:
        try:
            found = self._consumer.committed(places, timeout=seconds)
        except KafkaException as error:
            # without the right it only waits for a coordinator in vain: why comes as a message,
            # and once
            message = self._consumer.poll(0)
            why = message.error() if message is not None else None
            if why is not None and why.code() == Code.GROUP_AUTHORIZATION_FAILED:
                self._lacking = why
            if self._lacking is not None:
                raise KafkaException(self._lacking) from error
            raise
        self._lacking = None
        return found

    def _asked(self, ask: Callable[[float], list[TopicPartition]]) -> list[TopicPartition]:
        """Ask about places, and again while another broker becomes the group's coordinator."""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return _accepted(ask(max(end - time.monotonic(), ASK_AGAIN_SECONDS)))
            except KafkaException as error:
                code = error.args[0].code()
                if code not in _COORDINATOR_MOVES or time.monotonic() >= end:
                    raise _refused(error.args[0], self._group) from error
            except ValueError as error:
                raise KafkaError("another program wrote what is no text") from error
            time.sleep(ASK_AGAIN_SECONDS)


def _refused(error: Any, group: str) -> KafkaError:
    advice = f": grant this account Read on the group {group}"
    lacks = error.code() == Code.GROUP_AUTHORIZATION_FAILED
    return KafkaError(f"{error.str()}{advice if lacks else ''}")


def _accepted(places: list[TopicPartition]) -> list[TopicPartition]:
    for place in places:
        if place.error is not None:
            raise KafkaException(place.error)
    return places


def _answer(asked: Mapping[str, Future[Any]], group: str, seconds: float) -> Any:
    try:
        return asked[group].result(seconds)
    except TimeoutError as error:
        raise KafkaError(f"no broker answered within {seconds:g} s") from error


def encoded(entry: Entry) -> str:
    """An entry as the metadata of an offset."""
    fields: dict[str, Any] = {"handover": entry.handover, "stage": entry.stage.value}
    if entry.last_frame_us is not None:
        fields["last_frame_us"] = entry.last_frame_us
    return json.dumps(fields, separators=(",", ":"))


def entry_of(metadata: str | None) -> Entry | None:
    """Read an entry out of an offset's metadata; None where another program wrote it."""
    try:
        fields = json.loads(metadata or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    handover, stage = fields.get("handover"), fields.get("stage")
    if not isinstance(handover, str) or len(handover) > MAX_ID_CHARACTERS:
        return None
    if not isinstance(stage, str) or stage not in set(Stage):
        return None
    time_us = fields.get("last_frame_us")
    known = type(time_us) is int and 0 < time_us < 2**63
    return Entry(handover, Stage(stage), time_us if known else None)
