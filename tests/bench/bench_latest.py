"""What `kite.latest` costs a tick: the service's tick path with and without it, in turns.

9000 instruments in full mode with two ticks a second each; a second is done as fast as it goes,
and the newest ticks are written behind as many seconds as the interval has. CPU of this process,
all threads; the broker is librdkafka's mock cluster in another one.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from structlog.testing import capture_logs

from connector.codec import Transcoder
from connector.kafka.avro_records import RecordEncoder
from connector.kafka.producer import RecordProducer
from connector.kafka.topics import TopicNames
from connector.service.latest import Latest
from connector.service.pipeline import Pipeline
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.simulator.wire import encode_frame
from tests.bench.bench_producer import bench_broker
from tests.bench.feed import full_packet
from tests.bench.peer import cpu_seconds

NAMES = TopicNames("kite")
SLOTS, INSTRUMENTS = 3, 3000
PACKETS = 100  # of a frame
SECONDS = 20
TICKS_PER_SECOND = 2
RUNS = 3  # the least of so many
INTERVALS = (1, 5, 20)


def run() -> list[dict[str, Any]]:
    frames = [
        [encode_frame(packets[at : at + PACKETS]) for at in range(0, INSTRUMENTS, PACKETS)]
        for packets in map(_packets, range(SLOTS))
    ]
    topics = [*NAMES.all_ticks().values(), NAMES.latest]
    costs: dict[int, list[float]] = {interval: [] for interval in (0, *INTERVALS)}
    with capture_logs(), bench_broker(topics) as servers:
        for _ in range(RUNS):
            for interval, found in costs.items():
                found.append(asyncio.run(measure(servers, frames, interval)))
    base = min(costs[0])
    return [
        {"name": "a tick without kite.latest", "value": base, "unit": "µs CPU"},
        *(
            {"name": f"more with it, one record in {interval} s", "unit": "%", "reach": 5,
             "value": 100 * (min(costs[interval]) / base - 1),
             "note": f"{min(costs[interval]):.2f} µs CPU a tick"}
            for interval in INTERVALS
        ),
    ]  # fmt: skip


def _packets(slot: int) -> list[bytes]:
    return [
        full_packet((slot * INSTRUMENTS + number + 1) << 8 | 1, 157_315)
        for number in range(INSTRUMENTS)
    ]


async def measure(servers: str, frames: list[list[bytes]], interval: int) -> float:
    """CPU microseconds a tick; an interval of 0 writes no newest ticks."""
    producer = RecordProducer(
        KafkaSettings(bootstrap_servers=servers), SpoolSettings(), client_id="bench"
    )
    await producer.start()
    topics = NAMES.all_ticks()
    ids = dict.fromkeys([*topics.values(), NAMES.orders, NAMES.events], 1)
    latest = (
        Latest(NAMES.latest, interval, producer.produce_all, lambda: True) if interval else None
    )
    pipeline = Pipeline(
        producer,
        NAMES,
        RecordEncoder(NAMES, ids),
        lambda slot: Transcoder(topics, ids, slot),
        lambda _slot: "bench",
        latest=latest,
    )
    handlers = [pipeline.handler(slot) for slot in range(len(frames))]
    begun = cpu_seconds()
    for second in range(1, SECONDS + 1):
        for handler, mine in zip(handlers, frames, strict=True):
            for frame in mine * TICKS_PER_SECOND:
                handler.frame(frame, time.time_ns() // 1000)
        if latest is not None and second % interval == 0:
            await latest.write()
        while producer.counts.in_flight > 50_000:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.001)
    await producer.flush(60)
    cost = cpu_seconds() - begun
    assert not producer.counts.spooled
    await producer.close(10)
    return cost * 1e6 / (SECONDS * TICKS_PER_SECOND * SLOTS * INSTRUMENTS)
