"""`connector.compat.KiteTicker` beside Kite's own: the same program with one line changed.

From `send()` in the feed to `on_ticks`, in turns; a figure is the best of the passes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tests.bench.bench_latency import PASSES, UNITS, Figure
from tests.bench.bench_pipeline import Feed, measured

OURS, OFFICIAL = "connector.compat", "kiteconnect"
SECONDS = 4
INSTRUMENTS = 500
LOADS = [(1, 1000), (100, 50)]
"""Packets a frame, and frames a second: what Kite's own keeps up with."""
REACH = {"p50_us": 1.0, "cpu_us": 0.5}


def run() -> Iterator[Figure]:
    for packets, per_second in LOADS:
        runs: dict[str, list[dict[str, Any]]] = {OURS: [], OFFICIAL: []}
        for _ in range(PASSES):
            for module, passes in runs.items():
                passes.append(once(module, packets, per_second))
        note = f"{packets} a frame, {per_second}/s"
        best = {
            module: {what: min(one[what] for one in passes) for what in UNITS}
            for module, passes in runs.items()
        }
        for module, values in best.items():
            for what, name in UNITS.items():
                yield {
                    "name": f"{module}, {name}",
                    "value": values[what],
                    "unit": "µs",
                    "note": note,
                }
        for what, name in UNITS.items():
            ratio = best[OURS][what] / best[OFFICIAL][what]
            figure = {"name": f"to {OFFICIAL}, {name}", "value": ratio, "unit": "×", "note": note}
            yield figure | ({"reach": REACH[what]} if what in REACH else {})


def once(module: str, packets: int, per_second: int) -> dict[str, Any]:
    frames = per_second * SECONDS
    feed = Feed(instruments=INSTRUMENTS, packets=packets, frames=frames, pace=per_second, slots=1)
    numbers = [str(INSTRUMENTS), str(frames * packets)]
    return measured(
        feed, [sys.executable, "-m", "tests.bench.compat_subject", module, feed.url, *numbers]
    )
