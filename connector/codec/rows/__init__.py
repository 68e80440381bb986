"""A tick's framed value as a row of a table and back, and at another time: for files and replays.

Twins as those of the codec, chosen by the same variable. A row is flat, as in `ticks_to_arrow`,
with the stream's own columns behind: COLUMNS has the names. Times are the schema's numbers. Where
many rows are wanted, Columns makes no object a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.codec.rows.columns import COLUMNS, KINDS, NULLABLE, WORDS, Column, Row
from connector.kite.wire import twins

__all__ = [
    "COLUMNS", "KINDS", "NULLABLE", "WORDS", "Column", "Columns", "Row", "body_of", "moved",
    "row_of", "token_of",
]  # fmt: skip

if TYPE_CHECKING:
    from connector.codec.rows._pure import Columns, body_of, moved, row_of, token_of
else:
    _, _twin = twins.load(twins.chosen(), __package__)
    Columns = _twin.Columns
    body_of = _twin.body_of
    moved = _twin.moved
    row_of = _twin.row_of
    token_of = _twin.token_of
