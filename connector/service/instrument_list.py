"""Keeps today's instrument list: at the start, and anew each morning when Kite has made it.

The feed announces a list, by its etag, whenever a connection opens. One that is neither the loaded
one nor known from an earlier announcement is a reason to ask for it before the time.

A list counts once it is compared with the last good one: the one in use, else that of the cache
file, else what `kite.instruments` holds. One that lacks too much is held back, as is one that
cannot be read: what there is stays in use, the service says so, and Kite is asked again with
growing pauses. So it goes while the REST API gives nothing, too; without any list the service goes
on with tokens and without symbols.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import NoReturn

import structlog

from connector.errors import (
    BrokerUnreachableError,
    ConnectorError,
    InstrumentFormatError,
    InstrumentListHeldBackError,
)
from connector.kafka.retry import retry_forever
from connector.kite.clock import IST, SYSTEM_CLOCK, Clock
from connector.kite.web.instrument_cache import InstrumentCache
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import (
    MIN_LOST_CLAIMS,
    Judged,
    SubscribedInstrument,
    is_listed,
    judge,
)
from connector.kite.web.rest import REST_ROOT, InstrumentDump, KiteRest
from connector.service.status import InstrumentListStatus
from connector.settings.models import InstrumentMasterSettings

_log = structlog.get_logger("connector.service.instrument_list")

RETRY_MIN_SECONDS = 5.0
RETRY_MAX_SECONDS = 300.0
ANNOUNCED_SECONDS = 300.0
OLD_SECONDS = 1800.0
"""So often a list is asked for again that seems to be one of a day before."""
CLOCK_SECONDS = 240.0
"""So often the clock is asked whether it is morning: it may be set, and a machine may sleep."""
SHOWN_ROWS = 10
"""So many damaged rows are named in the log and in `kite.events`."""
_DAY_MS = 24 * 3_600_000


class InstrumentListLoader:
    """Loads the list, hands it on, and does so again each day.

    Args:
        settings: when, and where it is cached.
        open_rest: makes a client of Kite's REST API, to be entered for one request.
        on_master: called with each good list, from the event loop.
        root: URL of that API; a list that was cached from another one is not used.
        claims: what is subscribed, as far as this process knows; the same object while nothing
            changes.
        published: the list that `kite.instruments` holds, None where it holds none: what a new one
            is compared with when there is neither one in use nor one in the cache.
        on_held_back: called with the reason when a list is held back, with another one when that
            changes, and with None when a good list has come.
        on_rows_kept: told which rows of a list are damaged, and as the last good list had them.
        announced_seconds: after a try, so long nothing is loaded for an announcement.
        clock: says when it is morning.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        settings: InstrumentMasterSettings,
        open_rest: Callable[[], KiteRest],
        on_master: Callable[[InstrumentMaster], None],
        *,
        root: str,
        claims: Callable[[], Sequence[SubscribedInstrument]] = lambda: (),
        published: Callable[[], Awaitable[InstrumentMaster | None]] | None = None,
        on_held_back: Callable[[str | None], None] | None = None,
        on_rows_kept: Callable[[str], None] | None = None,
        announced_seconds: float = ANNOUNCED_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.error: str | None = None
        """Why the last try failed; None when it did not."""
        self.held_back: str | None = None
        """Why the last list that Kite gave is not used; None when it is."""
        self.tried = asyncio.Event()
        """Set once the first try has ended, well or not."""
        self._settings = settings
        self._open_rest = open_rest
        self._on_master = on_master
        self._claims = claims
        self._published = published
        self._on_held_back = on_held_back
        self._on_rows_kept = on_rows_kept
        self._announced_seconds = announced_seconds
        self._clock = clock
        self._sleep = sleep
        self._master: InstrumentMaster | None = None  # in use
        # where the list in use is from: cache, kite.instruments, Kite
        self._origin = ""
        self._good_ms: int | None = None  # when Kite last confirmed the one in use
        # (claims, list, count) of the last look: 9000 names are looked up only where either is
        # another
        self._missing: tuple[object, object, int] = (None, None, 0)
        # contracts of the list in use that had ended before its day
        self._ended = 0
        self._rows_kept: set[int] = set()  # the tokens of the last list's damaged rows
        # of the list in use; one that is held back leaves it, so that it is asked for again
        self._etag: str | None = None
        # what the feed said last, in its undocumented `instruments_meta`
        self._announced: str | None = None
        self._looked_for: str | None = None  # the last announcement that a load was made for
        # another list may be there: it was announced, or the one of a command is held back
        self._another = asyncio.Event()
        # when the last load began, UTC milliseconds
        self._tried_ms = 0
        # one load at a time, whoever asks
        self._loading = asyncio.Lock()
        self._kites = root == REST_ROOT  # and not a simulator's, whose market may be of any size
        self._cache = InstrumentCache(settings.cache_file, root) if settings.cache_file else None

    @property
    def loaded(self) -> int | None:
        """How many instruments the list in use has; None while there is none."""
        return None if self._master is None else len(self._master)

    def status(self) -> InstrumentListStatus:
        """Describe the list in use, and why nothing newer is."""
        master = self._master
        return InstrumentListStatus(
            instruments=self.loaded or 0,
            origin=self._origin or None,
            confirmed_ms=self._good_ms,
            held_back=self.held_back,
            error=self.error,
            unreadable_rows=master.skipped if master else 0,
            defaulted_cells=master.defaulted if master else 0,
            repeated_tokens=master.repeated if master else 0,
            ambiguous_names=master.ambiguous if master else 0,
            rows_kept=master.kept if master else 0,
            missing=self._count_missing(),
        )

    def _count_missing(self) -> int:
        """Count the claims that the list in use does not have, when either has changed."""
        claims, master = self._claims(), self._master
        known_claims, known_master, count = self._missing
        if known_claims is not claims or known_master is not master:
            count = (
                0
                if master is None
                else sum(
                    claim.symbol is not None and not is_listed(master, claim) for claim in claims
                )
            )
            self._missing = claims, master, count
        return count

    async def run(self) -> NoReturn:
        """Keep the list until cancelled."""
        fresh = await self._from_cache()
        while True:
            if not fresh:
                await retry_forever(
                    self._fetch,
                    self._not_loaded,
                    min_seconds=RETRY_MIN_SECONDS,
                    max_seconds=RETRY_MAX_SECONDS,
                    whatever=True,  # a list that is wrong now may be right in a minute
                    sleep=self._sleep,
                    random=lambda: 1.0,
                )
            self.tried.set()
            self.error = None
            fresh = False
            await self._until_due()

    async def _not_loaded(self, reason: str) -> None:
        if self.error is None:
            _log.warning("instrument_list_not_loaded", reason=reason, loaded=self.loaded)
        self.error = reason
        with contextlib.suppress(BrokerUnreachableError):
            await self._use_published()
        self.tried.set()

    async def refresh(self, *, accept: bool = False) -> None:
        """Load the list now, whatever the time.

        Args:
            accept: use it even where it would be held back.

        Raises:
            InstrumentListHeldBackError: it lacks too much to be used.
            ConnectorError: the REST API does not give it, or what it gives cannot be read.
        """
        await self._fetch(accept=accept)
        self.error = None
        self.tried.set()

    def announced(self, etag: str) -> None:
        """The feed says that this is the list of now; call it from the event loop.

        Nobody documents that it is the etag of the REST API, so each one is looked for once.
        """
        self._announced = etag
        if self._another_is_announced():
            self._another.set()

    def _another_is_announced(self) -> bool:
        return self._announced not in (None, self._etag, self._looked_for)

    async def _until_due(self) -> None:
        """Sleep until the next morning, or until the feed has announced another list.

        Also until a command has had a list that is held back: Kite is asked again then, too.
        """
        refresh_at = self._settings.refresh_at
        last_ms = last_refresh_ms(self._now_ms(), refresh_at)
        await self._look_whether_old(last_ms)
        while True:
            now_ms = self._now_ms()
            if last_refresh_ms(now_ms, refresh_at) != last_ms:
                return  # another morning, or the clock was set to another day's
            due_ms = last_ms + _DAY_MS
            tried_ms = min(self._tried_ms, now_ms)  # not in a time to come
            if self._another_is_announced():
                due_ms = min(due_ms, tried_ms + round(self._announced_seconds * 1000))
            if self._ended:
                due_ms = min(due_ms, tried_ms + round(OLD_SECONDS * 1000))
            if self.held_back is not None:
                due_ms = min(due_ms, tried_ms + round(RETRY_MIN_SECONDS * 1000))
            if due_ms <= now_ms:
                return
            self._another.clear()
            await self._sleep_or_another(min((due_ms - now_ms) / 1000, CLOCK_SECONDS))

    async def _look_whether_old(self, due_ms: int) -> None:
        """Count the contracts that had ended before the day of the list: it is none of that day.

        Something on the way may serve the list of yesterday, under whatever etag.
        """
        day = datetime.fromtimestamp(due_ms / 1000, IST).date()
        before, master = self._ended, self._master or ()
        # in a thread, as all that goes through 117 000 rows
        self._ended = await asyncio.to_thread(
            lambda: sum(one.expiry is not None and one.expiry < day for one in master)
        )
        if self._ended and not before:
            _log.warning("instrument_list_of_another_day", day=str(day), ended=self._ended)

    async def _sleep_or_another(self, seconds: float) -> None:
        waits = [
            asyncio.ensure_future(self._sleep(seconds)),
            asyncio.ensure_future(self._another.wait()),
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            for wait in waits:
                wait.cancel()

    def _now_ms(self) -> int:
        return self._clock.time_us() // 1000

    async def _from_cache(self) -> bool:
        """Use the cached list; True where Kite has not made another since."""
        cached = await asyncio.to_thread(self._cache.load) if self._cache else None
        if cached is None:
            return False
        try:
            # in a thread: 117 000 rows take a second, and ticks must not wait for it
            master = await asyncio.to_thread(InstrumentMaster.from_csv, cached.csv)
        except InstrumentFormatError as exc:
            _log.warning("instrument_list_cache_unusable", reason=str(exc))
            return False
        self._etag = cached.etag
        self._good_ms = cached.fetched_ms
        self._use(master, "cache")
        self.tried.set()
        now_ms = self._now_ms()
        # one from a time to come was written by another clock
        return last_refresh_ms(now_ms, self._settings.refresh_at) <= cached.fetched_ms <= now_ms

    async def _use_published(self) -> None:
        """Use what `kite.instruments` holds, where there is nothing else yet.

        Raises:
            BrokerUnreachableError: nobody can tell what it holds, for now.
        """
        if self._master is not None or self._published is None:
            return
        try:
            master = await self._published()
        except ConnectorError as exc:
            _log.warning("instruments_topic_unreadable", reason=str(exc))
            if isinstance(exc, BrokerUnreachableError):
                raise
            return
        if master is not None:
            self._use(master, "kite.instruments")

    async def compare_with_claims(self) -> None:
        """Hold the list in use back where it lacks too much of what is subscribed.

        Only a leader knows what is. While another replica led, this one may have accepted a list
        which that one held back; what `kite.instruments` holds, by leaders alone, is used then.

        Raises:
            ConnectorError: nobody can tell what that is, for now.
        """
        async with self._loading:
            master = self._master
            # most often nothing is missing, and 15 MB need not be read
            if master is None or self._count_missing() < MIN_LOST_CLAIMS or not self._published:
                return
            last = await self._published()
            if last is None or not (judged := await self._judge(master, last)).doubts:
                return
            # of the list that Kite confirms by its etag nothing is in use any more
            self._etag = self._good_ms = None
            self._use(last, "kite.instruments")
            self._hold_back(str(InstrumentListHeldBackError(judged.doubts)))

    async def _judge(self, new: InstrumentMaster, last: InstrumentMaster | None) -> Judged:
        today = datetime.fromtimestamp(self._now_ms() / 1000, IST).date()
        claims = self._claims()
        return await asyncio.to_thread(judge, new, last, claims, today, kites=self._kites)

    async def _fetch(self, *, accept: bool = False) -> None:
        async with self._loading:  # a command and the morning may come together
            # before the request: what is announced meanwhile is looked for once more
            announced, self._tried_ms = self._announced, self._now_ms()
            async with self._open_rest() as rest:
                # what an operator accepts is asked for whole, whatever the etag
                dump = await rest.instruments(etag=None if accept else self._etag)
            if dump is not None:  # else it is still the list of the etag
                try:
                    await self._accept(dump, unseen=accept)
                except (InstrumentFormatError, InstrumentListHeldBackError) as exc:
                    self._hold_back(str(exc))
                    raise
            self._good_ms = self._now_ms()
            self._hold_back(None)
            self._looked_for = announced

    async def _accept(self, dump: InstrumentDump, *, unseen: bool) -> None:
        """Use a list that is good, or that an operator accepts unseen; keep it in the cache."""
        master = await asyncio.to_thread(InstrumentMaster.from_csv, dump.csv)
        if unseen:
            self._rows_kept = set()
        else:
            # something to compare with, where there is neither a list in use nor a cached one;
            # until the brokers answer the list waits: half a list would be taken for a whole one
            await self._use_published()
            judged = await self._judge(master, self._master)
            if judged.doubts:
                raise InstrumentListHeldBackError(judged.doubts)
            self._keep_rows(master, judged)
        self._use(master, "Kite")
        self._etag = dump.etag
        # with damaged rows it is nothing to compare the next list with: the one before stays
        if self._cache is not None and not master.kept:
            try:
                await asyncio.to_thread(
                    self._cache.save, dump.csv, fetched_ms=self._now_ms(), etag=dump.etag
                )
            except OSError as exc:
                _log.warning("instrument_list_not_cached", reason=str(exc))

    def _keep_rows(self, master: InstrumentMaster, judged: Judged) -> None:
        """Let damaged rows be as the last good list has them, and say which these are."""
        if judged.moved:
            shown = [
                f"{exchange}:{name} {day}" for exchange, name, day in judged.moved[:SHOWN_ROWS]
            ]
            _log.info("instrument_expiries_moved", count=len(judged.moved), first=shown)
        if judged.kept:
            rows = sorted(judged.kept.values(), key=lambda row: row.symbol)
            shown = [f"{row.symbol} ({row.expiry or 'no day'})" for row in rows[:SHOWN_ROWS]]
            _log.error("instrument_rows_kept", count=len(rows), first=shown)
            master.keep(judged.kept)
            if self._on_rows_kept is not None and self._rows_kept != judged.kept.keys():
                self._on_rows_kept(f"damaged rows: {len(rows)}, the first {', '.join(shown)}")
        self._rows_kept = set(judged.kept)

    def _use(self, master: InstrumentMaster, origin: str) -> None:
        self._master, self._origin = master, origin
        log = _log.warning if master.skipped or master.ambiguous or master.repeated else _log.info
        log(
            "instrument_list_loaded",
            origin=origin,
            instruments=len(master),
            unreadable_rows=master.skipped,
            defaulted_cells=master.defaulted,
            repeated_tokens=master.repeated,
            ambiguous_names=master.ambiguous,
        )
        self._on_master(master)

    def _hold_back(self, reason: str | None) -> None:
        """Note whether the last list is held back, and log that where it is new."""
        if reason == self.held_back:
            return
        self.held_back = reason
        if reason is None:
            _log.info("instrument_list_accepted")
        else:
            _log.error("instrument_list_held_back", reason=reason)
            self._another.set()
        if self._on_held_back is not None:
            self._on_held_back(reason)


def last_refresh_ms(now_ms: int, refresh_at: str) -> int:
    """Return the latest moment, not after now, at which a new list was due; `refresh_at` is IST."""
    now = datetime.fromtimestamp(now_ms / 1000, IST)
    hour, minute = map(int, refresh_at.split(":"))
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if due > now:
        due -= timedelta(days=1)
    return round(due.timestamp() * 1000)
