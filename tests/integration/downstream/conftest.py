from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connector import schemas
from connector.kafka.registry import register_schemas, subject_of
from connector.kafka.registry_client import registry_client
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Exchange
from connector.settings.models import RegistrySettings
from tests.integration.downstream import market
from tests.integration.downstream.bars import Bar, bars, ticks
from tests.integration.downstream.market import Record

PARTITIONS = 3


@dataclass
class Downstream:
    """Topics of its own in a real Kafka, with what was written into them."""

    bootstrap_servers: str
    registry_url: str
    names: TopicNames
    schema_ids: dict[str, int]
    older_ids: dict[str, int]
    newer_ids: dict[str, int] = field(default_factory=dict)
    written: list[Record] = field(default_factory=list)
    no_ticks: int = 0

    @property
    def prefix(self) -> str:
        return self.names.prefix

    def days(self) -> tuple[list[Record], list[Record]]:
        made = market.tape(self.names, self.schema_ids, self.older_ids)
        second = market.START_MS + market.DAY_MS - 10_000
        return (
            [record for record in made if record.timestamp_ms < second],
            [record for record in made if record.timestamp_ms >= second],
        )

    def create_topics(self, *names: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        # the market's days are long gone: Kafka would take them away at once
        kept = {"retention.ms": "-1"}
        new = [NewTopic(name, PARTITIONS, 1, config=kept) for name in names]
        for future in admin.create_topics(new).values():
            future.result(30)

    def write(self, records: list[Record]) -> None:
        """Produce ticks, to be compared with later."""
        self.produce(records)
        self.written += records

    def write_no_ticks(self) -> None:
        """Put records into a topic of ticks that are none, as whoever may write can.

        Without framing, of no schema, a tick cut short, and a record of another schema of ours.
        """
        topic = self.names.all_ticks()[Exchange.NSE]
        tick = next(r.value for r in self.days()[0] if r.topic == topic and r.value)
        event = market.framed_event(self.schema_ids[self.names.events])
        unframed = (b"no tick", b"\0\x7f\xff\xff\xff123", b"\0" * 300, b"", b"\0")
        strange = (*unframed, tick[:5], tick[:-7], event)
        self.produce(Record(topic, b"5", value, market.START_MS) for value in strange)
        self.no_ticks += len(strange)

    def produce(self, records: Iterable[Record]) -> None:
        producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "partitioner": "murmur2_random"}
        )
        for record in records:
            producer.produce(record.topic, record.value, record.key, timestamp=record.timestamp_ms)
        assert producer.flush(30) == 0

    def evolve(self) -> None:
        """Register the next version of the ticks' schema with every topic."""
        newer = market.newer_schema()
        self.newer_ids = asyncio.run(register_ticks(self.registry_url, self.names, newer))
        assert set(self.newer_ids.values()).isdisjoint(self.schema_ids.values())

    def half_in_newer_schema(self, records: list[Record]) -> list[Record]:
        return [
            market.in_newer_schema(record, self.newer_ids[record.topic]) if number % 2 else record
            for number, record in enumerate(records)
        ]

    @property
    def ticks(self) -> list[dict]:
        """Everything written, decoded."""
        writers: dict[int, Any] = dict.fromkeys(self.schema_ids.values(), schemas.load("tick"))
        writers |= dict.fromkeys(self.older_ids.values(), market.older_schema())
        writers |= dict.fromkeys(self.newer_ids.values(), market.newer_schema())
        return ticks(self.written, writers)

    @property
    def bars(self) -> list[Bar]:
        made = bars(self.ticks)
        # open, close and volume must not be right by chance
        assert len(made) > 20
        assert sum(bar.ticks for bar in made) > 100 * len(made)
        return sorted(made)

    def read(self, topic: str, partitions: int = PARTITIONS) -> list[tuple[bytes, bytes]]:
        """Keys and values that a topic holds, in order for each key."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "not-used",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(partitions)])
        records, ended = [], 0
        while ended < partitions:
            message = consumer.poll(30)
            assert message is not None, f"{topic} cannot be read"
            if message.error() is None:
                records.append((message.key(), message.value()))
            else:
                ended += 1
        consumer.close()
        return records


async def register_ticks(url: str, names: TopicNames, schema: dict[str, Any]) -> dict[str, int]:
    """Register a version of the ticks' schema with every topic; topic to id."""
    text = json.dumps(schema)
    async with registry_client(RegistrySettings(url=url)) as client:
        return {
            topic: await client.register_schema(subject_of(topic), text)
            for topic in names.all_ticks().values()
        }


@pytest.fixture(scope="session")
def new_downstream(bootstrap_servers: str, registry_url: str) -> Callable[[], Downstream]:
    def make() -> Downstream:
        names = TopicNames(f"downstream-{uuid4().hex[:8]}")
        older = asyncio.run(register_ticks(registry_url, names, market.older_schema()))
        ids = asyncio.run(register_schemas(RegistrySettings(url=registry_url), names))
        assert set(ids.values()).isdisjoint(older.values())
        made = Downstream(bootstrap_servers, registry_url, names, ids, older)
        made.create_topics(*names.all_ticks().values())
        return made

    return make
