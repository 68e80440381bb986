"""A feed for benchmarks: sends frames to each socket at a set pace, or as fast as they are taken.

A program of its own, so that its work is not measured with the subject's. It speaks lines of JSON:
prints `{"url": …}` when it listens, and `{"subscribed": true}` once each of `--connections` sockets
has asked for `--instruments`. A line on standard input starts the sending; when all is sent it
prints what that was. The end of standard input ends it.

Each packet carries its send time: microseconds of the wall clock, modulo 2³², as `volume_traded`.
So a receiver of the same machine knows the age of what it holds (`age_us`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import struct
import sys
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

PACKET_BYTES = 184
VOLUME_OFFSET = 4 + 16
"""Of a frame's first packet: behind packet count and length."""
HEARTBEAT = b"\0"
SLOTS = 3


def tokens_of(slot: int, instruments: int) -> list[int]:
    """NSE tokens, others for each slot."""
    return [(1000 + slot * 3000 + i) << 8 | 1 for i in range(instruments)]


def subject_arguments(description: str | None, *, kafka: bool = True) -> argparse.Namespace:
    """What a program that is measured is told; `tokens` are those of each socket."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", required=True)
    parser.add_argument("--bootstrap-servers", required=kafka)
    parser.add_argument("--instruments", type=int, required=True, help="of each socket")
    parser.add_argument("--ticks", type=int, required=True)
    chosen = parser.parse_args()
    chosen.tokens = [tokens_of(slot, chosen.instruments) for slot in range(SLOTS)]
    return chosen


def age_us(stamp: int) -> int:
    """Microseconds since a packet with this `volume_traded` was sent."""
    return (time.time_ns() // 1000 - stamp) & 0xFFFFFFFF


def full_packet(token: int, price: int) -> bytes:
    """A full packet, 184 bytes, of a plausible book around `price` (in paise)."""
    now = int(time.time())
    day = (price - 500, price + 900, price - 1200, price - 300)
    volumes = (25, price - 40, 0, 250_000, 310_000)
    head = struct.pack(">16I", token, price, *volumes, *day, now, 1200, 1500, 900, now)
    levels = [(100 + 25 * i, price - 5 * (i + 1), 3 + i) for i in range(5)]
    levels += [(120 + 25 * i, price + 5 * (i + 1), 4 + i) for i in range(5)]
    return head + b"".join(struct.pack(">IIHxx", *level) for level in levels)


def frame_of(tokens: list[int]) -> bytearray:
    """One frame with a full packet of each token."""
    frame = bytearray(struct.pack(">H", len(tokens)))
    for token in tokens:
        frame += struct.pack(">H", PACKET_BYTES) + full_packet(token, 100_000 + token % 50_000)
    return frame


def stamp(frame: bytearray, offset: int = VOLUME_OFFSET) -> bytearray:
    """Put the time into the first packet."""
    struct.pack_into(">I", frame, offset, (time.time_ns() // 1000) & 0xFFFFFFFF)
    return frame


def on_the_wire(frame: bytearray) -> bytearray:
    """A frame as a WebSocket message of 126 to 65 535 bytes (RFC 6455, 5.2)."""
    return bytearray(struct.pack(">BBH", 0x82, 126, len(frame))) + frame


class Feed:
    """The sockets that came, and what each asked for."""

    def __init__(self, connections: int, instruments: int) -> None:
        self.expected = [instruments] * connections
        # dicts for their order: an instrument that was silent is asked for again
        self.tokens: dict[ServerConnection, dict[int, None]] = {}
        self.ready = threading.Event()
        self.lock = threading.Lock()

    def serve_one(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in connection:
                request = json.loads(text)
                if request["a"] != "subscribe":
                    continue
                with self.lock:
                    self.tokens.setdefault(connection, {}).update(dict.fromkeys(request["v"]))
                    self.look()
        with self.lock:  # a slot that has moved to another replica has another socket
            self.tokens.pop(connection, None)
            self.look()

    def look(self) -> None:
        """See whether every socket has asked for its instruments."""
        if [len(tokens) for tokens in self.tokens.values()] == self.expected:
            self.ready.set()

    def frames(self, connection: ServerConnection, packets: int) -> list[bytearray]:
        """Frames that go through all the tokens of a socket, `packets` at a time."""
        tokens = list(self.tokens[connection])
        return [frame_of(tokens[i : i + packets]) for i in range(0, len(tokens), packets)]

    def flood(self, packets: int, frames: int) -> int:
        """`frames` frames to each socket, as fast as it takes them; returns the packets sent."""
        sent = []

        def one(connection: ServerConnection, ready: list[bytearray]) -> None:
            count = 0
            for i in range(frames):
                frame = ready[i % len(ready)]
                connection.send(stamp(frame))
                count += len(frame) // (2 + PACKET_BYTES)
            sent.append(count)

        # all frames are built before the first is sent
        jobs = [(connection, self.frames(connection, packets)) for connection in self.tokens]
        threads = [threading.Thread(target=one, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(sent)

    def pace(self, packets: int, frames: int, per_second: float) -> int:
        """`frames` frames to each socket, `per_second` each, the sockets taking turns.

        Straight into the socket: the time that a library takes to send is not the subject's.
        """
        jobs = [
            (connection.socket, [on_the_wire(frame) for frame in self.frames(connection, packets)])
            for connection in self.tokens
        ]
        offset = len(on_the_wire(bytearray(200))) - 200 + VOLUME_OFFSET
        step = 1.0 / per_second / len(jobs)
        due = time.perf_counter()
        sent = 0
        for i in range(frames):
            for socket, ready in jobs:
                due += step
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
                frame = ready[i % len(ready)]
                socket.sendall(stamp(frame, offset))
                sent += len(frame) // (2 + PACKET_BYTES)
        return sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--instruments", type=int, required=True, help="of each socket")
    parser.add_argument("--packets", type=int, required=True, help="a frame")
    parser.add_argument("--frames", type=int, required=True, help="to each socket")
    parser.add_argument("--per-second", type=float, default=0, help="0: as fast as taken")
    chosen = parser.parse_args()

    feed = Feed(chosen.connections, chosen.instruments)
    with serve(feed.serve_one, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(url=f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        feed.ready.wait()
        say(subscribed=True)
        started = threading.Event()

        def beat() -> None:
            while not started.wait(1):
                for connection in list(feed.tokens):
                    with contextlib.suppress(ConnectionClosed):
                        connection.send(HEARTBEAT)

        heart = threading.Thread(target=beat)
        heart.start()
        sys.stdin.readline()
        started.set()
        heart.join()
        begun = time.perf_counter()
        if chosen.per_second:
            sent = feed.pace(chosen.packets, chosen.frames, chosen.per_second)
        else:
            sent = feed.flood(chosen.packets, chosen.frames)
        say(sent=sent, seconds=time.perf_counter() - begun)
        while sys.stdin.readline():  # heartbeats until the subject has finished
            for connection in list(feed.tokens):
                with contextlib.suppress(ConnectionClosed):
                    connection.send(HEARTBEAT)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
