"""The daily list of instruments: what each token is called today.

Tokens are used again after an instrument has expired, so that the durable name is
EXCHANGE:TRADINGSYMBOL, to be resolved anew each day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, Self

from connector.errors import InstrumentNotFoundError
from connector.kite.web.instrument_csv import Instrument, parse_csv

MAX_TOKENS_OF_NAME: Final = 20
"""A name, or several that differ in capital and small letters alone, is known for so many tokens:
it is ambiguous from two on, and nothing may take as long as a list full of one name would."""
_CONTRACTS: Final = ("CE", "PE", "FUT")


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
