"""The instruments of the simulated market: real names and tokens first, then invented ones.

Well-known instruments (NSE:INFY 408065, NIFTY 50 256265 …) have Kite's own tokens. The rest is
built by the exchanges' rules: futures and options around a spot price, expiries counted from the
trading day, tradingsymbols in Kite's spelling. An instrument_token is exchange_token * 256 +
segment, as on the real feed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count, islice

from connector.kite.wire.models import Exchange

# Kite's tokens and plausible prices in rupees
_INDICES = (
    ("NSE", "NIFTY 50", 256265, 24800.0),
    ("NSE", "NIFTY BANK", 260105, 55400.0),
    ("BSE", "SENSEX", 265, 81200.0),
    ("NSE", "INDIA VIX", 264969, 12.4),
    ("NSE", "NIFTY FIN SERVICE", 257801, 26300.0),
    ("NSE", "NIFTY MID SELECT", 288009, 12900.0),
    ("NSE", "NIFTY IT", 259849, 35100.0),
    ("NSE", "NIFTY NEXT 50", 270857, 67800.0),
    ("BSE", "BANKEX", 274441, 62100.0),
)
_STOCKS = (
    ("RELIANCE", "RELIANCE INDUSTRIES", 738561, 500325, 1412.5),
    ("INFY", "INFOSYS", 408065, 500209, 1573.15),
    ("TCS", "TATA CONSULTANCY SERV LT", 2953217, 532540, 3209.4),
    ("HDFCBANK", "HDFC BANK", 341249, 500180, 968.3),
    ("ICICIBANK", "ICICI BANK", 1270529, 532174, 1402.1),
    ("SBIN", "STATE BANK OF INDIA", 779521, 500112, 812.4),
    ("AXISBANK", "AXIS BANK", 1510401, 532215, 1068.0),
    ("KOTAKBANK", "KOTAK MAHINDRA BANK", 492033, 500247, 1987.6),
    ("LT", "LARSEN & TOUBRO", 2939649, 500510, 3590.0),
    ("ITC", "ITC", 424961, 500875, 409.3),
    ("HINDUNILVR", "HINDUSTAN UNILEVER", 356865, 500696, 2631.7),
    ("BHARTIARTL", "BHARTI AIRTEL", 2714625, 532454, 1901.2),
    ("MARUTI", "MARUTI SUZUKI INDIA", 2815745, 532500, 14980.0),
    ("BAJFINANCE", "BAJAJ FINANCE", 81153, 500034, 948.2),
    ("WIPRO", "WIPRO", 969473, 507685, 251.4),
    ("TATASTEEL", "TATA STEEL", 895745, 500470, 169.8),
    ("SUNPHARMA", "SUN PHARMACEUTICAL IND L", 857857, 524715, 1601.5),
    ("TITAN", "TITAN COMPANY", 897537, 500114, 3611.0),
    ("ULTRACEMCO", "ULTRATECH CEMENT", 2952193, 532538, 12440.0),
    ("ONGC", "OIL AND NATURAL GAS CORP", 633601, 500312, 236.2),
    ("NTPC", "NTPC", 2977281, 532555, 331.9),
    ("POWERGRID", "POWER GRID CORP", 3834113, 532898, 286.7),
    ("HCLTECH", "HCL TECHNOLOGIES", 1850625, 532281, 1452.8),
    ("TECHM", "TECH MAHINDRA", 3465729, 532755, 1489.1),
    ("COALINDIA", "COAL INDIA", 5215745, 533278, 391.6),
    ("JSWSTEEL", "JSW STEEL", 3001089, 500228, 1101.2),
    ("HINDALCO", "HINDALCO INDUSTRIES", 348929, 500440, 744.3),
    ("GRASIM", "GRASIM INDUSTRIES", 315393, 500300, 2788.0),
    ("CIPLA", "CIPLA", 177665, 500087, 1540.9),
    ("DRREDDY", "DR. REDDY'S LABORATORIES", 225537, 500124, 1277.2),
    ("EICHERMOT", "EICHER MOTORS", 232961, 505200, 6899.0),
    ("BRITANNIA", "BRITANNIA INDUSTRIES", 140033, 500825, 5820.5),
    ("ACC", "ACC", 5633, 500410, 1843.7),
)
# underlying, spot in rupees, strike step, lot
_NFO = (
    ("NIFTY", 24800.0, 50, 75),
    ("BANKNIFTY", 55400.0, 100, 35),
    ("RELIANCE", 1412.5, 10, 500),
    ("INFY", 1573.15, 20, 400),
    ("FINNIFTY", 26300.0, 50, 65),
    ("HDFCBANK", 968.3, 10, 550),
    ("ICICIBANK", 1402.1, 10, 700),
    ("SBIN", 812.4, 10, 750),
    ("TCS", 3209.4, 20, 175),
    ("MIDCPNIFTY", 12900.0, 25, 140),
)
_BFO = (("SENSEX", 81200.0, 100, 20), ("BANKEX", 62100.0, 100, 30))
_MCX = (
    ("GOLD", 121_400.0, 1000, 1, 1.0),
    ("SILVER", 148_900.0, 1000, 1, 1.0),
    ("CRUDEOIL", 5540.0, 50, 1, 1.0),
    ("NATURALGAS", 281.4, 5, 1, 0.1),
    ("COPPER", 958.6, 10, 1, 0.05),
    ("ZINC", 287.2, 2.5, 1, 0.05),
)
_CURRENCIES = (
    ("USDINR", 83.1234),
    ("EURINR", 96.4025),
    ("GBPINR", 111.2175),
    ("JPYINR", 56.885),
)
_NCO = (("ALUMINI", 378.2, 0.05), ("SILVER", 268_500.0, 1.0), ("GOLD", 121_300.0, 1.0))
_ALUMINI_TOKEN = 31132428

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# of weekly options: a character for the month, two digits for the day
_WEEKLY_MONTHS = "123456789OND"
# Kite's exchange_tokens have 24 bits; those of the invented markets end far below
_CHOSEN_FROM = 9_000_001
_TUESDAY, _THURSDAY, _FRIDAY = 1, 3, 4


@dataclass(slots=True, frozen=True)
class ListedInstrument:
    """An instrument as the exchange lists it; prices in rupees, the columns' names are Kite's."""

    instrument_token: int
    tradingsymbol: str
    name: str
    exchange: str
    segment: str
    instrument_type: str
    tick_size: float
    lot_size: int
    price: float
    expiry: date | None = None
    strike: float = 0.0

    @property
    def feed_exchange(self) -> Exchange:
        """The feed's segment, by which prices are scaled."""
        return Exchange.of(self.instrument_token)


