"""When each exchange trades, in India's time: ordinary hours, holidays and special sessions.

All dates and hours are in `trading_days.csv` with their sources; here is how they are read. Pure
but for `shipped` and `with_file`, which read files, and `use`: the time is an argument. No package
on PyPI has these days right (on 2026-11-28 two lack the weekend sessions, one has 2026-02-01
closed, and none has the evenings of MCX).
"""

from __future__ import annotations

import csv
import functools
import itertools
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from connector.files import read_bounded
from connector.kite.clock import IST
from connector.kite.wire.models import Exchange

FIRST_TRADES_MINUTES: Final = 1
"""So many minutes after an opening the first trades of everything have come."""

MAX_FILE_BYTES: Final = 1 << 20
"""A file with days of one's own may have so many bytes."""
_SATURDAY: Final = 5
_ALIKE: Final = {
    "NSE": (Exchange.NSE, Exchange.BSE, Exchange.INDICES),
    "NFO": (Exchange.NFO, Exchange.BFO),
    "CDS": (Exchange.CDS, Exchange.BCD),
    "MCX": (Exchange.MCX, Exchange.MCXSX, Exchange.NCO),
}
"""Exchanges that trade alike, by the name that stands for them in a file."""
_FIELDS: Final = 6
_REMEMBERED: Final = 64
"""Days of exchanges that were looked up last: those of today, as a rule."""
_KINDS: Final = ("from", "planned", "day", "known")


class Hours(NamedTuple):
    """One session of an exchange."""

    opens: time
    steady_until: time
    """The end of continuous trading of everything: silence after it proves nothing."""
    closes: time


class Day(NamedTuple):
    """The sessions of one exchange on one day, and what is known of it."""

    sessions: tuple[Hours, ...]
    """The sessions in order; empty where the exchange is closed."""
    reason: str
    """Why it is not an ordinary day, or what is to be said of the ordinary hours."""
    source: str
    listed: bool
    """Whether exceptions of this exchange are listed for that time at all."""


class _Entry(NamedTuple):
    begins: date
    sessions: str
    reason: str
    source: str
    line: int | None
    """Its number in the lines that are read; None where it is of those below them."""


_UNKNOWN: Final = Day((), "before the first hours that are known", "", listed=False)


