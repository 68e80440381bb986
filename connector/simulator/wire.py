"""Builds what Kite sends: packets, frames and the bytes of WebSocket frames.

Written from the documented layout alone and shared with no decoder, so that tests of the decoders
do not check a mistake against itself. All numbers are the wire's own: integers, big-endian.

Source: kite.trade/docs/connect/v3/websocket.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence

HEARTBEAT = b"\x00"
"""A binary frame of one byte."""

LTP_BYTES, QUOTE_BYTES, FULL_BYTES = 8, 44, 184
INDEX_QUOTE_BYTES, INDEX_FULL_BYTES = 28, 32
MAX_UINT32 = 0xFFFF_FFFF

FIELDS = struct.Struct(">16I")
"""Bytes 0 to 64 of a full packet: token, last price, last quantity, average price, volume, total
buy and sell quantity, open, high, low, close, last trade time, OI, OI high, OI low, exchange
time."""
DEPTH = struct.Struct(">" + "IIH2x" * 10)
"""Bytes 64 to 184: quantity, price, orders of five bids, then five offers."""
INDEX = struct.Struct(">6IiI")
"""An index: token, last price, high, low, open, close, signed price change, exchange time."""

TEXT, BINARY = 0x1, 0x2
"""The WebSocket opcodes of data frames (RFC 6455, 11.8)."""


def ltp_packet(token: int, last_price: int) -> bytes:
    """Return an ltp packet, 8 bytes."""
    return struct.pack(">II", token, last_price)


def quote_packet(
    token: int,
    last_price: int,
    *,
    last_quantity: int = 1,
    average_price: int | None = None,
    volume: int = 0,
    buy_quantity: int = 0,
    sell_quantity: int = 0,
    ohlc: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> bytes:
    """Return a quote packet, 44 bytes."""
    average = last_price if average_price is None else average_price
    return struct.pack(
        ">11I",
        token,
        last_price,
        last_quantity,
        average,
        volume,
        buy_quantity,
        sell_quantity,
        *ohlc,
    )


def full_packet(
    quote: bytes,
    *,
    last_trade_time: int = 0,
    oi: int = 0,
    oi_high: int = 0,
    oi_low: int = 0,
    exchange_time: int = 0,
    depth: Sequence[tuple[int, int, int]] = ((0, 0, 0),) * 10,
) -> bytes:
    """Return a full packet, 184 bytes; `depth` is ten (quantity, price, orders)."""
    tail = struct.pack(">5I", last_trade_time, oi, oi_high, oi_low, exchange_time)
    return quote + tail + DEPTH.pack(*(number for level in depth for number in level))


def index_packet(
    token: int,
    last_price: int,
    *,
    ohlc: tuple[int, int, int, int] = (0, 0, 0, 0),
    change: int = 0,
    exchange_time: int | None = None,
) -> bytes:
    """28 bytes, or 32 with an exchange time. The wire's order is high, low, open, close."""
    open_, high, low, close = ohlc
    packet = struct.pack(">6Ii", token, last_price, high, low, open_, close, change)
    return packet if exchange_time is None else packet + struct.pack(">I", exchange_time)


def encode_frame(packets: Iterable[bytes]) -> bytes:
    """The payload of a binary frame: uint16 count, then uint16 length and bytes of each packet."""
    listed = list(packets)
    parts = [len(listed).to_bytes(2, "big")]
    for packet in listed:
        parts += (len(packet).to_bytes(2, "big"), packet)
    return b"".join(parts)


def error_text(message: str) -> str:
    """Return the text frame by which Kite complains."""
    return json.dumps({"type": "error", "data": message}, separators=(",", ":"))


def split_frame(payload: bytes) -> list[bytes]:
    """The packets of a well-formed frame; what is cut off at the end is left out."""
    packets = []
    count = int.from_bytes(payload[:2], "big")
    start = 2
    while count and start + 2 <= len(payload):
        end = start + 2 + int.from_bytes(payload[start : start + 2], "big")
        if end > len(payload):
            break
        packets.append(payload[start + 2 : end])
        start = end
        count -= 1
    return packets


def websocket_frame(opcode: int, payload: bytes) -> bytes:
    """A whole unmasked, unfragmented WebSocket frame, as a server sends it (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        header = struct.pack(">BB", 0x80 | opcode, size)
    elif size <= 0xFFFF:
        header = struct.pack(">BBH", 0x80 | opcode, 126, size)
    else:
        header = struct.pack(">BBQ", 0x80 | opcode, 127, size)
    return header + payload
