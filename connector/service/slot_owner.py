"""Who owns slots in this process: the one question that the service has of a cluster, or of none.

The service asks `SlotOwner` alone. In a cluster slots are shared among replicas and instruments
come over the control topic: `connector.cluster.cluster.Cluster`. Without one the process has all
slots and the settings' instruments: `connector.service.static_slots.StaticSlots`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from connector.cluster.intake import Intake
from connector.control.records import Subscription
from connector.kite.feed.stats import ConnectionStats
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import SubscribedInstrument


class SlotOwner(Protocol):
    """Decides which slots this process opens, and what each carries."""

    @property
    def leads(self) -> bool:
        """Whether this process does what only one of them may."""

    async def start(self, intake: Intake) -> None:
        """Open what is to be open; returns without waiting for the sockets.

        Args:
            intake: what the slots' connections are for.
        """

    async def watch(self) -> None:
        """Look for what others do to the slots, for as long as this runs; it may end at once."""

    async def stop_intake(self, hurry: asyncio.Event) -> None:
        """Close every socket: nothing is received after it.

        Args:
            hurry: set when nobody waits any longer for other replicas to take the slots.
        """

    async def release(self) -> None:
        """Give the slots up, once what they received is with Kafka or on disk."""

    def set_master(self, master: InstrumentMaster) -> None:
        """Use today's names: these tokens have them."""

    def stats(self) -> Sequence[ConnectionStats]:
        """Return the connections of this process, by slot."""

    def not_ready(self) -> Sequence[str]:
        """Explain why not everything streams; empty when it does."""

    def claims(self) -> Sequence[SubscribedInstrument]:
        """Return what is subscribed, as far as this process knows; one object until it changes."""

    def unresolved(self) -> Sequence[str]:
        """Return instruments that are asked for and have no slot, each with the reason."""

    def missing_topics(self) -> Collection[str]:
        """Return topics of the control plane that were found missing."""

    def note(self, notes: Mapping[int, Mapping[str, Any]]) -> None:
        """Let other replicas know how the slots are, each in a few words."""

    def names(self) -> InstrumentMaster:
        """Return today's names of instruments."""

    def subscriptions(self) -> Mapping[int, Subscription] | None:
        """Return what is subscribed, by token; None where `kite.subscriptions` tells."""

    def carried(self, slot: int) -> Sequence[int] | None:
        """Return the instruments of a slot; None where only a leader knows them, and not yet."""

    def silent_tokens(self, slot: int) -> Collection[int] | None:
        """Return who has sent no packet on a slot's socket; None where it is not this process's."""

    def unserved(self) -> Sequence[tuple[int, int, float]]:
        """Return who has sent nothing in market hours although asked again, of this process.

        Each as (slot, token, seconds since it was asked for first).
        """

    def status(self) -> Mapping[str, Any] | None:
        """Return more for the status page; None where there is nothing to say."""