class MarketHours:
    """The hours of all exchanges, by the lines of a file in the form of the shipped one.

    Args:
        lines: of the file; a later one wins.
        over: other hours, where the lines say nothing.

    Raises:
        ValueError: a line cannot be read, or says what cannot be; it names the line's number.
    """

    def __init__(self, lines: Iterable[str], over: MarketHours | None = None) -> None:
        # by exchange: the ordinary hours since a day, oldest first once all lines are read
        self._ordinary: dict[Exchange, list[_Entry]] = {exchange: [] for exchange in Exchange}
        # days that are none: holidays, special sessions
        self._days: dict[tuple[Exchange, date], _Entry] = {}
        # spans of days whose exceptions are listed: outside nobody knows of a holiday
        self._known: dict[Exchange, list[tuple[date, date]]] = {one: [] for one in Exchange}
        self._today = functools.lru_cache(_REMEMBERED)(self.day)  # asked for each second
        if over is not None:
            self._take(over)  # before the lines, which win
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                try:
                    self._add(next(csv.reader([line])), number)
                except (ValueError, csv.Error, StopIteration) as exc:
                    raise ValueError(f"line {number}: {exc}") from None
        for entries in self._ordinary.values():
            entries.sort(key=lambda entry: entry.begins)
        self._check_days()

    def _take(self, over: MarketHours) -> None:
        """Begin with what others say."""
        for exchange, entries in over._ordinary.items():
            self._ordinary[exchange] += [entry._replace(line=None) for entry in entries]
        self._days |= {key: entry._replace(line=None) for key, entry in over._days.items()}
        for exchange, known in over._known.items():
            self._known[exchange] += known

    def _check_days(self) -> None:
        """Look at each day as it will be: what cannot be is found here, not on that day."""
        for (exchange, day), entry in self._days.items():
            try:
                self.day(exchange, day)
            except (ValueError, LookupError) as exc:
                own = entry.line is not None
                place = f"line {entry.line}:" if own else f"{exchange.name} on {day}"
                raise ValueError(f"{place} {exc}") from None

    def _add(self, fields: Sequence[str], line: int) -> None:
        if len(fields) != _FIELDS:
            raise ValueError(f"has {len(fields)} fields, not {_FIELDS}: kind, date, exchanges, "
                             "sessions, why, source")  # fmt: skip
        kind, day, names, sessions, reason, source = (field.strip() for field in fields)
        if kind not in _KINDS:
            raise ValueError(f"begins with {kind!r}, not with one of {', '.join(_KINDS)}")
        begins = _date(day)
        exchanges = [exchange for name in names.split() for exchange in _exchanges(name)]
        if not exchanges:
            raise ValueError("names no exchange")
        if kind == "known":
            for exchange in exchanges:
                self._known[exchange].append((begins, _date(sessions)))
            return
        entry = _Entry(begins, sessions, reason, source, line)
        if kind != "day":  # of a day it is looked at with its ordinary hours, see `_check_days`
            _sessions(sessions, begins, None)
        for exchange in exchanges:
            if kind == "from":
                self._ordinary[exchange].append(entry)
            elif kind == "day":
                self._days[exchange, begins] = entry

    def ordinary(self, exchange: Exchange, day: date) -> Hours:
        """The hours of an ordinary day at that time.

        Raises:
            LookupError: there are none, or none are known.
        """
        entry = self._in_force(exchange, day)
        if entry is None or not (sessions := _sessions(entry.sessions, day, None)):
            raise LookupError(f"has no ordinary hours of {exchange.name}, for which * stands")
        return sessions[0]

    def day(self, exchange: Exchange, day: date) -> Day:
        """The sessions of an exchange on a day: none where no hours of that time are known."""
        listed = any(first <= day <= last for first, last in self._known[exchange])
        entry = self._days.get((exchange, day))
        if entry is not None:
            ordinary = self.ordinary(exchange, day) if "*" in entry.sessions else None
            sessions = _sessions(entry.sessions, day, ordinary)
            return Day(sessions, entry.reason, entry.source, listed)
        entry = self._in_force(exchange, day)
        if entry is None:
            return _UNKNOWN
        if day.weekday() >= _SATURDAY:  # sessions on weekends are days of the file
            return Day((), "weekend", "", listed)
        return Day(_sessions(entry.sessions, day, None), entry.reason, entry.source, listed)

    def market_open(self, exchange: Exchange, at: datetime) -> bool:
        """Whether an exchange trades at a time (aware)."""
        # no session goes over midnight: the last to end is MCX, at 23:55
        local = at.astimezone(IST)
        sessions = self._today(exchange, local.date()).sessions
        return any(one.opens <= local.time() < one.closes for one in sessions)

    def ticks_expected(self, exchange: Exchange, at: datetime) -> bool:
        """Whether silence of all of an exchange's instruments is strange at a time (aware)."""
        local = at.astimezone(IST)
        for opens, steady_until, _ in self._today(exchange, local.date()).sessions:
            first_trades = datetime.combine(local.date(), opens) + timedelta(
                minutes=FIRST_TRADES_MINUTES
            )
            if first_trades.time() <= local.time() < steady_until:
                return True
        return False

    @property
    def listed_until(self) -> date:
        """The last day for which the exceptions of every exchange are listed that has any."""
        ends = [max(last for _, last in known) for known in self._known.values() if known]
        return min(ends, default=date.min)

    def _in_force(self, exchange: Exchange, day: date) -> _Entry | None:
        for entry in reversed(self._ordinary[exchange]):  # the latest that has begun
            if entry.begins <= day:
                return entry
        return None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"has {text!r} for a date, which is not like 2026-01-26") from None


