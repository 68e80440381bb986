"""Slots that this replica has given up and streams on, each until its next owner takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from connector.cluster.handovers import Handovers
from connector.cluster.slot import Slot, SlotPhase
from connector.kite.feed.events import ConnectionState

HAND_OVER_SECONDS: Final = 8.0
"""A slot that was given up streams on for at most so long until its next owner is ready. Under
KIP-848 that one hears of it at its next heartbeat, by default every 5 s."""


class LeavingSlots:
    """The old owner's side of hand-overs. Belongs to the event loop.

    Args:
        handovers: where the next owner says that it is ready.
        close: closes slots, and returns when Kafka has what came over their sockets.
        seconds: for how long a slot waits to be taken.
    """

    def __init__(
        self,
        handovers: Handovers,
        close: Callable[[Sequence[int]], Awaitable[None]],
        seconds: float,
    ) -> None:
        self._handovers = handovers
        self._close = close
        self._seconds = seconds
        # each ends when its slot is closed and the next owner knows it
        self._waits: dict[int, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("connector.cluster")

    async def announce(self, slots: Sequence[Slot]) -> Collection[int]:
        """Let those of these slots that stream go on, until they are taken; returns which.

        The others, and all where the brokers did not take it, are to be closed now.
        """
        streaming = {slot.number: slot for slot in slots if _streams(slot)}
        announced = await self._handovers.announce(streaming)
        for number, handover in announced.items():
            streaming[number].leave()
            self._waits[number] = asyncio.create_task(
                self._until_taken(streaming[number], handover)
            )
        return announced.keys()

    def take_back(self, number: int) -> None:
        """Keep a slot that is this replica's again before anybody took it."""
        self._waits[number].cancel()

    async def taken(self, hurry: asyncio.Event) -> None:
        """Wait until all are taken, or nobody wants to wait for that."""
        hurried = asyncio.create_task(hurry.wait())
        while self._waits and not hurried.done():
            waits = [*self._waits.values(), hurried]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()

    async def _until_taken(self, slot: Slot, handover: str) -> None:
        """Close a slot when its next owner is ready, and say so; cancelled where it comes back."""
        try:
            try:
                if not await self._handovers.wanted(slot.number, handover, self._seconds):
                    self._log.warning("slot_not_taken", slot=slot.number, seconds=self._seconds)
            except Exception:  # noqa: BLE001 - a bug; a slot that is not this replica's is closed
                self._log.exception("slot_wait_failed", slot=slot.number)
            await self._close([slot.number])
        finally:
            try:
                # also where it came back: nobody has to wait for it any more
                await self._handovers.release(slot.number, handover, slot.gap_from_us)
            finally:
                # not before: at a stop the process ends, and a next owner that was not told waits
                if self._waits.get(slot.number) is asyncio.current_task():
                    del self._waits[slot.number]


def _streams(slot: Slot) -> bool:
    return (
        slot.phase is SlotPhase.STREAMING
        and slot.connection is not None
        and slot.connection.state is ConnectionState.CONNECTED
    )
