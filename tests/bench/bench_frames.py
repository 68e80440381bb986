"""30 000 ticks a second into Polars: three sockets, frames of a hundred, a frame of each second."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.bench.bench_pipeline import PYTHON, Feed, hear
from tests.bench.feed import SLOTS

INSTRUMENTS = 1000  # of each socket
PACKETS = 100
FRAMES_PER_SECOND = 100
SECONDS = 10
TICKS = SLOTS * PACKETS * FRAMES_PER_SECOND * SECONDS


def run() -> list[dict[str, Any]]:
    figures = measured()
    load = f"{TICKS / SECONDS:,.0f} ticks/s of {SLOTS} sockets for {SECONDS} s"
    return [
        {"name": "into Polars, lost", "value": figures["lost"], "unit": "ticks", "reach": 0,
         "note": f"{load}; {figures['columns']} columns"},
        {"name": "into Polars, CPU", "value": 100 * figures["core"], "unit": "% of a core",
         "reach": 100, "note": load},
        {"name": "into Polars, a frame", "value": 1e3 * figures["made_seconds"], "unit": "ms",
         "note": "to make the ticks of one second a frame"},
    ]  # fmt: skip


def measured() -> dict[str, Any]:
    frames = FRAMES_PER_SECOND * SECONDS
    feed = Feed(instruments=INSTRUMENTS, packets=PACKETS, frames=frames, pace=FRAMES_PER_SECOND)
    process = subprocess.Popen(
        [PYTHON, "-m", "tests.bench.frames_subject", "--url", feed.url,
         "--instruments", str(INSTRUMENTS), "--ticks", str(TICKS)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        feed.hear()
        feed.send()
        return hear(process)
    finally:
        feed.close()
        process.wait(60)
