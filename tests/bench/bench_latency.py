"""From `send()` in the feed to `produce()`, and to who reads a channel of `KiteTickerManager`.

In turns in one run: this version, the connector at 899a1f6 (see baseline.py), the Rust manager
where cargo is, gokiteconnect where go is, pykiteconnect with fastavro and confluent-kafka, and with
BENCH_PEER=PROGRAM any other one. That is called with the feed's address, the instruments of each of
three sockets, the ticks to wait for and the packets of a frame, and prints one line of JSON:
`received`, `cpu_seconds`, and `ages_us`, one for each frame, sorted.

A figure is the best of the passes; ratios are of best to best.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from connector.embedded.broker import EmbeddedBroker
from tests.bench import baseline, go_peer, rust_peer
from tests.bench.bench_pipeline import Feed, bench_topics, measured, python
from tests.bench.feed import SLOTS

PASSES = int(os.environ.get("BENCH_PASSES", "3"))
SECONDS = 3
INSTRUMENTS = 500
PEER = os.environ.get("BENCH_PEER")

Figure = dict[str, Any]


class Load(NamedTuple):
    """What each socket gets."""

    packets: int
    per_second: int

    @property
    def frames(self) -> int:
        return self.per_second * SECONDS

    @property
    def ticks(self) -> int:
        return SLOTS * self.frames * self.packets

    def __str__(self) -> str:
        return f"{self.packets} a frame, {SLOTS} × {self.per_second}/s"


class Row(NamedTuple):
    """A ratio to somebody, and what it should be."""

    who: str
    to: str
    reach: dict[str, float]


LOADS = [Load(1, 1000), Load(100, 100)]
OURS, BEFORE = "service to produce()", "… service at 899a1f6"
LIBRARY, LIBRARY_BEFORE = "KiteTickerManager", "… KiteTickerManager at 899a1f6"
RUST, GO = "… Rust manager", "… gokiteconnect"
OFFICIAL, OTHER = "… pykiteconnect pipeline", "… BENCH_PEER"
RATIOS = {
    1: [
        Row(OURS, BEFORE, {}),
        Row(OURS, RUST, {"p50_us": 0.6, "p99_us": 1.0, "cpu_us": 1.0}),
        Row(LIBRARY, LIBRARY_BEFORE, {}),
        Row(LIBRARY, RUST, {"p50_us": 1.0}),
        Row(LIBRARY, GO, {}),
        Row(LIBRARY, OTHER, {}),
    ],
    100: [
        Row(OURS, BEFORE, {}),
        Row(OURS, RUST, {"p50_us": 1.0, "p99_us": 1.0}),
        Row(LIBRARY, LIBRARY_BEFORE, {}),
        Row(LIBRARY, RUST, {}),
        Row(LIBRARY, GO, {"p50_us": 1.0, "p99_us": 1.0}),
        Row(LIBRARY, OTHER, {}),
    ],
}
UNITS = {"p50_us": "p50", "p99_us": "p99", "cpu_us": "CPU a tick"}


def run() -> Iterator[Figure]:
    with EmbeddedBroker(bench_topics()) as broker:
        for load in LOADS:
            yield from figures_of(load, contestants(broker.bootstrap_servers, load))


def contestants(servers: str, load: Load) -> dict[str, Callable[[], dict[str, Any]]]:
    """Everybody who is here, by name."""

    def of(module: str, folder: Path | None = None) -> Callable[[], dict[str, Any]]:
        return lambda: python(
            module, servers, instruments=INSTRUMENTS, packets=load.packets, frames=load.frames,
            pace=load.per_second, folder=folder,
        )  # fmt: skip

    def program(path: Path | str, *, rust: bool = False) -> Callable[[], dict[str, Any]]:
        def call() -> dict[str, Any]:
            feed = Feed(instruments=INSTRUMENTS, packets=load.packets, frames=load.frames,
                        pace=load.per_second)  # fmt: skip
            numbers = [str(INSTRUMENTS), str(load.ticks)]
            if rust:
                return measured(feed, [str(path), *numbers], {rust_peer.ROOT_VARIABLE: feed.url})
            return measured(feed, [str(path), feed.url, *numbers, str(load.packets)])

        return call

    here = {OURS: of("tests.bench.subject"), LIBRARY: of("tests.bench.library_subject")}
    if (before := earlier()) is not None:
        here[BEFORE] = of("tests.bench.subject", before)
        here[LIBRARY_BEFORE] = of(str(Path(__file__).with_name("library_subject.py")), before)
    if (manager := rust_peer.found()) is not None:
        here[RUST] = program(manager, rust=True)
    if (ticker := go_peer.found()) is not None:
        here[GO] = program(ticker)
    if load.packets == 1:
        here[OFFICIAL] = of("tests.bench.peer")
    if PEER:
        here[OTHER] = program(PEER)
    return here


def earlier() -> Path | None:
    """The folder of the version before; None where this clone has not the commit."""
    try:
        return baseline.tree()
    except subprocess.CalledProcessError:
        print(f"no commit {baseline.COMMIT} here: no ratios to it", file=sys.stderr)
        return None


def figures_of(load: Load, here: dict[str, Callable[[], dict[str, Any]]]) -> list[Figure]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in here}
    for _ in range(PASSES):
        for name, contestant in here.items():
            runs[name].append(contestant())
    best = {
        name: {what: min(one[what] for one in passes) for what in UNITS}
        for name, passes in runs.items()
    }
    # of the pass with the shortest tail, for the plots
    curves = {
        name: min(passes, key=lambda one: one["p99_us"])["quantiles_us"]
        for name, passes in runs.items()
    }
    figures = [
        {"name": f"{name}, {UNITS[what]}", "value": value, "unit": "µs", "note": str(load)}
        | ({"curve": curves[name], "packets": load.packets} if what == "p50_us" else {})
        for name, values in best.items()
        for what, value in values.items()
    ]
    for name, passes in runs.items():
        lost = sum(one["lost"] for one in passes)
        if lost or name == LIBRARY:
            figures.append(
                {"name": f"{name}, lost", "value": lost, "unit": "ticks",
                 "note": f"{load}; of {load.ticks * PASSES:,}"}
                | ({"reach": 0} if name == LIBRARY else {})
            )  # fmt: skip
    for row in RATIOS[load.packets]:
        if row.who in best and row.to in best:
            figures += [
                {"name": f"{row.who} to {row.to.removeprefix('… ')}, {UNITS[what]}", "unit": "×",
                 "value": best[row.who][what] / best[row.to][what], "note": str(load)}
                | ({"reach": row.reach[what]} if what in row.reach else {})
                for what in UNITS
            ]  # fmt: skip
    return figures
