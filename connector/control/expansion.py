"""What a rule comes to: (rule, list, prices, day, window before) → instruments. Pure.

A chain's window of strikes follows the price with hysteresis: it stays while the price is less than
`HYSTERESIS` of a step beyond the border to the next strike, so a price that goes to and fro across
a border moves it once at most.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from connector.control.bounds import MAX_RULE_INSTRUMENTS, excerpt
from connector.control.rules import (
    NEAR_MONTH,
    NEAREST,
    NEXT,
    NEXT_MONTH,
    ChainRule,
    FuturesRule,
    Kind,
    PatternRule,
)
from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import SEGMENTS
from connector.redaction import first_of

HYSTERESIS: Final = 0.25
"""A chain's middle moves when the price is so much of a step past the border, which is half-way to
the next strike."""
NO_PRICES: Final[Mapping[int, float]] = {}
_OPTION_EXCHANGES: Final = ("NFO", "BFO", "MCX", "CDS", "BCD", "NCO")
_SHARES_AT: Final = {"NFO": "NSE", "BFO": "BSE"}
"""Where the shares are traded whose options these exchanges have."""
_INDICES: Final = {
    "NIFTY": "NSE:NIFTY 50",
    "BANKNIFTY": "NSE:NIFTY BANK",
    "FINNIFTY": "NSE:NIFTY FIN SERVICE",
    "MIDCPNIFTY": "NSE:NIFTY MID SELECT",
    "NIFTYNXT50": "NSE:NIFTY NEXT 50",
    "SENSEX": "BSE:SENSEX",
    "BANKEX": "BSE:BANKEX",
    "SENSEX50": "BSE:SNSX50",
}
"""The indices that options are of, whose underlying Kite's list names otherwise than the index."""
_NAMED: Final = 3


class StrikeWindow(NamedTuple):
    """Which strikes of a chain are claimed, and between which prices that stays so."""

    expiry: date
    middle: float
    """The strike in the middle."""
    low: float | None
    """The window stays at this price and above; None: there is no strike below the middle."""
    high: float | None
    """The window stays at this price and below; None: there is no strike above the middle."""

    def holds(self, price: float) -> bool:
        """Whether a price leaves the window as it is."""
        return (self.low is None or price >= self.low) and (self.high is None or price <= self.high)


class Expansion(NamedTuple):
    """What a rule comes to; with a problem, nothing."""

    tokens: tuple[int, ...] = ()
    spot: int | None = None
    """The instrument whose price a chain follows, which is one of the tokens."""
    window: StrikeWindow | None = None
    """None: no chain, or one for which there is no price yet; then `spot` is the only token."""
    problem: str | None = None


def expand(
    rule: PatternRule | ChainRule | FuturesRule,
    listing: InstrumentMaster,
    today: date,
    prices: Mapping[int, float] = NO_PRICES,
    before: StrikeWindow | None = None,
) -> Expansion:
    """Return the instruments of a rule.

    Args:
        rule: what is described.
        listing: today's list of instruments.
        today: the day in India; what expired before it is passed over.
        prices: last price by token, rupees, as far as they are known.
        before: a chain's window up to now.
    """
    if not len(listing):
        return Expansion(problem="the instrument master is not loaded")
    match rule:
        case PatternRule():
            found = _pattern(rule, listing, today)
        case FuturesRule():
            found = _futures(rule, listing, today)
        case ChainRule():
            found = _chain(rule, listing, today, prices, before)
    # passed over, and not refused: whoever writes a pattern does not know segments
    found = _streamed(found)
    if len(found.tokens) > MAX_RULE_INSTRUMENTS:
        return Expansion(
            problem=f"it matches {len(found.tokens)} instruments, a rule may have "
            f"{MAX_RULE_INSTRUMENTS}: narrow it"
        )
    return found


def _streamed(found: Expansion) -> Expansion:
    """Leave out what no segment of the feed has; what is left is the rule's, if anything is."""
    tokens = tuple(token for token in found.tokens if token & 0xFF in SEGMENTS)
    if found.problem is not None or len(tokens) == len(found.tokens):
        return found
    if not tokens or (found.spot is not None and found.spot not in tokens):
        return Expansion(problem="the feed has no such instruments: their segment is unknown")
    return found._replace(tokens=tokens)


