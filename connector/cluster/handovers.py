"""Hand-overs of slots: the one that gives a slot up streams on until the next one is ready for it.

A group needs a third of a second to two seconds until a slot that one member gave up is another's,
and that one reads the slot's partition first. So the socket of the old owner stays open meanwhile:

1. the old owner announces it in the register (`leaving`), and only then gives the slot up;
2. the new owner gets the slot, reads its partition, and says that it is ready (`wanted`);
3. the old one closes its socket, sees to it that Kafka has what came, and says so (`released`);
4. the new one opens its socket: the account has room for it, and ticks stay in order.

Each side waits a bounded time: whoever hears nothing of the other goes on as if it had been told.
What cannot be announced is closed before it is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from connector.cluster.frames import has_been
from connector.cluster.handover_register import Entry, HandoverRegister, Stage
from connector.errors import ConnectorError
from connector.kite.clock import SYSTEM_CLOCK, Clock

LOOK_SECONDS: Final = 0.02
"""So often the register is read while somebody waits for its next word."""
COUNT_SECONDS: Final = 0.5
"""So often members are counted while a slot waits to be wanted: replicas that end together need
not wait for one another."""
RELEASE_SECONDS: Final = 6.0
"""A new owner that is ready waits so long for the old one: longer than that one takes to close its
socket and to let Kafka have everything. After that it is taken for dead."""


class Word(NamedTuple):
    """What somebody who waited was told."""

    came: bool
    """Whether the other side said something; else its time is over."""
    entry: Entry | None = None


_NOTHING: Final = Word(came=False)


@dataclass(eq=False, slots=True)
class _Waiter:
    slot: int
    met: Callable[[Entry | None], bool]
    """Whether this is the entry that is waited for."""
    of_members: bool
    """Whether nobody is left to write it once the group is empty."""
    told: asyncio.Future[Word]


@dataclass(eq=False, slots=True)
class _Batch:
    """Entries that are written in one request."""

    entries: dict[int, Entry] = field(default_factory=dict)
    written: asyncio.Task[bool] | None = None
    """Whether the brokers have them; None before the first entry."""


class Handovers:
    """Both sides of every hand-over of this replica. Belongs to the event loop.

    Args:
        register: makes a register; one lives while a hand-over is under way.
        clock: for the bounds.
    """

    def __init__(
        self, register: Callable[[], HandoverRegister], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._make = register
        self._clock = clock
        self._log = structlog.get_logger("connector.cluster")
        # the one that is open, and for how many of those who use it
        self._register: HandoverRegister | None = None
        self._users = 0
        # one at a time makes it
        self._opening = asyncio.Lock()
        # what is to be written next, and one request at a time: slots of one replica are ready, or
        # closed, at about the same time, and each one's own would wait for a thread
        self._batch = _Batch()
        self._writing = asyncio.Lock()
        # why it could not be read last
        self._problem = ""
        # who waits for the next word of a slot
        self._waiting: set[_Waiter] = set()
        # reads for all of them, while there are any
        self._looking: asyncio.Task[None] | None = None

    # the old owner

    async def alone(self) -> bool:
        """Whether nobody else is there to take a slot; also where the brokers cannot tell."""
        return (await self._members() or 1) == 1

    async def announce(self, slots: Collection[int]) -> dict[int, str]:
        """Say that these slots stream on until they are wanted.

        Returns:
            The id of the hand-over by slot; none where the brokers did not take it.
        """
        handovers = {slot: uuid.uuid4().hex[:16] for slot in slots}
        entries = {slot: Entry(one, Stage.LEAVING) for slot, one in handovers.items()}
        return handovers if entries and await self._write(entries) else {}

    async def wanted(self, slot: int, handover: str, seconds: float) -> bool:
        """Wait until the next owner is ready; False where none was within these seconds."""

        def is_wanted(entry: Entry | None) -> bool:
            # another id: somebody has gone on without this one. None: the entry went with its
            # topic, which was deleted, and nobody takes a slot that has none
            return entry is not None and (entry.handover, entry.stage) != (handover, Stage.LEAVING)

        return (await self._wait(slot, is_wanted, seconds, of_members=True)).came

    async def release(self, slot: int, handover: str, last_frame_us: int | None) -> None:
        """Say that the slot's socket is closed, or that nobody has to wait for that."""
        await self._write({slot: Entry(handover, Stage.RELEASED, last_frame_us)})

    # the new owner

    def arriving(self, slots: Sequence[int]) -> Callable[[int], Awaitable[int | None]]:
        """Begin to read whether slots that were assigned are still streamed by others.

        Returns:
            What a slot awaits when it is ready to open its socket. It returns as soon as the slot
            may, with the time of the last frame that the owner before received, UTC microseconds;
            None where no owner has just said it.
        """
        reading = asyncio.ensure_future(self._read(slots))

        async def ready(slot: int) -> int | None:
            # what one slot does with it is its own: others wait for the same answer
            entries = await asyncio.shield(reading)
            if entries is None:
                self._log.warning("handover_unknown", slot=slot, reason=self._problem)
                return None
            entry = entries.get(slot)
            # one that is released may be of long ago: what its owner has kept since then counts
            if entry is None or entry.stage is Stage.RELEASED:
                return None
            return await self._take_over(slot, entry.handover)

        return ready

    async def _take_over(self, slot: int, handover: str) -> int | None:
        def is_free(entry: Entry | None) -> bool:
            return entry is None or entry.handover != handover or entry.stage is Stage.RELEASED

        async with self._open():
            # it may have been wanted before, by an owner that lost it again, or released meanwhile:
            # what is written here must not take the place of that
            now = (await self._read([slot]) or {}).get(slot)
            if now is not None and (now.handover, now.stage) == (handover, Stage.LEAVING):
                await self._write({slot: Entry(handover, Stage.WANTED)})
            word = await self._wait(slot, is_free, RELEASE_SECONDS)
            if not word.came:
                self._log.warning("slot_not_released", slot=slot, seconds=RELEASE_SECONDS)
                # so that nobody after this one waits for it again
                await self.release(slot, handover, None)
        entry = word.entry
        if entry is None or entry.handover != handover or entry.last_frame_us is None:
            return None
        return entry.last_frame_us if has_been(entry.last_frame_us, self._clock) else None

    # waiting

    async def _wait(
        self,
        slot: int,
        met: Callable[[Entry | None], bool],
        seconds: float,
        *,
        of_members: bool = False,
    ) -> Word:
        told: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(slot, met, of_members, told)
        self._waiting.add(waiter)
        timer = self._clock.call_later(seconds, lambda: _tell(waiter, _NOTHING))
        if self._looking is None:
            self._begin_to_look()
        try:
            return await told
        finally:
            timer.cancel()
            self._waiting.discard(waiter)

    def _begin_to_look(self) -> None:
        self._looking = asyncio.create_task(self._look())
        self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        # somebody may have come as it ended
        if self._waiting and not task.cancelled() and task.exception() is None:
            self._begin_to_look()

    async def _look(self) -> None:
        """Read for all who wait, in one request, until nobody does."""
        count_after = self._clock.monotonic() + COUNT_SECONDS
        async with self._open():
            while self._waiting:
                # whoever comes while it is read waits for the next answer
                waiting = list(self._waiting)
                entries = await self._read(sorted({one.slot for one in waiting}))
                for waiter in waiting:
                    if entries is not None and waiter.met(entries.get(waiter.slot)):
                        _tell(waiter, Word(came=True, entry=entries.get(waiter.slot)))
                if self._clock.monotonic() >= count_after:
                    count_after = self._clock.monotonic() + COUNT_SECONDS
                    await self._end_where_nobody_comes()
                await self._pause()

    async def _end_where_nobody_comes(self) -> None:
        waiters = [one for one in self._waiting if one.of_members]
        if waiters and await self._members() == 0:
            for waiter in waiters:
                _tell(waiter, _NOTHING)

    async def _pause(self) -> None:
        over = asyncio.Event()
        self._clock.call_later(LOOK_SECONDS, over.set)
        await over.wait()

    # the register

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[HandoverRegister | None]:
        """The one that is open, else a new one; None where its client cannot be made."""
        self._users += 1
        try:
            async with self._opening:
                if self._register is None:
                    try:
                        self._register = await asyncio.to_thread(self._make)
                    except ConnectorError as error:
                        self._problem = str(error)
                        self._log.warning("handover_without_client", reason=self._problem)
            yield self._register
        finally:
            self._users -= 1
            if not self._users and self._register is not None:
                self._register.close()
                self._register = None

    async def _members(self) -> int | None:
        """How many members the group has; None where the brokers cannot tell."""
        async with self._open() as register:
            if register is None:
                return None
            try:
                return await asyncio.to_thread(register.members)
            except ConnectorError as error:
                self._log.debug("handover_members_unknown", reason=str(error))
                return None

    async def _read(self, slots: Sequence[int]) -> dict[int, Entry] | None:
        """The entries of these slots; None where they cannot be read."""
        async with self._open() as register:
            if register is None:
                return None
            try:
                return await asyncio.to_thread(register.read, list(slots))
            except ConnectorError as error:
                self._problem = str(error)
                return None

    async def _write(self, entries: Mapping[int, Entry]) -> bool:
        """Write entries, with those of all who come meanwhile; whether the brokers have them."""
        batch = self._batch
        batch.entries |= entries
        if batch.written is None:
            batch.written = asyncio.create_task(self._write_in_turn(batch))
        # the others' entries are written whatever becomes of this caller
        return await asyncio.shield(batch.written)

    async def _write_in_turn(self, batch: _Batch) -> bool:
        async with self._writing:
            self._batch = _Batch()
            async with self._open() as register:
                if register is None:
                    return False
                try:
                    await asyncio.to_thread(register.write, batch.entries)
                except ConnectorError as error:
                    slots = list(batch.entries)
                    self._log.warning("handover_not_told", slots=slots, reason=str(error))
                    return False
        return True


def _tell(waiter: _Waiter, word: Word) -> None:
    if not waiter.told.done():
        waiter.told.set_result(word)
