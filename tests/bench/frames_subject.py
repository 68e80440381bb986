"""A user of the library with a notebook's need: all ticks of each second as a Polars frame.

`KiteTickerManager` with raw frames, which nothing parses while they come; once a second what has
come becomes a frame with every column. Prints its figures as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time

import polars as pl
import uvloop

from connector import FrameMessage, KiteTickerManager, Mode, ticks_to_arrow
from tests.bench.feed import subject_arguments
from tests.bench.peer import cpu_seconds

SECONDS_A_FRAME = 1.0
SILENT_TURNS = 3
"""What is lost never comes: after so many seconds without a tick it is over."""


async def measure(url: str, tokens: list[list[int]], expected: int) -> dict[str, object]:
    waiting: list[FrameMessage] = []
    begun = asyncio.Event()
    made_seconds: list[float] = []
    made: list[pl.DataFrame] = []
    received = silent = 0
    cpu_from = started = ended = cpu = 0.0

    async def read(channel):  # type: ignore[no-untyped-def]
        async for message in channel:
            if isinstance(message, FrameMessage):
                waiting.append(message)
                begun.set()

    async with KiteTickerManager("bench", "bench", root=url, raw=True) as manager:
        manager.subscribe_symbols([token for mine in tokens for token in mine], Mode.FULL)
        channels = manager.get_all_channels().values()
        readers = [asyncio.ensure_future(read(channel)) for channel in channels]
        await begun.wait()
        cpu_from, started = cpu_seconds(), time.perf_counter()
        while received < expected and silent < SILENT_TURNS:
            await asyncio.sleep(SECONDS_A_FRAME)
            frames = waiting[:]
            waiting.clear()
            turn = time.perf_counter()
            ticks = pl.DataFrame(ticks_to_arrow(frames))
            made_seconds.append(time.perf_counter() - turn)
            made.append(ticks)
            received += len(ticks)
            silent = 0 if len(ticks) else silent + 1
        ended, cpu = time.perf_counter(), cpu_seconds() - cpu_from
    await asyncio.gather(*readers)
    everything = pl.concat(made)
    assert len(everything) == received
    return {
        "received": received, "lost": expected - received, "columns": everything.width,
        "core": cpu / (ended - started), "made_seconds": statistics.median(made_seconds),
    }  # fmt: skip


def main() -> None:
    chosen = subject_arguments(__doc__, kafka=False)
    print(json.dumps(uvloop.run(measure(chosen.url, chosen.tokens, chosen.ticks))), flush=True)


if __name__ == "__main__":
    main()
