"""How binary frames and packets are laid out: lengths, fields, and what a frame is made of.

All numbers are big-endian and unsigned. A frame is a uint16 count, then for each packet a uint16
length and the packet. Source: kite.trade/docs/connect/v3/websocket, "Message structure".
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from connector.kite.wire.models import Mode

UNKNOWN_LENGTH: Final = "unknown_length"
"""A packet whose length is none of 8, 28, 32, 44, 184."""
UNKNOWN_SEGMENT: Final = "unknown_segment"
"""A packet of an exchange whose divisor nobody knows: no price is guessed."""
TRUNCATED_FRAME: Final = "truncated_frame"
"""The frame ends within a packet, or before it; the bytes are what is left, length included."""
TRAILING_BYTES: Final = "trailing_bytes"
"""The frame goes on after the last packet that it announced."""

TOO_MANY_PACKETS: Final = "too_many_packets"
"""What a frame has beyond `MAX_PACKETS_PER_FRAME`, length of the next packet included."""
TOO_MANY_REJECTED: Final = "too_many_rejected"
"""The first of the packets beyond `MAX_REJECTED_PER_FRAME`; the others are only counted."""

MAX_PACKETS_PER_FRAME: Final = 10_000
"""So many packets of one frame are read: a connection carries 3000 instruments."""
MAX_REJECTED_PER_FRAME: Final = 64
"""So many packets of one frame that are no ticks are kept, each by itself."""

MODES: Final = {8: Mode.LTP, 28: Mode.QUOTE, 32: Mode.FULL, 44: Mode.QUOTE, 184: Mode.FULL}
"""The mode of a packet, which follows from its length."""

LTP: Final = Struct(">2I")
"""An ltp packet: instrument_token, last_price."""
INDEX_QUOTE: Final = Struct(">6I4x")
"""An index in quote mode: token, last price, high, low, open, close; the change at the end is
disputed and not read."""
INDEX_FULL: Final = Struct(">6I4xI")
"""A full packet of an index: the quote, then exchange_timestamp."""
QUOTE: Final = Struct(">11I")
"""A quote packet: token, last price, last quantity, average price, volume, buy, sell, open, high,
low, close."""
FULL: Final = Struct(">16I" + "2IH2x" * 10)
"""QUOTE, last trade time, oi, oi high, oi low, exchange timestamp; ten depth levels."""

_COUNT = Struct(">H").unpack_from


def split_frame(frame: bytes) -> tuple[list[bytes], tuple[str, bytes] | None]:
    """The packets of a frame, and what is wrong with it as (reason, the bytes left over).

    A frame below two bytes is a heartbeat and has no packets.
    """
    end = len(frame)
    if end < 2:
        return [], None
    packets: list[bytes] = []
    start = 2
    # the count is believed only as far as there are bytes
    for number in range(_COUNT(frame)[0]):
        if number == MAX_PACKETS_PER_FRAME:
            return packets, (TOO_MANY_PACKETS, frame[start:])
        body = start + 2
        if body > end:  # within the length itself
            return packets, (TRUNCATED_FRAME, frame[start:])
        stop = body + _COUNT(frame, start)[0]
        if stop > end:
            return packets, (TRUNCATED_FRAME, frame[start:])
        packets.append(frame[body:stop])
        start = stop
    return packets, (TRAILING_BYTES, frame[start:]) if start < end else None


def reject(rejected: list[tuple[str, bytes]], reason: str, packet: bytes) -> int:
    """Keep a packet of a frame that is no tick, within the bound; returns 1 where it is not kept.

    The first beyond the bound is kept too, to show where they go on.
    """
    if len(rejected) < MAX_REJECTED_PER_FRAME:
        rejected.append((reason, packet))
        return 0
    if len(rejected) == MAX_REJECTED_PER_FRAME:
        rejected.append((TOO_MANY_REJECTED, packet))
        return 0
    return 1
