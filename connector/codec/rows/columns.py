"""The columns of a row, in order."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from connector.kite.wire.rows import TICK_COLUMNS

STREAM_COLUMNS: Final = ("slot", "session_id", "sequence", "snapshot")
"""What tells a tick's place in its stream; `ticks_to_arrow` has none of these."""
COLUMNS: Final = (*TICK_COLUMNS, *STREAM_COLUMNS)
Row: TypeAlias = tuple[Any, ...]
"""A value for each of COLUMNS; None where the tick has none."""
