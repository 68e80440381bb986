"""The daily list of instruments: what each token is called today.

Kite makes the list once a day, about 08:30 IST, as a CSV of some 117 000 rows. Tokens are used
again after an instrument has expired, so that the durable name is EXCHANGE:TRADINGSYMBOL, to be
resolved anew each day.

Source: kite.trade/docs/connect/v3/market-quotes, "Instruments".
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from connector.errors import InstrumentFormatError, InstrumentNotFoundError
from connector.files import beside, check_file, make_private_directory
from connector.kite.web.http import CHUNK_BYTES, BodyError, Gunzip, usable_etag

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
MAX_TOKENS_OF_NAME: Final = 20
"""A name, or several that differ in capital and small letters alone, is known for so many tokens:
it is ambiguous from two on, and nothing may take as long as a list full of one name would."""
MAX_CACHE_BYTES: Final = 26 * 2**20
"""The kept list has at most so many bytes, unpacked: as one of Kite's, with characters replaced."""
EXPIRY_YEARS: Final = range(2000, 2200)
"""An expiry outside is no day but a mark for none, such as 1970-01-01 or 9999-12-31."""

_CONTRACTS: Final = ("CE", "PE", "FUT")
_SHARE = "EQ"
"""The instrument_type of what is no contract and does not expire."""
_REQUIRED = ("instrument_token", "tradingsymbol", "exchange")
_new = tuple.__new__  # 12 cells in a third of the time that the class itself takes
_CACHE_FORMAT = "kite-connector instruments 1"


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


class InstrumentMaster:
    """One day's list, found by token and by name.

    Args:
        instruments: the rows; of two with one token, the first one names it.
        skipped: rows that could not be read, to be shown.
        broken: of these, lines with an open quote.
        defaulted: cells that could not be read, to be shown.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument] = (),
        *,
        skipped: int = 0,
        broken: int = 0,
        defaulted: int = 0,
    ) -> None:
        self.skipped = skipped
        self.broken = broken
        self.defaulted = defaulted
        self.repeated = 0
        """Rows whose token another row has already, under another name."""
        self.kept = 0
        """Rows that are damaged, and as the last good list had them."""
        self._by_token: dict[int, Instrument] = {}
        # by exchange first: no string has to be made and kept for each of 117 000 names
        self._by_name: dict[str, dict[str, Instrument]] = {}
        # names of several tokens; and names with small letters, by the same in capital ones
        self._ambiguous: dict[str, list[int]] = {}
        self._folded: dict[str, list[str]] = {}
        # made when somebody asks for it
        self._contracts: dict[str, dict[str, list[Instrument]]] | None = None
        for instrument in instruments:
            self._add(instrument)

    def _add(self, instrument: Instrument) -> None:
        token, name, exchange = (
            instrument.instrument_token,
            instrument.tradingsymbol,
            instrument.exchange,
        )
        first = self._by_token.setdefault(token, instrument)
        if first is not instrument and first.symbol != instrument.symbol:  # else a row twice
            self.repeated += 1
        same = self._by_name.setdefault(exchange, {}).setdefault(name, instrument)
        if same is instrument:
            if name != name.upper() or exchange != exchange.upper():
                names = self._folded.setdefault(instrument.symbol.upper(), [])
                if len(names) < MAX_TOKENS_OF_NAME:
                    names.append(instrument.symbol)
        elif same.instrument_token != token:
            tokens = self._ambiguous.setdefault(instrument.symbol, [same.instrument_token])
            if len(tokens) < MAX_TOKENS_OF_NAME and token not in tokens:
                tokens.append(token)

    @classmethod
    def from_csv(cls, text: str) -> Self:
        """Read Kite's list of instruments from its CSV.

        Raises:
            InstrumentFormatError: it is not one.
        """
        instruments, skipped, broken, defaulted = parse_csv(text)
        return cls(instruments, skipped=skipped, broken=broken, defaulted=defaulted)

    def keep(self, rows: Mapping[int, Instrument]) -> None:
        """Put these rows in the place of those of their tokens and names, before anybody looks."""
        for token, row in rows.items():
            self._by_token[token] = row
            if self._by_name[row.exchange][row.tradingsymbol].instrument_token == token:
                self._by_name[row.exchange][row.tradingsymbol] = row
        self._contracts, self.kept = None, len(rows)

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_token.values())

    def __contains__(self, instrument_token: object) -> bool:
        return instrument_token in self._by_token

    def get(self, instrument_token: int) -> Instrument | None:
        """Return the instrument of a token, None where there is none today."""
        return self._by_token.get(instrument_token)

    def of_exchange(self, exchange: str) -> Collection[Instrument]:
        """Return all instruments of an exchange; of two with one name, the first."""
        return self._by_name.get(exchange, {}).values()

    def contracts_of(self, exchange: str, underlying: str) -> Sequence[Instrument]:
        """Return an exchange's options and futures of an underlying, in whatever letters."""
        return self.all_contracts().get(exchange, {}).get(underlying.upper(), ())

    def all_contracts(self) -> Mapping[str, Mapping[str, list[Instrument]]]:
        """Return all options and futures by exchange and underlying, in capital letters.

        Those of an underlying come by expiry, strike and name.
        """
        if self._contracts is None:
            found: dict[str, dict[str, list[Instrument]]] = {}
            for one in self:
                if one.instrument_type in _CONTRACTS and one.name:
                    of_exchange = found.setdefault(one.exchange, {})
                    of_exchange.setdefault(one.name.upper(), []).append(one)
            for of_exchange in found.values():
                for contracts in of_exchange.values():
                    contracts.sort(
                        key=lambda one: (one.expiry or date.max, one.strike, one.tradingsymbol)
                    )
            self._contracts = found
        return self._contracts

    @property
    def ambiguous(self) -> int:
        """The names that several tokens have."""
        return len(self._ambiguous)

    def listed(self, symbol: str) -> tuple[int, ...]:
        """The tokens of EXCHANGE:TRADINGSYMBOL: none, one, or several where it is ambiguous.

        A name that is written exactly as in the list is that one; else capital and small letters
        are the same, here and there. At most `MAX_TOKENS_OF_NAME` of them.
        """
        if exact := self._exactly(symbol):
            return exact
        folded = symbol.upper()
        names = (folded, *self._folded.get(folded, ()))
        found = dict.fromkeys(token for name in names for token in self._exactly(name))
        return tuple(found)[:MAX_TOKENS_OF_NAME]

    def _exactly(self, symbol: str) -> tuple[int, ...]:
        if symbol in self._ambiguous:
            return tuple(self._ambiguous[symbol])
        exchange, _, tradingsymbol = symbol.partition(":")
        instrument = self._by_name.get(exchange, {}).get(tradingsymbol)
        return () if instrument is None else (instrument.instrument_token,)

    def named(self, symbol: str) -> Instrument | None:
        """The instrument of EXCHANGE:TRADINGSYMBOL, None where there is none or more than one."""
        token = self.token(symbol)
        return None if token is None else self._by_token[token]

    def find(self, symbol: str) -> Instrument:
        """The instrument of EXCHANGE:TRADINGSYMBOL.

        Raises:
            InstrumentNotFoundError: there is none today.
        """
        instrument = self.named(symbol)
        if instrument is None:
            raise InstrumentNotFoundError(symbol)
        return instrument

    def token(self, symbol: str) -> int | None:
        """Today's token of EXCHANGE:TRADINGSYMBOL, None where there is none or more than one."""
        listed = self.listed(symbol)
        return listed[0] if len(listed) == 1 else None

    def expiry(self, instrument_token: int) -> date | None:
        """The last trading day of a token, None where it does not expire or is not listed."""
        instrument = self._by_token.get(instrument_token)
        return None if instrument is None else instrument.expiry

    def symbol(self, instrument_token: int) -> str | None:
        """Return today's EXCHANGE:TRADINGSYMBOL of a token, None where there is none."""
        instrument = self._by_token.get(instrument_token)
        return None if instrument is None else instrument.symbol

    def symbols(self) -> dict[int, str]:
        """Return the tradingsymbol of each token: what the codec puts into ticks."""
        return {token: instrument.tradingsymbol for token, instrument in self._by_token.items()}


