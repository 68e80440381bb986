"""Plays a capture to the open sockets instead of the random market."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from connector.kite.feed.capture import CapturedMessage, CaptureReader, PayloadKind
from connector.simulator.feed import Feed
from connector.simulator.sockets import SimulatedSocket
from connector.simulator.wire import (
    FULL_BYTES,
    INDEX_FULL_BYTES,
    INDEX_QUOTE_BYTES,
    LTP_BYTES,
    QUOTE_BYTES,
    split_frame,
)

Route = Literal["subscription", "slot"]

# packet length -> what it can be cut down to; a mode that was not recorded cannot be made up
_CUTS = {
    FULL_BYTES: {"full": FULL_BYTES, "quote": QUOTE_BYTES, "ltp": LTP_BYTES},
    QUOTE_BYTES: {"quote": QUOTE_BYTES, "ltp": LTP_BYTES},
    INDEX_FULL_BYTES: {"full": INDEX_FULL_BYTES, "quote": INDEX_QUOTE_BYTES, "ltp": LTP_BYTES},
    INDEX_QUOTE_BYTES: {"quote": INDEX_QUOTE_BYTES, "ltp": LTP_BYTES},
}


@dataclass(slots=True)
class ReplayResult:
    """What became of a capture's records in one round."""

    records: int = 0
    frames: int = 0
    """How many frames were sent, over all sockets."""
    packets: int = 0
    unrouted: int = 0
    """How many records no socket was there for, or had asked for."""
    truncated: bool = False
    """Whether the capture ends in the middle of a record."""


class CaptureReplay:
    """The packets last played, by token: what a subscription gets as its snapshot."""

    def __init__(self) -> None:
        self._last: dict[int, bytes] = {}  # token → packet, without its length

    def packet(self, token: int, mode: str) -> bytes | None:
        """Return length prefix and packet; None for what was not played yet."""
        packet = self._last.get(token)
        return None if packet is None else _cut(packet, mode)

    async def play(
        self,
        feed: Feed,
        reader: CaptureReader,
        *,
        speed: float = 1.0,
        route: Route = "subscription",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> ReplayResult:
        """Play a capture once.

        Args:
            feed: whose sockets get it.
            reader: the capture.
            speed: 1 as recorded, 10 ten times faster, 0 as fast as the sockets drain.
            route: `slot`: each frame unchanged to the socket of the recorded slot, the oldest open
                socket being slot 0. `subscription`: each packet to all sockets that subscribe to
                it, cut down to their mode; text frames still go by slot.
            monotonic: a clock in seconds.

        Raises:
            CaptureError: the file is not a capture, or damaged.
        """
        result = ReplayResult()
        started = monotonic()
        first_us: int | None = None
        for record in reader:
            first_us = record.receive_time_us if first_us is None else first_us
            if speed > 0:
                # from the first record on: pauses of this process do not add up
                due = started + (record.receive_time_us - first_us) / 1e6 / speed
                if (pause := due - monotonic()) > 0:
                    await asyncio.sleep(pause)
            elif result.records % 64 == 0:  # others have their turn, although no socket is full
                await asyncio.sleep(0)
            before = feed.total_frames, feed.total_packets
            if not self._deliver(feed, record, route):
                result.unrouted += 1
            result.records += 1
            result.frames += feed.total_frames - before[0]
            result.packets += feed.total_packets - before[1]
            # the slowest socket holds all: records keep their order over sockets
            for socket in list(feed.sockets.values()):
                await socket.connection.drained()
        result.truncated = reader.truncated
        return result

    def _deliver(self, feed: Feed, record: CapturedMessage, route: Route) -> bool:
        sockets = list(feed.sockets.values())
        owner = sockets[record.slot] if record.slot < len(sockets) else None
        if record.kind is PayloadKind.TEXT:
            return owner is not None and owner.send_text(record.payload.decode(errors="replace"))
        packets = split_frame(record.payload)
        # whether somebody asked for them or not: who does so later gets these as the snapshot
        for packet in packets:
            self._last[int.from_bytes(packet[:4], "big")] = packet
        if route == "slot":
            return owner is not None and owner.send_binary(record.payload, len(packets))
        return any([_send_wanted(socket, packets) for socket in sockets])  # noqa: C419 - send to all


def _send_wanted(socket: SimulatedSocket, packets: list[bytes]) -> bool:
    wanted = [
        _cut(packet, mode)
        for packet in packets
        if (mode := socket.subscriptions.get(int.from_bytes(packet[:4], "big"))) is not None
    ]
    if not wanted:
        return False
    return socket.send_binary(len(wanted).to_bytes(2, "big") + b"".join(wanted), len(wanted))


def _cut(packet: bytes, mode: str) -> bytes:
    size = _CUTS.get(len(packet), {}).get(mode, len(packet))
    return size.to_bytes(2, "big") + packet[:size]
