"""The CSV of the daily list of instruments: its rows, whatever is wrong with some of them.

Kite makes the list once a day, about 08:30 IST, as a CSV of some 117 000 rows.

Source: kite.trade/docs/connect/v3/market-quotes, "Instruments".
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from operator import itemgetter
from typing import Any, Final, NamedTuple

from connector.errors import InstrumentFormatError

COLUMNS = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry",
    "strike", "tick_size", "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
"""The documented columns; a file may have them in another order, and others besides."""

MAX_ROWS: Final = 250_000
"""Rows of a list, more than twice today's. Two lists of this size, the old and the new one with
its text, take 0.35 GiB beside the service, and fit into the memory that the chart allows."""
MAX_LINE_CHARACTERS: Final = 4096
"""A line of more characters is not read as a row."""
MAX_CELL_CHARACTERS: Final = 200
"""A cell of more characters is refused; names of Kite's have up to 50."""
EXPIRY_YEARS: Final = range(2000, 2200)
"""An expiry outside is no day but a mark for none, such as 1970-01-01 or 9999-12-31."""

_SHARE = "EQ"
"""The instrument_type of what is no contract and does not expire."""
_REQUIRED = ("instrument_token", "tradingsymbol", "exchange")
_new = tuple.__new__  # 12 cells in a third of the time that the class itself takes


class Instrument(NamedTuple):
    """A row of the list; a cell that the list does not have is "" or 0.

    Attributes:
        instrument_token: Kite's number in the feed, used again after expiry.
        exchange_token: the exchange's own number.
        tradingsymbol: the name at the exchange.
        name: of the company; of a contract, its underlying.
        last_price: when the list was made, rupees.
        expiry: a contract's last day; None for what does not expire.
        strike: of an option, rupees; else 0.
        tick_size: the step of its prices, rupees.
        lot_size: the least quantity.
        instrument_type: EQ, FUT, CE or PE.
        segment: NSE, NFO-OPT, INDICES …
        exchange: NSE, NFO, BSE …
    """

    instrument_token: int
    exchange_token: int
    tradingsymbol: str
    name: str
    last_price: float
    expiry: date | None
    strike: float
    tick_size: float
    lot_size: int
    instrument_type: str
    segment: str
    exchange: str

    @property
    def symbol(self) -> str:
        """The durable name, EXCHANGE:TRADINGSYMBOL."""
        return f"{self.exchange}:{self.tradingsymbol}"


class ParsedInstruments(NamedTuple):
    """The rows of a list, and what is wrong with it."""

    instruments: list[Instrument]
    skipped: int
    """Rows left out: without a token, a tradingsymbol or an exchange that can be used."""
    broken: int = 0
    """How many of these rows have an open quote: a cell has a line break, or the line is cut."""
    defaulted: int = 0
    """How many cells could not be read, nor are needed: they have their default."""


class _Kept(dict[str, Any]):
    """Converts each distinct cell once: the same few thousand come again and again."""

    def __init__(self, convert: Callable[[str], Any], empty: Any) -> None:
        super().__init__({"": empty})
        self.empty = empty
        self._convert = convert

    def __missing__(self, cell: str) -> Any:
        value = self[cell] = self._convert(cell)
        return value


