"""Keeps today's instrument master: at the start, and anew each morning when Kite has made it.

The feed announces a list, by its etag, whenever a connection opens. One that is neither the loaded
one nor known from an earlier announcement is a reason to ask for it before the time.

What the REST API cannot give is taken from the cache file, where there is one; else it is asked
for again and again, and the service goes on with tokens and without symbols meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NoReturn

import structlog

from connector.errors import ConnectorError, InstrumentFormatError
from connector.kite.clock import IST
from connector.kite.feed.credentials import Credentials
from connector.kite.web.instruments import InstrumentCache, InstrumentMaster
from connector.kite.web.rest import InstrumentDump, KiteRest
from connector.settings.models import InstrumentMasterSettings

_log = structlog.get_logger("connector.service.instrument_list")

RETRY_MIN_SECONDS = 5.0
RETRY_MAX_SECONDS = 300.0
ANNOUNCED_SECONDS = 300.0
"""After a try so long nothing is loaded for an announcement."""
_DAY_MS = 24 * 3_600_000


class InstrumentListLoader:
    """Loads the list, hands it on, and does so again each day.

    Args:
        settings: when, and where it is cached.
        rest_root: of Kite's REST API.
        credentials: of any account: the list is the same for all.
        on_master: called with each list, from the event loop.
        now_ms: the clock, UTC milliseconds.
        sleep: waits; tests have their own.
    """

    def __init__(
        self,
        settings: InstrumentMasterSettings,
        rest_root: str,
        credentials: Credentials,
        on_master: Callable[[InstrumentMaster], None],
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.loaded: int | None = None
        """Instruments in the list; None while there is none."""
        self.error: str | None = None
        """Why the last try failed; None when it did not."""
        self.tried = asyncio.Event()
        """Set once the first try has ended, well or not."""
        self._settings = settings
        self._rest_root = rest_root
        self._credentials = credentials
        self._on_master = on_master
        self._now_ms = now_ms
        self._sleep = sleep
        self._etag: str | None = None
        self._announced: str | None = None
        self._looked_for: str | None = None  # the last announcement that a load was made for
        self._announcement = asyncio.Event()
        self._tried_ms = 0
        self._loading = asyncio.Lock()
        self._cache = InstrumentCache(settings.cache_file) if settings.cache_file else None

    async def run(self) -> NoReturn:
        """Keep the list until cancelled."""
        delay = RETRY_MIN_SECONDS
        fresh = await self._from_cache()
        while True:
            if not fresh:
                try:
                    await self._fetch()
                except (ConnectorError, OSError) as exc:
                    if self.error is None:
                        _log.warning("no instrument master", reason=str(exc), loaded=self.loaded)
                    self.error = str(exc)
                    self.tried.set()
                    await self._sleep(delay)
                    delay = min(delay * 2, RETRY_MAX_SECONDS)
                    continue
            self.tried.set()
            self.error = None
            delay = RETRY_MIN_SECONDS
            fresh = False
            await self._until_due()

    async def refresh(self, *, accept: bool = False) -> None:
        """Load the list now, whatever the time; `accept` asks for it even where it is the same.

        Raises:
            ConnectorError: the REST API does not give it.
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
            self._announcement.set()

    def _another_is_announced(self) -> bool:
        return self._announced not in (None, self._etag, self._looked_for)

    async def _until_due(self) -> None:
        """Sleep until the next morning, or until the feed has announced another list."""
        now_ms = self._now_ms()
        morning_ms = last_refresh_ms(now_ms, self._settings.refresh_at) + _DAY_MS
        while True:
            due_ms = morning_ms
            if self._another_is_announced():
                due_ms = min(due_ms, self._tried_ms + round(ANNOUNCED_SECONDS * 1000))
            seconds = (due_ms - self._now_ms()) / 1000
            if seconds <= 0:
                return
            self._announcement.clear()
            await self._sleep_or_announcement(seconds)

    async def _sleep_or_announcement(self, seconds: float) -> None:
        waits = [
            asyncio.ensure_future(self._sleep(seconds)),
            asyncio.ensure_future(self._announcement.wait()),
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            for wait in waits:
                wait.cancel()

    async def _from_cache(self) -> bool:
        """Use the cached list; True where Kite has not made another since."""
        cached = await asyncio.to_thread(self._cache.load) if self._cache else None
        if cached is None:
            return False
        try:
            await self._hand_on(cached.csv, "cache")
        except InstrumentFormatError as exc:
            _log.warning("the cached instrument master is of no use", reason=str(exc))
            return False
        self._etag = cached.etag
        self.tried.set()
        return cached.fetched_ms >= last_refresh_ms(self._now_ms(), self._settings.refresh_at)

    async def _fetch(self, *, accept: bool = False) -> None:
        async with self._loading:  # a command and the morning may come together
            announced, self._tried_ms = self._announced, self._now_ms()
            async with KiteRest(
                self._rest_root,
                api_key=self._credentials.api_key,
                access_token=self._credentials.access_token(),
            ) as rest:
                dump = await rest.instruments(etag=None if accept else self._etag)
            if dump is not None:  # else it is still the list of the etag
                await self._take(dump)
            self._looked_for = announced

    async def _take(self, dump: InstrumentDump) -> None:
        await self._hand_on(dump.csv, "Kite")
        self._etag = dump.etag
        if self._cache is not None:
            try:
                await asyncio.to_thread(
                    self._cache.save, dump.csv, fetched_ms=self._now_ms(), etag=dump.etag
                )
            except OSError as exc:
                _log.warning("cannot cache the instrument master", reason=str(exc))

    async def _hand_on(self, csv: str, origin: str) -> None:
        # in a thread: 117 000 rows take a second, and ticks must not wait for it
        master = await asyncio.to_thread(InstrumentMaster.from_csv, csv)
        self.loaded = len(master)
        _log.info("instrument master", origin=origin, instruments=len(master))
        if master.skipped:
            _log.warning("rows of the instrument master are not readable", count=master.skipped)
        self._on_master(master)


def last_refresh_ms(now_ms: int, refresh_at: str) -> int:
    """The latest moment, not after now, at which a new list was to be had; `refresh_at` is IST."""
    now = datetime.fromtimestamp(now_ms / 1000, IST)
    hour, minute = map(int, refresh_at.split(":"))
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if due > now:
        due -= timedelta(days=1)
    return round(due.timestamp() * 1000)
