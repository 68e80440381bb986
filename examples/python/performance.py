"""What a tick costs here, way by way: a table of its own, without a feed."""

import struct
import time
from collections.abc import Callable

import options

from connector import FrameMessage, frame_array, parse_frame, ticks_to_arrow
from connector.compat.ticks import tick_dicts

PACKETS = 100


def frame() -> bytes:
    """A frame of full packets, as Kite lays them out."""
    packets = [
        struct.pack(">16I", 408065 + number * 256, 150_000 + number, *range(14)) + bytes(120)
        for number in range(PACKETS)
    ]
    body = b"".join(struct.pack(">H", len(packet)) + packet for packet in packets)
    return struct.pack(">H", PACKETS) + body


def microseconds(work: Callable[[], object], seconds: float) -> float:
    """Of a tick, the best of many rounds."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best * 1e6 / PACKETS


def main() -> None:
    seconds = options.read(__doc__).seconds
    data = frame()
    ways: dict[str, Callable[[], object]] = {
        "parse_frame, no field read": lambda: parse_frame(data),
        "parse_frame, the price": lambda: [tick.last_price for tick in parse_frame(data)],
        "parse_frame, price and best bid": lambda: [
            (tick.last_price, tick.depth and tick.depth.buy[0]) for tick in parse_frame(data)
        ],
        "parse_frame, to_row": lambda: [tick.to_row() for tick in parse_frame(data)],
        "compat: kiteconnect's dicts": lambda: tick_dicts(data),
        "frame_array, the price": lambda: frame_array(data)["last_price"] / 100,
        "ticks_to_arrow, 100 frames": lambda: ticks_to_arrow([FrameMessage(data, 0)] * 100),
    }
    print(f"{'way':34} {'µs a tick':>10} {'ticks a second':>16}")
    for name, work in ways.items():
        cost = microseconds(work, seconds / len(ways))
        cost = cost / 100 if name.startswith("ticks_to_arrow") else cost
        print(f"{name:34} {cost:10.3f} {1e6 / cost:16,.0f}")


if __name__ == "__main__":
    main()
