"""From the socket to the broker's acknowledgement: the service beside a pipeline of today's parts.

Feed, subject and broker are processes of their own, so that CPU time and memory are the subject's
alone. The subject is `kite-connector run` as a user runs it (its HTTP server, health checks and log
included). Latencies are `bench_latency`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import IO, Any

import yaml

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.topics import TopicNames
from tests.bench.feed import SLOTS, tokens_of
from tests.support.ports import free_ports

PYTHON = sys.executable
ROOT = Path(__file__).parents[2]
# the broker keeps 100 000 messages a partition; so many partitions are those of the settings
PARTITIONS = 6
READY_SECONDS = 60.0
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# the sockets are read faster than the broker takes records on the same cores: with room for 200 000
# records alone a flood would go over the disk, which is another thing to measure
ROOM = {"queue_max_messages": 1_500_000, "queue_max_mib": 1024}

Figure = dict[str, Any]


def run() -> list[Figure]:
    with EmbeddedBroker(bench_topics()) as broker:
        servers = broker.bootstrap_servers
        # interleaved, so that a slow moment of the machine meets both
        floods, peer_floods, paced = [], [], []
        for _ in range(3):
            floods.append(service(servers, instruments=500, packets=100, frames=4000))
            peer_floods.append(peer(servers, instruments=500, packets=100, frames=40))
        paced.append(service(servers, instruments=3000, packets=60, frames=1500, pace=100))
    flood = min(floods, key=lambda run: run["cpu_us"])
    peer_flood = min(peer_floods, key=lambda run: run["cpu_us"])
    day = paced[0]
    lost = sum(run["lost"] for run in floods)
    return [
        {"name": "CPU per tick, socket to acknowledged", "value": flood["cpu_us"], "unit": "µs",
         "reach": 2.0, "note": "flood, 100 full packets a frame, 3 connections, best of 3"},
        {"name": "… pykiteconnect + fastavro + confluent-kafka", "value": peer_flood["cpu_us"],
         "unit": "µs", "note": "same frames, best of 3"},
        {"name": "flood, a core", "value": 1e6 / flood["cpu_us"], "unit": "ticks/s",
         "reach": 500_000, "higher_is_better": True,
         "note": f"{flood['per_second']:,.0f} a second were taken with the feed on the same cores"},
        {"name": "lost in the flood", "value": lost, "unit": "ticks", "reach": 0,
         "note": f"of {sum(run['sent'] for run in floods):,}"},
        {"name": "9000 instruments, full, 2/s each: CPU", "value": day["cpu_percent"],
         "unit": "% of a core", "reach": 10,
         "note": f"{day['per_second']:,.0f} ticks/s in frames of 60; lost {day['lost']}"},
        {"name": "9000 instruments, full, 2/s each: memory", "value": day["peak_mib"],
         "unit": "MiB", "reach": 150, "note": "peak resident"},
    ]  # fmt: skip


def bench_topics(slots: int = SLOTS) -> dict[str, int]:
    """Topic → partitions, as the settings have them."""
    names = TopicNames("kite")
    topics = dict.fromkeys(names.all_ticks().values(), PARTITIONS)
    topics |= {names.orders: 3, names.events: 1, names.deadletter: 1, names.control: 1}
    return topics | {names.replies: 1, names.subscriptions: slots, names.instruments: PARTITIONS}


class Feed:
    """The feed's process."""

    def __init__(
        self, *, instruments: int, packets: int, frames: int, pace: float, slots: int = SLOTS
    ) -> None:
        self.process = subprocess.Popen(
            [PYTHON, "-m", "tests.bench.feed", "--connections", str(slots),
             "--instruments", str(instruments), "--packets", str(packets),
             "--frames", str(frames), "--per-second", str(pace)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.url: str = self.hear()["url"]

    def hear(self) -> dict[str, Any]:
        return hear(self.process)

    def send(self) -> dict[str, Any]:
        """Have everything sent; returns what that was."""
        write(self.process.stdin, "go\n")
        return self.hear()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(timeout=30)


def hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a process of the benchmark ended early: {process.args}")
    facts: dict[str, Any] = json.loads(line)
    return facts


def write(stream: IO[str] | None, text: str) -> None:
    assert stream is not None
    stream.write(text)
    stream.flush()


def service(
    servers: str, *, instruments: int, packets: int, frames: int, pace: float = 0,
    tree: Path = ROOT, slots: int = SLOTS,
) -> dict[str, Any]:  # fmt: skip
    """Run `kite-connector run` against the feed; its cost between two looks at /proc."""
    feed = Feed(instruments=instruments, packets=packets, frames=frames, pace=pace, slots=slots)
    try:
        with running_service(feed.url, servers, instruments, tree, slots) as (pid, status):
            feed.hear()
            # past the start: what is measured is steady state
            wait_for(lambda: connected(status()) == slots)
            before = status()["accounting"]["delivered"]
            cpu_from, from_ = cpu_seconds(pid), time.perf_counter()
            sent = feed.send()
            wait_for(lambda: status()["accounting"]["in_flight"] == 0
                     and status()["accounting"]["received"] - before >= sent["sent"])  # fmt: skip
            took = time.perf_counter() - from_
            cpu = cpu_seconds(pid) - cpu_from
            accounting = status()["accounting"]
            peak, resident = memory_mib(pid, "VmHWM"), memory_mib(pid, "VmRSS")
    finally:
        feed.close()
    return {
        "sent": sent["sent"],
        "lost": accounting["received"] - accounting["delivered"] - accounting["dead_lettered"],
        "cpu_us": cpu / sent["sent"] * 1e6,
        "cpu_percent": cpu / took * 100,
        "per_second": sent["sent"] / took,
        "peak_mib": peak,
        "resident_mib": resident,
    }


@contextlib.contextmanager
def running_service(
    url: str,
    servers: str,
    instruments: int,
    tree: Path = ROOT,
    slots: int = SLOTS,
    cluster: str | None = None,
) -> Iterator[tuple[int, Any]]:
    """A service of a tree of the project, this one or an earlier commit's, in a cluster of its own.

    That of the run before would have it wait for others that stream.
    """
    (port,) = free_ports(1)
    tokens = [token for slot in range(slots) for token in tokens_of(slot, instruments)]
    names = [f"bench{number}" for number in range(slots // SLOTS)]
    settings = {
        "name": cluster or f"bench-{port}",
        # nothing is asked of the REST API; an earlier commit does not know the setting, nor asks
        "feed": {"root": url} | ({"reconcile_orders": False} if tree == ROOT else {}),
        "accounts": [{"name": name, "api_key": name, "access_token": "b"} for name in names],
        "instruments": [{"mode": "full", "instruments": tokens}],
        "kafka": {"bootstrap_servers": servers, **ROOM},
        "topics": {"create": False},
        "registry": {"url": "mock://bench"},
        "instrument_master": {"load": False},
        "http": {"port": port},
        "logging": {"level": "warning"},
    }
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "kite.yaml")
        path.write_text(yaml.safe_dump(settings))
        process = subprocess.Popen(
            [PYTHON, "-m", "connector.cli", "run", "--config", str(path)],
            cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)},
        )  # fmt: skip

        def status() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as answer:
                document: dict[str, Any] = json.load(answer)
            return document

        try:
            yield process.pid, status
        finally:
            process.terminate()
            process.wait(60)


def connected(status: dict[str, Any]) -> int:
    """How many sockets a service has."""
    return sum(one["state"] == "connected" for one in status["connections"])


def wait_for(condition: Any, seconds: float = READY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the service did not come so far in time")
        time.sleep(0.2)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def memory_mib(pid: int, what: str) -> float:
    """`VmRSS`, or `VmHWM` for its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def peer(servers: str, **load: float) -> dict[str, Any]:
    return python("tests.bench.peer", servers, **load)


def python(
    module: str, servers: str, *, instruments: int, packets: int, frames: int, pace: float = 0,
    folder: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run a module, or a program's file, with this version or with the one in a folder."""
    feed = Feed(instruments=instruments, packets=packets, frames=frames, pace=pace)
    command = [
        *(
            PYTHON,
            *([module] if module.endswith(".py") else ["-m", module]),
            "--url",
            feed.url,
            "--bootstrap-servers",
            servers,
        ),
        *("--instruments", str(instruments), "--ticks", str(SLOTS * frames * packets)),
    ]
    environment = None if folder is None else {"PYTHONPATH": str(folder)}
    return measured(feed, command, environment, folder)


def measured(
    feed: Feed,
    command: list[str],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Run a program that measures itself against the feed."""
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | (environment or {}), stdout=subprocess.PIPE, text=True
    )

    def end_the_feed() -> None:
        if process.wait() != 0:
            feed.process.terminate()

    # where the program fails, its feed would wait for the sockets for ever
    Thread(target=end_the_feed, daemon=True).start()
    try:
        feed.hear()
        feed.send()
        figures = hear(process)
    finally:
        feed.close()
        process.wait(60)
    ages = figures["ages_us"]
    return {
        "cpu_us": figures["cpu_seconds"] / figures["received"] * 1e6,
        "p50_us": ages[len(ages) // 2],
        "p99_us": ages[len(ages) * 99 // 100],
        "quantiles_us": {share: ages[int(len(ages) * share)] for share in QUANTILES},
        "lost": figures.get("lost", 0),
    }