class Universe:
    """The instruments of one trading day; the same arguments give the same instruments.

    Args:
        size: how many instruments.
        today: the trading day; the first expiry is not before it.
        listings: these instruments in place of the simulator's own.
    """

    def __init__(self, size: int, today: date, listings: Iterable[ListedInstrument] = ()) -> None:
        self.today = today
        self.listings = tuple(listings) or tuple(islice(_mixed(today), size))
        self.by_token = {listing.instrument_token: listing for listing in self.listings}
        self._by_name: dict[tuple[str, str], ListedInstrument] = {}  # made with the first look-up

    def __len__(self) -> int:
        return len(self.listings)

    def named(self, exchange: str, tradingsymbol: str) -> ListedInstrument | None:
        """Return the listing of EXCHANGE:TRADINGSYMBOL, None where there is none."""
        if not self._by_name:
            self._by_name = {(one.exchange, one.tradingsymbol): one for one in self.listings}
        return self._by_name.get((exchange, tradingsymbol))


def chosen(prices: Mapping[str, float]) -> Iterator[ListedInstrument]:
    """Yield a listing for each EXCHANGE:TRADINGSYMBOL, at a price in rupees.

    Well-known instruments have Kite's own tokens; the others are equities, or what their segment
    trades, under tokens counted up from 9 000 001 × 256, where the simulator's own market has none.

    Raises:
        ValueError: a name is not EXCHANGE:TRADINGSYMBOL, or no exchange of the feed's.
    """
    known = {
        f"{one.exchange}:{one.tradingsymbol}": one
        for one in (*_indices(), *islice(_nse(), len(_STOCKS)), *islice(_bse(), len(_STOCKS)))
    }
    for number, (symbol, price) in enumerate(prices.items()):
        exchange, colon, name = symbol.partition(":")
        if not (colon and name and exchange in Exchange.__members__):
            raise ValueError(f"{symbol!r}: write an instrument as EXCHANGE:TRADINGSYMBOL")
        if symbol in known:
            yield replace(known[symbol], price=price)
        else:
            token = _token(Exchange[exchange], _CHOSEN_FROM + number)
            yield ListedInstrument(token, name, name, exchange, exchange, "EQ", 0.05, 1, price)


