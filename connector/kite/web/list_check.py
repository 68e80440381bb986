"""Whether a list of instruments can be what it seems: a pure comparison with the last good one.

A list that was cut short, or made of the wrong columns, is well formed. What gives it away is what
it lacks: instruments do not vanish before their last trading day but for a few, and tokens and
names stay together, and contracts keep their days. A list that fails is held back, not used in
part: nobody knows what else in it is wrong. A few contracts that differ keep what the last good
list has (`connector.kite.web.contract_check`). Nothing here ends a claim, see
`connector.control.draft`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from connector.kite.web.contract_check import (
    Contracts,
    compare_contracts,
    lone_days,
    one_day,
)
from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster
from connector.redaction import cut

MAX_LOST_SHARE: Final = 0.1
"""A list may lack this share of the unexpired instruments of the last good one. On a usual day that
is a few in a thousand: shares leave an exchange, or change their series."""
MAX_LOST_SHARE_OF_EXCHANGE: Final = 0.25
"""The same of one exchange's alone, which may be small beside all."""
MAX_REASONS: Final = 10
"""So many reasons are told; the others are counted: a list may be of any number of exchanges."""
MAX_CHANGED_SHARE: Final = 0.1
"""This share of the same may have a token with another name, or a name with another token, or have
another last trading day, kind or strike: a column with wrong days would end each claim that a later
list lacks, and what cannot be read has a default. Rules go by days, kinds and strikes."""
MAX_LOST_CLAIMS_SHARE: Final = 0.1
"""A list may lack this share of the instruments that are subscribed and were listed last time."""
MIN_LOST_CLAIMS: Final = 2
"""A single instrument that leaves the market is no reason to doubt all others."""
MAX_UNREADABLE_SHARE: Final = 0.1
"""A list may have this share of rows that cannot be read."""

EXCHANGES_OF_KITE: Final = ("BSE", "MCX", "NFO", "NSE")
"""Kite's own list has each of these, on any day: a first one that lacks one is cut short."""

MAX_EXCHANGE_CHARACTERS: Final = 20
"""An exchange's name is cut to so many characters in a reason."""

_CHANGED = "token, name or expiry"


class SubscribedInstrument(NamedTuple):
    """An instrument that somebody has subscribed."""

    token: int
    symbol: str | None
    expiry: date | None


class _Lost(NamedTuple):
    """What became of the unexpired instruments of the last good list."""

    before: Counter[str]
    """How many instruments each exchange had."""
    gone: Counter[str]
    """The instruments of which neither token nor name is in the new list."""
    changed: Counter[str]
    """The token has another name now, or the name another token."""


class Judged(NamedTuple):
    """What a list comes to."""

    doubts: list[str]
    """Why it should not be used, each reason with its figures; empty when it is good."""
    kept: Mapping[int, Instrument] = {}
    """The damaged rows of a good list as they are to be used, by token."""
    moved: tuple[tuple[str, str, date], ...] = ()
    """Exchange, underlying and day before of contracts that have another last trading day now."""


def judge(
    new: InstrumentMaster,
    last: InstrumentMaster | None,
    claims: Iterable[SubscribedInstrument],
    today: date,
    *,
    kites: bool = False,
) -> Judged:
    """Compare a list with the last good one.

    Args:
        new: the list in question.
        last: the last good one; None where there is none to compare with.
        claims: what is subscribed now, as far as this process knows.
        today: the day in India; what had to end before it is not missed.
        kites: it comes from Kite itself, so that of a first one something is known all the same.
    """
    claims = list(claims)
    reasons = []
    rows = len(new) + new.skipped
    if new.broken:
        reasons.append(f"{new.broken} of {rows} lines have a quote that nothing closes")
    if new.skipped > MAX_UNREADABLE_SHARE * rows:
        reasons.append(f"{new.skipped} of {rows} rows cannot be read")
    # without a list the records of what is subscribed tell their own days
    known = _of_claims(new, claims) if last is None else last
    contracts = compare_contracts(new, known, today)
    if last is None:
        if (shared := one_day(new)) is not None:
            reasons.append(f"all {shared[0]} contracts of all exchanges end on {shared[1]}")
        reasons += _claims_moved(contracts)
        there = {row.exchange for row in new}
        lacking = [one for one in EXCHANGES_OF_KITE if kites and one not in there]
        if lacking:
            reasons.append(f"it has nothing of {', '.join(lacking)}")
    else:
        reasons += _against(new, last, contracts, today)
    reasons += _against_claims(new, last, claims, today)
    more = len(reasons) - MAX_REASONS
    shown = [*reasons[:MAX_REASONS], f"{more} reasons more"] if more > 0 else reasons
    lone = {
        token: row
        for token, row in lone_days(new).items()
        if (before := known.get(token)) is None or before.expiry is None
    }
    return Judged(shown, {**lone, **contracts.kept}, contracts.moved)


