"""The service's tick path with a clock behind it: what `bench_pipeline` takes latencies from.

Connections, codec, pipeline and producer are the service's own; what is added is one look at the
time after each frame. Prints its figures as one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Sequence

import structlog
import uvloop

from connector.kafka.producer import RecordProducer
from connector.kafka.topics import TopicNames
from connector.kite.config import ConnectionConfig
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.wire.models import Mode
from connector.service.pipeline import SlotPipeline
from connector.service.process import GC_THRESHOLD
from connector.settings.models import KafkaSettings, SpoolSettings
from tests.bench.feed import VOLUME_OFFSET, age_us, subject_arguments
from tests.bench.handover import pipeline_to
from tests.bench.peer import cpu_seconds


class Probe:
    """A handler that lets the pipeline work, then takes the time."""

    def __init__(self, pipeline: SlotPipeline, ages_us: list[int]) -> None:
        self._frame = pipeline.frame
        self._ages_us = ages_us
        self.opened, self.expect, self.forget = pipeline.opened, pipeline.expect, pipeline.forget
        self.message, self.event = pipeline.message, pipeline.event

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        confirmed = self._frame(data, receive_time_us)
        self._ages_us.append(age_us(int.from_bytes(data[VOLUME_OFFSET : VOLUME_OFFSET + 4], "big")))
        return confirmed


async def measure(url: str, servers: str, tokens: list[list[int]], ticks: int) -> dict[str, object]:
    names = TopicNames("kite")
    producer = RecordProducer(
        KafkaSettings(bootstrap_servers=servers), SpoolSettings(), client_id="bench"
    )
    await producer.start()
    pipeline = pipeline_to(producer, names)
    ages_us: list[int] = []
    connections = []
    for slot, mine in enumerate(tokens):
        handler = Probe(pipeline.handler(slot), ages_us)
        connection = Connection(
            slot, StaticCredentials("bench", "bench"), ConnectionConfig(), handler, root=url
        )
        connection.update(dict.fromkeys(mine, Mode.FULL))
        connection.start()
        connections.append(connection)
    cpu_from = None
    while sum(pipeline.packets(slot) for slot in range(len(tokens))) < ticks:
        await asyncio.sleep(0.05)
        if cpu_from is None and ages_us:
            cpu_from = cpu_seconds()
    await producer.flush(60)
    cpu = cpu_seconds() - (cpu_from or 0.0)
    await asyncio.gather(*(connection.close() for connection in connections))
    await producer.close(10)
    return {"received": ticks, "cpu_seconds": cpu, "ages_us": sorted(ages_us)}


def main() -> None:
    chosen = subject_arguments(__doc__)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    gc.set_threshold(GC_THRESHOLD)  # as the service does
    figures = uvloop.run(
        measure(
            chosen.url,
            chosen.bootstrap_servers,
            chosen.tokens,
            chosen.ticks,
        )
    )
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
