"""The whole market: thirteen accounts, 39 slots, the 117 000 instruments of the daily list.

On one replica, on ten that start together, and on two of which the leader is killed. Simulator and
replicas share this machine. `KAFKA_BOOTSTRAP_SERVERS` names a real Kafka to run against instead of
the embedded broker, which takes about three seconds longer to notice a dead member.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.topics import topic_specs
from connector.settings.models import TopicSettings
from tests.support.market import WholeMarket, whole_market

ACCOUNTS = int(os.environ.get("MARKET_ACCOUNTS", "13"))
INSTRUMENTS = int(os.environ.get("MARKET_INSTRUMENTS", "117000"))
REPLICAS = int(os.environ.get("MARKET_REPLICAS", "10"))
UPDATES_PER_SECOND = 0.2
SESSION_TIMEOUT_SECONDS = 10
PATIENCE_SECONDS = 400.0

Figure = dict[str, Any]


def run() -> list[Figure]:
    return asyncio.run(measure())


async def measure() -> list[Figure]:
    chosen = os.environ.get("MARKET_PARTS", "one,ten,kill").split(",")
    figures: list[Figure] = []
    if "one" in chosen:
        async with market() as one:
            figures += await started(one, 1)
    if "ten" in chosen:
        async with market() as many:
            figures += await started(many, REPLICAS)
    if "kill" in chosen:
        async with market() as two:
            await started(two, 2)
            figures += await leader_killed(two)
    return figures


@contextlib.asynccontextmanager
async def market() -> AsyncIterator[WholeMarket]:
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    topics = TopicSettings(prefix=f"market-{uuid.uuid4().hex[:6]}", replication_factor=1)
    specs = {one.name: one.partitions for one in topic_specs(topics, slots=3 * ACCOUNTS)}
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.nullcontext() if given else EmbeddedBroker(specs) as broker,
    ):
        servers = broker.bootstrap_servers if broker is not None else given
        async with whole_market(
            Path(directory),
            servers,
            accounts=ACCOUNTS,
            instruments=INSTRUMENTS,
            updates_per_second=UPDATES_PER_SECOND,
            topics={"prefix": topics.prefix, "replication_factor": 1},
            cluster={"session_timeout_seconds": SESSION_TIMEOUT_SECONDS},
        ) as made:
            try:
                yield made
            except BaseException:
                for process in made.fleet.all:
                    print(process.log_path.read_text()[-3000:])
                raise


async def started(whole: WholeMarket, replicas: int) -> list[Figure]:
    begun = await whole.start(replicas)
    took = await whole.until_all_stream(PATIENCE_SECONDS) - begun
    statuses = await whole.fleet.statuses()
    rebalances = [status["cluster"]["rebalances"] for status in statuses.values()]
    name = f"{replicas} replica{'s' if replicas > 1 else ''}"
    memory = [resident_mib(process.process.pid) for process in whole.fleet.alive]
    return [
        {"name": f"{name}: all stream", "value": took, "unit": "s", "reach": 60,
         "note": f"{whole.instruments} instruments, since the start of the last process"},
        {"name": f"{name}: sockets opened", "value": whole.connects, "unit": "",
         "note": f"for {whole.slots} slots; at once at most {whole.most_sockets}, and at least "
                 f"{whole.fewest_sockets} once all were open"},
        {"name": f"{name}: assignments and revocations a replica, most",
         "value": max(rebalances), "unit": "", "note": f"{sum(rebalances)} together"},
        {"name": f"{name}: memory", "value": max(memory), "unit": "MiB", "note": "the largest"},
    ]  # fmt: skip


async def leader_killed(whole: WholeMarket) -> list[Figure]:
    leader = await whole.fleet.leader()
    begun, killed_at = time.monotonic(), time.time()
    leader.killed = True
    leader.send_signal(signal.SIGKILL)
    await whole.until_all_stream(PATIENCE_SECONDS)
    took = whole.streams_since(killed_at) - killed_at
    confirmed = await whole.until_all_confirmed(PATIENCE_SECONDS) - begun
    return [
        {"name": "leader of two owners killed: all stream again", "value": took, "unit": "s",
         "reach": SESSION_TIMEOUT_SECONDS + 2,
         "note": f"session timeout {SESSION_TIMEOUT_SECONDS} s; each has sent its snapshot"},
        {"name": "… all in full mode again", "value": confirmed, "unit": "s",
         "note": f"each has sent its next update, of which it has one in "
                 f"{1 / UPDATES_PER_SECOND:g} s"},
    ]  # fmt: skip


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