def expiries(today: date, weekday: int, months: int) -> list[date]:
    """The last `weekday` of this month and the next ones, as many as `months`, none past."""
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < months:
        year_after, month_after = (year + 1, 1) if month == 12 else (year, month + 1)
        last = date(year_after, month_after, 1) - timedelta(days=1)
        last -= timedelta(days=(last.weekday() - weekday) % 7)
        if last >= today:
            found.append(last)
        year, month = year_after, month_after
    return found


def _mixed(today: date) -> Iterator[ListedInstrument]:
    """Yield every family in turn, so that a small market has each exchange too."""
    families = [
        (1, _indices()),
        (6, _nse()),
        (16, _derivatives(Exchange.NFO, today, _TUESDAY, _NFO)),
        (2, _bse()),
        (4, _derivatives(Exchange.BFO, today, _THURSDAY, _BFO)),
        (2, _mcx(today)),
        (2, _currencies(Exchange.CDS, today)),
        (1, _currencies(Exchange.BCD, today)),
        (1, _nco(today)),
    ]
    # two of each first, so that a market of twenty has every exchange
    for _, family in families:
        yield from islice(family, 2)
    while True:
        for share, family in families:
            yield from islice(family, share)


def _token(exchange: Exchange, exchange_token: int) -> int:
    # the segment stands in the low byte, by which the feed's readers divide prices
    return exchange_token << 8 | int(exchange.value)


def _indices() -> Iterator[ListedInstrument]:
    for exchange, name, token, price in _INDICES:
        yield ListedInstrument(token, name, name, exchange, "INDICES", "EQ", 0.05, 0, price)


def _nse() -> Iterator[ListedInstrument]:
    for symbol, name, token, _, price in _STOCKS:
        yield ListedInstrument(token, symbol, name, "NSE", "NSE", "EQ", 0.05, 1, price)
    for number in range(30_000):
        token = _token(Exchange.NSE, 30_001 + number)
        yield _invented("NSE", token, number)


def _bse() -> Iterator[ListedInstrument]:
    for symbol, name, _, code, price in _STOCKS:
        token = _token(Exchange.BSE, code)
        yield ListedInstrument(token, symbol, name, "BSE", "BSE", "EQ", 0.05, 1, price)
    for number in range(30_000):
        yield _invented("BSE", _token(Exchange.BSE, 600_001 + number), number)


