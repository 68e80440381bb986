"""What `kite.latest` costs a tick: the service's tick path with and without it, in turns.

9000 instruments in full mode with two ticks a second each. At the pace of these, and flooded: a
second is done as fast as it goes, where a tick is cheapest (large batches, no idle work), and so a
record more weighs most. Two paths take turns in one process, five seconds' ticks each, and the
middle one of the turns' ratios counts: whatever else the machine does meets both. CPU of this
process, all threads, without sockets; the broker is librdkafka's mock cluster in another one.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from operator import truediv
from typing import Any

from structlog.testing import capture_logs

from connector.kafka.isolating import IsolatingProducer
from connector.kafka.producer import RecordProducer
from connector.kafka.topics import TopicNames
from connector.service.latest import Latest
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.settings.topics import TopicSettings
from connector.simulator.wire import encode_frame
from tests.bench.bench_producer import bench_broker
from tests.bench.feed import full_packet
from tests.bench.handover import pipeline_to
from tests.bench.peer import cpu_seconds

NAMES = TopicNames("kite")
SLOTS, INSTRUMENTS = 3, 3000
TICKS_PER_SECOND = 2
PACKETS = {True: 60, False: 100}  # of a frame, paced and flooded
TURNS = {True: 6, False: 20}
TURN_SECONDS = 5
DEFAULT = round(TopicSettings().latest_interval_seconds)
INTERVALS = (DEFAULT, 1)


def run() -> Iterator[dict[str, Any]]:
    topics = [*NAMES.all_ticks().values(), NAMES.latest]
    for paced, way in ((True, "paced"), (False, "flooded")):
        for interval in INTERVALS:
            with capture_logs(), bench_broker(topics) as servers:
                plain, more = asyncio.run(_turns(servers, interval, paced=paced))
            # what is to be reached is a running service's, at the default: with one record a second
            # it is half a record more for each tick
            reach = {"reach": 5} if paced and interval == DEFAULT else {}
            yield {
                "name": f"a tick more with kite.latest, one record in {interval} s, {way}",
                "value": 100 * (statistics.median(map(truediv, more, plain)) - 1),
                "unit": "%", **reach,
                "note": f"{statistics.median(more):.2f} : {statistics.median(plain):.2f} µs CPU",
            }  # fmt: skip


async def _turns(servers: str, interval: int, *, paced: bool) -> tuple[list[float], list[float]]:
    """CPU microseconds a tick of each turn, without and with newest ticks."""
    frames = [
        [
            encode_frame(packets[at : at + PACKETS[paced]])
            for at in range(0, INSTRUMENTS, PACKETS[paced])
        ]
        for packets in map(_packets, range(SLOTS))
    ]
    paths = [await _Path.start(servers, every) for every in (None, interval)]
    costs: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS[paced] + 1):
        for path, found in zip(paths, costs, strict=True):
            cost = await path.turn(frames, paced=paced)
            if turn:  # the first one makes what is kept of each instrument
                found.append(cost)
    for path in paths:
        await path.producer.close(10)
    return costs


def _packets(slot: int) -> list[bytes]:
    return [
        full_packet((slot * INSTRUMENTS + number + 1) << 8 | 1, 157_315)
        for number in range(INSTRUMENTS)
    ]


class _Path:
    """The tick path of all slots, with a producer of its own; writes newest ticks, or none."""

    def __init__(self, producer: IsolatingProducer, interval: int | None) -> None:
        self.producer = producer
        self.interval = interval
        self.latest = (
            Latest(NAMES.latest, interval, producer.produce_all, lambda: True) if interval else None
        )
        pipeline = pipeline_to(producer, NAMES, latest=self.latest)
        self.handlers = [pipeline.handler(slot) for slot in range(SLOTS)]

    @classmethod
    async def start(cls, servers: str, interval: int | None) -> _Path:
        producer: Any = RecordProducer(
            KafkaSettings(bootstrap_servers=servers), SpoolSettings(), client_id="bench"
        )
        await producer.start()
        return cls(producer, interval)

    async def turn(self, frames: list[list[bytes]], *, paced: bool) -> float:
        """CPU microseconds a tick."""
        rounds = list(zip(*frames, strict=True)) * TICKS_PER_SECOND  # of a second
        started, begun = time.monotonic(), cpu_seconds()
        for second in range(1, TURN_SECONDS + 1):
            for number, one_each in enumerate(rounds):
                for handler, frame in zip(self.handlers, one_each, strict=True):
                    handler.frame(frame, time.time_ns() // 1000)
                if paced:
                    due = started + second - 1 + (number + 1) / len(rounds)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.latest is not None and self.interval and second % self.interval == 0:
                await self.latest.write()
            while self.producer.counts.in_flight > 50_000:  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0.001)
        await self.producer.flush(60)
        cost = cpu_seconds() - begun
        assert not self.producer.counts.spooled
        return cost * 1e6 / (TURN_SECONDS * TICKS_PER_SECOND * SLOTS * INSTRUMENTS)
