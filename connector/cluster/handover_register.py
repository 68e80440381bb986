"""Where two replicas agree on a slot that goes from one to the other: one entry a slot, in Kafka.

An entry is the metadata of a committed offset in a group of its own that nobody joins. Brokers take
commits for such a group from whoever may read it, while those of a group with members are for the
members alone; and they keep the last one, so that whoever comes late finds it. No topic has to be
written or read for it: an answer takes some milliseconds.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as Code

from connector.errors import KafkaError
from connector.kafka.config import ClientLog, client_properties, refused_properties
from connector.kafka.group_members import read_group
from connector.kafka.groups import cluster_group, handover_group
from connector.kafka.topics import TopicNames
from connector.kite.wire.messages import json_object
from connector.settings.models import KafkaSettings

ANSWER_SECONDS: Final = 3.0
"""Brokers get so long for each answer; without one, slots change hands without an agreement. The
slot streams meanwhile, and a node on which replicas start answers late."""
COUNT_SECONDS: Final = 1.0
"""So long for the number of members, which a stop waits for: brokers may be away."""
LOOK_SECONDS: Final = 0.005
"""So often it is looked whether the brokers have answered a commit."""
ASK_AGAIN_SECONDS: Final = 0.1
"""So long after the group's coordinator was found to be another broker, or still reading."""
MAX_ID_CHARACTERS: Final = 64
"""An entry with a longer id is none of ours."""
Answer = TypeVar("Answer")
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


@dataclass(slots=True)
class _Told:
    """What the brokers have said of a commit."""

    answered: bool = False
    refused: Any = None


