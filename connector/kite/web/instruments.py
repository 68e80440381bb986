"""The daily list of instruments: what each token is called today.

Kite makes the list once a day, about 08:30 IST, as a CSV of some 117 000 rows. Tokens are used
again after an instrument has expired, so that the durable name is EXCHANGE:TRADINGSYMBOL, to be
resolved anew each day.

Source: kite.trade/docs/connect/v3/market-quotes, "Instruments".
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from connector.errors import InstrumentFormatError, InstrumentNotFoundError

COLUMNS = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry",
    "strike", "tick_size", "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
"""The documented columns; a file may have them in another order, and others besides."""

_REQUIRED = ("instrument_token", "tradingsymbol", "exchange")
_CACHE_FORMAT = "kite-connector instruments 1"


class Instrument(NamedTuple):
    """A row of the list. `expiry` is None for what does not expire; prices are in rupees."""

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
    """The good rows, and how many could not be read: too short, or not numbers."""

    instruments: list[Instrument]
    skipped: int


class _Kept(dict[str, Any]):
    """Converts each distinct cell once: the same few thousand come again and again."""

    def __init__(self, convert: Callable[[str], Any], empty: Any) -> None:
        super().__init__({"": empty})
        self._convert = convert

    def __missing__(self, cell: str) -> Any:
        value = self[cell] = self._convert(cell)
        return value


def parse_csv(text: str) -> ParsedInstruments:
    """Read the list by its header.

    A row that lacks cells at its end gets the natural defaults (no name, no expiry, no strike …).
    One that lacks its token, tradingsymbol or exchange, or has a number that is none, is left out
    and counted.

    Raises:
        InstrumentFormatError: there is no header, or it lacks one of those three columns.
    """
    rows = csv.reader(StringIO(text, newline=""))
    try:
        header = [column.strip().removeprefix("\ufeff") for column in next(rows, [])]
        missing = [column for column in _REQUIRED if column not in header]
        if missing:
            raise InstrumentFormatError(f"its header has no {', '.join(missing)}")
        return _read_rows(rows, header)
    except csv.Error as error:  # a NUL, or a cell of more than 128 KiB
        raise InstrumentFormatError(str(error)) from error


def _read_rows(rows: Iterator[list[str]], header: list[str]) -> ParsedInstruments:
    width = len(header)
    # a column that the file does not have reads as empty: a cell put at the end of each row
    token, exchange_token, tradingsymbol, name, last_price, expiry, strike, tick, lot, kind, \
        segment, exchange = (
            header.index(column) if column in header else width for column in COLUMNS
        )  # fmt: skip
    numbers, counts = _Kept(float, 0.0), _Kept(_whole, 0)
    dates, words = _Kept(date.fromisoformat, None), _Kept(str, "")
    instruments: list[Instrument] = []
    skipped = 0
    new = tuple.__new__
    for row in rows:
        if not row:
            continue
        row += [""] * (width + 1 - len(row))
        if not row[tradingsymbol] or not row[exchange]:
            skipped += 1
            continue
        try:
            cells = (
                _token(row[token]),
                _whole(row[exchange_token] or "0"),
                row[tradingsymbol],
                words[row[name]],
                numbers[row[last_price]],
                dates[row[expiry]],
                numbers[row[strike]],
                numbers[row[tick]],
                counts[row[lot]],
                words[row[kind]],
                words[row[segment]],
                words[row[exchange]],
            )
        except ValueError:
            skipped += 1
            continue
        instruments.append(new(Instrument, cells))
    return ParsedInstruments(instruments, skipped)


def _token(cell: str) -> int:
    token = int(cell)
    if not 0 < token < 2**32:
        raise ValueError("not an instrument token")
    return token


def _whole(cell: str) -> int:
    number = int(cell)
    if abs(number) >= 2**63:
        raise ValueError("no number of the feed or of a record is as long")
    return number


class InstrumentMaster:
    """One day's list, found by token and by name.

    Args:
        instruments: the rows; of two with one token or one name, the later counts.
        skipped: rows that could not be read, to be shown.
    """

    def __init__(self, instruments: Iterable[Instrument] = (), *, skipped: int = 0) -> None:
        self.skipped = skipped
        self._by_token: dict[int, Instrument] = {}
        # by exchange first: no string has to be made and kept for each of 117 000 names
        self._by_name: dict[str, dict[str, Instrument]] = {}
        for instrument in instruments:
            self._by_token[instrument.instrument_token] = instrument
            self._by_name.setdefault(instrument.exchange, {})[instrument.tradingsymbol] = instrument

    @classmethod
    def from_csv(cls, text: str) -> InstrumentMaster:
        """Read the list.

        Raises:
            InstrumentFormatError: it is not one.
        """
        parsed = parse_csv(text)
        return cls(parsed.instruments, skipped=parsed.skipped)

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_token.values())

    def __contains__(self, instrument_token: object) -> bool:
        return instrument_token in self._by_token

    def get(self, instrument_token: int) -> Instrument | None:
        """The instrument of a token, None where there is none today."""
        return self._by_token.get(instrument_token)

    def named(self, symbol: str) -> Instrument | None:
        """The instrument of EXCHANGE:TRADINGSYMBOL, None where there is none today."""
        exchange, _, tradingsymbol = symbol.partition(":")
        return self._by_name.get(exchange, {}).get(tradingsymbol)

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
        """Today's token of EXCHANGE:TRADINGSYMBOL, None where there is none."""
        instrument = self.named(symbol)
        return None if instrument is None else instrument.instrument_token

    def symbol(self, instrument_token: int) -> str | None:
        """Today's EXCHANGE:TRADINGSYMBOL of a token, None where there is none."""
        instrument = self._by_token.get(instrument_token)
        return None if instrument is None else instrument.symbol

    def symbols(self) -> dict[int, str]:
        """Token to tradingsymbol, of all: what the codec puts into ticks."""
        return {token: instrument.tradingsymbol for token, instrument in self._by_token.items()}


class CachedInstruments(NamedTuple):
    """A list as it was kept on disk."""

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
        data = gzip.compress(f"{json.dumps(about)}\n{csv_text}".encode(), compresslevel=3)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            dir=self.path.parent, prefix=f".{self.path.name}.", delete=False
        ) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self.path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    Path(file.name).unlink()
                raise

    def load(self) -> CachedInstruments | None:
        """The kept list; None where there is none, or it is damaged or of another kind."""
        try:
            text = gzip.decompress(self.path.read_bytes()).decode()
            head, _, csv_text = text.partition("\n")
            about = json.loads(head)
            if about["format"] != _CACHE_FORMAT or about["characters"] != len(csv_text):
                return None
            return CachedInstruments(csv_text, int(about["fetched_ms"]), about["etag"])
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
            return None
