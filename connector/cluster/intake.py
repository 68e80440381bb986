"""What an owner of slots is given: the handlers of its connections, and whom it tells and asks."""

from __future__ import annotations

from typing import Protocol

from connector.kite.feed.events import ConnectionEvent
from connector.kite.feed.handler import Handler


class Handlers(Protocol):
    """Gives each slot's connection its handler."""

    def handler(self, slot: int) -> Handler:
        """Return the handler of a slot's connection; the same one each time."""


class Intake(Handlers, Protocol):
    """What the slots' connections are for. Everything is called from the event loop."""

    def event(self, event: ConnectionEvent) -> None:
        """Take note of an instrument that expired or changed its token."""

    async def drained(self, slot: int) -> None:
        """Wait until Kafka has what a slot received, which is closed by now.

        Only then is the slot given up, and another replica writes its first ticks.
        """

    @property
    def can_refresh(self) -> bool:
        """Whether there is a list of instruments to load."""

    async def refresh(self, accept_list: bool) -> None:
        """Load the list of instruments anew and hand it to `set_master`, for a command.

        Args:
            accept_list: accept one that would be held back.
        """
