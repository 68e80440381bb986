"""Other programs' consumers in the connector's group, which take slots that nobody serves then.

Nothing keeps them out but the right to read the group: by the protocol `classic` whoever has an
assignor in common gets partitions (Java's consumers have `cooperative-sticky` by default), by
`consumer` whoever subscribes to the topics; librdkafka knows no assignor of one's own, and has no
call that removes a member. So they are looked for, named, and left to people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.control.bounds import excerpt
from connector.errors import ConnectorError
from connector.kafka.config import ClientLog, client_properties, is_embedded
from connector.kafka.groups import cluster_group
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings

LOOK_SECONDS: Final = 30.0
"""So often the group is looked at."""
ANSWER_SECONDS: Final = 5.0
MAX_NAME_CHARACTERS: Final = 100
"""A member's client.id and address are cut to so many: whoever joins chooses its own name."""

Held = Mapping[int | None, str]
"""Slot, or None for the leadership → client.id and address of the member that holds it."""


def held_by_others(owners: Held, name: str) -> dict[int | None, str]:
    """Return what members hold that are no connector: the client.id of one begins with its name."""
    return {one: owner for one, owner in owners.items() if not owner.startswith(f"{name}-")}


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
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Held | None]],
        name: str,
        on_change: Callable[[Held], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._read = read
        self._name = name
        self._on_change = on_change
        self._sleep = sleep
        self.held: Held = {}
        """What they hold, as of the last look that was answered."""

    async def run(self) -> None:
        """Look for as long as this runs."""
        while True:
            await self._sleep(LOOK_SECONDS)
            owners = await self._read()
            if owners is None:
                continue
            held = held_by_others(owners, self._name)
            if held != self.held:
                self.held = held
                self._on_change(held)


class GroupReader:
    """Asks the group's coordinator who owns what.

    Args:
        kafka: how brokers are reached.
        topics: the topics' names.
        name: the connector's.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicNames, name: str) -> None:
        self._kafka = kafka
        self._topics = topics
        self._name = name
        self._log = structlog.get_logger("connector.cluster")

    async def read(self) -> Held | None:
        """Return who owns what; None without an answer, and from the embedded broker."""
        return await asyncio.to_thread(self._owners)

    def _owners(self) -> Held | None:
        group = cluster_group(self._name, self._topics.prefix)
        try:
            properties = client_properties(self._kafka, **{"client.id": f"{self._name}-group"})
            admin = AdminClient(properties, logger=ClientLog("group"))
            if is_embedded(admin.list_topics(self._topics.control, timeout=ANSWER_SECONDS)):
                return None  # it would let this wait its time out
            asked = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)
            members = asked[group].result(ANSWER_SECONDS + 1).members
        except (KafkaException, ConnectorError, TimeoutError) as error:
            self._log.debug("group_not_described", reason=str(error))
            return None
        owners: dict[int | None, str] = {}
        for member in members:
            owner = excerpt(f"{member.client_id} {member.host}".strip(), MAX_NAME_CHARACTERS)
            for place in member.assignment.topic_partitions if member.assignment else ():
                if place.topic == self._topics.subscriptions:
                    owners[place.partition] = owner
                elif place.topic == self._topics.control and place.partition == 0:
                    owners[None] = owner
        return owners