def _exchanges(name: str) -> Sequence[Exchange]:
    """Of a name in a file: the exchanges that it stands for.

    A file names an exchange alone by putting "=" before it: "=BSE" is BSE without NSE.
    """
    if name.startswith("=") and name[1:] in Exchange.__members__:
        return (Exchange[name[1:]],)
    if name not in _ALIKE:
        raise ValueError(f"has {name!r} for an exchange, which is none of {', '.join(_ALIKE)}")
    return _ALIKE[name]


def _sessions(text: str, day: date, ordinary: Hours | None) -> tuple[Hours, ...]:
    if text == "closed":
        return ()
    sessions = tuple(_session(part, day, ordinary) for part in text.split("+"))
    for earlier, later in itertools.pairwise(sessions):
        if later.opens < earlier.closes:
            raise ValueError(f"has sessions {text!r} that overlap or are not in order")
    return sessions


def _session(text: str, day: date, ordinary: Hours | None) -> Hours:
    parts = [part.strip() for part in text.split("-")]
    if len(parts) not in (2, 3):
        raise ValueError(f"has {text.strip()!r} for a session, which is not like 09:15-15:30")
    opens = _time(parts[0], day, ordinary.opens if ordinary else None)
    closes = _time(parts[-1], day, ordinary.closes if ordinary else None)
    steady_until = closes
    if len(parts) == 3:
        steady_until = _time(parts[1], day, ordinary.steady_until if ordinary else None)
    elif parts[-1] == "*" and ordinary:
        steady_until = ordinary.steady_until
    # so no session goes over midnight, which `market_open` rests on
    if not opens < steady_until <= closes:
        raise ValueError(f"has the session {text.strip()!r}, which does not end after it begins")
    return Hours(opens, steady_until, closes)


def _time(text: str, day: date, ordinary: time | None) -> time:
    if text == "*" and ordinary is not None:
        return ordinary
    summer, slash, winter = text.partition("/")
    if slash:
        text = summer if us_summer_time(day) else winter
    try:
        found = time.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError(f"has {text!r} for a time, which is not like 09:15")
    return found


def us_summer_time(day: date) -> bool:
    """Whether the USA has summer time, by which MCX ends half an hour earlier."""
    # from the second Sunday of March to the first of November (Energy Policy Act of 2005)
    march, november = date(day.year, 3, 8), date(day.year, 11, 1)
    begins = march + timedelta(days=(6 - march.weekday()) % 7)
    ends = november + timedelta(days=(6 - november.weekday()) % 7)
    return begins <= day < ends


@functools.cache
def shipped() -> MarketHours:
    """The hours that come with the connector."""
    return MarketHours(shipped_lines())


def shipped_lines() -> list[str]:
    """The lines of the file that comes with the connector."""
    file = resources.files("connector.kite").joinpath("trading_days.csv")
    return file.read_text(encoding="utf-8").splitlines()


def with_file(file: Path) -> MarketHours:
    """The shipped hours with an operator's file over them: its lines win.

    Raises:
        UnusableFileError: the file is not there, or is no file of a bounded size.
        ValueError: a line of it cannot be read; it names the line's number.
    """
    text = read_bounded(file, MAX_FILE_BYTES).decode("utf-8-sig", errors="replace")
    # not splitlines: that knows ends of lines which no editor counts
    return MarketHours((line.rstrip("\r") for line in text.split("\n")), shipped())


class _InUse:
    hours: MarketHours | None = None


def use(found: MarketHours | None) -> None:
    """Let this process go by other hours than the shipped ones; None: by those again."""
    _InUse.hours = found


def in_use() -> MarketHours:
    """The hours that this process goes by."""
    return _InUse.hours or shipped()


def hours(exchange: Exchange, day: date) -> Hours:
    """Return the hours of an exchange on an ordinary weekday at that time."""
    return in_use().ordinary(exchange, day)


def market_open(exchange: Exchange, at: datetime) -> bool:
    """Whether an exchange trades at a time (aware), by the hours in use."""
    return in_use().market_open(exchange, at)


def ticks_expected(exchange: Exchange, at: datetime) -> bool:
    """Whether silence of all of an exchange's instruments is strange at a time (aware)."""
    return in_use().ticks_expected(exchange, at)
