"""Where two replicas agree on a slot that goes from one to the other: one entry a slot, in Kafka.

An entry is the metadata of a committed offset in a group of its own that nobody joins. Brokers take
commits for such a group from whoever may read it, while those of a group with members are for the
members alone; and they keep the last one, so that whoever comes late finds it. No topic has to be
written or read for it: an answer takes some milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
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
MAX_ID_CHARACTERS: Final = 64
"""An entry with a longer id is none of ours."""


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

    An admin client does it: a consumer that is let go waits three quarters of a minute for a commit
    that no broker answers (librdkafka 2.16).

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
        properties = client_properties(kafka, **{"client.id": f"{name}-handover"})
        with refused_properties(kafka):
            self._admin = AdminClient(properties, logger=ClientLog("handover"))

    def read(self, slots: Sequence[int]) -> dict[int, Entry]:
        """Return the entries of these slots; one that has none, or none of ours, is left out.

        Raises:
            KafkaError: the brokers refuse it, or do not answer.
        """
        places = [TopicPartition(self._topic, slot) for slot in slots]
        asked = [ConsumerGroupTopicPartitions(self._group, places)]
        found = self._places(
            self._admin.list_consumer_group_offsets(asked, request_timeout=ANSWER_SECONDS)
        )
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
        self._places(
            self._admin.alter_consumer_group_offsets(given, request_timeout=ANSWER_SECONDS)
        )

    def members(self) -> int:
        """Return how many members the cluster's group has.

        Raises:
            KafkaError: the brokers refuse it, do not answer, or cannot tell, as the embedded one.
        """
        asked = self._admin.describe_consumer_groups([self._cluster], request_timeout=COUNT_SECONDS)
        return len(_answer(asked, self._cluster, COUNT_SECONDS).members)

    def _places(self, asked: Mapping[str, Future[Any]]) -> list[TopicPartition]:
        places: list[TopicPartition] = _answer(asked, self._group).topic_partitions or []
        for place in places:
            if place.error is not None:
                raise _refused(place.error, self._group)
        return places


def _answer(asked: Mapping[str, Future[Any]], group: str, seconds: float = ANSWER_SECONDS) -> Any:
    try:
        return asked[group].result(seconds)
    except KafkaException as error:
        raise _refused(error.args[0], group) from error
    except TimeoutError as error:
        raise KafkaError(f"no broker answered within {seconds:g} s") from error


def _refused(error: Any, group: str) -> KafkaError:
    advice = f": grant this account Read on the group {group}"
    lacks = error.code() == Code.GROUP_AUTHORIZATION_FAILED
    return KafkaError(f"{error.str()}{advice if lacks else ''}")


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
