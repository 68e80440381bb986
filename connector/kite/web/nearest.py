"""The names that somebody may have meant who wrote one that is not there."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Mapping
from typing import Final

MAX_NAME_CHARACTERS: Final = 100
"""A name of more characters has no neighbours; Kite's have up to 50."""
_AKIN = 2000
"""How many names are compared by their pairs of letters: those that have most thirds of it."""
_COMPARED = 200
"""How many names are compared in full: those that have most pairs of letters in common with it."""
_ALIKE = 0.6  # difflib's default: less would tell names that nobody meant


def nearest(
    symbol: str, names: Mapping[str, Mapping[str, object]], count: int = 3
) -> tuple[str, ...]:
    """Up to `count` names as EXCHANGE:TRADINGSYMBOL, the likeliest first.

    Where a name differs in spaces and signs alone, or stands at another exchange, it is that one.
    Else names of the exchange are compared: all of them by their thirds, which is cheap, fewer by
    their pairs of letters, and few by difflib.

    Args:
        symbol: what was written.
        names: exchange to the tradingsymbols that it has.
        count: how many are told.
    """
    if len(symbol) > MAX_NAME_CHARACTERS:
        return ()
    exchange, _, wanted = symbol.upper().rpartition(":")
    plain = _plain(wanted)
    if not plain:
        return ()
    places = [exchange] if exchange in names else list(names)
    same = [
        f"{place}:{name}"
        for place in sorted(names, key=lambda place: place not in places)
        for name in names[place]
        if name[0].upper() == plain[0] and _plain(name) == plain
    ]
    if same:
        return tuple(same[:count])
    third = max(len(plain) // 3, 1)
    pieces = plain[:third], plain[third : 2 * third], plain[2 * third :]
    listed = ((place, name) for place in places for name in names[place])
    # who makes one slip leaves two thirds of the name as they are
    akin = heapq.nlargest(_AKIN, listed, key=lambda one: sum(piece in one[1] for piece in pieces))
    pairs = [plain[at : at + 2] for at in range(len(plain) - 1)] or [plain]
    candidates = heapq.nlargest(
        _COMPARED,
        (
            (sum(pair in name for pair in pairs) / (len(name) + len(plain)), place, name)
            for place, name in akin
        ),
    )
    plains: dict[str, list[str]] = {}
    for score, place, name in candidates:
        if score:
            plains.setdefault(_plain(name), []).append(f"{place}:{name}")
    close = difflib.get_close_matches(plain, plains, count, _ALIKE)
    return tuple(full for name in close for full in plains[name])[:count]


def _plain(name: str) -> str:
    """A name in capital letters, without spaces and signs."""
    return name.upper().translate(_SIGNS)


_SIGNS: Final = str.maketrans("", "", " -_.&/()'")