def parse_csv(text: str) -> ParsedInstruments:
    """Read the list by its header, line by line: no cell can swallow the rows behind it.

    Token, tradingsymbol and exchange are all that streaming needs: a row without them is left out
    and counted. Any other cell that is missing or cannot be read gets its default (no name, no
    expiry, no strike …), and is counted where it is not just empty.

    Raises:
        InstrumentFormatError: there is no header, it lacks one of those three columns or has it
            twice, another header follows, there are more than `MAX_ROWS` rows or none that can be
            read, or the text ends within a row.
    """
    lines = _lines(text)
    header = _header(next(lines, ""))
    if header is None:
        raise InstrumentFormatError(f"its first line is not a header with {', '.join(_REQUIRED)}")
    reader = _RowReader(header)
    instruments: list[Instrument] = []
    skipped = broken = number = 0
    line = ""
    for number, line in enumerate(filter(None, lines), 1):
        if number > MAX_ROWS:
            raise InstrumentFormatError(f"it has more than {MAX_ROWS} rows")
        cells = _cells(line, len(header))
        instrument = None if cells is None else reader.row(cells, plain=_is_plain(line))
        if instrument is not None:
            instruments.append(instrument)
            continue
        skipped += 1
        broken += cells is None
        # two lists joined: rows behind it would be read by the wrong columns
        other = None if cells is None else _header(line)
        if other is not None and other != header:
            raise InstrumentFormatError(f"row {number} is a header with other columns")
    if number and not text.endswith("\n") and not _is_whole(line, header, instruments):
        raise InstrumentFormatError(f"it ends within row {number}")
    if not instruments:
        raise InstrumentFormatError(
            f"none of its {number} rows can be read" if number else "it has no rows"
        )
    return ParsedInstruments(instruments, skipped, broken, reader.defaulted)


def _is_whole(line: str, header: Sequence[str], instruments: Sequence[Instrument]) -> bool:
    """Whether a last line without a line break is a row to its end, as far as can be told.

    It has all cells, and its exchange, which stands last, is not the first letters of another.
    """
    if len(_cells(line, len(header)) or ()) < len(header):
        return False
    exchanges = {instrument.exchange for instrument in instruments[:-1]}
    return not exchanges or instruments[-1].exchange in exchanges


