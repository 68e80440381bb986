"""The day's instruments for programs: loaded and kept, found by name, token and underlying."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from connector.errors import (
    ConnectorError,
    InstrumentFormatError,
    InstrumentNotFoundError,
)
from connector.kite.clock import IST
from connector.kite.feed.log import edge_log
from connector.kite.web.instrument_cache import InstrumentCache
from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.nearest import nearest
from connector.kite.wire.names import name_ticks
from connector.kite.wire.tokens import checked_tokens, listed

ROOT: Final = "https://api.kite.trade"
MADE_AT: Final = timedelta(hours=8, minutes=30)
"""When Kite makes the day's list, IST."""
_OPTION_EXCHANGES = ("NFO", "BFO", "MCX", "CDS", "BCD", "NCO")


class OptionStrike(NamedTuple):
    """The two options of one strike.

    Attributes:
        strike: its price, rupees.
        call: the CE; None where none is listed.
        put: the PE; None where none is listed.
    """

    strike: float
    call: Instrument | None
    put: Instrument | None


class OptionChain(NamedTuple):
    """The options of one underlying that expire on one day.

    Attributes:
        underlying: as the list names it: NIFTY, INFY …
        exchange: of the options: NFO, BFO, MCX …
        expiry: their last day.
        strikes: the lowest first.
    """

    underlying: str
    exchange: str
    expiry: date
    strikes: tuple[OptionStrike, ...]

    def tokens(self) -> list[int]:
        """The tokens of all its options, for `subscribe_symbols`."""
        return [
            option.instrument_token
            for strike in self.strikes
            for option in (strike.call, strike.put)
            if option is not None
        ]


