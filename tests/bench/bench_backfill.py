"""What fetching the candles of gaps costs the process beside its ticks.

Requests one after the other, as fast as answers come, for the CPU of one; then at Kite's pace, for
how late a timer is beside them, which is how long a frame may wait. The historical API is a server
in another process that always gives the same hour.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connector.kafka.avro_records import RecordEncoder
from connector.kafka.topics import TopicNames
from connector.kite.clock import SystemClock
from connector.kite.web.pace import INTERVAL_SECONDS, Pace
from connector.kite.web.rest import KiteRest
from connector.kite.wire.candles import Gap
from connector.service.gap_mender import GapCounts, GapMender
from connector.settings.topics import BackfillSettings
from tests.bench.peer import cpu_seconds

NAMES = TopicNames("kite")
MINUTES = 60
FIRST = 29_462_400 + 4 * 60  # in minutes: a day of trading, 09:30 in India
INSTRUMENTS = 500
PACED = 30
TIMER_SECONDS = 0.001


def run() -> list[dict[str, Any]]:
    with _historical_api() as root:
        spent, quick, _ = asyncio.run(_mend(root, INSTRUMENTS, 0.0))
        _, paced, late = asyncio.run(_mend(root, PACED, INTERVAL_SECONDS))
    alone = asyncio.run(_alone())
    assert quick.candles == INSTRUMENTS * MINUTES
    assert paced.candles == PACED * MINUTES
    each = spent / INSTRUMENTS
    return [
        {"name": f"an instrument's {MINUTES} candles, fetched and encoded", "value": each * 1000,
         "unit": "ms CPU",
         "note": f"{100 * each / INTERVAL_SECONDS:.2f} % of a core at Kite's pace"},
        {"name": "a timer beside it, at Kite's pace, 99.9 of 100", "value": late * 1000,
         "unit": "ms late", "note": f"{alone * 1000:.2f} without"},
    ]  # fmt: skip


async def _mend(root: str, instruments: int, interval: float) -> tuple[float, GapCounts, float]:
    counts, pace = GapCounts(), Pace(interval)
    encoder = RecordEncoder(NAMES, {NAMES.backfill: 1})
    tokens = [(number << 8) | 1 for number in range(1, instruments + 1)]
    gap = Gap(0, 1, FIRST * 60_000, (FIRST + MINUTES) * 60_000, "gap")

    async def nothing(*_: float) -> None:
        await asyncio.sleep(0)

    mender = GapMender(
        BackfillSettings(),
        lambda: KiteRest(root, api_key="key", access_token="token", pace=pace),
        may_write=lambda: True,
        write=lambda of, token, rows: [encoder.candle(one, of, token, None, 1) for one in rows],
        settled=nothing, tell=lambda _: None, counts=counts, clock=SystemClock(), sleep=nothing,
    )  # fmt: skip
    timer = asyncio.create_task(_late()) if interval else None
    before = cpu_seconds()
    assert await mender.mend(gap, tokens, {})
    spent = cpu_seconds() - before
    if timer is None:
        return spent, counts, 0.0
    timer.cancel()
    return spent, counts, await timer


async def _alone() -> float:
    timer = asyncio.create_task(_late())
    await asyncio.sleep(PACED * INTERVAL_SECONDS)
    timer.cancel()
    return await timer


async def _late() -> float:
    """How late a timer is, until it is cancelled: all but one of a thousand are less."""
    loop = asyncio.get_running_loop()
    found = []
    try:
        while True:
            due = loop.time() + TIMER_SECONDS
            await asyncio.sleep(TIMER_SECONDS)
            found.append(loop.time() - due)
    except asyncio.CancelledError:
        return sorted(found)[len(found) * 999 // 1000]


@contextmanager
def _historical_api() -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        server.terminate()
        server.join()


def _serve(port: Any) -> None:
    from datetime import datetime

    from aiohttp import web

    from connector.kite.clock import IST

    rows = [
        [f"{datetime.fromtimestamp((FIRST + n) * 60, IST):%Y-%m-%dT%H:%M:%S%z}",
         1500.05, 1500.55, 1499.95, 1500.25, 12_345, 0]
        for n in range(MINUTES)
    ]  # fmt: skip
    body = json.dumps({"status": "success", "data": {"candles": rows}})

    async def serve() -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=body, content_type="application/json")

        app = web.Application()
        app.router.add_get("/{rest:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]
        await asyncio.Event().wait()

    asyncio.run(serve())
