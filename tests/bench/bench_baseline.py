"""This tree beside an earlier commit (899a1f6, or BENCH_BASELINE), in turns: ratios of the two.

Feed and broker are processes of their own and of this tree, the same for both. A figure is the
ratio of the two trees' best passes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connector.embedded.broker import EmbeddedBroker
from tests.bench import baseline
from tests.bench.bench_pipeline import (
    Feed,
    bench_topics,
    cpu_seconds,
    running_service,
    service,
    wait_for,
)

PASSES = int(os.environ.get("BENCH_PASSES", "3"))
IDLE_SECONDS = 15.0
PARTS = os.environ.get("BENCH_PARTS", "handover,flood,day,idle").split(",")

Figure = dict[str, Any]
Run = dict[str, float]


def run() -> list[Figure]:
    trees = {"now": baseline.ROOT, "before": baseline.tree()}
    figures: list[Figure] = []
    with EmbeddedBroker(bench_topics()) as broker:
        servers = broker.bootstrap_servers
        if "handover" in PARTS:
            figures += handed_over(trees, servers)
        if "flood" in PARTS:
            figures += flooded(trees, servers)
        if "day" in PARTS:
            figures += of_a_day(trees, servers)
        if "idle" in PARTS:
            figures += when_idle(trees, servers)
    return figures


def in_turns(trees: dict[str, Path], one: Callable[[Path], Run]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in trees}
    for _ in range(PASSES):
        for name, tree in trees.items():
            runs[name].append(one(tree))
    return runs


def ratio(runs: dict[str, list[Run]], key: str) -> tuple[float, str]:
    """Of the best passes; and both of them, for the note."""
    now, before = (min(run[key] for run in runs[name]) for name in ("now", "before"))
    return now / before, f"{now:.3g} : {before:.3g}"


def figure(
    name: str, runs: dict[str, list[Run]], key: str, unit: str, reach: float, note: str = ""
) -> Figure:
    value, both = ratio(runs, key)
    return {"name": f"{name}, to {baseline.COMMIT}", "value": value, "unit": "of 1",
            "reach": reach, "note": f"{both} {unit}{note}"}  # fmt: skip


def handed_over(trees: dict[str, Path], servers: str) -> list[Figure]:
    figures = []
    for packets, reach in ((100, 0.40), (1, 0.30)):

        def one(tree: Path, packets: int = packets) -> Run:
            answer = subprocess.run(
                [sys.executable, Path(__file__).with_name("handover.py"),
                 "--bootstrap-servers", servers, "--packets", str(packets)],
                env=os.environ | {"PYTHONPATH": str(tree)}, cwd=tree,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True,
            )  # fmt: skip
            facts: Run = json.loads(answer.stdout)
            assert not facts["lost"]
            return facts

        runs = in_turns(trees, one)
        what = f"{packets} a frame"
        figures += [
            figure(f"main thread's CPU a tick, frame to librdkafka, {what}", runs, "main_us",
                   "µs", reach),
            {"name": f"all threads' CPU a tick, frame to acknowledged, {what}",
             "value": ratio(runs, "all_us")[0], "unit": "of 1",
             "note": f"{ratio(runs, 'all_us')[1]} µs"},
        ]  # fmt: skip
    return figures


def flooded(trees: dict[str, Path], servers: str) -> list[Figure]:
    figures = []
    for packets, frames, reach in ((100, 4000, 0.55), (1, 60_000, 0.50)):

        def one(tree: Path, packets: int = packets, frames: int = frames) -> Run:
            return service(servers, instruments=500, packets=packets, frames=frames, tree=tree)

        runs = in_turns(trees, one)
        lost = sum(run["lost"] for run in runs["now"])
        figures.append(figure(f"CPU a tick, socket to acknowledged, {packets} a frame, flood",
                              runs, "cpu_us", "µs", reach, f"; lost {lost}"))  # fmt: skip
    return figures


def of_a_day(trees: dict[str, Path], servers: str) -> list[Figure]:
    def one(tree: Path) -> Run:
        return service(servers, instruments=3000, packets=60, frames=1500, pace=100, tree=tree)

    runs = in_turns(trees, one)
    return [
        figure("9000 instruments, full, 2/s each: CPU", runs, "cpu_percent", "% of a core", 0.6),
        {"name": "9000 instruments, full, 2/s each: resident memory", "unit": "MiB",
         "value": min(run["peak_mib"] for run in runs["now"]), "reach": 75,
         "note": f"at its peak; {ratio(runs, 'peak_mib')[1]}"},
    ]  # fmt: skip


def when_idle(trees: dict[str, Path], servers: str) -> list[Figure]:
    runs = in_turns(trees, lambda tree: idle(servers, tree))
    return [
        {"name": "idle service: context switches a second", "unit": "/s",
         "value": min(run["switches"] for run in runs["now"]), "reach": 60,
         "note": f"of all threads; {ratio(runs, 'switches')[1]}"},
        {"name": "idle service: CPU", "unit": "% of a core",
         "value": min(run["cpu_percent"] for run in runs["now"]), "reach": 0.5,
         "note": ratio(runs, "cpu_percent")[1]},
    ]  # fmt: skip


def idle(servers: str, tree: Path, instruments: int = 100) -> Run:
    """A service whose three sockets bring a heartbeat a second and nothing else."""
    feed = Feed(instruments=instruments, packets=1, frames=1, pace=1)
    try:
        with running_service(feed.url, servers, instruments, tree) as (pid, status):
            feed.hear()
            wait_for(lambda: all(c["state"] == "connected" for c in status()["connections"]))
            time.sleep(5)
            switches_from, cpu_from = switches(pid), cpu_seconds(pid)
            time.sleep(IDLE_SECONDS)
            return {
                "switches": (switches(pid) - switches_from) / IDLE_SECONDS,
                "cpu_percent": (cpu_seconds(pid) - cpu_from) / IDLE_SECONDS * 100,
            }
    finally:
        feed.process.kill()  # it has heartbeats until it is told to send
        feed.process.wait()


def switches(pid: int) -> int:
    """Of all threads, wanted and not."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if "ctxt_switches" in line
    )
