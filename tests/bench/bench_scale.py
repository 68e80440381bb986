"""What a service takes by ticks a frame, by instruments and by replicas; `SCALE_PARTS` chooses.

- `frames`: a flood on three sockets, 500 instruments each, in frames of 1 to 300 ticks.
- `instruments`: 300 to 117 000 in full mode, each with two ticks a second, in one process with as
  many accounts as they need: 39 sockets at most.
- `replicas`: 9000 instruments on 30 sockets of ten accounts, two ticks a second each, shared by 1
  to 10 replicas on the same machine.

Feed and broker are processes of their own (the broker is this one).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

from connector.embedded.broker import EmbeddedBroker
from tests.bench.bench_pipeline import (
    Feed,
    bench_topics,
    connected,
    cpu_seconds,
    memory_mib,
    running_service,
    service,
    wait_for,
)

PARTS = os.environ.get("SCALE_PARTS", "frames,instruments,replicas").split(",")
UPDATES_PER_SECOND = 2
SECONDS = 6
PATIENCE_SECONDS = 180.0
SETTLE_SECONDS = 3.0

TICKS_A_FRAME = {1: 20_000, 3: 10_000, 10: 6_000, 30: 3_000, 100: 2_000, 300: 700}
"""Of a flood, with the frames that each socket gets."""
INSTRUMENTS = {
    300: (3, 100),
    3_000: (3, 100),
    9_000: (3, 100),
    27_000: (9, 100),
    117_000: (39, 100),
}
"""In all, with the sockets and the ticks a frame."""
REPLICAS = (1, 2, 5, 10)
REPLICA_SLOTS, REPLICA_INSTRUMENTS, REPLICA_PACKETS = 30, 300, 60

Figure = dict[str, Any]


def run() -> Iterator[Figure]:
    parts = {"frames": by_frames, "instruments": by_instruments, "replicas": by_replicas}
    for name in PARTS:
        yield from parts[name]()


def by_frames() -> Iterator[Figure]:
    with EmbeddedBroker(bench_topics()) as broker:
        for packets, frames in TICKS_A_FRAME.items():
            one = service(broker.bootstrap_servers, instruments=600, packets=packets, frames=frames)
            yield {"name": f"CPU a tick, {packets} a frame", "value": one["cpu_us"], "unit": "µs",
                   "x": packets, "note": f"flood, {one['per_second']:,.0f} ticks/s; "
                                         f"lost {one['lost']}"}  # fmt: skip


def by_instruments() -> Iterator[Figure]:
    smallest: tuple[int, float] | None = None
    for instruments, (slots, packets) in INSTRUMENTS.items():
        each = instruments // slots
        pace = each * UPDATES_PER_SECOND / packets
        with EmbeddedBroker(bench_topics(slots)) as broker:
            one = service(
                broker.bootstrap_servers, instruments=each, packets=packets,
                frames=round(pace * SECONDS), pace=pace, slots=slots,
            )  # fmt: skip
        what = f"{instruments:,} instruments, full, {UPDATES_PER_SECOND}/s each"
        note = f"{one['per_second']:,.0f} ticks/s, {one['cpu_us']:.2f} µs a tick"
        aim = {"reach": 100} if instruments == max(INSTRUMENTS) else {}
        yield {"name": f"{what}: CPU", "value": one["cpu_percent"], "unit": "% of a core",
               "x": instruments, "note": note, **aim}  # fmt: skip
        yield {"name": f"{what}: resident memory", "value": one["resident_mib"], "unit": "MiB",
               "x": instruments, "note": f"{one['peak_mib']:.0f} at its peak"}  # fmt: skip
        aim = {"reach": 0} if instruments == max(INSTRUMENTS) else {}
        yield {"name": f"{what}: lost", "value": one["lost"], "unit": "ticks",
               "note": f"of {one['sent']:,}", **aim}  # fmt: skip
        smallest = smallest or (instruments, one["resident_mib"])
        if instruments == max(INSTRUMENTS):
            more = (one["resident_mib"] - smallest[1]) * 1024 / (instruments - smallest[0])
            yield {"name": "resident memory an instrument", "value": more, "unit": "KiB",
                   "reach": 1.4, "note": f"from {smallest[0]} to {instruments:,}"}  # fmt: skip


def by_replicas() -> Iterator[Figure]:
    for replicas in REPLICAS:
        with EmbeddedBroker(bench_topics(REPLICA_SLOTS)) as broker:
            one = shared(broker.bootstrap_servers, replicas)
        note = f"{one['per_second']:,.0f} ticks/s; lost {one['lost']}"
        what = f"9,000 instruments on {replicas} replica{'s' if replicas > 1 else ''}"
        yield {"name": f"{what}: CPU of all", "value": one["cpu_percent"], "unit": "% of a core",
               "x": replicas, "note": note}  # fmt: skip
        yield {"name": f"{what}: memory of all", "value": one["resident_mib"], "unit": "MiB",
               "x": replicas, "note": f"{one['largest_mib']:.0f} the largest"}  # fmt: skip


def shared(servers: str, replicas: int) -> dict[str, float]:
    """Replicas of one cluster, started together; what all of them take while ticks come."""
    pace = REPLICA_INSTRUMENTS * UPDATES_PER_SECOND / REPLICA_PACKETS
    feed = Feed(instruments=REPLICA_INSTRUMENTS, packets=REPLICA_PACKETS,
                frames=round(pace * SECONDS), pace=pace, slots=REPLICA_SLOTS)  # fmt: skip
    try:
        with contextlib.ExitStack() as stack:
            started = [
                stack.enter_context(
                    running_service(
                        feed.url, servers, REPLICA_INSTRUMENTS, slots=REPLICA_SLOTS, cluster="bench"
                    )
                )
                for _ in range(replicas)
            ]
            pids = [pid for pid, _ in started]

            def counts(what: str) -> int:
                return sum(status()["accounting"][what] for _, status in started)

            def sockets() -> list[int]:
                return [connected(status()) for _, status in started]

            feed.hear()
            # each has slots, not all of them as many; they may move once more
            wait_for(
                lambda: sum(had := sockets()) == REPLICA_SLOTS and min(had) > 0, PATIENCE_SECONDS
            )
            time.sleep(SETTLE_SECONDS)
            before, cpu_from, from_ = counts("delivered"), cpu(pids), time.perf_counter()
            sent = feed.send()["sent"]
            wait_for(lambda: counts("in_flight") == 0 and counts("received") - before >= sent)
            took, spent = time.perf_counter() - from_, cpu(pids) - cpu_from
            lost = counts("received") - counts("delivered") - counts("dead_lettered")
            memory = [memory_mib(pid, "VmRSS") for pid in pids]
    finally:
        feed.close()
    return {
        "cpu_percent": spent / took * 100,
        "per_second": sent / took,
        "lost": lost,
        "resident_mib": sum(memory),
        "largest_mib": max(memory),
    }


def cpu(pids: list[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)
