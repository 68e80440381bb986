"""This tree beside an earlier commit (899a1f6, or BENCH_BASELINE), in turns: ratios of the two.

Feed and broker are processes of their own and of this tree, the same for both. A figure is the
ratio of the two trees' best passes; `BENCH_PARTS` and `BENCH_PASSES` choose. All parts take some
four minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from connector.embedded.broker import EmbeddedBroker
from tests.bench import baseline
from tests.bench.bench_pipeline import (
    Feed,
    bench_topics,
    connected,
    cpu_seconds,
    running_service,
    service,
    wait_for,
)
from tests.bench.feed import SLOTS

PASSES = int(os.environ.get("BENCH_PASSES", "2"))
IDLE_SECONDS = 10.0
SETTLE_SECONDS = 2.0  # of an idle service, behind its start
DAY_SECONDS = 6
PARTS = os.environ.get("BENCH_PARTS", "handover,flood,day,idle").split(",")

Figure = dict[str, Any]
Run = dict[str, float]


def run() -> Iterator[Figure]:
    trees = {"now": baseline.ROOT, "before": baseline.tree()}
    parts = {"handover": handed_over, "flood": flooded, "day": of_a_day, "idle": when_idle}
    with EmbeddedBroker(bench_topics()) as broker:
        for name in PARTS:
            yield from parts[name](trees, broker.bootstrap_servers)


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


def handed_over(trees: dict[str, Path], servers: str) -> Iterator[Figure]:
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
        yield figure(f"main thread's CPU a tick, frame to librdkafka, {what}", runs, "main_us",
                     "µs", reach)  # fmt: skip
        value, both = ratio(runs, "all_us")
        yield {"name": f"all threads' CPU a tick, frame to acknowledged, {what}",
               "value": value, "unit": "of 1", "note": f"{both} µs"}  # fmt: skip


def flooded(trees: dict[str, Path], servers: str) -> Iterator[Figure]:
    """As fast as the sockets are read; and at a pace that librdkafka and broker keep, too."""
    for packets, frames, pace, reach in (
        (100, 2_000, 0, 0.55), (100, 2_000, 667, 0.55), (1, 20_000, 0, 0.50),
    ):  # fmt: skip

        def one(tree: Path, load: tuple[int, int, int] = (packets, frames, pace)) -> Run:
            packets, frames, pace = load
            return service(servers, instruments=500, packets=packets, frames=frames, pace=pace,
                           tree=tree)  # fmt: skip

        runs = in_turns(trees, one)
        lost = sum(run["lost"] for run in runs["now"])
        how = f"{SLOTS * packets * pace:,} a second" if pace else "flood"
        yield figure(f"CPU a tick, socket to acknowledged, {packets} a frame, {how}",
                     runs, "cpu_us", "µs", reach, f"; lost {lost}")  # fmt: skip


def of_a_day(trees: dict[str, Path], servers: str) -> Iterator[Figure]:
    def one(tree: Path) -> Run:
        return service(servers, instruments=3000, packets=60, frames=100 * DAY_SECONDS, pace=100,
                       tree=tree)  # fmt: skip

    runs = in_turns(trees, one)
    what = "9000 instruments, full, 2/s each"
    yield figure(f"{what}: CPU", runs, "cpu_percent", "% of a core", 0.6)
    for key, when, aim in (
        ("resident_mib", "the end", {"reach": 75}),
        ("peak_mib", "its peak", {}),
    ):
        best = min(run[key] for run in runs["now"])
        yield {"name": f"{what}: resident memory at {when}", "unit": "MiB", "value": best,
               "note": ratio(runs, key)[1], **aim}  # fmt: skip


def when_idle(trees: dict[str, Path], servers: str) -> Iterator[Figure]:
    runs = in_turns(trees, lambda tree: idle(servers, tree))
    for key, what, unit, reach in (
        ("switches", "context switches a second", "/s", 60.0),
        ("cpu_percent", "CPU", "% of a core", 0.5),
    ):
        best = min(run[key] for run in runs["now"])
        yield {"name": f"idle service: {what}", "unit": unit, "value": best, "reach": reach,
               "note": f"of all threads; {ratio(runs, key)[1]}"}  # fmt: skip


def idle(servers: str, tree: Path, instruments: int = 100) -> Run:
    """A service whose three sockets bring a heartbeat a second and nothing else."""
    feed = Feed(instruments=instruments, packets=1, frames=1, pace=1)
    try:
        with running_service(feed.url, servers, instruments, tree) as (pid, status):
            feed.hear()
            wait_for(lambda: connected(status()) == SLOTS)
            time.sleep(SETTLE_SECONDS)
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
