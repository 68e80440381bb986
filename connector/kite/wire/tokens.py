"""Reading of instrument tokens as users give them."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

_MAX_TOKEN = 2**32 - 1


def listed(tokens: Iterable[Any]) -> Iterable[Any]:
    """Return what is a list of tokens or names, as it is.

    Raises:
        TypeError: it is a single one, whose characters or bytes are none.
    """
    if isinstance(tokens, str | bytes | bytearray) or not isinstance(tokens, Iterable):
        raise TypeError(f"instruments are given as a list, [{tokens!r}] in place of {tokens!r}")
    return tokens


def checked_tokens(tokens: Iterable[int]) -> list[int]:
    """Each token once, in the order given, as a plain int.

    Here and not on the wire, where a token that is a string is ignored without a word.

    Raises:
        TypeError: something is no whole number (numpy's are), or no list of them.
        ValueError: a number that is no 32-bit token.
    """
    checked: dict[int, None] = {}
    for token in listed(tokens):
        if isinstance(token, bool | str):
            raise TypeError(f"an instrument_token is a whole number, not {token!r}")
        number = operator.index(token)
        if not 0 < number <= _MAX_TOKEN:
            raise ValueError(f"{number} is no instrument_token")
        checked[number] = None
    return list(checked)
