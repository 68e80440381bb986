"""What a real Kafka refuses, and what becomes of the records, by the producer of the service."""

import asyncio
import random
import socket
import struct
import time
import uuid

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names, not re-exported
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from connector.kafka.avro_records import RecordDecoder
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.topics import TopicNames, ensure_topics
from connector.kite.feed.wait import cancelled
from connector.kite.wire.models import Exchange
from connector.service.dead_letters import DeadLetters
from connector.service.topic_troubles import TopicTroubles
from connector.settings.models import KafkaSettings, SpoolSettings, TopicSettings
from connector.testing import until
from tests.integration.secured import Right, kafka_settings
from tests.support.producers import balanced
from tests.support.reading import by_key, read_topic

pytestmark = pytest.mark.integration

KEYS = 20
QUICK = {"reconnect.backoff.ms": 50, "topic.metadata.propagation.max.ms": 500}
SECONDS = 60


def limit_production(servers, client_id, bytes_per_second):
    """Set the quota of a client.id, or take it away (None); no client in Python has a call for it.

    One AlterClientQuotas request (api_key 49, version 0), as Kafka's protocol guide has it.
    """

    def text(value):
        return struct.pack(">h", len(value)) + value.encode()

    remove = bytes_per_second is None
    body = struct.pack(">hhi", 49, 0, 1) + text("test")
    body += struct.pack(">i", 1) + struct.pack(">i", 1) + text("client-id") + text(client_id)
    body += struct.pack(">i", 1) + text("producer_byte_rate")
    body += struct.pack(">d??", bytes_per_second or 0, remove, False)
    host, _, port = servers.partition(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        # correlation id, throttle time, entries, then the error of the first
        _, _, entries, error = struct.unpack(">iiih", answer.read(size)[:14])
        assert (entries, error) == (1, 0)


class Running:
    """A producer with dead letters and topics that are made again; a feed for some topics."""

    def __init__(self, servers, directory, **options):
        self.shape = TopicSettings(
            prefix=f"it-{uuid.uuid4().hex[:8]}", replication_factor=1, tick_partitions=2
        )
        self.names = TopicNames(self.shape.prefix)
        kafka = options.pop("kafka", None) or KafkaSettings(bootstrap_servers=servers)
        self.kafka = kafka.model_copy(update={"client": QUICK})
        self._servers = servers
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self.clock = options.get("clock", time.time)
        self.dropped = []
        self.producer = IsolatingProducer(
            self.kafka,
            SpoolSettings(directory=directory),
            client_id=self.shape.prefix,
            dead_letter_topic=self.names.deadletter,
            on_failed=self._keep,
            on_dropped=lambda reason, lost: self.dropped.append((reason, lost.count)),
            **options,
        )
        self._letters = DeadLetters(
            self.producer.produce, self.names.deadletter, RecordDecoder(self.names)
        )
        self.troubles = TopicTroubles(self.producer, self.kafka, self._make)
        self.made = {}
        self._random = random.Random(7)  # what does not compress
        self._tasks = []

    def _keep(self, failed):
        self._letters.keep(failed)

    async def _make(self, only=None):
        return await ensure_topics(self.kafka, self.shape, slots=3, only=only)

    async def start(self):
        report = await self._make()
        await self.producer.start()
        self._tasks.append(asyncio.create_task(self.troubles.run()))
        return report

    def stream(self, *topics):
        """Some numbered records for each of these topics, until it is closed."""

        async def stream():
            while True:
                for topic in topics:
                    self.send(topic, 20)
                await asyncio.sleep(0.01)

        self._tasks.append(asyncio.create_task(stream()))

    def send(self, topic, count, size=250):
        first = self.made.get(topic, 0)
        self.made[topic] = first + count
        self.producer.produce_all(
            [
                (topic, b"%d" % (n % KEYS), b"%07d" % n + self._random.randbytes(size))
                for n in range(first, first + count)
            ],
            round(self.clock() * 1000),
        )
        balanced(self.producer)

    async def goes_on(self, topic):
        """Records that are made from now on are written to a topic."""
        there = len(await self.read(topic))
        await until(lambda: self.made[topic] > there, SECONDS)
        end = time.monotonic() + SECONDS
        while len(await self.read(topic)) <= there:
            assert time.monotonic() < end, topic

    async def read(self, topic):
        return await asyncio.to_thread(read_topic, self._servers, topic)

    async def finish(self):
        """Everything that was made is delivered."""
        for task in self._tasks[1:]:
            task.cancel()
        assert await self.producer.flush(SECONDS)
        balanced(self.producer)
        counts, dead = self.producer.counts, self.producer.dead_letters
        assert counts.spooled == counts.in_flight == dead.spooled == dead.in_flight == 0

    async def in_order(self, topic, *, since=0):
        """Every record from a number on is there, each key's in order the first time."""
        for key, values in by_key(await self.read(topic)).items():
            numbers = list(dict.fromkeys(int(value[:7]) for value in values))
            expected = range(int(key), self.made[topic], KEYS)
            assert numbers == [number for number in expected if number >= min(numbers)]
            assert min(numbers) <= since + KEYS

    async def configure(self, topic, **config):
        """Change a topic's configuration, and wait until the broker has it."""
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(20)
        await until(lambda: self._configured(topic, config), SECONDS)

    def _configured(self, topic, config):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        (future,) = self.admin.describe_configs([resource]).values()
        there = future.result(20)
        return all(there[name.replace("_", ".")].value == text for name, text in config.items())

    async def close(self):
        await cancelled(*self._tasks)
        await self.producer.close(0)


@pytest.fixture
async def run(bootstrap_servers, tmp_path):
    opened = []

    def run(servers=bootstrap_servers, **options):
        opened.append(Running(servers, tmp_path / "spool", **options))
        return opened[-1]

    yield run
    for running in opened:
        await running.close()


async def test_a_topic_that_is_deleted_is_made_again_and_nothing_else_stops(run):
    running = run()
    await running.start()
    nse, orders = running.names.ticks(Exchange.NSE), running.names.orders
    running.stream(nse, orders)
    await until(lambda: running.producer.counts.delivered > 500, SECONDS)
    for future in running.admin.delete_topics([nse]).values():
        future.result(20)
    await until(lambda: running.producer.troubles, SECONDS)
    before = running.made[nse]
    (reason,) = running.troubles.reasons()
    assert nse in reason
    await running.goes_on(orders)
    await until(lambda: not running.producer.troubles, SECONDS)
    await running.goes_on(nse)
    await running.finish()
    metadata = running.admin.list_topics(topic=nse, timeout=10)
    assert len(metadata.topics[nse].partitions) == 2
    await running.in_order(nse, since=before)
    await running.in_order(orders)
    assert not running.producer.dead_letters.produced
    assert not running.dropped


async def test_a_right_that_is_withdrawn_is_waited_for_and_nothing_else_stops(run, secured):
    user = f"refused-{uuid.uuid4().hex[:8]}"
    secured.user(user)
    servers = secured.admin_properties["bootstrap.servers"]
    running = run(servers, kafka=kafka_settings(secured.sasl(user)))
    nse, orders = running.names.ticks(Exchange.NSE), running.names.orders
    every = ("Create", "Describe", "DescribeConfigs")
    rights = [Right("topic", running.shape.prefix, True, operation) for operation in every]
    write, *others = (Right("topic", topic, False, "Write") for topic in (nse, orders))
    secured.allow(user, [*rights, write, *others])
    await running.start()
    running.stream(nse, orders)
    await until(lambda: running.producer.counts.delivered > 500, SECONDS)
    await asyncio.to_thread(secured.disallow, user, [write])
    await until(lambda: running.producer.troubles, SECONDS)
    (reason,) = running.troubles.reasons()
    assert reason.startswith(f"{user} may not write to {nse}: kafka-acls.sh ")
    await running.goes_on(orders)
    await asyncio.to_thread(secured.allow, user, [write])
    await until(lambda: not running.producer.troubles, SECONDS)
    await running.goes_on(nse)
    await running.finish()
    await running.in_order(nse)
    await running.in_order(orders)
    assert not running.producer.dead_letters.produced
    assert not running.dropped


async def test_only_what_is_too_large_alone_becomes_a_dead_letter(run):
    running = run()
    await running.start()
    nse = running.names.ticks(Exchange.NSE)
    await running.configure(nse, max_message_bytes="1500")
    running.send(nse, 200)
    running.send(nse, 1, size=4000)
    running.send(nse, 200)
    await running.finish()
    assert running.producer.counts.failed == {"msg_size_too_large": 1}
    (letter,) = await running.read(running.names.deadletter)
    assert dict(letter.headers())["reason"] == b"msg_size_too_large"
    assert len(letter.value()) == 4007
    messages = await running.read(nse)
    assert len({message.value()[:7] for message in messages}) == 400
    for key, values in by_key(messages).items():
        numbers = list(dict.fromkeys(int(value[:7]) for value in values))
        assert numbers == [n for n in range(int(key), 401, KEYS) if n != 200]


@pytest.mark.parametrize("every", [1, 10, 1000])
async def test_bad_records_among_many_cost_a_topic_little_more_than_themselves(run, every):
    """A compacted topic refuses records without a key, all along."""
    running = run()
    await running.start()
    nse = running.names.ticks(Exchange.NSE)
    await running.configure(nse, cleanup_policy="compact")
    bad = range(every // 2, min(100 * every, 20_000), every)
    number = 0
    for place in bad:
        running.send(nse, place - number)
        running.producer.produce(nse, b"%07d" % place, None, round(time.time() * 1000))
        running.made[nse] = number = place + 1
    running.send(nse, 100)
    await running.finish()
    assert running.producer.counts.failed == {"invalid_record": len(bad)}
    letters = await running.read(running.names.deadletter)
    assert sorted(int(letter.value()) for letter in letters) == list(bad)
    messages = await running.read(nse)
    assert len(messages) == running.made[nse] - len(bad)
    for key, values in by_key(messages).items():
        expected = [n for n in range(int(key), running.made[nse], KEYS) if n not in bad]
        assert [int(value[:7]) for value in values] == expected
    assert not running.dropped


async def test_batches_keep_to_the_limit_that_the_topic_has_at_the_start(run):
    running = run()
    await running._make()
    nse = running.names.ticks(Exchange.NSE)
    await running.configure(nse, max_message_bytes="1500")
    report = await running.start()
    assert report.max_message_bytes[nse] == 1500
    running.producer.bound_batches(min(report.max_message_bytes.values()))
    for _ in range(40):
        running.send(nse, 60)
        await asyncio.sleep(0.002)
    await running.finish()
    assert not running.producer.refusals
    await running.in_order(nse)


async def test_a_refused_dead_letter_is_a_loss_that_is_counted(run):
    running = run()
    await running.start()
    nse = running.names.ticks(Exchange.NSE)
    for topic in (nse, running.names.deadletter):
        await running.configure(topic, max_message_bytes="200")
    running.send(nse, 30)
    await running.finish()
    assert running.producer.counts.failed == {"msg_size_too_large": 30}
    assert running.producer.dead_letters.dropped == {"dead_letter_refused": 30}
    assert sum(count for reason, count in running.dropped if "refused" in reason) == 30
    assert not await running.read(running.names.deadletter)


async def test_a_clock_two_hours_ahead_loses_nothing_and_is_named(run):
    running = run(clock=lambda: time.time() + 7200)
    await running.start()
    nse = running.names.ticks(Exchange.NSE)
    running.stream(nse, running.names.events)
    await until(lambda: running.producer.counts.delivered > 500, SECONDS)
    running.producer.produce(
        running.names.deadletter, b"v", b"k", round(running.clock() * 1000), [("reason", b"x")]
    )
    await until(lambda: running.producer.dead_letters.delivered == 1, SECONDS)
    reasons = running.troubles.reasons()
    assert all("this machine's clock is about" in reason for reason in reasons), reasons
    assert all("h ahead of the brokers'" in reason for reason in reasons), reasons
    await running.goes_on(nse)
    await running.finish()
    await running.in_order(nse)
    assert not running.dropped
    assert not running.producer.counts.failed
    last = (await running.read(nse))[-1].timestamp()[1]
    assert abs(last / 1000 - time.time()) < 1800


async def test_a_produce_quota_is_named_and_loses_nothing(run):
    running = run()
    await running.start()
    nse = running.names.ticks(Exchange.NSE)
    limit_production(running.kafka.bootstrap_servers, running.shape.prefix, 20_000)
    try:
        running.stream(nse)
        await until(lambda: any("quota" in r for r in running.troubles.reasons()), SECONDS)
        assert running.producer.health.throttled_seconds > 0
    finally:
        limit_production(running.kafka.bootstrap_servers, running.shape.prefix, None)
    await running.finish()
    await running.in_order(nse)
    assert not running.dropped
