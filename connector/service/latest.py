"""The newest tick of each instrument into `kite.latest`, at a bounded rate.

The codec keeps the newest value of each instrument; here they are written once an interval. While
Kafka takes nothing they stay in memory, a newer one in the place of an older one, so that nothing
is ever spooled that would come back behind what another owner of the slot has written since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from connector.codec import Transcoder
from connector.codec.interface import Record
from connector.kite.clock import SYSTEM_CLOCK, Clock

CHUNK = 500
"""So many records are produced in one turn of the event loop."""
STALE_INTERVALS = 2.0
"""What could not be written for so many intervals is not written when a session ends: another
process may have the slot by then, and its snapshots are newer."""


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
        produce_all: Callable[[Sequence[Record], int], None],
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
        # the transcoder of each slot, which keeps the newest value of each instrument
        self._slots: dict[int, Transcoder] = {}
        # when a round began last: what is left of a session is at most so old
        self._written_at = clock.monotonic()

    def add(self, slot: int, transcoder: Transcoder) -> None:
        """Write what this transcoder keeps from now on."""
        transcoder.keep_newest(self._topic)
        self._slots[slot] = transcoder

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
        for transcoder in list(self._slots.values()):
            # what comes during these turns waits for the next interval
            waiting = transcoder.newest_waiting
            while waiting > 0 and self._may_write():
                self._produce(transcoder.next_newest(min(waiting, CHUNK)))
                waiting -= CHUNK
                await asyncio.sleep(0)

    def end(self, slot: int) -> None:
        """Write what is left of a session that has ended, before another owner of the slot begins.

        The next session brings a snapshot of each instrument, so what is too old is left out.
        """
        if slot not in self._slots:
            return
        transcoder = self._slots[slot]
        records = transcoder.next_newest(transcoder.newest_waiting)
        age_seconds = self._clock.monotonic() - self._written_at
        if self._may_write() and age_seconds <= STALE_INTERVALS * self._interval_seconds:
            self._produce(records)

    def _produce(self, records: Sequence[Record]) -> None:
        if records:
            self.written += len(records)
            self._produce_all(records, self._clock.time_us() // 1000)
