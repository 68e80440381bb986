"""The columns of a row, in order, and what a column of many rows is."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from connector.kite.wire.rows import TICK_COLUMNS

STREAM_COLUMNS: Final = ("slot", "session_id", "sequence", "snapshot")
"""What tells a tick's place in its stream; `ticks_to_arrow` has none of these."""
COLUMNS: Final = (*TICK_COLUMNS, *STREAM_COLUMNS)
Row: TypeAlias = tuple[Any, ...]
"""A value for each of COLUMNS; None where the tick has none."""

WORDS: Final = ("exchange", "tradingsymbol", "mode")
"""Columns of words, which stand in a column as numbers: a word comes many times."""
_NEVER_NULL: Final = (
    "event_time", "receive_time_us", "instrument_token", "exchange", "mode", "tradable",
    "last_price", *STREAM_COLUMNS,
)  # fmt: skip
NULLABLE: Final = tuple(name not in _NEVER_NULL for name in COLUMNS)


def _kind(name: str) -> str:
    if name in {"tradable", "snapshot"}:
        return "b"
    if name in {"slot", *WORDS}:
        return "i"
    return "d" if "price" in name or name.startswith("ohlc") else "q"


KINDS: Final = tuple(map(_kind, COLUMNS))
"""The numbers of each column, in the words of the module `array`."""


class Column(NamedTuple):
    """The values of many rows in one column."""

    numbers: bytearray
    """One a row, in the machine's order of bytes, of the kind in KINDS; 0 where there is none."""
    there: bytearray | None
    """A byte a row: 1, or 0 where the row has none; None where every row has one."""
    words: list[str] | None
    """What the numbers of WORDS mean, by their place; None of other columns."""
