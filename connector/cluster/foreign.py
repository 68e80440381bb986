"""Who owns what, and who does not: other programs' consumers, and slots that nobody was given.

Nothing keeps them out but the right to read the group: by the protocol `classic` whoever has an
assignor in common gets partitions (Java's consumers have `cooperative-sticky` by default), by
`consumer` whoever subscribes to the topics; librdkafka knows no assignor of one's own, and has no
call that removes a member. So they are looked for, named, and left to people.

A slot without an owner is mended: by the protocol `classic` the group's leader shares out what it
knows of, and after a topic was deleted and made again while a member left, librdkafka (2.16) can
leave a partition out for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from connector.cluster.frames import member_of
from connector.control.bounds import excerpt
from connector.errors import ConnectorError
from connector.kafka.config import ClientLog, client_properties
from connector.kafka.group_members import read_group
from connector.kafka.groups import cluster_group
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings

LOOK_SECONDS: Final = 30.0
"""So often the group is looked at."""
ANSWER_SECONDS: Final = 5.0
CONFIRM_SECONDS: Final = 3.0
"""A slot that nobody owns is looked at again after so long: one that moves has an owner then."""
MAX_NAME_CHARACTERS: Final = 100
"""A member's client.id and address are cut to so many: whoever joins chooses its own name."""

Held = Mapping[int | None, str]
"""Slot, or None for the leadership → client.id and address of the member that holds it."""


class Owner(NamedTuple):
    """A member of the group that holds something."""

    name: str
    """Its client.id and address."""
    member: str = ""
    """The id by which the group knows it."""


class Owners(NamedTuple):
    """Who holds what, and what it has written of that."""

    holders: Mapping[int | None, Owner]
    """Slot → the member that holds it; None stands for the leadership."""
    words: Mapping[int | None, str]
    """Slot, or None for the leadership → id of the member that wrote the metadata of its offset."""
    unowned: frozenset[int] = frozenset()
    """Slots that nobody owns although the group has shared everything out."""
    idlest: str = ""
    """The member id of whoever holds least."""


def held_by_others(found: Owners, name: str, silent_before: Collection[str] = ()) -> Held:
    """Return what members hold that are no connector.

    The client.id of one begins with its name. Whose does so all the same is known by its silence: a
    connector writes its word for each slot, and for the leadership, within a second
    (`connector.cluster.frames`), so who has written none at two looks is another program.

    Args:
        found: who holds what.
        name: the connector's.
        silent_before: the members that had written no word at the last look.
    """
    silent = silent_members(found) & set(silent_before)
    return {
        one: owner.name
        for one, owner in found.holders.items()
        if not owner.name.startswith(f"{name}-") or owner.member in silent
    }


def silent_members(found: Owners) -> set[str]:
    """Return the members that hold something and have written a word for nothing of it."""
    held = {one: owner.member for one, owner in found.holders.items()}
    spoken = {member for one, member in held.items() if found.words.get(one) == member}
    return set(held.values()) - spoken


def reasons(held: Held, group: str) -> list[str]:
    """Explain what other programs hold, a sentence for each of them."""
    by_owner: dict[str, list[int | None]] = {}
    for one, owner in held.items():
        by_owner.setdefault(owner, []).append(one)
    found = []
    for owner, parts in sorted(by_owner.items()):
        slots = sorted(slot for slot in parts if slot is not None)
        what = (
            [f"slot{'s' if len(slots) > 1 else ''} {', '.join(map(str, slots))}"] if slots else []
        )
        what += ["the leadership"] if None in parts else []
        found.append(
            f"{owner} holds {' and '.join(what)} in the group {group} and is no connector, so "
            "nobody serves that: end it, or give it another group.id, and let nobody else read "
            "the group"
        )
    return found


class ForeignMembers:
    """Looks for other programs' members; belongs to the event loop.

    Args:
        read: asks who owns what; None where the broker does not tell.
        name: the connector's.
        on_change: told of each change, with what is held now.
        on_unowned: told of slots that nobody owned at two looks, and of the member that holds
            least: when it leaves and joins, the group shares out everything anew.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Owners | None]],
        name: str,
        on_change: Callable[[Held], None],
        on_unowned: Callable[[Collection[int], str], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._read = read
        self._name = name
        self._on_change = on_change
        self._on_unowned = on_unowned
        self._sleep = sleep
        self.held: Held = {}
        """What they hold, as of the last look that was answered."""
        # a member that has just been given its first slot has had no time yet
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Look for as long as this runs."""
        unowned: frozenset[int] = frozenset()
        while True:
            await self._sleep(CONFIRM_SECONDS if unowned else LOOK_SECONDS)
            found = await self._read()
            if found is None:
                continue
            unowned, before = found.unowned, unowned
            if still := unowned & before:
                unowned = frozenset()
                self._on_unowned(sorted(still), found.idlest)
            held = held_by_others(found, self._name, self._silent)
            self._silent = silent_members(found)
            if held != self.held:
                self.held = held
                self._on_change(held)


class GroupReader:
    """Asks the group's coordinator who owns what."""

    def __init__(self, kafka: KafkaSettings, topics: TopicNames, name: str) -> None:
        self._kafka = kafka
        self._topics = topics
        self._name = name
        self._log = structlog.get_logger("connector.cluster")

    async def read(self) -> Owners | None:
        """Return who holds what; None without an answer, as from the embedded broker."""
        return await asyncio.to_thread(self._owners)

    def _owners(self) -> Owners | None:
        group = cluster_group(self._name, self._topics.prefix)
        own, subscriptions = {"client.id": f"{self._name}-group"}, self._topics.subscriptions
        try:
            properties = client_properties(self._kafka, **own)
            found = read_group(properties, group, ANSWER_SECONDS, logger=ClientLog("group"))
            holders: dict[int | None, Owner] = {}
            for member in found.members:
                owner = Owner(excerpt(member.name, MAX_NAME_CHARACTERS), member.member_id)
                for topic, partition in member.partitions:
                    if topic == subscriptions:
                        holders[partition] = owner
                    elif topic == self._topics.control and partition == 0:
                        holders[None] = owner
            words, slots = self._words({**own, "group.id": group}, holders)
        except (KafkaException, ConnectorError, ValueError, KeyError) as error:
            self._log.debug("group_not_described", reason=str(error))
            return None
        if not found.settled or not found.members:
            return Owners(holders, words)
        held = Counter(owner.member for owner in holders.values())
        # all replicas see the same one
        idlest = min((one.member_id for one in found.members), key=lambda one: (held[one], one))
        return Owners(holders, words, slots - holders.keys(), idlest)

    def _words(
        self, own: Mapping[str, str], held: Collection[int | None]
    ) -> tuple[dict[int | None, str], frozenset[int]]:
        """Return who has written the metadata of the offset of what is held, and all slots.

        A consumer asks, which joins nothing: an admin client that does so can end the process
        (`connector.kafka.group_members`).
        """
        consumer = Consumer(client_properties(self._kafka, **own), logger=ClientLog("group"))
        topic, control = self._topics.subscriptions, self._topics.control
        try:
            partitions = consumer.list_topics(topic, ANSWER_SECONDS).topics[topic].partitions
            places = [
                TopicPartition(control, 0) if one is None else TopicPartition(topic, one)
                for one in held
            ]
            found = consumer.committed(places, timeout=ANSWER_SECONDS) if places else []
        finally:
            consumer.close()
        words = {
            None if one.topic == control else one.partition: member_of(one.metadata)
            for one in found
        }
        written = {one: member for one, member in words.items() if member is not None}
        return written, frozenset(partitions)
