"""Frames and ticks side by side on one connection, and what each of them costs."""

import asyncio
import time

import options

from connector import (
    FrameMessage,
    KiteTickerAsync,
    Mode,
    TickMessage,
    frame_array,
    parse_frame,
    ticks_to_arrow,
)


def cost(what: str, seconds: float, ticks: int) -> None:
    print(f"{what}: {seconds * 1e6 / ticks:.2f} µs a tick")


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    async with KiteTickerAsync.connect(key, token, root=root) as ticker:
        parsed = ticker.subscribe([options.INFY, options.RELIANCE], Mode.FULL)
        raw = ticker.subscribe(raw=True)
        await asyncio.sleep(seconds)
        ticks = [one for one in await parsed.next_batch() if isinstance(one, TickMessage)]
        frames = [one for one in await raw.next_batch() if isinstance(one, FrameMessage)]
    count = sum(len(message) for message in ticks)
    print(f"{count} ticks in {len(ticks)} messages, {len(frames)} frames beside them")
    begin = time.perf_counter()
    again = [tick.last_price for frame in frames for tick in parse_frame(frame.data)]
    cost("parse_frame and a price", time.perf_counter() - begin, len(again))
    begin = time.perf_counter()
    views = [frame_array(frame.data)["last_price"] / 100 for frame in frames]
    cost("frame_array and a price", time.perf_counter() - begin, max(sum(map(len, views)), 1))
    begin = time.perf_counter()
    rows: int = ticks_to_arrow(frames).num_rows
    cost("ticks_to_arrow, all columns", time.perf_counter() - begin, rows)


asyncio.run(main())