class InstrumentList(InstrumentMaster):
    """One day's instruments: found by token, by name, and by underlying and expiry.

        instruments = await InstrumentList.load()
        infy = instruments["NSE:INFY"]
        chain = instruments.option_chain("NIFTY", around=25_000, strikes=5)

    Given to a ticker or manager, names may stand wherever tokens may. Rows come by iteration.

    Args:
        instruments: the rows; of two with one token, the first one names it.
        skipped: rows that could not be read.
        broken: of these, lines with an open quote.
        defaulted: cells that could not be read.

    Attributes:
        fetched_ms: when Kite gave it, UTC milliseconds since 1970; None where it did not come by
            `load`.
    """

    fetched_ms: int | None = None

    @classmethod
    async def load(
        cls,
        *,
        cache_file: str | Path | None = None,
        max_age_seconds: float | None = None,
        root: str = ROOT,
    ) -> Self:
        """Today's list: from the file where it was kept, else from Kite, which asks for no login.

        Where Kite gives none, an older one that was kept is taken, with a line in the log.

        Args:
            cache_file: where it is kept, some 2 MiB; None: a file of the user's cache directory, or
                nowhere for a user without a home and for the list of another API than Kite's.
            max_age_seconds: a kept list may be so old; None: it is good until the next 08:30 IST,
                when Kite makes a new one.
            root: of another REST API, such as the simulator's.

        Raises:
            FeedUnreachableError, RestError: Kite gives none, and none was kept.
            InstrumentFormatError: what it gives is no list, and none was kept.
        """
        # here: whoever has no list to load need not import an HTTP client
        from connector.kite.web.rest import KiteRest

        path = Path(cache_file) if cache_file else _cache_file() if root == ROOT else None
        cache = None if path is None else InstrumentCache(path, root)
        kept = None if cache is None else cache.load()
        now_ms = time.time_ns() // 1_000_000
        if kept is not None and is_fresh(kept.fetched_ms, now_ms, max_age_seconds):
            try:
                return cls._of(kept.csv, kept.fetched_ms)
            except InstrumentFormatError:
                kept = None  # nor is it to be fallen back on
        try:
            async with KiteRest(root) as rest:
                dump = await rest.instruments()
            if dump is None:
                raise InstrumentFormatError("no list came")
            loaded = cls._of(dump.csv, now_ms)
        except ConnectorError as error:
            if kept is None:
                raise
            edge_log().warning("older_instrument_list_used", reason=str(error))
            return cls._of(kept.csv, kept.fetched_ms)
        try:
            if cache is not None:
                cache.save(dump.csv, fetched_ms=now_ms, etag=dump.etag)
        except OSError as error:  # a read-only home: it is loaded again the next time
            edge_log().warning("instrument_list_not_kept", reason=str(error))
        return loaded

    @classmethod
    def _of(cls, csv_text: str, fetched_ms: int) -> Self:
        made = cls.from_csv(csv_text)
        made.fetched_ms = fetched_ms
        return made

    def __getitem__(self, name: int | str) -> Instrument:
        """The instrument of a token or of EXCHANGE:TRADINGSYMBOL.

        Raises:
            InstrumentNotFoundError: there is none today; tells the nearest names.
        """
        if isinstance(name, str):
            return self.find(name)
        instrument = self.get(name)
        if instrument is None:
            raise InstrumentNotFoundError(str(name), reason="no instrument has this token today")
        return instrument

    def __contains__(self, name: object) -> bool:
        return self.token(name) is not None if isinstance(name, str) else name in self._by_token

    def find(self, symbol: str) -> Instrument:
        """The instrument of EXCHANGE:TRADINGSYMBOL.

        Raises:
            InstrumentNotFoundError: there is none today, or more than one; tells the nearest names.
        """
        return self._by_token[self.tokens([symbol])[0]]

    def tokens(self, names: Iterable[int | str]) -> list[int]:
        """Today's tokens: of names, each once, and tokens as they are.

        Args:
            names: EXCHANGE:TRADINGSYMBOL or a token each; a token need not be listed.

        Raises:
            InstrumentNotFoundError: names that are not listed, or that several instruments have.
            TypeError, ValueError: something is neither.
        """
        found: list[Any] = []
        unknown: list[str] = []
        for name in listed(names):
            if isinstance(name, str) and not name.isdecimal():
                of_name = self.listed(name)
                found += of_name[:1]
                unknown += [] if len(of_name) == 1 else [name]
            else:
                found.append(name)
        if unknown:
            first = unknown[0]
            raise InstrumentNotFoundError(
                first, self.nearest(first), unknown[1:], self.listed(first)
            )
        return checked_tokens(found)

    def nearest(self, symbol: str, count: int = 3) -> tuple[str, ...]:
        """The names that may be meant by one that is not listed, the likeliest first.

        Args:
            symbol: EXCHANGE:TRADINGSYMBOL, or a part of it.
            count: how many at most.
        """
        return nearest(symbol, self._by_name, count)

    def contracts(
        self, underlying: str, *, exchange: str | None = None, expiry: date | None = None
    ) -> list[Instrument]:
        """The options and futures of an underlying, by expiry, strike and name.

        Args:
            underlying: as the list names it: NIFTY, INFY …
            exchange: theirs; None: the first of NFO, BFO, MCX, CDS, BCD and NCO that has any.
            expiry: of this day alone; None: of all.

        Raises:
            InstrumentNotFoundError: it has none there; tells the nearest underlyings.
        """
        by_exchange = self.all_contracts()
        places = [exchange] if exchange else [*_OPTION_EXCHANGES, *by_exchange]
        for place in places:
            found = by_exchange.get(place, {}).get(underlying.upper(), [])
            if found:
                return [one for one in found if expiry is None or one.expiry == expiry]
        known = {place: by_exchange[place] for place in places if place in by_exchange}
        raise InstrumentNotFoundError(underlying, nearest(underlying, known))

    def expiries(self, underlying: str, *, exchange: str | None = None) -> list[date]:
        """The days on which an underlying's options expire, the next one first.

        Args:
            underlying: as for `contracts`.
            exchange: as for `contracts`.

        Raises:
            InstrumentNotFoundError: it has no contracts there.
        """
        options = _options(self.contracts(underlying, exchange=exchange))
        return sorted({one.expiry for one in options if one.expiry is not None})

    def option_chain(
        self,
        underlying: str,
        *,
        around: float | None = None,
        strikes: int | None = None,
        expiry: date | None = None,
        exchange: str | None = None,
    ) -> OptionChain:
        """The options of an underlying that expire on one day, strike by strike.

        Args:
            underlying: as for `contracts`.
            around: a price in rupees, the underlying's as a rule; None: all strikes.
            strikes: how many below and above the strike that is nearest to `around`; None: all.
            expiry: None: the next one.
            exchange: as for `contracts`.

        Raises:
            InstrumentNotFoundError: it has no options, or none that expire then.
            ValueError: `around` is no price, as NaN.
        """
        if around is not None and not math.isfinite(around):
            raise ValueError(f"a price to choose strikes around is a number, not {around!r}")
        options = _options(self.contracts(underlying, exchange=exchange))
        days = sorted({one.expiry for one in options if one.expiry is not None})
        day = expiry or (days[0] if days else None)
        if day is None or day not in days:
            told = ", ".join(map(str, days[:6])) or "none"
            raise InstrumentNotFoundError(f"{underlying} options of {day}", (f"expiries {told}",))
        rows = [
            OptionStrike(strike, *_pair(one for one in of_strike))
            for strike, of_strike in groupby(
                (one for one in options if one.expiry == day), key=lambda one: one.strike
            )
        ]
        if around is not None and strikes is not None:
            middle = min(range(len(rows)), key=lambda at: abs(rows[at].strike - around))
            rows = rows[max(middle - strikes, 0) : middle + strikes + 1]
        return OptionChain(underlying.upper(), options[0].exchange, day, tuple(rows))

    def name_ticks(self) -> None:
        """Let `Tick.tradingsymbol` of all ticks of this process take names from this list.

        A ticker or manager that is given the list does so by itself; the last one counts.
        """
        by_token = self._by_token
        name_ticks(lambda token: one.tradingsymbol if (one := by_token.get(token)) else None)


def is_fresh(fetched_ms: int, now_ms: int, max_age_seconds: float | None) -> bool:
    """Whether a list is the day's: fetched since 08:30 IST, or within another age."""
    # of a clock that was ahead: nobody knows how old it is
    if fetched_ms > now_ms:
        return False
    if max_age_seconds is not None:
        return now_ms - fetched_ms <= max_age_seconds * 1000
    now = datetime.fromtimestamp(now_ms / 1000, IST)
    made = datetime.combine(now.date(), datetime.min.time(), IST) + MADE_AT
    if made > now:
        # before 08:30 the day's list is that of the day before
        made -= timedelta(days=1)
    return fetched_ms >= made.timestamp() * 1000


def _options(contracts: Iterable[Instrument]) -> list[Instrument]:
    return [one for one in contracts if one.instrument_type != "FUT"]


def _pair(options: Iterable[Instrument]) -> tuple[Instrument | None, Instrument | None]:
    by_kind = {one.instrument_type: one for one in options}
    return by_kind.get("CE"), by_kind.get("PE")


def _cache_file() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as containers have
        return None
    return folder / "kite-connector" / "instruments.gz"
