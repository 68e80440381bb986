"""What the page costs a replica that streams 9000 instruments in full mode, 18 000 ticks a second.

The CPU of its process without a viewer and with five, in turns: the difference is the page's, with
all that is used by the threads that began with the first viewer and read Kafka for a minute after
the last one. Simulator, broker and viewers share this machine. At the end ten thousand
questions are asked at once: how they were answered, and how long `/live` took meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from connector.embedded.broker import EmbeddedBroker
from connector.kafka.topics import topic_specs
from connector.settings.models import TopicSettings
from tests.support.market import whole_market

INSTRUMENTS = 9000
UPDATES_PER_SECOND = 2.0
VIEWERS = 5
TURNS = int(os.environ.get("PAGE_TURNS", "7"))
TURN_SECONDS = 4.0
SETTLE_SECONDS = 0.7
QUESTIONS = 10_000
PATIENCE_SECONDS = 120.0

Figure = dict[str, Any]


def run() -> list[Figure]:
    return asyncio.run(measure())


async def measure() -> list[Figure]:
    topics = TopicSettings(replication_factor=1)
    specs = {one.name: one.partitions for one in topic_specs(topics, slots=3)}
    with tempfile.TemporaryDirectory() as directory, EmbeddedBroker(specs) as broker:
        async with whole_market(
            Path(directory),
            broker.bootstrap_servers,
            accounts=1,
            instruments=INSTRUMENTS,
            updates_per_second=UPDATES_PER_SECOND,
        ) as market:
            await market.start(1)
            await market.until_all_stream(PATIENCE_SECONDS)
            (replica,) = market.fleet.alive
            url = str(replica.status_url()).removesuffix("/status")
            tokens = [one.instrument_token for one in market.server.universe.listings]
            figures = await cost(replica.process.pid, url, tokens[:VIEWERS])
            return figures + await crowd(url)


async def cost(pid: int, url: str, tokens: list[int]) -> list[Figure]:
    kinds: dict[str, list[int]] = {
        "none": [],
        "viewers": [0] * VIEWERS,
        "inspecting": tokens,
    }
    before = set(cpu_ns(pid))
    own: dict[str, list[float]] = {name: [] for name in kinds}
    readers: dict[str, list[float]] = {name: [] for name in kinds}
    rates = []
    for _ in range(TURNS):
        for name, watched in kinds.items():
            async with viewers(url, watched):
                await asyncio.sleep(SETTLE_SECONDS)
                ticks, at_first, begun = await received(url), cpu_ns(pid), time.monotonic()
                await asyncio.sleep(TURN_SECONDS)
                seconds, used = time.monotonic() - begun, cpu_ns(pid)
                rates.append((await received(url) - ticks) / seconds)
            shares = {
                thread: (used[thread] - at_first.get(thread, 0)) / 1e7 / seconds for thread in used
            }
            own[name].append(sum(shares[thread] for thread in shares if thread in before))
            readers[name].append(sum(shares[thread] for thread in shares if thread not in before))

    def more(name: str) -> tuple[float, str]:
        # turn by turn: what the machine does besides changes slowly
        each = [
            with_viewers - alone + reading
            for with_viewers, alone, reading in zip(
                own[name], own["none"], readers[name], strict=True
            )
        ]
        reading = statistics.median(readers[name])
        note = f"{min(each):.2f} to {max(each):.2f} in {TURNS} turns, {reading:.2f} to read Kafka"
        return statistics.median(each), note

    of_viewers, note = more("viewers")
    of_inspecting, note_inspecting = more("inspecting")
    unit = "% of a core"
    return [
        {"name": "the replica without viewers", "value": statistics.median(own["none"]),
         "unit": unit, "note": f"{statistics.median(rates):,.0f} ticks/s"},
        {"name": f"{VIEWERS} viewers more", "value": of_viewers, "unit": unit, "reach": 1,
         "note": note},
        {"name": f"{VIEWERS} viewers, each looking at an instrument, more",
         "value": of_inspecting, "unit": unit, "note": note_inspecting},
    ]  # fmt: skip


async def crowd(url: str) -> list[Figure]:
    """Ask as many questions at once, each on a connection of its own, and whether it lives."""
    answers: Counter[str] = Counter()
    lives: list[float] = []
    connector = aiohttp.TCPConnector(limit=1000, force_close=True)
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as many,
        aiohttp.ClientSession(timeout=timeout) as one,
    ):

        async def ask() -> None:
            try:
                async with many.get(f"{url}/page/instruments?q=INFY") as answer:
                    await answer.read()
                    answers[str(answer.status)] += 1
            except aiohttp.ClientError as error:
                answers[type(error).__name__] += 1

        begun = time.monotonic()
        asking = asyncio.gather(*(ask() for _ in range(QUESTIONS)))
        while not asking.done():
            at = time.monotonic()
            with contextlib.suppress(aiohttp.ClientError):
                async with one.get(f"{url}/live") as answer:
                    assert answer.status == 200
                lives.append(time.monotonic() - at)
            await asyncio.sleep(0.1)
        took = time.monotonic() - begun
        async with one.get(f"{url}/status") as answer:
            dropped = (await answer.json())["accounting"]["dropped"]
    told = ", ".join(f"{count} {name}" for name, count in answers.most_common())
    return [
        {"name": "/live, slowest", "value": max(lives), "unit": "s",
         "note": f"while {QUESTIONS:,} ask within {took:.1f} s ({told}); dropped: {dropped}"},
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def viewers(url: str, watched: list[int]) -> AsyncIterator[None]:
    """As many pages as tokens: a stream each, and a look a second at a token that is not 0."""
    async with aiohttp.ClientSession(read_bufsize=2**20) as session:

        async def stream() -> None:
            async with session.get(f"{url}/page/stream") as answer:
                assert answer.status == 200
                async for _ in answer.content.iter_any():
                    pass

        async def look(token: int) -> None:
            while True:
                async with session.get(f"{url}/page/instrument?token={token}") as answer:
                    await answer.read()
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(stream()) for _ in watched]
        tasks += [asyncio.create_task(look(token)) for token in watched if token]
        try:
            yield
            failed = [task for task in tasks if task.done()]
            assert not failed, failed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def received(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/status") as answer:
        return int((await answer.json())["accounting"]["received"])


def cpu_ns(pid: int) -> dict[str, int]:
    """CPU time of each thread of a process."""
    used = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            used[thread.name] = int((thread / "schedstat").read_text().split()[0])
    return used