def _invented(exchange: str, token: int, number: int) -> ListedInstrument:
    """A small company that does not exist; prices spread evenly over 20 to 5000 rupees."""
    letters = "".join(chr(ord("A") + number // 26**place % 26) for place in (3, 2, 1, 0))
    # the golden ratio spreads any number of them evenly, on a logarithmic scale
    price = round(20 * 250 ** ((number * 0.618034) % 1), 1)
    return ListedInstrument(
        token, f"SIM{letters}", f"SIMULATED {letters}", exchange, exchange, "EQ", 0.05, 1, price
    )


def _future(
    exchange: Exchange,
    number: int,
    underlying: str,
    expiry: date,
    price: float,
    tick_size: float,
    lot_size: int,
) -> ListedInstrument:
    return ListedInstrument(
        _token(exchange, number),
        f"{underlying}{expiry:%y}{_MONTHS[expiry.month - 1]}FUT",
        underlying,
        exchange.name,
        f"{exchange.name}-FUT",
        "FUT",
        tick_size,
        lot_size,
        price,
        expiry,
    )


def _options(
    exchange: Exchange,
    numbers: Iterator[int],
    underlying: str,
    expiry: date,
    spot: float,
    strikes: list[float],
    tick_size: float,
    lot_size: int,
    *,
    weekly: bool = False,
) -> Iterator[ListedInstrument]:
    """A call and a put for each strike, priced by intrinsic value and a bell of time value."""
    month = (
        _WEEKLY_MONTHS[expiry.month - 1] + f"{expiry:%d}" if weekly else _MONTHS[expiry.month - 1]
    )
    for strike in strikes:
        time_value = spot * 0.02 * math.exp(-abs(strike - spot) / (spot * 0.03))
        for kind, intrinsic in (("CE", spot - strike), ("PE", strike - spot)):
            price = max(intrinsic, 0.0) + time_value
            yield ListedInstrument(
                _token(exchange, next(numbers)),
                f"{underlying}{expiry:%y}{month}{strike:.15g}{kind}",
                underlying,
                exchange.name,
                f"{exchange.name}-OPT",
                kind,
                tick_size,
                lot_size,
                max(round(price / tick_size), 20) * tick_size,
                expiry,
                strike,
            )


def _around(spot: float, step: float, number: int) -> list[float]:
    """Return strikes from the nearest outwards, all above zero."""
    centre = round(spot / step)
    offsets = sorted(range(-(number // 2), number - number // 2), key=abs)
    return [(centre + offset) * step for offset in offsets if centre + offset > 0]


def _derivatives(
    exchange: Exchange, today: date, weekday: int, table: tuple[tuple[str, float, int, int], ...]
) -> Iterator[ListedInstrument]:
    numbers = count(35_001 if exchange is Exchange.NFO else 800_001)
    months = expiries(today, weekday, 12)
    for underlying, spot, _, lot in table:
        yield _future(exchange, next(numbers), underlying, months[0], spot * 1.003, 0.1, lot)
    # the front month near the money first: that is what is traded
    underlying, spot, step, lot = table[0]
    week = today + timedelta(days=(weekday - today.weekday()) % 7)
    if week not in months:
        near = _around(spot, step, 40)
        yield from _options(exchange, numbers, underlying, week, spot, near, 0.05, lot, weekly=True)
    for position, expiry in enumerate(months):
        for underlying, spot, step, lot in table:
            if 0 < position < 3:
                price = spot * (1 + 0.003 * (position + 1))
                yield _future(exchange, next(numbers), underlying, expiry, price, 0.1, lot)
            strikes = _around(spot, step, 400)
            yield from _options(exchange, numbers, underlying, expiry, spot, strikes, 0.05, lot)


def _mcx(today: date) -> Iterator[ListedInstrument]:
    numbers = count(440_001)
    for position, expiry in enumerate(expiries(today, _FRIDAY, 6)):
        for underlying, spot, _, lot, tick in _MCX:
            price = spot * (1 + 0.004 * position)
            yield _future(Exchange.MCX, next(numbers), underlying, expiry, price, tick, lot)
        if position > 1:
            continue
        for underlying, spot, step, lot, _ in _MCX[:4]:
            strikes = _around(spot, step, 60)
            yield from _options(Exchange.MCX, numbers, underlying, expiry, spot, strikes, 0.05, lot)


def _currencies(exchange: Exchange, today: date) -> Iterator[ListedInstrument]:
    numbers = count(1_001 if exchange is Exchange.CDS else 1_160_001)
    months = expiries(today, _FRIDAY, 12)
    for expiry in months:
        for underlying, spot in _CURRENCIES:
            yield _future(exchange, next(numbers), underlying, expiry, spot, 0.0025, 1)
    for expiry in months[:3]:
        for underlying, spot in _CURRENCIES:
            strikes = _around(spot, 0.25, 40)
            yield from _options(exchange, numbers, underlying, expiry, spot, strikes, 0.0025, 1)


def _nco(today: date) -> Iterator[ListedInstrument]:
    numbers = count(_ALUMINI_TOKEN >> 8)
    for expiry in expiries(today, _FRIDAY, 6):
        for underlying, spot, tick in _NCO:
            yield _future(Exchange.NCO, next(numbers), underlying, expiry, spot, tick, 1)
