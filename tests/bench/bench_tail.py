"""How long `kite-connector tail` takes, from the start of the program to its first line.

`KAFKA_BOOTSTRAP_SERVERS` names a real Kafka to read instead of the embedded broker, which has no
times to begin at. The topics are the connector's own, all ten exchanges' with six partitions each.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from connector.embedded.broker import EmbeddedBroker
from connector.embedded.registry import EmbeddedRegistry
from connector.kafka.registry import register_schemas
from connector.kafka.topics import TopicNames, ensure_topics, topic_specs
from connector.kite.wire.models import Exchange
from connector.settings.models import KafkaSettings, RegistrySettings
from connector.settings.topics import TopicSettings
from tests.support.packets import BSE, NFO, NSE, full, quote
from tests.support.recorded import recorded

TICKS = 200_000
RUNS = 5
PATIENCE_SECONDS = 30.0
ASKED = {
    "one exchange, its newest": ("nse", "--since", "-1"),
    "one exchange, from an hour ago": ("nse", "--since", "1h"),
    "one exchange, from the beginning": ("nse", "--from-beginning"),
    "all exchanges, their newest": ("--since", "-100"),
    "all exchanges, from an hour ago": ("--since", "1h"),
    "one instrument, from an hour ago": ("--token", str(NSE), "--since", "1h"),
}


def run() -> list[dict[str, Any]]:
    return asyncio.run(measure())


async def measure() -> list[dict[str, Any]]:
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    topics = TopicSettings(prefix=f"tail-{uuid4().hex[:8]}", replication_factor=1)
    specs = {one.name: one.partitions for one in topic_specs(topics, slots=3)}
    with nullcontext() if given else EmbeddedBroker(specs) as broker:
        servers = given or broker.bootstrap_servers
        async with EmbeddedRegistry() as registry:
            if given:
                kafka = KafkaSettings(bootstrap_servers=servers)
                await ensure_topics(kafka, topics, slots=3, timeout_seconds=30)
            names = TopicNames(topics.prefix)
            await register_schemas(RegistrySettings(url=registry.url), names)
            await asyncio.to_thread(_write, servers, names)
            environment = {
                **os.environ,
                "KITE_KAFKA__BOOTSTRAP_SERVERS": servers,
                "KITE_REGISTRY__URL": registry.url,
                "KITE_TOPICS__PREFIX": topics.prefix,
            }
            where = "a real Kafka" if given else "the embedded broker"
            return [
                await asyncio.to_thread(_figure, name, asked, where, environment)
                for name, asked in ASKED.items()
            ]


def _write(servers: str, names: TopicNames) -> None:
    packets = [full(NSE), full(NFO), quote(BSE)]
    begin_ms = time.time_ns() // 1_000_000 - 600_000
    records = recorded(packets, [begin_ms] * len(packets))
    producer = Producer(
        {"bootstrap.servers": servers, "partitioner": "murmur2_random", "compression.type": "lz4"}
    )
    for number in range(TICKS):
        key, value, time_ms = records[number % len(records)]
        topic = names.all_ticks()[Exchange.of(int(key))]
        # the value's schema is the registry's first, of which there is one for all ticks
        producer.produce(topic, b"\0\0\0\0\1" + value[5:], key, timestamp=time_ms + number)
        if number % 10_000 == 0:
            producer.flush(PATIENCE_SECONDS)
    assert producer.flush(PATIENCE_SECONDS) == 0


def _figure(
    name: str, asked: Sequence[str], where: str, environment: dict[str, str]
) -> dict[str, Any]:
    seconds, cpu = zip(*(_first_line(asked, environment) for _ in range(RUNS)), strict=True)
    note = f"{min(seconds):.2f} to {max(seconds):.2f}, {min(cpu):.2f} of CPU, {where}"
    return {
        "name": f"first line of tail: {name}", "value": statistics.median(seconds), "unit": "s",
        "reach": 2.0, "note": note,
    }  # fmt: skip


def _first_line(asked: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the seconds to the first line, and those of CPU of the whole program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    seconds = asyncio.run(_line_of(asked, environment, begun))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, spent


async def _line_of(asked: Sequence[str], environment: dict[str, str], begun: float) -> float:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "connector", "tail", *asked, "-n", "1",
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    try:
        line = await asyncio.wait_for(program.stdout.readline(), PATIENCE_SECONDS)
        seconds = time.perf_counter() - begun
        assert b'"instrument_token"' in line, line
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself
            program.terminate()
        await program.wait()
    return seconds
