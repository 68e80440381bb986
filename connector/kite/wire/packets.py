"""Binary frames of the feed, taken apart: the packets of a frame, and a packet's `Tick`.

All numbers are big-endian and unsigned. A frame is a uint16 count, then for each packet a uint16
length and the packet. Source: kite.trade/docs/connect/v3/websocket, "Message structure".
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from struct import Struct
from typing import Final

from connector.errors import ParseTickError
from connector.kite.wire.models import OHLC, Depth, DepthItem, Exchange, Mode, Tick

UNKNOWN_LENGTH: Final = "unknown_length"
"""A packet whose length is none of 8, 28, 32, 44, 184."""
UNKNOWN_SEGMENT: Final = "unknown_segment"
"""A packet of an exchange whose divisor nobody knows: no price is guessed."""
TRUNCATED_FRAME: Final = "truncated_frame"
"""The frame ends within a packet, or before it; the bytes are what is left, length included."""
TRAILING_BYTES: Final = "trailing_bytes"
"""The frame goes on after the last packet that it announced."""

MODES: Final = {8: Mode.LTP, 28: Mode.QUOTE, 32: Mode.FULL, 44: Mode.QUOTE, 184: Mode.FULL}
"""A packet's mode follows from its length."""

LTP: Final = Struct(">2I")
"""token, last price."""
INDEX_QUOTE: Final = Struct(">6I4x")
"""token, last price, high, low, open, close; the change at the end is disputed and not read."""
INDEX_FULL: Final = Struct(">6I4xI")
"""INDEX_QUOTE, exchange timestamp."""
QUOTE: Final = Struct(">11I")
"""token, last price, last quantity, average price, volume, buy, sell, open, high, low, close."""
FULL: Final = Struct(">16I" + "2IH2x" * 10)
"""QUOTE, last trade time, oi, oi high, oi low, exchange timestamp; ten depth levels."""

_COUNT = Struct(">H").unpack_from
# what DepthItem._make does, without a call of Python for each of ten levels
_item = partial(tuple.__new__, DepthItem)
_EXCHANGES = {exchange.value: exchange for exchange in Exchange}


def split_frame(frame: bytes) -> tuple[list[bytes], tuple[str, bytes] | None]:
    """The packets of a frame, and what is wrong with it as (reason, the bytes left over).

    A frame below two bytes is a heartbeat and has no packets.
    """
    end = len(frame)
    if end < 2:
        return [], None
    packets: list[bytes] = []
    start = 2
    for _ in range(_COUNT(frame)[0]):
        body = start + 2
        if body > end:
            return packets, (TRUNCATED_FRAME, frame[start:])
        stop = body + _COUNT(frame, start)[0]
        if stop > end:
            return packets, (TRUNCATED_FRAME, frame[start:])
        packets.append(frame[body:stop])
        start = stop
    return packets, (TRAILING_BYTES, frame[start:]) if start < end else None


def parse_packet(packet: bytes) -> Tick:
    """One packet, without its length.

    Raises:
        ParseTickError: its length or its exchange is unknown.
    """
    length = len(packet)
    if length not in MODES:
        raise ParseTickError(UNKNOWN_LENGTH, packet)
    exchange = _EXCHANGES.get(packet[3])
    if exchange is None:
        raise ParseTickError(UNKNOWN_SEGMENT, packet)
    if length == 184:
        return _full(packet, exchange)
    if length == 44:
        return _quote(packet, exchange)
    if length == 8:
        token, last = LTP.unpack(packet)
        return Tick(token, Mode.LTP, exchange, exchange.tradable, last / exchange.divisor)
    return _index(packet, exchange)


def parse_packets(frame: bytes) -> tuple[list[Tick], list[tuple[str, bytes]]]:
    """The ticks of a frame, and (reason, bytes) of what is not a tick. Never raises."""
    packets, leftover = split_frame(frame)
    ticks: list[Tick] = []
    rejected: list[tuple[str, bytes]] = []
    for packet in packets:
        try:
            ticks.append(parse_packet(packet))
        except ParseTickError as error:
            rejected.append((error.reason, packet))
    if leftover is not None:
        rejected.append(leftover)
    return ticks, rejected


def parse_frame(frame: bytes, *, strict: bool = False) -> list[Tick]:
    """The ticks of a frame, in wire order.

    Args:
        frame: a binary message of the WebSocket; a heartbeat has no ticks.
        strict: raise for what is not a tick, instead of passing over it.

    Raises:
        ParseTickError: with `strict`, the first packet that is not a tick.
    """
    ticks, rejected = parse_packets(frame)
    if strict and rejected:
        raise ParseTickError(*rejected[0])
    return ticks


def _time(seconds: int) -> datetime | None:
    """Seconds since 1970 as aware UTC; the wire says 0 where there is none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _index(packet: bytes, exchange: Exchange) -> Tick:
    if len(packet) == 32:
        token, last, high, low, open_, close, timestamp = INDEX_FULL.unpack(packet)
    else:
        token, last, high, low, open_, close = INDEX_QUOTE.unpack(packet)
        timestamp = 0
    divisor = exchange.divisor
    return Tick(
        token,
        MODES[len(packet)],
        exchange,
        exchange.tradable,
        last / divisor,
        ohlc=OHLC(open_ / divisor, high / divisor, low / divisor, close / divisor),
        exchange_timestamp=_time(timestamp),
    )


def _quote(packet: bytes, exchange: Exchange) -> Tick:
    token, last, quantity, average, volume, buy, sell, open_, high, low, close = QUOTE.unpack(
        packet
    )
    divisor = exchange.divisor
    return Tick(
        token,
        Mode.QUOTE,
        exchange,
        exchange.tradable,
        last / divisor,
        quantity,
        average / divisor,
        volume,
        buy,
        sell,
        OHLC(open_ / divisor, high / divisor, low / divisor, close / divisor),
    )


def _full(packet: bytes, exchange: Exchange) -> Tick:
    (
        token, last, quantity, average, volume, buy, sell, open_, high, low, close,
        trade_time, oi, oi_high, oi_low, timestamp, *depth,
    ) = FULL.unpack(packet)  # fmt: skip
    divisor = exchange.divisor
    prices = [price / divisor for price in depth[1::3]]
    items = tuple(map(_item, zip(depth[::3], prices, depth[2::3], strict=True)))
    return Tick(
        token,
        Mode.FULL,
        exchange,
        exchange.tradable,
        last / divisor,
        quantity,
        average / divisor,
        volume,
        buy,
        sell,
        OHLC(open_ / divisor, high / divisor, low / divisor, close / divisor),
        _time(trade_time),
        oi,
        oi_high,
        oi_low,
        _time(timestamp),
        Depth(items[:5], items[5:]),
    )