class CachedInstruments(NamedTuple):
    """A list of instruments as it was kept on disk."""

    csv: str
    fetched_ms: int
    etag: str | None


class InstrumentCache:
    """Keeps the list between starts, so that a start does not depend on the REST API.

    One gzipped file: a line of JSON about the list, then the list. It is replaced in one step, and
    whatever is not whole is as if it were not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, csv_text: str, *, fetched_ms: int, etag: str | None = None) -> None:
        """Replace the kept list.

        Raises:
            OSError: the file cannot be written; the old one is as it was.
        """
        about = {
            "format": _CACHE_FORMAT,
            "fetched_ms": fetched_ms,
            "etag": etag,
            "characters": len(csv_text),
        }
        make_private_directory(self.path.parent)
        with beside(self.path) as file:
            with gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) as packed:
                # its length tells a whole file from one that was cut within the list
                packed.write(f"{json.dumps(about)}\n".encode())
                # in pieces: the list is there once already
                for start in range(0, len(csv_text), CHUNK_BYTES):
                    packed.write(csv_text[start : start + CHUNK_BYTES].encode())
            file.flush()
            os.fsync(file.fileno())  # before the rename, or the name may stand for an empty file
            Path(file.name).replace(self.path.resolve())

    def load(self) -> CachedInstruments | None:
        """The kept list; None where there is none, or it is damaged, too long or another file."""
        try:
            head, _, csv_text = self._unpacked().decode().partition("\n")
            about = json.loads(head)
            if about["format"] != _CACHE_FORMAT or about["characters"] != len(csv_text):
                return None
            etag = usable_etag(about["etag"])
            return CachedInstruments(csv_text, int(about["fetched_ms"]), etag)
        except (OSError, BodyError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _unpacked(self) -> bytes:
        unpacked, parts = Gunzip(MAX_CACHE_BYTES), []
        check_file(self.path)
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                parts.append(unpacked.feed(chunk))
        unpacked.end()
        return b"".join(parts)
