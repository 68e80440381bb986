"""Ticks as plain Python: nested as the feed means them, and flat as a row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from connector.kite.wire.packets import Tick

LEVELS: Final = 5
"""The depth has so many levels a side."""
SIDES: Final = ("buy", "sell")
_PLAIN: Final = (
    "instrument_token", "exchange", "tradingsymbol", "mode", "tradable", "last_price",
    "last_traded_quantity", "average_traded_price", "volume_traded", "total_buy_quantity",
    "total_sell_quantity", "ohlc", "last_trade_time", "exchange_timestamp", "oi", "oi_day_high",
    "oi_day_low", "depth",
)  # fmt: skip
OHLC_COLUMNS: Final = ("ohlc_open", "ohlc_high", "ohlc_low", "ohlc_close")
DEPTH_COLUMNS: Final = tuple(
    f"depth_{side}_{level}_{what}"
    for side in SIDES
    for level in range(1, LEVELS + 1)
    for what in ("quantity", "price", "orders")
)
BEST: Final = {
    "best_bid_price": "depth_buy_1_price",
    "best_bid_quantity": "depth_buy_1_quantity",
    "best_ask_price": "depth_sell_1_price",
    "best_ask_quantity": "depth_sell_1_quantity",
}
"""Columns that repeat the first level of the depth, as in the Avro schema."""
TICK_COLUMNS: Final = (
    "event_time", "receive_time_us", "instrument_token", "exchange", "tradingsymbol", "mode",
    "tradable", "last_price", "last_traded_quantity", "average_traded_price", "volume_traded",
    "total_buy_quantity", "total_sell_quantity", *OHLC_COLUMNS, "last_trade_time",
    "exchange_timestamp", "oi", "oi_day_high", "oi_day_low", *DEPTH_COLUMNS, *BEST,
)  # fmt: skip
"""All columns of a tick that is flat, in the order of the Avro schema."""
_NO_DEPTH: Final = dict.fromkeys((*DEPTH_COLUMNS, *BEST))


def to_dict(tick: Tick) -> dict[str, Any]:
    """Return a tick as nested dicts and lists, for `Tick.to_dict`."""
    values = {name: getattr(tick, name) for name in _PLAIN}
    values["exchange"], values["mode"] = tick.exchange.name, tick.mode.value
    if tick.ohlc is not None:
        values["ohlc"] = tick.ohlc._asdict()
    depth = tick.depth
    if depth is not None:
        values["depth"] = {
            side: [level._asdict() for level in levels]
            for side, levels in zip(SIDES, depth, strict=True)
        }
    return values


def to_row(tick: Tick) -> dict[str, Any]:
    """Return a tick as a flat dict, for `Tick.to_row`."""
    row: dict[str, Any] = {}
    for name in _PLAIN:
        if name == "ohlc":
            row |= zip(OHLC_COLUMNS, tick.ohlc or (None,) * 4, strict=True)
        elif name == "depth":
            row |= _depth(tick)
        else:
            row[name] = getattr(tick, name)
    row["exchange"], row["mode"] = tick.exchange.name, tick.mode.value
    return row


def _depth(tick: Tick) -> dict[str, Any]:
    if tick.depth is None:
        return _NO_DEPTH
    levels = [value for side in tick.depth for level in side for value in level]
    columns = dict(zip(DEPTH_COLUMNS, levels, strict=True))
    return columns | {best: columns[first] for best, first in BEST.items()}
