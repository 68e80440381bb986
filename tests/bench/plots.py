"""The benchmarks' figures as plots: `make bench ARGS="latency scale --plots docs/images"`.

`python -m tests.bench.plots FOLDER FILE…` makes them of what `--json` has written, in one run or in
several.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.svg import Axis, Points, chart, linear, logarithmic

Figure = dict[str, Any]

# a straight line for what grows with how seldom it is: 50 %, 90 %, 99 %, 99.9 %
SHARES = {"0": 0.0, "50": 0.5, "90": 0.9, "99": 0.99, "99.9": 0.999}


def main() -> None:
    folder, *files = map(Path, sys.argv[1:])
    figures = [one for file in files for one in json.loads(file.read_text())["figures"]]
    for name in draw(figures, folder):
        print(folder / name)


def draw(figures: list[Figure], folder: Path) -> list[str]:
    """Write every plot that these figures suffice for; returns the files' names."""
    documents = {
        f"bench-latency-{packets}.svg": latency(figures, packets) for packets in (1, 100)
    } | {
        "bench-ticks-a-frame.svg": one_line(
            figures, "CPU a tick, ", "CPU of the service by ticks a frame, in a flood",
            "ticks a frame", "µs a tick", logarithmic),
        "bench-instruments-cpu.svg": one_line(
            figures, "full, 2/s each: CPU", "CPU by instruments, two ticks a second each",
            "instruments", "% of a core"),
        "bench-instruments-memory.svg": one_line(
            figures, "full, 2/s each: resident memory", "Memory by instruments",
            "instruments", "MiB"),
        "bench-replicas-cpu.svg": one_line(
            figures, ": CPU of all", "CPU of all replicas, 9,000 instruments, 18,000 ticks/s",
            "replicas", "% of a core"),
        "bench-replicas-memory.svg": one_line(
            figures, ": memory of all", "Memory of all replicas", "replicas", "MiB"),
    }  # fmt: skip
    drawn = {name: document for name, document in documents.items() if document}
    for name, document in drawn.items():
        (folder / name).write_text(document)
    return list(drawn)


def latency(figures: list[Figure], packets: int) -> str:
    """How long frames took, beside the peers; empty without figures."""
    series: dict[str, Points] = {
        one["name"].removeprefix("… ").removesuffix(", p50"): [
            (rarity(float(share)), value) for share, value in one["curve"].items()
        ]
        for one in figures
        if one.get("curve") and one["packets"] == packets
    }
    if not series:
        return ""
    marks = [rarity(share) for share in SHARES.values()]
    values = [value for points in series.values() for _, value in points]
    load = "one tick a frame, 3 × 1000/s" if packets == 1 else "100 ticks a frame, 3 × 100/s"
    return chart(
        f"From the feed to produce(), or to the user: {load}",
        Axis("% of frames took at most so long", marks, names=list(SHARES)),
        logarithmic("µs", values), series,
    )  # fmt: skip


def rarity(share: float) -> float:
    return -math.log10(1 - share)


def one_line(
    figures: list[Figure], part: str, title: str, x: str, y: str, axis: Callable[..., Axis] = linear
) -> str:
    """The figures with `x` whose names have this part; empty where there are less than two."""
    points = sorted(
        (one["x"], one["value"]) for one in figures if "x" in one and part in one["name"]
    )
    if len(points) < 2:
        return ""
    across, down = ([point[i] for point in points] for i in (0, 1))
    return chart(title, axis(x, across), axis(y, down), {"": points})


if __name__ == "__main__":
    main()
