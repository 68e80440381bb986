"""Packets of the feed, put together from raw wire numbers with struct and nothing else.

Prices are the integers of the wire (paise for NSE), times epoch seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

# a token of each exchange: the segment is the low byte
NSE, NFO, CDS, BSE, BFO, BCD, MCX, MCXSX, INDEX, NCO = (
    1000 << 8 | segment for segment in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)
)
NO_SEGMENT = 1000 << 8 | 10


class Level(NamedTuple):
    """One level of the depth as on the wire."""

    quantity: int = 0
    price: int = 0
    orders: int = 0


def ltp(token: int, last_price: int = 157315) -> bytes:
    return struct.pack(">2I", token, last_price)


def quote(
    token: int,
    last_price: int = 157315,
    last_traded_quantity: int = 1,
    average_traded_price: int = 157033,
    volume_traded: int = 1175986,
    total_buy_quantity: int = 256511,
    total_sell_quantity: int = 360503,
    open: int = 156915,  # noqa: A002
    high: int = 157500,
    low: int = 156105,
    close: int = 156780,
) -> bytes:
    """The defaults are the worked quote packet of the protocol notes."""
    return struct.pack(
        ">11I", token, last_price, last_traded_quantity, average_traded_price, volume_traded,
        total_buy_quantity, total_sell_quantity, open, high, low, close,
    )  # fmt: skip


OF_A_QUOTE: Final = {
    "tradable": True,
    "last_price": 1573.15,
    "last_traded_quantity": 1,
    "average_traded_price": 1570.33,
    "volume_traded": 1175986,
    "total_buy_quantity": 256511,
    "total_sell_quantity": 360503,
}
"""What `quote` and `full` say of an instrument of NSE, but for its name, exchange and day."""


def full(
    token: int,
    *,
    last_trade_time: int = 1612777250,
    oi: int = 0,
    oi_day_high: int = 0,
    oi_day_low: int = 0,
    exchange_timestamp: int = 1612777255,
    depth: Sequence[Level] = (Level(),) * 10,
    **as_quote: int,
) -> bytes:
    assert len(depth) == 10
    return (
        quote(token, **as_quote)
        + struct.pack(">5I", last_trade_time, oi, oi_day_high, oi_day_low, exchange_timestamp)
        + b"".join(struct.pack(">2IH2x", *level) for level in depth)
    )


def index(
    token: int,
    last_price: int = 1507470,
    high: int = 1508000,
    low: int = 1500000,
    open: int = 1502000,  # noqa: A002
    close: int = 1501000,
    change: int = -1,
    exchange_timestamp: int | None = None,
) -> bytes:
    """28 bytes, or 32 with a timestamp."""
    body = struct.pack(">6Ii", token, last_price, high, low, open, close, change)
    return body if exchange_timestamp is None else body + struct.pack(">I", exchange_timestamp)


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(
        struct.pack(">H", len(packet)) + packet for packet in packets
    )
