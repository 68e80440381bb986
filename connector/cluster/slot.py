"""One slot that this process owns: from the records of its partition to its connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import structlog

from connector.cluster.items import CaughtUp, Halting, Item, ReconnectSlot, SlotRecord
from connector.control.records import Halt
from connector.errors import CapacityError
from connector.kite.clock import Clock, Timer
from connector.kite.feed.connection import Connection
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.wire.models import Mode

RECONNECT_SECONDS: Final = 10.0
"""Reconnects by command are at least so far apart: each is a gap, and the feed bears few. So are
the resumptions of a slot."""
_HALTS: Final = (None, Halt.PAUSED, Halt.STOPPED)
"""From the one that asks most of the feed."""
_BEGIN: Final = (ConnectionState.IDLE, ConnectionState.CONNECTING, ConnectionState.CONNECTED)
"""The states of a connection before its instruments have sent their first packets."""
LINGER_SECONDS: Final = 2.0
"""An instrument that moves to another slot stays so long, until the other has subscribed."""


class SlotPhase(StrEnum):
    """The phases of a slot that this process owns."""

    LOADING = "loading"
    """The partition is being read; a connection, if any, streams what it did before."""
    STREAMING = "streaming"
    """What the partition says is what the connection has."""
    HELD = "held"
    """The group cannot be reached; the connection goes on as it is."""
    IDLE = "idle"
    """There is no api_key for this slot: it is owned, but has no connection."""
    LEAVING = "leaving"
    """It was given up; the connection streams on until the next owner is ready for the slot."""
    CLOSED = "closed"
    """The slot was released, and its connection is closed."""


class Slot:
    """Owns a connection while this process owns the slot. Belongs to the event loop.

    Args:
        number: the slot.
        connect: makes its connection, not started; None where the slot has no account.
        capacity: instruments that the connection carries.
        clock: for the time that a moving instrument stays.
        after: set when an earlier connection of this slot has closed; the new one waits for it.
        last_frame_us: when the owner before received its last frame, UTC microseconds; None where
            that is not known.
        ready: awaited when the partition was read, and returns when the owner before, which may
            be streaming still, has closed its socket: with the time of its last frame, UTC
            microseconds, where it said so.
        on_event: told of kept instruments whose stream ends, and why.
    """

    def __init__(
        self,
        number: int,
        connect: Callable[[], Connection] | None,
        capacity: int,
        clock: Clock,
        *,
        after: asyncio.Event | None = None,
        last_frame_us: int | None = None,
        ready: Callable[[], Awaitable[int | None]] | None = None,
        on_event: Callable[[ConnectionEvent], None] | None = None,
    ) -> None:
        self.number = number
        self.phase = SlotPhase.LOADING
        self.connection: Connection | None = None
        self.halt: Halt | None = None
        """What was commanded, where the slot is not to stream; None otherwise."""
        self.opened = False
        """Whether there was a connection, and there may be ticks of it under way."""
        self.revision = 0
        """The highest that a record of this slot had."""
        self.closed = asyncio.Event()
        """Set when `close` is through: there is no socket any more."""
        # names by token, as the records have them: shown to people, never sent to the feed
        self.symbols: dict[int, str] = {}
        self.unwritten = False
        """Whether the partition was made anew and nothing is in it, although the slot streams."""
        self.kept: set[int] = set()
        """Instruments that are streamed although the partition, which was made anew, lacks them:
        nobody has ended their claims."""
        # whether the topic was deleted while the slot was held
        self._topic_gone = False
        # instruments whose end the partition says while it is read: these claims have ended
        self._ended: set[int] = set()
        # asked anew after each stop: a connection that was closed is not started again
        self._connect = connect
        # what the feed takes of one socket, lingering instruments included
        self._capacity = capacity
        self._clock = clock
        # set when every earlier socket of this slot is gone. An api_key has three connections, and
        # Kite refuses a fourth with HTTP 429: the new one must not overlap the old
        self._after = after
        # of the connections before the present one, here or at the owner before
        self._last_frame_us = last_frame_us
        self._on_event = on_event
        # asked once: after that the slot is this process's alone
        self._ready = ready
        self._taking_over: asyncio.Task[None] | None = None
        # what the partition says, also while the slot is halted and streams none of it
        self._desired: dict[int, Mode] = {}
        # instruments that went to another slot and are still streamed here; each batch of them
        # is let go by one timer, in one request
        self._lingering: dict[int, Timer] = {}
        # instruments that the connection had no room for: what makes room may come later
        self._waiting: set[int] = set()
        # the event loop itself refers to tasks only weakly; `close` waits for these
        self._tasks: set[asyncio.Task[None]] = set()
        # no reconnect by command before this, in the clock's monotonic seconds
        self._reconnect_after = -math.inf
        # one reconnect waits for its time at most: it is what all later commands ask for too
        self._reconnect_timer: Timer | None = None
        # the same for what asks more of the feed than before
        self._resume_after = -math.inf
        # a resumption waits for its time, unless the slot is halted again before
        self._resume_timer: Timer | None = None
        self._log = structlog.get_logger("connector.cluster").bind(slot=number)

    @property
    def desired(self) -> Mapping[int, Mode]:
        """What the partition says: token to mode."""
        return self._desired

    @property
    def begins(self) -> bool:
        """Whether its stream is about to begin: not where the feed has refused its socket."""
        if self.phase is SlotPhase.LOADING:
            return True
        if self.connection is None or self.connection.state not in _BEGIN:
            return False
        stats = self.connection.stats
        # one that was asked for again and again may never send anything
        return bool(stats.silent > stats.unserved)

    @property
    def last_frame_us(self) -> int | None:
        """When the last frame of this slot came, here or before, UTC microseconds. Any thread."""
        received = self.connection.last_frame_us if self.connection is not None else 0
        return received or self._last_frame_us

    @property
    def gap_from_us(self) -> int | None:
        """Since when ticks may be missing if its stream ends now, UTC microseconds."""
        known = self.connection.gap_from_us if self.connection is not None else 0
        return known or self._last_frame_us

    def reload(self) -> None:
        """Expect the partition from its beginning again; a connection goes on meanwhile."""
        self.phase = SlotPhase.LOADING
        self._desired = {}
        self._ended.clear()
        self.symbols = {}
        self._cancel_resumption()
        self.halt = None

    def hold(self, *, topic_gone: bool = False) -> None:
        """Go on as it is: no record comes while the group cannot be reached, or its topic."""
        self.phase = SlotPhase.HELD
        self._topic_gone = self._topic_gone or topic_gone

    def leave(self) -> None:
        """Stream on as it is until `close`: the slot was given up, and the next owner comes."""
        self.phase = SlotPhase.LEAVING
        self._cancel_resumption()
        self._cancel_reconnect()

    def apply(self, items: Sequence[Item]) -> None:
        """Apply items in order; those of one batch reach the connection together."""
        changes: dict[int, Mode | None] = {}
        moved: set[int] = set()
        for item in items:
            match item:
                case SlotRecord():
                    self._record(item, changes, moved)
                case CaughtUp():
                    if self.phase is SlotPhase.LOADING:
                        # `_loaded` compares the whole partition with what the connection has: these
                        # are part of it
                        changes.clear()
                        self._caught_up(item)
                case ReconnectSlot():
                    # one that was there before this process owned the slot has been done
                    if self.phase is SlotPhase.STREAMING:
                        self._reconnect(item.command_id)
                case Halting():
                    self._set_halt(item.halt)
        # a slot that is halted streams nothing that could stay
        if moved and self.halt is None:
            self._linger(moved)
        if changes and self.phase is SlotPhase.STREAMING:
            self._update(changes)

    async def close(self) -> None:
        """Close the connection; returns when its socket is gone."""
        self.phase = SlotPhase.CLOSED
        self._let_all_go()
        self._end_kept("the slot was given up, and the next owner knows nothing of them")
        self._cancel_resumption()
        self._cancel_reconnect()
        if self._taking_over is not None:
            self._taking_over.cancel()
        try:
            if self.connection is not None:
                await self.connection.close()
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self.closed.set()

    def _record(self, record: SlotRecord, changes: dict[int, Mode | None], moved: set[int]) -> None:
        token = record.token
        self.kept.discard(token)
        self._ended.discard(token)
        if record.mode is None:
            if self.phase is SlotPhase.LOADING:
                self._ended.add(token)
            self._desired.pop(token, None)
            self.symbols.pop(token, None)
            # only a move that happens now: one that is read as history is long over
            if record.moved_to is not None and self.phase is SlotPhase.STREAMING:
                changes.pop(token, None)
                moved.add(token)
            else:
                changes[token] = None
            return
        self.revision = max(self.revision, record.revision)
        self._desired[token] = record.mode
        if record.symbol is not None:
            self.symbols[token] = record.symbol
        changes[token] = record.mode
        moved.discard(token)
        # it came back: the timer that is under way passes it over
        self._lingering.pop(token, None)

    def _caught_up(self, reached: CaughtUp) -> None:
        """Follow the partition, but for a new one while the slot streams.

        That says nothing yet. The leader writes all that it knows in one transaction.
        """
        streams = self.connection is not None and bool(self.connection.desired())
        self.unwritten = reached.never_written and streams
        if self.unwritten:
            self._topic_gone = True
            self._log.warning("slot_awaits_subscriptions")
        else:
            self._loaded()

    def _loaded(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            before, self._after = self._after, asyncio.Event()
            self._taking_over = self._later(self._take_over(before, ready, self._after))
        if self._connect is None:
            self.phase = SlotPhase.IDLE
            if self._desired:
                self._log.warning("slot_without_api_key", instruments=len(self._desired))
            return
        self.phase = SlotPhase.STREAMING
        held = self.connection is not None
        changed = self._follow_halt()
        if held:
            self._log.info("slot_resumed", changed=changed)

    def _set_halt(self, halt: Halt | None) -> None:
        """Pause or stop at once, resume in its time; while the partition is read, `_loaded` does.

        What asks more of the feed than before is `RECONNECT_SECONDS` apart.
        """
        self._cancel_resumption()
        if halt is self.halt:
            return
        if self.phase is SlotPhase.STREAMING and _HALTS.index(halt) < _HALTS.index(self.halt):
            wait_seconds = self._resume_after - self._clock.monotonic()
            if wait_seconds > 0:
                self._resume_timer = self._clock.call_later(
                    wait_seconds, lambda: self._set_halt(halt)
                )
                return
            self._resume_after = self._clock.monotonic() + RECONNECT_SECONDS
        self.halt = halt
        if self.phase is SlotPhase.STREAMING:
            self._follow_halt()
            self._log.info("slot_halt_changed", halt=halt)

    def _cancel_reconnect(self) -> None:
        timer, self._reconnect_timer = self._reconnect_timer, None
        if timer is not None:
            timer.cancel()

    def _cancel_resumption(self) -> None:
        timer, self._resume_timer = self._resume_timer, None
        if timer is not None:
            timer.cancel()

    def _follow_halt(self) -> int:
        """Bring the connection to what the partition says; return how many instruments changed."""
        topic_gone, self._topic_gone = self._topic_gone, False
        before = {} if self.connection is None else self.connection.desired()
        over = before.keys() - self._desired.keys() - self._lingering.keys() - self.kept
        # a claim ends for a reason, and a topic that was deleted is none
        if topic_gone and (lacking := over - self._ended):
            self.kept |= lacking
            over -= lacking
            self._log.error("instruments_kept", instruments=len(lacking))
        self._ended.clear()
        if self.halt is not None:
            self._end_kept(f"the slot was {self.halt}")
        if self.halt is Halt.STOPPED:
            self._shut()
            return 0
        if self.connection is None:
            self._open()
            return 0
        if self.halt is Halt.PAUSED:
            self._let_all_go()
            self.connection.update(dict.fromkeys(before))
            return len(before)
        changes: dict[int, Mode | None] = {
            token: mode for token, mode in self._desired.items() if before.get(token) is not mode
        }
        changes |= dict.fromkeys(over)
        self._update(changes)
        return len(changes)

    def _open(self) -> None:
        assert self._connect is not None  # noqa: S101 - IDLE has none
        self.opened = True
        self.connection = self._connect()
        self._update(self._desired)
        if self._after is None or self._after.is_set():
            self._begin(self.connection)
        else:
            self._later(self._start_after(self._after, self.connection))
        self._log.info("slot_opened", instruments=0 if self.halt else len(self._desired))

    def _shut(self) -> None:
        """Close the connection; the next one begins when its socket is gone."""
        self._let_all_go()
        connection, before = self.connection, self._after
        if connection is None:
            return
        # the connection goes, and its time with it: the next session's gap begins there
        self._last_frame_us = self.gap_from_us
        self.connection = None
        self._after = asyncio.Event()
        self._later(self._close_after(before, connection, self._after))

    def _end_kept(self, why: str) -> set[int]:
        """Return what is kept no more, of which nobody else knows: so it is told."""
        kept, self.kept = self.kept, set()
        if kept:
            self._log.error("instruments_let_go", instruments=len(kept), reason=why)
            if self._on_event is not None:
                self._on_event(
                    ConnectionEvent(
                        EventType.INSTRUMENTS_LET_GO,
                        self.number,
                        self._clock.time_us() // 1000,
                        reason=f"{why}; subscribe them again",
                        instruments=len(kept),
                        tokens=tuple(sorted(kept)),
                    )
                )
        return kept

    def _let_all_go(self) -> None:
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()

    def _update(self, changes: Mapping[int, Mode | None]) -> None:
        if self.connection is None or self.halt is not None:
            return  # what is wanted is known when the slot is resumed
        beside = len(self._lingering) + len(self.kept)
        if beside and len(self._desired) + beside > self._capacity:
            # room is worth more than an overlap, or than what nobody is known to claim
            kept = self._end_kept("others need their room")
            changes = {**dict.fromkeys((*self._lingering, *kept)), **changes}
            self._lingering.clear()
        # asked for once more with each change, which may have made room
        waiting = self._waiting & self._desired.keys()
        self._waiting = set()
        try:
            self.connection.update(
                {**{token: self._desired[token] for token in waiting}, **changes}
            )
        except CapacityError as error:
            self._waiting.update(error.refused)
            self._log.error("slot_over_capacity", reason=str(error))

    def _linger(self, tokens: set[int]) -> None:
        def let_go() -> None:
            # one that came back and moved again meanwhile has a later timer
            gone = [token for token in tokens if self._lingering.get(token) is timer]
            for token in gone:
                del self._lingering[token]
            if gone and self.connection is not None:
                self._update(dict.fromkeys(gone))

        timer = self._clock.call_later(LINGER_SECONDS, let_go)
        self._lingering.update(dict.fromkeys(tokens, timer))

    def _reconnect(self, command_id: str) -> None:
        """Reconnect as soon as the last one is long enough ago; commands meanwhile are one."""
        if self._reconnect_timer is not None:
            return
        self._log.info("slot_reconnect_requested", id=command_id)
        wait_seconds = self._reconnect_after - self._clock.monotonic()
        if wait_seconds > 0:
            self._reconnect_timer = self._clock.call_later(wait_seconds, self._reconnect_now)
        else:
            self._reconnect_now()

    def _reconnect_now(self) -> None:
        self._reconnect_timer = None
        self._reconnect_after = self._clock.monotonic() + RECONNECT_SECONDS
        if self.connection is not None and self.phase is not SlotPhase.CLOSED:
            if kept := self._end_kept("a command asked for another socket"):
                self._update(dict.fromkeys(kept))
            self._later(self.connection.reconnect())

    def _begin(self, connection: Connection) -> None:
        # before the socket opens: the session's gap begins with the slot's last frame, whoever had
        # it
        connection.continue_from(self._last_frame_us)
        connection.start()

    async def _start_after(self, closed: asyncio.Event, connection: Connection) -> None:
        await closed.wait()
        if self.phase is not SlotPhase.CLOSED and self.connection is connection:
            self._begin(connection)

    async def _take_over(
        self,
        before: asyncio.Event | None,
        ready: Callable[[], Awaitable[int | None]],
        free: asyncio.Event,
    ) -> None:
        """Set `free` as soon as no socket of this slot is open, here or at the owner before."""
        try:
            if before is not None:
                await before.wait()
            said = await ready()
            # what was kept before the slot was given up may not be all that came, or a heartbeat
            self._last_frame_us = said or self._last_frame_us
        finally:
            free.set()

    @staticmethod
    async def _close_after(
        before: asyncio.Event | None, connection: Connection, closed: asyncio.Event
    ) -> None:
        try:
            await connection.close()
            if before is not None:
                await before.wait()
        finally:
            closed.set()

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
