"""A list of instruments with shares, indices, futures and option chains, made by a test."""

from datetime import date

from connector.kite.web.instrument_csv import Instrument
from connector.kite.web.instruments import InstrumentMaster

TODAY = date(2026, 12, 1)
WEEKLY = date(2026, 12, 1)
NEXT_WEEKLY = date(2026, 12, 8)
MONTHLY = date(2026, 12, 29)
NEXT_MONTHLY = date(2027, 1, 26)
SEGMENTS = {"NSE": 1, "NFO": 2, "BSE": 4, "BFO": 5, "MCX": 7, "INDICES": 9}
NIFTY_50 = 1 << 8 | 9


class Rows:
    """Collects rows under tokens counted up; `master` makes the list of them."""

    def __init__(self, first=1):
        self.rows = []
        self._next = first

    def add(self, symbol, name="", kind="EQ", expiry=None, strike=0.0, segment=None):
        exchange, _, tradingsymbol = symbol.partition(":")
        token = self._next << 8 | SEGMENTS[segment or exchange]
        self._next += 1
        self.rows.append(
            Instrument(
                token, token >> 8, tradingsymbol, name, 0.0, expiry, float(strike), 0.05, 1, kind,
                segment or exchange, exchange,
            )
        )  # fmt: skip
        return token

    def future(self, exchange, name, expiry, day="%y%b"):
        symbol = f"{exchange}:{name}{expiry.strftime(day).upper()}FUT"
        return self.add(symbol, name, "FUT", expiry)

    def chain(self, exchange, name, expiry, strikes):
        for strike in strikes:
            for kind in ("CE", "PE"):
                symbol = f"{exchange}:{name}{expiry:%y%m%d}{strike:g}{kind}"
                self.add(symbol, name, kind, expiry, strike)

    def master(self):
        return InstrumentMaster(self.rows)


def usual():
    """NIFTY with two weeks and two months, INFY, crude oil with its future, and shares."""
    rows = Rows()
    assert rows.add("NSE:NIFTY 50", segment="INDICES") == NIFTY_50
    for share in ("INFY", "TCS", "RELIANCE"):
        rows.add(f"NSE:{share}", share)
    for expiry in (WEEKLY, NEXT_WEEKLY, MONTHLY, NEXT_MONTHLY):
        rows.chain("NFO", "NIFTY", expiry, range(24_000, 26_001, 50))
    for expiry in (MONTHLY, NEXT_MONTHLY):
        rows.future("NFO", "NIFTY", expiry)
        rows.future("NFO", "INFY", expiry)
        rows.chain("NFO", "INFY", expiry, range(1400, 1701, 20))
    for expiry in (date(2026, 12, 18), date(2027, 1, 19)):
        rows.future("MCX", "CRUDEOIL", expiry)
    rows.chain("MCX", "CRUDEOIL", date(2026, 12, 16), range(5000, 6001, 100))
    return rows


def symbols(master, tokens):
    return [master.get(token).symbol for token in tokens]
