"""The newest tick of each instrument into `kite.latest`, at a bounded rate.

The codec keeps the newest value of each instrument; here they are written once an interval. While
Kafka takes nothing they stay in memory, a newer one in the place of an older one, so that nothing
is ever spooled that would come back behind what another owner of the slot has written since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from connector.kite.clock import SYSTEM_CLOCK, Clock

CHUNK = 500
"""So many records are produced in one turn of the event loop."""
STALE_INTERVALS = 2.0
"""What could not be written for so many intervals is not written when a session ends: another
process may have the slot by then, and its snapshots are newer."""

Value = tuple[str, bytes, bytes]


class NewestOfSlot(Protocol):
    """The part of a transcoder that this module uses."""

    def keep_newest(self) -> None:
        """Begin to keep the newest value of each instrument."""

    def next_newest(self) -> dict[bytes, bytes]:
        """Return them by key, those that came since the last call."""


class Latest:
    """Writes what the transcoders of all slots keep.

    Args:
        topic: where to.
        interval_seconds: of one instrument's records.
        produce_all: takes records as (topic, key, value), and their timestamp.
        may_write: whether Kafka takes records at the moment.
        clock: for timestamps and the interval.
    """

    def __init__(
        self,
        topic: str,
        interval_seconds: float,
        produce_all: Callable[[Sequence[Value], int], None],
        may_write: Callable[[], bool],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.written = 0
        """How many records there were so far."""
        self._topic = topic
        self._interval_seconds = interval_seconds
        self._produce_all = produce_all
        self._may_write = may_write
        self._clock = clock
        self._slots: dict[int, NewestOfSlot] = {}
        # taken from the transcoder and not written yet, by slot
        self._waiting: dict[int, dict[bytes, bytes]] = {}
        self._written_at = clock.monotonic()

    def add(self, slot: int, transcoder: NewestOfSlot) -> None:
        """Write what this transcoder keeps from now on."""
        transcoder.keep_newest()
        self._slots[slot] = transcoder
        self._waiting[slot] = {}

    async def run(self) -> None:
        """Write once an interval, for ever."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.write()

    async def write(self) -> None:
        """Write what is newest of each instrument, in turns of the event loop."""
        if not self._may_write():
            return
        self._written_at = self._clock.monotonic()
        for slot in list(self._slots):
            self._take(slot)
            while self._waiting[slot]:
                self._produce(slot, CHUNK)
                await asyncio.sleep(0)

    def end(self, slot: int) -> None:
        """Write what is left of a session that has ended, before another owner of the slot begins.

        The next session brings a snapshot of each instrument, so what is too old is left out.
        """
        if slot not in self._slots:
            return
        self._take(slot)
        age_seconds = self._clock.monotonic() - self._written_at
        if self._may_write() and age_seconds <= STALE_INTERVALS * self._interval_seconds:
            self._produce(slot, len(self._waiting[slot]))
        self._waiting[slot].clear()

    def forget(self, slot: int, tokens: Iterable[int]) -> None:
        """Write nothing more of instruments that another slot may have by now."""
        waiting = self._waiting.get(slot)
        if waiting:
            for token in tokens:
                waiting.pop(b"%d" % token, None)

    def _take(self, slot: int) -> None:
        self._waiting[slot].update(self._slots[slot].next_newest())

    def _produce(self, slot: int, count: int) -> None:
        waiting = self._waiting[slot]
        keys = [key for key, _ in zip(waiting, range(count), strict=False)]
        if keys:
            self.written += len(keys)
            self._produce_all(
                [(self._topic, key, waiting.pop(key)) for key in keys],
                self._clock.time_us() // 1000,
            )
