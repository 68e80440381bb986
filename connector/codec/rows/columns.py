"""The columns of a row, in order."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from connector.kite.wire.rows import BEST, DEPTH_COLUMNS, OHLC_COLUMNS

STREAM_COLUMNS: Final = ("slot", "session_id", "sequence", "snapshot")
"""What tells a tick's place in its stream; `ticks_to_arrow` has none of these."""
COLUMNS: Final = (
    "event_time", "receive_time_us", "instrument_token", "exchange", "tradingsymbol", "mode",
    "tradable", "last_price", "last_traded_quantity", "average_traded_price", "volume_traded",
    "total_buy_quantity", "total_sell_quantity", *OHLC_COLUMNS, "last_trade_time",
    "exchange_timestamp", "oi", "oi_day_high", "oi_day_low", *DEPTH_COLUMNS, *BEST,
    *STREAM_COLUMNS,
)  # fmt: skip
Row: TypeAlias = tuple[Any, ...]
"""A value for each of COLUMNS; None where the tick has none."""