class HandoverRegister:
    """Reads and writes entries; blocks, within these bounds. Any thread may call.

    A consumer does both: an admin client can end the process (`connector.kafka.group_members`).

    Args:
        kafka: how brokers are reached.
        topics: the topics' names.
        name: the connector's, the first part of the groups'.

    Raises:
        SettingsError: librdkafka refuses a property.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicNames, name: str) -> None:
        self._kafka = kafka
        self._topic = topics.subscriptions
        # whose members share the slots, and the one that has the entries
        self._cluster = cluster_group(name, topics.prefix)
        self._group = handover_group(name, topics.prefix)
        self._own = {"client.id": f"{name}-handover"}
        # that the account may not read the group, from when it is told until something is read
        self._lacking: Any = None
        # a commit's number is the offset that it commits, which means nothing else
        self._numbers = itertools.count(1)
        # what the brokers have said so far of each commit that is waited for
        self._told: dict[int, _Told] = {}
        # how many threads use the client, which may not be closed meanwhile: a caller may have been
        # cancelled, and its thread goes on
        self._users = 0
        self._used = threading.Condition()
        # it joins nothing: the group is that whose offsets it reads
        reads = {
            **self._own,
            "group.id": self._group,
            "enable.auto.commit": False,
            "on_commit": self._committed,
        }
        with refused_properties(kafka):
            self._consumer = Consumer(
                client_properties(kafka, **reads), logger=ClientLog("handover")
            )

    def close(self) -> None:
        """Let the client go, behind the caller's back; nothing may be asked after it.

        A consumer that is let go waits three quarters of a minute, or more, for a commit that no
        broker answers: neither the event loop nor the end of the process waits for that.
        """
        threading.Thread(target=self._close, name="handover-close", daemon=True).start()

    def _close(self) -> None:
        with self._used:
            self._used.wait_for(lambda: not self._users)
        self._consumer.close()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._used:
            self._users += 1
        try:
            yield
        finally:
            with self._used:
                self._users -= 1
                self._used.notify()

    def read(self, slots: Sequence[int]) -> dict[int, Entry]:
        """Return the entries of these slots; one that has none, or none of ours, is left out.

        Raises:
            KafkaError: the brokers refuse it, or do not answer.
        """
        places = [TopicPartition(self._topic, slot) for slot in slots]
        found = self._asked(lambda seconds: self._fetch(places, seconds))
        entries = {place.partition: entry_of(place.metadata) for place in found}
        return {slot: entry for slot, entry in entries.items() if entry is not None}

    def write(self, entries: Mapping[int, Entry]) -> None:
        """Write the entries of slots; returns when the brokers have them.

        Raises:
            KafkaError: the brokers refuse it, or do not answer.
        """
        texts = {slot: encoded(entry) for slot, entry in entries.items()}
        self._asked(lambda seconds: self._commit(texts, seconds))

    def members(self) -> int:
        """Return how many members the cluster's group has.

        Raises:
            KafkaError: the brokers refuse it, do not answer, or cannot tell, as the embedded one.
        """
        properties = client_properties(self._kafka, **self._own)
        log = ClientLog("handover")
        return len(read_group(properties, self._cluster, COUNT_SECONDS, logger=log).members)

    def _commit(self, texts: Mapping[int, str], seconds: float) -> None:
        """Commit, and wait for the answer: a commit that waits by itself has no bound."""
        number, end = next(self._numbers), time.monotonic() + seconds
        offsets = [
            TopicPartition(self._topic, slot, number, metadata=text) for slot, text in texts.items()
        ]
        told = self._told[number] = _Told()
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            while not told.answered:
                if time.monotonic() >= end:
                    if self._lacking is not None:
                        raise KafkaException(self._lacking)
                    raise KafkaError(f"no broker answered within {ANSWER_SECONDS:g} s")
                # not in librdkafka, which waits until a time of day (`connector.kafka.reader`)
                time.sleep(LOOK_SECONDS)
                self._poll()
        finally:
            del self._told[number]
        if told.refused is not None:
            raise KafkaException(told.refused)
        self._lacking = None

    def _committed(self, error: Any, places: Sequence[TopicPartition]) -> None:
        """Keep what the brokers said; librdkafka calls it within a `poll`, of whichever thread."""
        for place in places:
            # its time may be over, and nobody waits for it any more
            if (told := self._told.get(place.offset)) is not None:
                told.refused = told.refused or place.error or error
                told.answered = True

    def _fetch(self, places: list[TopicPartition], seconds: float) -> list[TopicPartition]:
        try:
            found = self._consumer.committed(places, timeout=seconds)
        except KafkaException as error:
            # without the right it only waits for a coordinator in vain: why comes as a message,
            # and once
            self._poll()
            if self._lacking is not None:
                raise KafkaException(self._lacking) from error
            raise
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        self._lacking = None
        return found

    def _poll(self) -> None:
        """Hear what the client has to say; never waits."""
        message = self._consumer.poll(0)
        why = message.error() if message is not None else None
        if why is not None and why.code() == Code.GROUP_AUTHORIZATION_FAILED:
            self._lacking = why

    def _asked(self, ask: Callable[[float], Answer]) -> Answer:
        """Ask, and again while another broker becomes the group's coordinator."""
        end = time.monotonic() + ANSWER_SECONDS
        with self._in_use():
            while True:
                try:
                    return ask(max(end - time.monotonic(), ASK_AGAIN_SECONDS))
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


def encoded(entry: Entry) -> str:
    """An entry as the metadata of an offset."""
    fields: dict[str, Any] = {"handover": entry.handover, "stage": entry.stage.value}
    if entry.last_frame_us is not None:
        fields["last_frame_us"] = entry.last_frame_us
    return json.dumps(fields, separators=(",", ":"))


def entry_of(metadata: str | None) -> Entry | None:
    """Read an entry out of an offset's metadata; None where another program wrote it."""
    fields = json_object(metadata)
    handover, stage = fields.get("handover"), fields.get("stage")
    if not isinstance(handover, str) or len(handover) > MAX_ID_CHARACTERS:
        return None
    if not isinstance(stage, str) or stage not in set(Stage):
        return None
    time_us = fields.get("last_frame_us")
    known = type(time_us) is int and 0 < time_us < 2**63
    return Entry(handover, Stage(stage), time_us if known else None)