def expiry_days(expiry: str, days: Sequence[date]) -> Collection[date]:
    """Return those of an underlying's days of expiry that are meant.

    A month counts by its last day of expiry, which is the monthly contracts'.

    Args:
        expiry: a word, a day, or two as first/last.
        days: each once, in order, none of them past.
    """
    if expiry in (NEAREST, NEXT):
        at = 0 if expiry == NEAREST else 1
        # a slice: empty where there is no such day, and the caller says so
        return days[at : at + 1]
    if expiry in (NEAR_MONTH, NEXT_MONTH):
        # days are in order, so of each month the last one stays
        last_of = {(day.year, day.month): day for day in days}
        months = list(last_of.values())
        at = 0 if expiry == NEAR_MONTH else 1
        return months[at : at + 1]
    first, _, last = expiry.partition("/")
    begin, end = date.fromisoformat(first), date.fromisoformat(last or first)
    return [day for day in days if begin <= day <= end]


def _pattern(rule: PatternRule, listing: InstrumentMaster, today: date) -> Expansion:
    exchange, _, wanted = rule.pattern.partition(":")
    rows = listing.of_exchange(exchange)
    if not rows:
        return Expansion(problem=f"pattern: the list has no instruments of {exchange}")
    # its regular expressions have no way back, so no pattern takes long
    matches = re.compile(fnmatch.translate(wanted.upper())).match
    so_called = [one for one in rows if matches(one.tradingsymbol.upper())]
    if not so_called:
        return Expansion(
            problem=f"pattern: matches nothing, no instrument of {exchange} is called so"
        )
    named = [one for one in so_called if one.expiry is None or one.expiry >= today]
    if not named:
        return Expansion(
            problem=f"pattern: all {len(so_called)} instruments of {exchange} that are called so "
            "have ended"
        )
    kinds = frozenset(rule.kinds)
    of_kind = [one for one in named if not kinds or one.instrument_type in kinds]
    found = of_kind if rule.expiry is None else _expiring(of_kind, rule.expiry)
    if not found:
        return Expansion(
            problem=f"pattern: matches {len(named)} instruments, {len(of_kind)} of these kinds and "
            "none with this expiry"
            if of_kind
            else f"pattern: matches {len(named)} instruments, none of them of these kinds"
        )
    return Expansion(_tokens(found))


def _futures(rule: FuturesRule, listing: InstrumentMaster, today: date) -> Expansion:
    futures = [
        one
        for one in listing.of_exchange(rule.exchange)
        if one.instrument_type == Kind.FUT and one.expiry is not None and one.expiry >= today
    ]
    if not futures:
        return Expansion(problem=f"exchange: the list has no futures of {rule.exchange}")
    names = {name.upper() for name in rule.names}
    if names:
        known = {one.name.upper() for one in futures}
        if unknown := sorted(names - known):
            return Expansion(problem=_unknown("names", unknown, known, rule.exchange))
        futures = [one for one in futures if one.name.upper() in names]
    found = _expiring(futures, rule.expiry)
    if not found:
        return Expansion(problem=f"expiry: none of {len(futures)} futures expires then")
    return Expansion(_tokens(found))


def _chain(
    rule: ChainRule,
    listing: InstrumentMaster,
    today: date,
    prices: Mapping[int, float],
    before: StrikeWindow | None,
) -> Expansion:
    exchange, options = _options(rule, listing, today)
    if not options:
        places = (exchange,) if exchange else _OPTION_EXCHANGES
        known = {
            one.name.upper()
            for place in places
            for one in listing.of_exchange(place)
            if one.instrument_type in (Kind.CE, Kind.PE)
        }
        return Expansion(problem=_unknown("underlying", [rule.underlying], known, exchange))
    days = sorted({one.expiry for one in options if one.expiry is not None})
    meant = expiry_days(rule.expiry, days)
    if not meant:
        shown = ", ".join(map(str, days[:_NAMED]))
        return Expansion(
            problem=f"expiry: no option of {rule.underlying} expires then; the days are {shown}"
        )
    day = next(iter(meant))
    spot = _spot(rule, exchange, listing, day)
    if spot is None:
        return Expansion(
            problem=f"spot: the list has no instrument whose price {rule.underlying} goes by; "
            "name one as EXCHANGE:TRADINGSYMBOL"
        )
    ladder: dict[float, list[int]] = defaultdict(list)
    for one in options:
        if one.expiry == day and one.strike > 0:  # 0 where the list's cell is none
            ladder[one.strike].append(one.instrument_token)
    strikes = sorted(ladder)
    if not strikes:
        return Expansion(problem=f"the list has no strikes of {rule.underlying}'s options of {day}")
    window = _window(strikes, day, prices.get(spot.instrument_token), before)
    tokens = [spot.instrument_token]
    if window is not None:
        at = bisect_left(strikes, window.middle)
        for strike in strikes[max(at - rule.strikes, 0) : at + rule.strikes + 1]:
            tokens += sorted(ladder[strike])
    return Expansion(tuple(dict.fromkeys(tokens)), spot.instrument_token, window)