def _lines(text: str) -> Iterator[str]:
    """The lines, one at a time: a list of all would be as large as the text again."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end].rstrip("\r")
        start = end + 1
    yield text[start:].rstrip("\r")


def _header(line: str) -> list[str] | None:
    """Return the columns of a header that has each required one once."""
    cells = _cells(line.removeprefix("\ufeff"), 0)  # a byte order mark, of a list saved elsewhere
    columns = [cell.strip() for cell in cells or ()]
    return columns if all(columns.count(column) == 1 for column in _REQUIRED) else None


def _cells(line: str, width: int) -> list[str] | None:
    """The cells of a line; None where a quote is left open, or the line is far too long.

    A quote that does not enclose a cell is a character as any other: names may have inches.
    """
    if len(line) > MAX_LINE_CHARACTERS:
        return None
    plain = line.split(",")
    if '"' not in line:
        return plain
    try:
        (cells,) = csv.reader([line], strict=True)
    except (csv.Error, ValueError):
        return plain if len(plain) == width else None
    return plain if len(plain) == width != len(cells) else cells


def _is_plain(text: str) -> bool:
    """Whether nothing in it has to be looked at twice: no control or damaged character, no size."""
    return len(text) <= MAX_CELL_CHARACTERS and text.isprintable() and "\ufffd" not in text


class _RowReader:
    """Makes instruments of cells, by the columns of one header."""

    def __init__(self, header: Sequence[str]) -> None:
        self.defaulted = 0
        self._width = len(header)  # cells of a line
        # the one column of free text, which may have bare commas
        self._name = header.index("name") if "name" in header else None
        self._place = header.index("exchange")  # tells whether a line is shifted
        # a column that the file does not have reads as empty: a cell put at the end of each row
        self._pick = itemgetter(
            *(header.index(column) if column in header else self._width for column in COLUMNS)
        )
        self._words, self._numbers = _Kept(str, ""), _Kept(_number, 0.0)
        self._counts, self._days = _Kept(_whole, 0), _Kept(_day, None)
        self._exchanges = _Kept(_exchange, None)

    def row(self, cells: list[str], *, plain: bool) -> Instrument | None:
        """The instrument; None where it lacks what streaming needs.

        Args:
            cells: of the line; the list is lengthened.
            plain: whether all of its characters are fit to be shown, and each cell is short.
        """
        if len(cells) > self._width and not self._mend_name(cells):
            return None
        # one more than the header has: what `_pick` takes for a column that is not there
        cells += [""] * (self._width + 1 - len(cells))
        picked = self._pick(cells)
        token, exchange_token, symbol, name, price, expiry, strike, tick, lot, kind, segment, \
            exchange = picked  # fmt: skip
        numbers, words = self._numbers, self._words
        try:
            if not plain:
                return self._careful(picked)
            instrument: Instrument = _new(
                Instrument,
                (
                    _token(token),
                    self._counts[exchange_token],
                    _symbol(symbol),
                    words[name],
                    numbers[price],
                    self._days[expiry],
                    numbers[strike],
                    numbers[tick],
                    self._counts[lot],
                    words[kind],
                    words[segment],
                    self._exchanges[exchange],
                ),
            )
        except ValueError:
            return self._careful(picked)
        if expiry and kind == _SHARE:  # days of another column: they would end its claims
            return self._careful(picked)
        return instrument if instrument.exchange else None

    def _mend_name(self, cells: list[str]) -> bool:
        """Put a name with bare commas together, where a row of too many cells is of no exchange.

        Only names are free text. Returns whether the exchange is one that other rows have, too.
        """
        if self._is_known(cells):
            return True
        if self._name is not None:
            at = slice(self._name, self._name + len(cells) - self._width + 1)
            cells[at] = [",".join(cells[at])]
        return self._is_known(cells)

    def _is_known(self, cells: Sequence[str]) -> bool:
        exchange = cells[self._place]
        return bool(exchange) and exchange in self._exchanges

    def _careful(self, picked: Sequence[str]) -> Instrument | None:
        """Read a row cell by cell: what is not needed gets its default."""
        needed = picked[0], picked[2], picked[11]
        if not all(map(_is_plain, needed)):
            return None
        try:
            token, symbol, exchange = _token(needed[0]), _symbol(needed[1]), _exchange(needed[2])
        except ValueError:
            return None
        kept = (
            self._counts, self._words, self._numbers, self._days, self._numbers, self._numbers,
            self._counts, self._words, self._words,
        )  # fmt: skip
        values = [
            self._value(cell, known)
            for cell, known in zip((picked[1], *picked[3:11]), kept, strict=True)
        ]
        instrument = Instrument._make((token, values[0], symbol, *values[1:], exchange))
        if instrument.expiry is not None and instrument.instrument_type == _SHARE:
            self.defaulted += 1
            instrument = instrument._replace(expiry=None)
        return instrument

    def _value(self, cell: str, known: _Kept) -> Any:
        try:
            if _is_plain(cell):
                return known[cell]
        except ValueError:
            pass
        self.defaulted += 1
        return known.empty


def _token(cell: str) -> int:
    # not what Python takes besides: digits of other scripts, and 1_000
    token = int(cell) if cell.isascii() and "_" not in cell else 0
    if not 0 < token < 2**32:
        raise ValueError("not an instrument token")
    return token


def _symbol(cell: str) -> str:
    symbol = cell.strip()
    if not symbol:
        raise ValueError("not a tradingsymbol")
    return symbol


def _exchange(cell: str) -> str:
    exchange = cell.strip()
    if not exchange or ":" in exchange:  # a colon ends it in EXCHANGE:TRADINGSYMBOL
        raise ValueError("not an exchange")
    return sys.intern(exchange)  # the same few in 117 000 rows


def _number(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _whole(cell: str) -> int:
    number = int(cell)
    if abs(number) >= 2**63:
        raise ValueError("no number of the feed or of a record is as long")
    return number


def _day(cell: str) -> date:
    day = date.fromisoformat(cell)
    if day.year not in EXPIRY_YEARS:
        raise ValueError("no day on which a contract could end")
    return day
