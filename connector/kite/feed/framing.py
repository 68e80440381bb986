"""Frames of RFC 6455 (section 5.2), and how much of them one turn of the event loop takes on.

Both twins of the frame reader have these from here.
"""

from __future__ import annotations

from typing import Final

MAX_FRAME_BYTES: Final = 4 * 2**20
"""3000 full packets of 186 bytes are 558 000 bytes; a frame over this is not from the feed."""

FRAMES_PER_TURN: Final = 512
"""What one turn of the event loop does for one socket, so that a flood never keeps timers, the
status server or the other sockets waiting for more than some milliseconds. A frame costs 1 of
these, and more the more packets or text it has; what is left goes on with the loop's next turn,
and nothing more is read until then."""
# a packet is transcoded in some 0.1 µs, a frame costs one call of Python besides
PACKETS_PER_COST: Final = 8
COSTLY_BYTES: Final = 32
"""The packets of a frame of so many bytes are counted."""
LARGE_READ_BYTES: Final = 64 * 2**10
"""Bytes of one read after which a turn ends in any case: libuv would read on at once."""
BUFFER_BYTES: Final = 256 * 2**10
"""The read buffer has so many bytes, and so has the longest frame that is read straight from it."""

WHOLE_BINARY: Final = 0x82
"""The first byte of a binary message in one frame: FIN, no reserved bit, opcode 2."""
FIN: Final = 0x80
MASKED: Final = 0x80
"""The bit of the second byte that says masked: only a client may mask (RFC 6455, 5.1)."""
# 3 to 7 and 11 to 15 are reserved: websockets fails the connection for them
OPCODES: Final = frozenset({0, 1, 2, 8, 9, 10})
TEXT: Final = 1
BINARY: Final = 2


def turn_cost(frame: bytes) -> int:
    """What the payload of a binary frame costs of a turn."""
    size = len(frame)
    if size < COSTLY_BYTES:
        return 1
    # a packet has two bytes at least: one that lies about its packets costs what it can hold
    return 1 + min(frame[0] << 8 | frame[1], size >> 1) // PACKETS_PER_COST
