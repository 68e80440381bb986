"""Sends as fast as a socket drains, to find out what a reader can take.

The frames are made once and written again and again in large pieces: the sender's own cost is a
fraction of a microsecond a packet, and every packet handed to TCP is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from connector.simulator.feed import Feed
from connector.simulator.sockets import SimulatedSocket
from connector.simulator.wire import BINARY, websocket_frame

_PIECE_BYTES = 128 * 1024  # of one write: a system call costs the less for each packet
_LEAST_PACKETS = 1000  # so that a piece is large even where one instrument is subscribed


@dataclass(slots=True, frozen=True)
class FloodResult:
    """What one socket was sent during a flood."""

    packets: int
    frames: int
    bytes: int
    seconds: float


@dataclass(slots=True, frozen=True)
class _Piece:
    data: bytes
    packets: int
    frames: int


async def flood(
    feed: Feed,
    *,
    packets: int | None = None,
    seconds: float | None = None,
    packets_per_frame: int = 1,
    sockets: Iterable[int] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[int, FloodResult]:
    """Flood each socket with packets of what it subscribes to, in its modes.

    Args:
        feed: whose sockets.
        packets: how many to each socket; None: no bound.
        seconds: for how long; None: no bound. One of the two must be given.
        packets_per_frame: 1 is the hardest case, and usual on a quiet real feed.
        sockets: their numbers; None: all. Those without a subscription are left out.
        monotonic: a clock in seconds.

    Returns:
        socket number to what it was sent. A socket that closes midway counts what was handed to it.
    """
    if packets is None and seconds is None:
        raise ValueError("a flood needs a bound: packets or seconds")
    # of a muted one none: its packets would count as sent
    chosen = [socket for socket in feed.chosen(sockets) if socket.open and not socket.muted]
    floods = {}
    async with asyncio.TaskGroup() as group:
        for socket in chosen:
            if material := _material(feed, socket):
                floods[socket.number] = group.create_task(
                    _flood_socket(socket, material, packets, seconds, packets_per_frame, monotonic)
                )
    return {number: task.result() for number, task in floods.items()}


def _material(feed: Feed, socket: SimulatedSocket) -> list[bytes]:
    packets = [
        packet
        for token, mode in socket.subscriptions.items()
        if (packet := feed.source.packet(token, mode)) is not None
    ]
    return packets * -(-_LEAST_PACKETS // len(packets)) if packets else []


async def _flood_socket(
    socket: SimulatedSocket,
    material: list[bytes],
    packets: int | None,
    seconds: float | None,
    packets_per_frame: int,
    monotonic: Callable[[], float],
) -> FloodResult:
    started = monotonic()
    frames, bytes_, sent = socket.frames, socket.bytes, socket.packets
    pieces = _pieces(material, packets_per_frame)
    turn = 0
    while socket.open and (seconds is None or monotonic() - started < seconds):
        piece = pieces[turn % len(pieces)]
        if packets is not None and (left := packets - (socket.packets - sent)) < piece.packets:
            if left == 0:
                break
            # to the packet: the number asked for is what tests count
            rest = material * -(-left // len(material))
            for piece in _pieces(rest[:left], packets_per_frame):
                socket.write_frames(piece.data, piece.packets, piece.frames)
            break
        socket.write_frames(piece.data, piece.packets, piece.frames)
        turn += 1
        # a fast peer never makes the transport pause: let others run all the same
        await asyncio.sleep(0)
        await socket.connection.drained()
    return FloodResult(
        packets=socket.packets - sent,
        frames=socket.frames - frames,
        bytes=socket.bytes - bytes_,
        seconds=monotonic() - started,
    )


def _pieces(packets: list[bytes], packets_per_frame: int) -> list[_Piece]:
    pieces: list[_Piece] = []
    frames: list[bytes] = []
    size = count = 0
    for start in range(0, len(packets), packets_per_frame):
        part = packets[start : start + packets_per_frame]
        frame = websocket_frame(BINARY, len(part).to_bytes(2, "big") + b"".join(part))
        frames.append(frame)
        size += len(frame)
        count += len(part)
        if size >= _PIECE_BYTES:
            pieces.append(_Piece(b"".join(frames), count, len(frames)))
            frames, size, count = [], 0, 0
    if frames:
        pieces.append(_Piece(b"".join(frames), count, len(frames)))
    return pieces
