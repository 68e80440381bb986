"""Today's names of tokens, for `Tick.tradingsymbol`: one list for the whole process.

A token means the same to every account, so the list that was given last counts for all ticks.
"""

from __future__ import annotations

from collections.abc import Callable

_Lookup = Callable[[int], str | None]


def _nothing(instrument_token: int) -> str | None:  # noqa: ARG001 -- of a `_Lookup`
    return None


_lookup: _Lookup = _nothing


def name_ticks(lookup: _Lookup | None) -> None:
    """Take names from here; None: from nowhere."""
    global _lookup  # noqa: PLW0603 -- the one list of the process
    _lookup = lookup or _nothing


def tradingsymbol(instrument_token: int) -> str | None:
    """The name of a token today; None where no list is loaded, or it does not have the token."""
    return _lookup(instrument_token)