def _of_claims(new: InstrumentMaster, claims: Iterable[SubscribedInstrument]) -> InstrumentMaster:
    """Return the rows of what is subscribed, with the days that its records have."""
    return InstrumentMaster(
        row._replace(expiry=claim.expiry)
        for claim in claims
        if claim.expiry is not None
        and (row := new.get(claim.token)) is not None
        and row.symbol == claim.symbol
    )


def _claims_moved(contracts: Contracts) -> list[str]:
    differ, compared = contracts.differ.total(), contracts.compared.total()
    if differ >= MIN_LOST_CLAIMS and differ > MAX_LOST_CLAIMS_SHARE * compared:
        return [f"{differ} of the {compared} contracts that are subscribed have another expiry"]
    return []


def _against(
    new: InstrumentMaster, last: InstrumentMaster, contracts: Contracts, today: date
) -> list[str]:
    found = _compare(new, last, today)
    before = found.before.total()
    by_exchange = found.changed + contracts.differ
    gone, changed = found.gone.total(), by_exchange.total()
    reasons = [
        f"it has nothing of {_shown(exchange)}, which had {count} instruments"
        if found.gone[exchange] == count
        else f"it lacks {found.gone[exchange]} of the {count} instruments of {_shown(exchange)}"
        for exchange, count in sorted(found.before.items())
        if found.gone[exchange] > MAX_LOST_SHARE_OF_EXCHANGE * count
    ]
    # one reason is enough: an exchange that is gone is most of what all lack
    if not reasons and gone > MAX_LOST_SHARE * before:
        reasons.append(f"it lacks {gone} of {before} instruments that have not expired")
    if changed > MAX_CHANGED_SHARE * before:
        return [*reasons, f"{changed} of {before} instruments have another {_CHANGED}"]
    return reasons + [
        f"{by_exchange[exchange]} of the {count} instruments of {_shown(exchange)} have another "
        f"{_CHANGED}"
        for exchange, count in sorted(found.before.items())
        if by_exchange[exchange] > max(1, MAX_LOST_SHARE_OF_EXCHANGE * count)
    ]


def _shown(exchange: str) -> str:
    return cut(exchange, MAX_EXCHANGE_CHARACTERS)


def _compare(new: InstrumentMaster, last: InstrumentMaster, today: date) -> _Lost:
    before: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for old in last:
        if old.expiry is not None and old.expiry < today:
            continue
        before[old.exchange] += 1
        # by token and by name: tokens are used again, names are changed, seldom both at once
        same = new.get(old.instrument_token)
        if same is not None and _named_alike(same, old):
            continue
        listed: Sequence[int] = new.listed(old.symbol)
        if old.instrument_token in listed:
            continue  # two rows have the token: the other one names it
        if same is None and not listed:
            gone[old.exchange] += 1
        else:
            changed[old.exchange] += 1
    return _Lost(before, gone, changed)


def _named_alike(one: Instrument, other: Instrument) -> bool:
    return one.tradingsymbol == other.tradingsymbol and one.exchange == other.exchange


def _against_claims(
    new: InstrumentMaster,
    last: InstrumentMaster | None,
    claims: Iterable[SubscribedInstrument],
    today: date,
) -> list[str]:
    """What is missed of the claims; one that the last list lacked too is no news."""
    known = lost = 0
    for claim in claims:
        if claim.symbol is None or (claim.expiry is not None and claim.expiry < today):
            continue
        if last is not None and not is_listed(last, claim):
            continue
        known += 1
        lost += not is_listed(new, claim)
    if lost >= MIN_LOST_CLAIMS and lost > MAX_LOST_CLAIMS_SHARE * known:
        return [f"it lacks {lost} of the {known} instruments that are subscribed"]
    return []


def is_listed(master: InstrumentMaster, claim: SubscribedInstrument) -> bool:
    """Whether a list has a claimed instrument, by its token or by its name."""
    return claim.token in master or bool(claim.symbol and master.listed(claim.symbol))
