"""When each exchange trades, in India's time. Pure: the time is an argument.

Ordinary days only: neither holidays nor special sessions are known, so that a holiday looks like a
day on which nothing trades. Sources, looked up on 2026-11-28:

- NSE, BSE: 09:15 to 15:30. From 2026-08-03 shares that have derivatives go into a closing auction
  at 15:15 (orders, then matching until 15:35), during which they may be silent; other shares trade
  until 15:30. NSE's and BSE's circulars on the closing auction session.
- NFO, BFO: 09:15 to 15:30, from 2026-08-03 to 15:40. The same circulars.
- CDS, BCD: 09:00 to 17:00. NSE, currency derivatives.
- MCX, NCO: 09:00 to 23:30 during the summer time of the USA (second Sunday of March to first Sunday
  of November), else to 23:55; agricultural contracts end at 17:00 or 21:00. MCX, trading hours.

One calendar package names a second step on 2026-12-07 (auction 15:30 to 15:40, derivatives until
15:45); no circular or report of it was found, so it is not here.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple

from connector.kite.clock import IST
from connector.kite.wire.models import Exchange

CLOSING_AUCTION_FROM: Final = date(2026, 8, 3)
"""The first day with the closing auction, and with derivatives until 15:40."""
FIRST_TRADES_MINUTES: Final = 1
"""After the opening, until the first trades of everything have come."""

_SATURDAY = 5
_SHARES = frozenset({Exchange.NSE, Exchange.BSE, Exchange.INDICES})
_DERIVATIVES = frozenset({Exchange.NFO, Exchange.BFO})
_CURRENCIES = frozenset({Exchange.CDS, Exchange.BCD})


class Hours(NamedTuple):
    """One day of an exchange."""

    opens: time
    steady_until: time
    """Until when everything trades continuously: silence after it proves nothing."""
    closes: time


def hours(exchange: Exchange, day: date) -> Hours:
    """The hours of an exchange on an ordinary weekday."""
    if exchange in _SHARES:
        if day < CLOSING_AUCTION_FROM:
            return Hours(time(9, 15), time(15, 30), time(15, 30))
        return Hours(time(9, 15), time(15, 15), time(15, 35))
    if exchange in _DERIVATIVES:
        closes = time(15, 30) if day < CLOSING_AUCTION_FROM else time(15, 40)
        return Hours(time(9, 15), closes, closes)
    if exchange in _CURRENCIES:
        return Hours(time(9), time(17), time(17))
    closes = time(23, 30) if us_summer_time(day) else time(23, 55)
    return Hours(time(9), closes, closes)


def market_open(exchange: Exchange, at: datetime) -> bool:
    """Whether an exchange trades at a time (aware); holidays are not known."""
    local = at.astimezone(IST)
    opens, _, closes = hours(exchange, local.date())
    return local.weekday() < _SATURDAY and opens <= local.time() < closes


def ticks_expected(exchange: Exchange, at: datetime) -> bool:
    """Whether silence of all of an exchange's instruments is strange at a time (aware)."""
    local = at.astimezone(IST)
    opens, steady_until, _ = hours(exchange, local.date())
    begins = time(opens.hour, opens.minute + FIRST_TRADES_MINUTES)
    return local.weekday() < _SATURDAY and begins <= local.time() < steady_until


def us_summer_time(day: date) -> bool:
    """Whether the USA has summer time, by which MCX ends half an hour earlier."""
    march, november = date(day.year, 3, 8), date(day.year, 11, 1)
    begins = march + timedelta(days=(6 - march.weekday()) % 7)
    ends = november + timedelta(days=(6 - november.weekday()) % 7)
    return begins <= day < ends
