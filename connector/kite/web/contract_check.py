"""Whether a list gives contracts the days, kinds and strikes that they can have. Pure.

A contract keeps its last trading day, its kind and its strike for as long as it lives. An exchange
may move a day, since a holiday has come in between say, and then all contracts of an underlying
that end on it move together, to a day of their own. Any other difference to the last good list is
damage: where it is much of the list, that is held back (`connector.kite.web.list_check`); where
it is little, the rows keep what the last good list has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Final, NamedTuple

from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster

MIN_MOVED_TOGETHER: Final = 10
"""So many contracts of an underlying and a day move together at least, else each is doubted."""
MIN_CHAIN: Final = 10
"""An underlying with so many options has no day on which a single one of them ends."""
MIN_OF_ONE_DAY: Final = 100
"""So many contracts of several exchanges do not all end on one day."""
_OPTIONS: Final = ("CE", "PE")

_Series = tuple[str, str, date]
"""Exchange, underlying and last trading day: what moves together."""


class Contracts(NamedTuple):
    """How the contracts of a list differ from the last good one."""

    kept: Mapping[int, Instrument]
    """The rows as they can be used, by token: with the day, kind and strike of the last good
    list."""
    differ: Counter[str]
    """How many contracts have another day, kind or strike, moved together or not, by exchange."""
    compared: Counter[str]
    """How many unexpired contracts are in both lists, by exchange."""
    moved: tuple[_Series, ...]
    """What was moved together, by the days before."""


def compare_contracts(new: InstrumentMaster, last: InstrumentMaster, today: date) -> Contracts:
    """Compare the contracts that both lists have.

    Args:
        new: the list in question.
        last: the last good one.
        today: the day in India; what had to end before it is passed over.
    """
    differ: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    kept: dict[int, Instrument] = {}
    series: defaultdict[_Series, list[Instrument]] = defaultdict(list)
    for old, row in _in_both(new, last, today):
        compared[old.exchange] += 1
        series[_series(old, old.expiry)].append(row)
        if not _same(old, row):
            differ[old.exchange] += 1
            kept[row.instrument_token] = row._replace(
                expiry=old.expiry, strike=old.strike, instrument_type=old.instrument_type
            )
    moved = _moved_together(series)
    for known in moved:
        for row in series[known]:
            old_row = kept[row.instrument_token]
            kept.pop(row.instrument_token)
            repaired = old_row._replace(expiry=row.expiry)
            if repaired != row:
                kept[row.instrument_token] = repaired
    return Contracts(kept, differ, compared, moved)


def lone_days(rows: Iterable[Instrument]) -> dict[int, Instrument]:
    """Return options without their day, by token, whose day no other option of the chain has.

    New strikes come each day, and no list before has them. A day comes with many strikes.
    """
    chains: Counter[tuple[str, str]] = Counter()
    ends: dict[_Series, Instrument | None] = {}
    for one in rows:
        if one.instrument_type in _OPTIONS and one.name and one.expiry is not None:
            known = _series(one, one.expiry)
            chains[known[:2]] += 1
            ends[known] = None if known in ends else one
    return {
        one.instrument_token: one._replace(expiry=None)
        for known, one in ends.items()
        if one is not None and chains[known[:2]] >= MIN_CHAIN
    }


def one_day(rows: Iterable[Instrument]) -> tuple[int, date] | None:
    """Return how many contracts there are and the day, where those of several exchanges share it.

    None where they end on different days, as of any whole market they do.
    """
    contracts = [one for one in rows if one.expiry is not None]
    days = {one.expiry for one in contracts if one.expiry is not None}
    exchanges = {one.exchange for one in contracts}
    if len(contracts) < MIN_OF_ONE_DAY or len(days) != 1 or len(exchanges) == 1:
        return None
    return len(contracts), days.pop()


def _in_both(
    new: InstrumentMaster, last: InstrumentMaster, today: date
) -> Iterator[tuple[Instrument, Instrument]]:
    """Yield the contracts of the last list that have not expired, each with its row of the new."""
    for old in last:
        if old.expiry is None or old.expiry < today:
            continue
        row = new.get(old.instrument_token)
        named = None if row is None else (row.exchange, row.tradingsymbol)
        if row is not None and named == (old.exchange, old.tradingsymbol):
            yield old, row


def _series(one: Instrument, day: date | None) -> _Series:
    return one.exchange, one.name.upper(), day or date.max


def _same(old: Instrument, row: Instrument) -> bool:
    return (
        row.expiry == old.expiry
        and row.strike == old.strike
        and row.instrument_type == old.instrument_type
    )


def _moved_together(series: Mapping[_Series, list[Instrument]]) -> tuple[_Series, ...]:
    """Return what has moved as a whole to a day that no other contracts of the underlying have."""
    days: defaultdict[tuple[str, str], Counter[date | None]] = defaultdict(Counter)
    to: dict[_Series, date] = {}
    for known, rows in series.items():
        chain, before = known[:2], known[2]
        after = {row.expiry for row in rows}
        days[chain][before] += 1
        days[chain].update(after - {before})
        (day,) = after if len(after) == 1 else (None,)
        if day is not None and day != before and len(rows) >= MIN_MOVED_TOGETHER:
            to[known] = day
    return tuple(known for known, day in to.items() if days[known[:2]][day] == 1)
