"""Tokens and names as users give them: `["NSE:INFY", 408065]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connector.errors import InstrumentNotFoundError
from connector.kite.web.instrument_list import InstrumentList
from connector.kite.wire.tokens import checked_tokens, listed


class Symbols:
    """Turns names into today's tokens, where there is a list that has them.

    Args:
        instruments: the list; None: tokens alone are understood.
    """

    def __init__(self, instruments: InstrumentList | None) -> None:
        self._instruments = instruments
        if instruments is not None:
            instruments.name_ticks()

    def tokens(self, names: Iterable[int | str]) -> list[int]:
        """Each token once, in the order given.

        Raises:
            InstrumentNotFoundError: names that are not in the list, or no list was given.
            TypeError, ValueError: something is neither a token nor a name.
        """
        if self._instruments is not None:
            return self._instruments.tokens(names)
        tokens: list[Any] = []
        symbols: list[str] = []
        for name in listed(names):
            if isinstance(name, str) and ":" in name:
                symbols.append(name)
            else:
                tokens.append(name)
        if symbols:
            raise InstrumentNotFoundError(
                symbols[0],
                others=symbols[1:],
                reason="no instrument list was given: instruments=await InstrumentList.load()",
            )
        return checked_tokens(tokens)
