"""Reading of instrument tokens as users give them."""

from __future__ import annotations

import operator
from collections.abc import Iterable

_MAX_TOKEN = 2**32 - 1


def checked_tokens(tokens: Iterable[int]) -> list[int]:
    """Each token once, in the order given, as a plain int.

    Here and not on the wire, where a token that is a string is ignored without a word.

    Raises:
        TypeError: something is no whole number; numpy's are.
        ValueError: a number that is no 32-bit token.
    """
    checked: dict[int, None] = {}
    for token in tokens:
        if isinstance(token, bool | str):
            raise TypeError(f"an instrument_token is a whole number, not {token!r}")
        number = operator.index(token)
        if not 0 < number <= _MAX_TOKEN:
            raise ValueError(f"{number} is no instrument_token")
        checked[number] = None
    return list(checked)
