"""What a record costs from `produce` to its acknowledgement: CPU of this process, all threads.

The broker is librdkafka's mock cluster in another process. A record is a full tick: a key of 6
bytes and a framed value of 284. Paced figures are what a running service sees; flooded ones are
what it takes when it has to catch up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from structlog.testing import capture_logs

from connector.kafka.producer import RecordProducer
from connector.settings.models import KafkaSettings, SpoolSettings

TOPICS = ("kite.ticks.nse", "kite.ticks.nfo", "kite.ticks.bse")
PARTITIONS = 6
VALUE_BYTES = 284
FRAME = 20  # records a frame
FLOOD = 400_000
PACED_PER_SECOND = 18_000  # 9000 instruments, two updates a second each
PACED_SECONDS = 2.0
SPOOLED = 100_000
RUNS = 3  # the least of so many: other programs of the machine only ever add
TIME_MS = 1_700_000_000_000


def run() -> list[dict[str, Any]]:
    records = _records(3000)
    # the producer's log would mix with the figures
    with capture_logs(), bench_broker() as servers:
        flood, flood_rate = _flood(servers, records)
        default = KafkaSettings().linger_ms
        paced = {
            linger_ms: asyncio.run(_paced(servers, records, linger_ms))
            for linger_ms in sorted({5.0, 25.0, 100.0, default})
        }
        return [
            _figure("produce to acknowledged, flood", flood, "µs CPU", reach=1.85,
                    note=f"{flood_rate:,.0f} records/s"),
            _figure("confluent-kafka alone, flood", _plain(servers, records, report=False),
                    "µs CPU", note="failures reported, as the connector does"),
            _figure("confluent-kafka alone, flood, each delivery reported",
                    _plain(servers, records, report=True), "µs CPU"),
            *(
                _figure(
                    f"produce to acknowledged, {PACED_PER_SECOND:,}/s, linger {linger_ms:g} ms",
                    cost, "µs CPU",
                    note=f"{len(TOPICS) * PARTITIONS} partitions: a request each, each linger"
                    + (", the default" if linger_ms == default else ""),
                )
                for linger_ms, cost in paced.items()
            ),
            _figure("idle producer", asyncio.run(_idle(servers, records)), "% of a core",
                    note="polls, statistics"),
            *_spool(servers, records),
        ]  # fmt: skip


def _figure(name: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, **more}


def _records(instruments: int) -> list[tuple[str, bytes, bytes]]:
    """One record for each instrument; half of the bytes are as good as random, as in a tick."""
    source = random.Random(7)
    return [
        (
            source.choice(TOPICS),
            b"%d" % (256_000 + 256 * number),
            b"\0\0\0\0\1" + source.randbytes(VALUE_BYTES // 2) + bytes(VALUE_BYTES // 2 - 5),
        )
        for number in range(instruments)
    ]


@contextlib.contextmanager
def bench_broker(topics: Sequence[str] = TOPICS) -> Iterator[str]:
    code = (
        "import sys\n"
        "from connector.embedded.broker import EmbeddedBroker\n"
        f"with EmbeddedBroker(dict.fromkeys({list(topics)!r}, {PARTITIONS})) as broker:\n"
        "    print(broker.bootstrap_servers, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(10)


def _producer(servers: str, directory: str | None = None, **kafka: Any) -> RecordProducer:
    return RecordProducer(
        KafkaSettings(bootstrap_servers=servers, **kafka),
        SpoolSettings(directory=None if directory is None else Path(directory)),
        client_id="bench",
    )


def _flood(servers: str, records: list[tuple[str, bytes, bytes]]) -> tuple[float, float]:
    async def flood() -> tuple[float, float]:
        producer = _producer(servers)
        await producer.start()
        await _warm(producer, records)
        cpu, wall = time.process_time(), time.perf_counter()
        for first in range(0, FLOOD, FRAME):
            at = first % len(records)
            producer.produce_all(records[at : at + FRAME], TIME_MS)
            if first % (FRAME * 50) == 0:
                await asyncio.sleep(0)
        await producer.flush(60)
        used = time.process_time() - cpu
        rate = FLOOD / (time.perf_counter() - wall)
        assert producer.counts.delivered == producer.counts.produced
        await producer.close(10)
        return used / FLOOD * 1e6, rate

    return min(asyncio.run(flood()) for _ in range(RUNS))


async def _paced(servers: str, records: list[tuple[str, bytes, bytes]], linger_ms: float) -> float:
    producer = _producer(servers, linger_ms=linger_ms)
    await producer.start()
    await _warm(producer, records)
    # the pacing itself, and what an idle producer costs, are no part of a record
    empty = min([await _pace(producer, []) for _ in range(RUNS)])
    used = min([await _pace(producer, records) for _ in range(RUNS)])
    await producer.close(10)
    return (used - empty) / (PACED_SECONDS * PACED_PER_SECOND) * 1e6


async def _pace(producer: RecordProducer, records: list[tuple[str, bytes, bytes]]) -> float:
    """CPU seconds of producing at the pace, or of only keeping it when there are no records."""
    cpu = time.process_time()
    start, sent = time.perf_counter(), 0
    total = round(PACED_SECONDS * PACED_PER_SECOND)
    while sent < total:
        due = (time.perf_counter() - start) * PACED_PER_SECOND
        while sent < min(due, total):
            if records:
                at = sent % len(records)
                producer.produce_all(records[at : at + FRAME], TIME_MS)
            sent += FRAME
        await asyncio.sleep(0.001)
    await producer.flush(30)
    return time.process_time() - cpu


async def _idle(servers: str, records: list[tuple[str, bytes, bytes]]) -> float:
    producer = _producer(servers)
    await producer.start()
    await _warm(producer, records)
    used = []
    for _ in range(RUNS):
        cpu = time.process_time()
        await asyncio.sleep(PACED_SECONDS)
        used.append((time.process_time() - cpu) / PACED_SECONDS)
    await producer.close(10)
    return min(used) * 100


async def _warm(producer: RecordProducer, records: list[tuple[str, bytes, bytes]]) -> None:
    producer.produce_all(records, TIME_MS)
    assert await producer.flush(30)


def _plain(servers: str, records: list[tuple[str, bytes, bytes]], *, report: bool) -> float:
    client = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
            "delivery.report.only.error": not report,
        }
    )

    def delivered(error: Any, _message: Any) -> None:
        assert error is None

    for topic, key, value in records:
        client.produce(topic, value, key)
    client.flush(30)
    used = []
    for _ in range(RUNS):
        cpu = time.process_time()
        for number in range(FLOOD):
            topic, key, value = records[number % len(records)]
            client.produce(topic, value, key, -1, delivered, None, TIME_MS)
            if number % 1000 == 0:
                client.poll(0)
        client.flush(60)
        used.append((time.process_time() - cpu) / FLOOD)
    return min(used) * 1e6


def _spool(servers: str, records: list[tuple[str, bytes, bytes]]) -> list[dict[str, Any]]:
    async def spool(directory: str) -> tuple[float, float, float]:
        away = _producer("127.0.0.1:1", directory, queue_max_messages=1000)
        await away.start()
        while away.state == "direct":
            away.produce_all(records[:FRAME], TIME_MS)
        cpu = time.process_time()
        for first in range(0, SPOOLED, FRAME):
            at = first % len(records)
            away.produce_all(records[at : at + FRAME], TIME_MS)
        write = time.process_time() - cpu
        await away.close(0)
        back = _producer(servers, directory)
        await back.start()
        count = back.counts.found
        cpu, wall = time.process_time(), time.perf_counter()
        await back.flush(60)
        read = time.process_time() - cpu
        seconds = time.perf_counter() - wall
        await back.close(10)
        return write / SPOOLED * 1e6, read / count * 1e6, count / seconds

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        write, read, rate = asyncio.run(spool(directory))
    return [
        _figure("into the spool", write, "µs CPU", note="broker away, queue full"),
        _figure("out of the spool, to acknowledged", read, "µs CPU", note=f"{rate:,.0f} records/s"),
    ]
