"""Mends gaps by minute candles: hears of them in `kite.events`, writes `kite.backfill.1m`.

The leader does, and nobody else. It remembers nothing: a new leader reads the events since the last
day of trading, by which it knows the gaps that are not ended, and what the topic has for these, and
goes on there. So a candle is there once over restarts and new leaders; twice only where a leader
that was frozen goes on while another one has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Final, NoReturn

import structlog

from connector.errors import ConnectorError, reason_of
from connector.kafka.tail import TailRecord
from connector.kite import market_hours
from connector.kite.clock import Clock
from connector.kite.feed.wait import cancelled
from connector.kite.wire.candles import MINUTE_MS, Gap
from connector.service.gap_mender import GapCounts, GapMender, Lack
from connector.service.gaps import Gaps, look_back_ms, milliseconds
from connector.service.status import BackfillStatus
from connector.settings.topics import BackfillSettings

_log = structlog.get_logger("connector.service.backfill")

POLL_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 30.0
"""After a failure of Kafka, say, it begins anew so long later."""

Events = Callable[[int, Callable[[], None]], AsyncIterator[TailRecord]]
Candles = Callable[[int], AsyncIterator[TailRecord]]


class Backfill:
    """Runs in every replica, and works while its process leads.

    Args:
        settings: how many gaps wait, and for how long each.
        menders: of each account, with its slots.
        read_events: reads the topic of events on from a time, UTC milliseconds; calls back when it
            has read what was there.
        read_candles: reads the topic of candles from a time to its end.
        carried: the instruments of a slot now; None where that is not known yet.
        leads: whether this process is to work.
        counts: of the menders.
        clock: says when a gap's last minute has ended.
        poll_seconds: between two looks at time, gaps and leadership.
        retry_seconds: see `RETRY_SECONDS`.
    """

    def __init__(
        self,
        settings: BackfillSettings,
        menders: Sequence[tuple[Collection[int], GapMender]],
        *,
        read_events: Events,
        read_candles: Candles,
        carried: Callable[[int], Sequence[int] | None],
        leads: Callable[[], bool],
        counts: GapCounts,
        clock: Clock,
        poll_seconds: float = POLL_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._settings = settings
        self._menders = menders
        self._read_events = read_events
        self._read_candles = read_candles
        self._carried = carried
        self._leads = leads
        self._counts = counts
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._retry_seconds = retry_seconds
        self._gaps = self._no_gaps()
        # the instruments of each gap: as its events name them, else as its slot had them when it
        # was heard of
        self._instruments: dict[Gap, tuple[int, ...]] = {}
        # gap -> token -> the last minute that a leader before this one has written
        self._written: dict[Gap, dict[int, int]] = {}
        # set when all that stood in the topics at the beginning is known: before, a gap that was
        # mended long ago would look as if it waited
        self._ready = asyncio.Event()
        # accounts whose app was refused historical data; not asked again in this process
        self._without_right: set[GapMender] = set()

    def status(self) -> BackfillStatus:
        """Describe what waits, and what became of the gaps so far."""
        return BackfillStatus(
            gaps_waiting=len(self._gaps),
            gaps_ended=self._counts.gaps,
            candles=self._counts.candles,
            rows_refused=self._counts.rows_refused,
            lacking={lack.value: self._counts.lacking[lack] for lack in Lack},
        )

    async def run(self) -> NoReturn:
        """Mend gaps, while this process leads, until the task is cancelled."""
        while True:
            if self._leads():
                try:
                    await self._lead()
                except Exception as error:  # noqa: BLE001 - whatever it was, ticks go on
                    _log.warning("backfill_interrupted", reason=reason_of(error))
                    await asyncio.sleep(self._retry_seconds)
            await asyncio.sleep(self._poll_seconds)

    def _no_gaps(self) -> Gaps:
        return Gaps(self._settings.max_gaps, market_hours.in_use())

    async def _lead(self) -> None:
        """Work from the beginning, until another process leads."""
        # nothing of an earlier leadership counts: another leader may have gone on since
        self._gaps = self._no_gaps()
        self._instruments, self._written = {}, {}
        self._ready.clear()
        read_all = asyncio.Event()
        works = [self._follow(read_all), self._prepare(read_all)]
        works += [self._work(slots, mender) for slots, mender in self._menders]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            while self._leads():
                ended, _ = await asyncio.wait(
                    tasks, timeout=self._poll_seconds, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in ended:
                    task.result()  # raises
        finally:
            await cancelled(*tasks)
            # /status shows no gaps as waiting that another process mends
            self._gaps = self._no_gaps()

    async def _follow(self, read_all: asyncio.Event) -> NoReturn:
        since_ms = look_back_ms(self._clock.time_us() // 1000, market_hours.in_use())
        while True:
            async for record in self._read_events(since_ms, read_all.set):
                if isinstance(record.value, dict):
                    self._gaps.read(record.value)
                if self._ready.is_set():
                    self._resolve()

    async def _prepare(self, read_all: asyncio.Event) -> NoReturn:
        """Let the work begin once all that was told before is known, and what was done for it."""
        await read_all.wait()
        slots = [slot for slots, _ in self._menders for slot in slots]
        while any(self._carried(slot) is None for slot in slots):  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(self._poll_seconds)
        waiting = set(self._gaps)
        if waiting:
            async for record in self._read_candles(min(gap.to_ms for gap in waiting)):
                self._note_written(waiting, record)
        self._ready.set()
        self._resolve()
        await asyncio.Event().wait()
        raise AssertionError  # it is only cancelled

    def _note_written(self, waiting: Collection[Gap], record: TailRecord) -> None:
        row = record.value
        if not isinstance(row, dict):
            return
        begins, ends = milliseconds(row.get("gap_from")), milliseconds(row.get("gap_to"))
        minute, token = milliseconds(row.get("event_time")), row.get("instrument_token")
        if begins is None or ends is None or minute is None or token is None:
            return  # another program's
        minute //= MINUTE_MS
        for gap in waiting:
            # a leader before may have mended a part of it by itself
            if gap.slot == row.get("slot") and gap.from_ms <= begins and ends <= gap.to_ms:
                known = self._written.setdefault(gap, {})
                known[token] = max(minute, known.get(token, 0))

    def _resolve(self) -> None:
        """Give each new gap its instruments; leave out what is too much."""
        menders = {slot: mender for slots, mender in self._menders for slot in slots}
        for gap, concerned in self._gaps.drain_refused().items():
            if (mender := menders.get(gap.slot)) is not None:
                reason = f"{self._settings.max_gaps} gaps wait already: backfill.max_gaps"
                tokens = concerned.resolved(self._carried(gap.slot) or ())
                mender.leave_out(gap, tokens, reason)
        for gap in self._gaps:
            if (mender := menders.get(gap.slot)) is None:
                self._gaps.end(gap)  # of an account that is no more
            elif gap not in self._instruments:
                carried = self._carried(gap.slot) or ()
                self._instruments[gap] = self._gaps.concerned(gap).resolved(carried)
                if mender in self._without_right:
                    self._pass_over(gap)
        waiting = set(self._gaps)
        for known in (self._instruments, self._written):
            for gap in [gap for gap in known if gap not in waiting]:
                del known[gap]

    def _pass_over(self, gap: Gap) -> None:
        """Leave a gap to a process that has the right; this one has told that it has not."""
        self._counts.lacking[Lack.NO_RIGHT] += len(self._instruments[gap])
        self._gaps.end(gap)

    async def _work(self, slots: Collection[int], mender: GapMender) -> NoReturn:
        await self._ready.wait()
        while True:
            gap = next((gap for gap in self._gaps if gap.slot in slots and self._is_due(gap)), None)
            if gap is None:
                await asyncio.sleep(self._poll_seconds)
                continue
            # from here on its minutes are fixed, and what is told of it becomes a gap of its own
            self._gaps.begin(gap)
            if not await self._mend(mender, gap):
                self._without_right.add(mender)
                for other in self._gaps:
                    if other.slot in slots and other != gap:
                        self._pass_over(other)
            self._gaps.end(gap)

    async def _mend(self, mender: GapMender, gap: Gap) -> bool:
        """Mend a gap; False where the account has no right to candles.

        One that nobody thought of is left out and told: begun anew, it would fail again, and no
        other gap would get its turn.
        """
        tokens = self._instruments[gap]
        try:
            return await mender.mend(gap, tokens, self._written.get(gap, {}))
        except ConnectorError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the other gaps are mended
            _log.exception("gap_not_mended", slot=gap.slot)
            mender.leave_out(gap, tokens, f"it could not be mended: {reason_of(error)}")
            return True

    def _is_due(self, gap: Gap) -> bool:
        ended_ms = (gap.last_minute + 1) * MINUTE_MS
        return self._clock.time_us() // 1000 >= ended_ms + self._settings.settle_seconds * 1000