def _options(
    rule: ChainRule, listing: InstrumentMaster, today: date
) -> tuple[str, list[Instrument]]:
    """Return the exchange of the chain's options, and all of these that have not expired."""
    for exchange in (rule.exchange,) if rule.exchange else _OPTION_EXCHANGES:
        found = [
            one
            for one in listing.contracts_of(exchange, rule.underlying)
            if one.instrument_type != Kind.FUT and one.expiry is not None and one.expiry >= today
        ]
        if found:
            return exchange, found
    return rule.exchange or "", []


def _spot(
    rule: ChainRule, exchange: str, listing: InstrumentMaster, day: date
) -> Instrument | None:
    """Return the instrument whose last price the strikes lie around."""
    if rule.spot is not None:
        return listing.named(rule.spot)
    name = rule.underlying.upper()
    if exchange in _SHARES_AT:
        return listing.named(_INDICES.get(name, f"{_SHARES_AT[exchange]}:{name}"))
    futures = sorted(
        (one.expiry, one.instrument_token, one)
        for one in listing.contracts_of(exchange, name)
        if one.instrument_type == Kind.FUT and one.expiry is not None
    )
    # the one that the options end in: the first that expires with them, or behind them
    return next((one for expiry, _, one in futures if expiry >= day), None)


def _window(
    strikes: Sequence[float], day: date, price: float | None, before: StrikeWindow | None
) -> StrikeWindow | None:
    """Return the window at a price; None where there is no price to go by, and never was."""
    if before is not None and (before.expiry != day or before.middle not in strikes):
        # other strikes: the middle of the old ones is as near as can be told without a price
        price, before = before.middle if price is None else price, None
    if before is not None:
        # around the same middle, but of today's strikes: neighbours may have come or gone
        window = _around(strikes, strikes.index(before.middle), day)
        if price is None or window.holds(price):
            return window
    return None if price is None else _around(strikes, _nearest(strikes, price), day)


def _nearest(strikes: Sequence[float], price: float) -> int:
    at = bisect_left(strikes, price)
    if at == 0 or at == len(strikes):
        return max(at - 1, 0)
    # half-way, the lower one
    return at if strikes[at] - price < price - strikes[at - 1] else at - 1


def _around(strikes: Sequence[float], at: int, day: date) -> StrikeWindow:
    middle, past_half = strikes[at], 0.5 + HYSTERESIS
    low = None if at == 0 else middle - past_half * (middle - strikes[at - 1])
    high = None if at + 1 == len(strikes) else middle + past_half * (strikes[at + 1] - middle)
    return StrikeWindow(day, middle, low, high)


def _expiring(rows: Iterable[Instrument], expiry: str) -> list[Instrument]:
    """Return what expires as is meant, counted for each underlying, futures and options apart."""
    groups: dict[tuple[str, bool], list[Instrument]] = defaultdict(list)
    for one in rows:
        if one.expiry is not None:
            # apart, since options of an index expire weekly too: their nearest day need not be the
            # futures'
            groups[one.name.upper(), one.instrument_type == Kind.FUT].append(one)
    found: list[Instrument] = []
    for group in groups.values():
        days = sorted({one.expiry for one in group if one.expiry is not None})
        meant = frozenset(expiry_days(expiry, days))
        found += [one for one in group if one.expiry in meant]
    return found


def _tokens(rows: Iterable[Instrument]) -> tuple[int, ...]:
    return tuple(sorted({one.instrument_token for one in rows}))


def _unknown(field: str, names: Sequence[str], known: Collection[str], exchange: str) -> str:
    told = first_of([excerpt(name) for name in names], _NAMED)
    near = difflib.get_close_matches(names[0].upper(), sorted(known), n=1)
    hint = f"; perhaps {near[0]}" if near else ""
    at = f" of {exchange}" if exchange else ""
    return f"{field}: the list has no contracts{at} on {told}{hint}"


def is_whole(listed: Instrument, expiry: date | None) -> bool:
    """Whether a row of the list says what a rule goes by: else nobody knows what it leaves out.

    Args:
        listed: the row; a cell that cannot be read has its default.
        expiry: the last trading day as it was known before; None for what has none.
    """
    if expiry is None:
        return True
    is_option = listed.instrument_type in (Kind.CE, Kind.PE)
    is_contract = is_option or listed.instrument_type == Kind.FUT
    return is_contract and listed.expiry is not None and (listed.strike > 0 or not is_option)


def usable_price(price: object) -> bool:
    """Whether a last price says where the market is: the feed sends 0 before the first trade."""
    return isinstance(price, float | int) and math.isfinite(price) and price > 0
