"""Ticks as a DataFrame, bars of a second, and a chart of them.

It needs more than the library: pip install "kite-connector[arrow]" polars matplotlib
"""

import asyncio
import time

import matplotlib as mpl
import options
import polars as pl
from matplotlib import pyplot as plt

from connector import FrameMessage, KiteTickerAsync, Mode, ticks_to_arrow

CHART = "bars.svg"


async def collect(key: str, token: str, root: str, seconds: float) -> list[FrameMessage]:
    """Raw frames of some seconds: nothing is parsed while they come."""
    frames: list[FrameMessage] = []
    end = time.monotonic() + seconds
    async with KiteTickerAsync.connect(key, token, root=root, raw=True) as ticker:
        subscriber = ticker.subscribe([options.INFY], Mode.FULL)
        while (frame := await subscriber.next_frame()) and time.monotonic() < end:
            frames.append(frame)
    return frames


def bars_of(frames: list[FrameMessage]) -> pl.DataFrame:
    """Open, high, low and close of each second, by the time of receipt."""
    ticks = pl.DataFrame(ticks_to_arrow(frames))
    return (
        ticks.with_columns(time=pl.from_epoch("receive_time_us", time_unit="us"))
        .group_by_dynamic("time", every="1s")
        .agg(
            open=pl.col("last_price").first(),
            high=pl.col("last_price").max(),
            low=pl.col("last_price").min(),
            close=pl.col("last_price").last(),
            spread=(pl.col("best_ask_price") - pl.col("best_bid_price")).mean(),
        )
    )


def draw(bars: pl.DataFrame, path: str) -> None:
    """Candles as a picture."""
    mpl.use("svg")
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    for number, bar in enumerate(bars.iter_rows(named=True)):
        colour = "tab:green" if bar["close"] >= bar["open"] else "tab:red"
        axes.vlines(number, bar["low"], bar["high"], color=colour, linewidth=1)
        axes.vlines(number, bar["open"], bar["close"], color=colour, linewidth=7)
    axes.set(title="INFY, bars of a second", xlabel="second", ylabel="rupees")
    figure.savefig(path, metadata={"Date": None})


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    frames = await collect(key, token, root, seconds)
    bars = bars_of(frames)
    print(f"{len(frames)} frames, {len(bars)} bars", bars)
    draw(bars, CHART)


asyncio.run(main())
