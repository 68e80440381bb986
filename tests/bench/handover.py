"""What a tick costs from a frame to librdkafka: CPU of the event loop's thread, and of all.

A program of its own that runs in any tree of the project, this one or an earlier commit's: it uses
only what both have. Prints its figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import struct
import sys
import time
from typing import Any

import structlog
import uvloop

from connector.codec import Transcoder
from connector.kafka.avro_records import RecordEncoder
from connector.kafka.producer import RecordProducer
from connector.kafka.topics import TopicNames

try:  # where 899a1f6 has them
    from connector.pipeline import Pipeline
    from connector.settings import KafkaSettings, SpoolSettings  # type: ignore[attr-defined]
except ImportError:
    from connector.service.pipeline import Pipeline
    from connector.settings.models import KafkaSettings, SpoolSettings

INSTRUMENTS = 3000
TURN = 2_000  # ticks, then the event loop has its turn
ROOM = 100_000  # records in the queue: half of what it holds


def full_packet(token: int) -> bytes:
    """A full packet, 184 bytes, of a plausible book."""
    now, price = int(time.time()), 100_000 + token % 50_000
    day = (price - 500, price + 900, price - 1200, price - 300)
    volumes = (25, price - 40, 0, 250_000, 310_000)
    head = struct.pack(">16I", token, price, *volumes, *day, now, 1200, 1500, 900, now)
    levels = [(100 + 25 * i, price - 5 * (i + 1), 3 + i) for i in range(10)]
    return head + b"".join(struct.pack(">IIHxx", *level) for level in levels)


def pipeline_to(producer: RecordProducer, names: TopicNames, **others: Any) -> Pipeline:
    """The service's tick path up to a producer; no registry is asked for the ids of schemas."""
    topics = names.all_ticks()
    ids = dict.fromkeys([*topics.values(), names.orders, names.events], 1)
    return Pipeline(
        producer,
        names,
        RecordEncoder(names, ids),
        lambda slot: Transcoder(topics, ids, slot),
        lambda _slot: "bench",
        **others,
    )


async def measure(servers: str, packets: int, ticks: int) -> dict[str, float]:
    names = TopicNames("kite")
    producer = RecordProducer(
        KafkaSettings(bootstrap_servers=servers), SpoolSettings(), client_id="bench"
    )
    await producer.start()
    handler = pipeline_to(producer, names).handler(0)
    handler.opened(1)
    tokens = [number << 8 | 1 for number in range(1000, 1000 + INSTRUMENTS)]
    handler.expect(tokens)
    frames = [
        struct.pack(">H", packets)
        + b"".join(
            struct.pack(">H", 184) + full_packet(token) for token in tokens[at : at + packets]
        )
        for at in range(0, INSTRUMENTS, packets)
    ]
    for frame in frames:  # past the snapshots
        handler.frame(frame, time.time_ns() // 1000)
    await producer.flush(30)
    done = number = 0
    all_from, main_from = time.process_time(), time.thread_time()
    while done < ticks:
        for _ in range(TURN // packets):
            handler.frame(frames[number % len(frames)], time.time_ns() // 1000)
            number += 1
        done += TURN
        await asyncio.sleep(0)
        if producer.counts.in_flight > ROOM:
            await producer.flush(60)
    everything_written = await producer.flush(60)
    main, everything = time.thread_time() - main_from, time.process_time() - all_from
    counts = producer.counts
    lost = sum(counts.dropped.values()) + sum(counts.failed.values())
    await producer.close(10)
    return {
        "main_us": main / done * 1e6,
        "all_us": everything / done * 1e6,
        "lost": lost + (not everything_written),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--packets", type=int, required=True, help="a frame")
    parser.add_argument("--ticks", type=int, default=300_000)
    chosen = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    gc.set_threshold(50_000)  # as the service does
    print(json.dumps(uvloop.run(measure(chosen.bootstrap_servers, chosen.packets, chosen.ticks))))


if __name__ == "__main__":
    main()
