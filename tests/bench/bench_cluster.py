"""Commands and take-over: three replicas in processes of their own, simulator, embedded broker.

`KAFKA_BOOTSTRAP_SERVERS` names a real Kafka to run against instead. The embedded broker waits about
three seconds longer than a real one before it gives a dead member's partitions away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import time
import uuid
from typing import Any

from connector.kafka.topics import ensure_topics
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.processes import ReplicaProcess, in_charge, replica_processes
from tests.support.replicas import SESSION_TIMEOUT_SECONDS, Steering, broker, settings

SLOTS = (0, 1, 2)
COMMANDS = 40
INSTRUMENTS = 9000
BURST = 3000
KILLS = 5

Figure = dict[str, Any]


def run() -> list[Figure]:
    return asyncio.run(measure())


class Given:
    """A Kafka that is there already."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers


async def measure() -> list[Figure]:
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    config = SimulatorConfig(updates_per_second=0, instruments=100)
    async with SimulatorServer(config) as feed:
        if given:
            tree = settings(given, feed.ws_url)
            await ensure_topics(tree.kafka, tree.topics, slots=len(SLOTS))
        with contextlib.nullcontext(Given(given)) if given else broker() as kafka:
            steering = Steering(kafka.bootstrap_servers)
            try:
                async with replica_processes(kafka, feed, len(SLOTS)) as members:
                    await until(lambda: in_charge(members, SLOTS), 60)
                    applied = [await command(steering, feed, n) for n in range(COMMANDS)]
                    replaced = await replace(steering, feed)
                    per_second = await burst(steering)
                    gaps = [await kill(kafka, feed, members) for _ in range(KILLS)]
            finally:
                steering.close()
        sockets = feed.max_open_sockets()
    where = "real Kafka" if given else "embedded broker"
    return [
        {"name": "command to subscribe request, p50", "value": statistics.median(applied) * 1e3,
         "unit": "ms", "reach": 100,
         "note": f"{COMMANDS} commands, max {max(applied) * 1e3:.0f} ms"},
        {"name": "9000 instruments in one replace", "value": replaced, "unit": "s", "reach": 3,
         "note": "until the sockets were asked for the last one"},
        {"name": "commands in a burst", "value": per_second, "unit": "/s", "reach": 1000,
         "higher_is_better": True,
         "note": f"{BURST} of one instrument each, {INSTRUMENTS} subscribed, until the last reply"},
        {"name": "take-over after SIGKILL, p50", "value": statistics.median(gaps), "unit": "s",
         "reach": SESSION_TIMEOUT_SECONDS + 2, "note": f"session timeout 6 s, {where}"},
        {"name": "take-over after SIGKILL, max", "value": max(gaps), "unit": "s",
         "reach": SESSION_TIMEOUT_SECONDS + 2, "note": f"{KILLS} kills of a slot's owner"},
        {"name": "sockets at once, most", "value": sockets, "unit": "", "reach": 3},
    ]  # fmt: skip


async def command(steering: Steering, feed: SimulatorServer, number: int) -> float:
    """Seconds from writing a command to the request that it leads to."""
    token = (500_000 + number) << 8 | 1
    body = {"id": str(uuid.uuid4()), "type": "subscribe", "watchlist": "bench"}
    started = time.perf_counter()
    steering.write(json.dumps({**body, "instruments": [token]}).encode())
    await feed.until(lambda: token in feed.subscriptions())
    return time.perf_counter() - started


async def replace(steering: Steering, feed: SimulatorServer) -> float:
    tokens = [(600_000 + number) << 8 | 1 for number in range(INSTRUMENTS)]
    body = {"id": "all", "type": "replace", "watchlist": "bench", "mode": "full"}
    started = time.perf_counter()
    steering.write(json.dumps({**body, "instruments": tokens}).encode())
    await feed.until(lambda: set(feed.subscriptions()) == set(tokens), 60)
    return time.perf_counter() - started


async def burst(steering: Steering) -> float:
    """Commands a second, from writing the first to the reply of the last; nothing else is new."""
    bodies = [
        {
            "id": f"burst-{number}",
            "type": "subscribe",
            "watchlist": f"burst-{number % 50}",
            "instruments": [(600_000 + number % INSTRUMENTS) << 8 | 1],
            "mode": "full",
        }
        for number in range(BURST)
    ]
    started = time.perf_counter()
    for body in bodies:
        steering.produce(json.dumps(body).encode())
    await steering.reply(bodies[-1]["id"], 120)
    return BURST / (time.perf_counter() - started)


async def kill(kafka: Any, feed: SimulatorServer, members: list[ReplicaProcess]) -> float:
    """Seconds from the death of a slot's owner until all instruments are asked for again."""
    victim = next(member for member in members if member.slots)
    started = time.perf_counter()
    victim.send_signal(signal.SIGKILL)
    await victim.ended()
    members.remove(victim)
    await feed.until(lambda: len(feed.subscriptions()) < INSTRUMENTS)
    await feed.until(lambda: len(feed.subscriptions()) == INSTRUMENTS, 60)
    took = time.perf_counter() - started
    members.append(await ReplicaProcess.start(kafka.bootstrap_servers, feed.ws_url))
    await until(lambda: in_charge(members, SLOTS) and all(m.slots or m.leads for m in members), 90)
    return took
