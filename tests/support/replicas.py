"""Replicas of the connector's control plane in one process, against simulator and embedded broker.

Ticks are counted and thrown away: what these tests are about is who streams what.
"""

import asyncio
import contextlib
import json
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

from connector.cluster.cluster import Cluster
from connector.embedded.broker import EmbeddedBroker
from connector.kafka.topics import TopicNames
from connector.kite.feed.credentials import StaticCredentials
from connector.kite.wire.packets import parse_frame
from connector.settings.models import Settings
from connector.testing import until

TOPICS = TopicNames()
SESSION_TIMEOUT_SECONDS = 6.0


class CountingHandler:
    """Confirms subscriptions and keeps the counts that tests look at."""

    def __init__(self, slot):
        self.slot = slot
        self.ticks = 0
        self.events = []
        self.tokens = set()
        self._awaited = set()

    def opened(self, session_id):
        pass

    def expect(self, tokens):
        self._awaited.update(tokens)

    def forget(self, tokens):
        self._awaited.difference_update(tokens)

    def frame(self, data, receive_time_us):
        ticks = parse_frame(data)
        self.ticks += len(ticks)
        self.tokens.update(tick.instrument_token for tick in ticks)
        new = [(t.instrument_token, t.mode) for t in ticks if t.instrument_token in self._awaited]
        self._awaited.difference_update(token for token, _ in new)
        return new

    def message(self, message, raw):
        pass

    def event(self, event):
        self.events.append(event)


def settings(bootstrap_servers, feed, **changes):
    tree = {
        "accounts": [{"api_key": "simulated_key", "access_token": "simulated_token"}],
        "feed": {"root": feed},
        "kafka": {"bootstrap_servers": bootstrap_servers, "client": EmbeddedBroker.client},
        "connection": {"slot_wait_seconds": 0.2, "reconnect_min_delay_seconds": 0.05},
        "cluster": {"session_timeout_seconds": SESSION_TIMEOUT_SECONDS},
        "topics": {"replication_factor": 1},
    }
    return Settings(**{**tree, **changes})


def broker(accounts=1, **options):
    """An embedded broker with the control plane's topics."""
    return EmbeddedBroker(
        {
            TOPICS.control: 1,
            TOPICS.replies: 1,
            TOPICS.subscriptions: 3 * accounts,
            TOPICS.deadletter: 1,
        },
        **options,
    )


class Replica:
    """A member of the cluster, and the intake of its slots."""

    def __init__(self, tree, master=None, refresh=None, drained=None, **options):
        self.handlers = {}
        self._refresh = refresh
        self._drained = drained
        self.events = []
        credentials = {
            account.name: StaticCredentials(account.api_key, account.access_token, account.name)
            for account in tree.accounts
        }
        self.cluster = Cluster(tree, credentials, **options)
        if master is not None:
            self.cluster.set_master(master)

    async def start(self):
        await self.cluster.start(self)

    def handler(self, slot):
        return self.handlers.setdefault(slot, CountingHandler(slot))

    def event(self, event):
        self.events.append(event)

    async def drained(self, slot):
        if self._drained is not None:
            await self._drained(slot)

    @property
    def can_refresh(self):
        return self._refresh is not None

    async def refresh(self, accept_list):
        await self._refresh(accept_list)

    async def stop(self):
        await self.cluster.stop_intake(asyncio.Event())
        await self.cluster.release()

    @property
    def owned(self):
        return sorted(self.cluster.slots)


@contextlib.asynccontextmanager
async def replicas(tree, count=1, **options):
    started = [Replica(tree, **options) for _ in range(count)]
    try:
        for replica in started:
            await replica.start()
        yield started
    finally:
        await asyncio.gather(*(replica.stop() for replica in started))


async def settled(members, slots):
    """Wait until each slot has one owner, whose connection is up, and one member leads."""

    def done():
        owned = sorted(n for member in members for n in member.owned)
        return (
            owned == sorted(slots)
            and sum(member.cluster.leads for member in members) == 1
            and all(
                slot.connection is not None and slot.connection.state == "connected"
                for member in members
                for slot in member.cluster.slots.values()
            )
            and any(member.cluster.status()["watchlists"] is not None for member in members)
        )

    await until(done)


class Steering:
    """Writes control messages as any program would, and reads the replies."""

    def __init__(self, bootstrap_servers, topics=TOPICS):
        self._topics = topics
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"test-{uuid.uuid4()}",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        self._consumer.assign([TopicPartition(topics.replies, 0, 0)])
        self.replies = []

    def write(self, value):
        self.produce(value)
        self._producer.flush(10)

    def produce(self, value):
        """Write without waiting for the broker."""
        self._producer.produce(self._topics.control, value)
        self._producer.poll(0)

    async def send(self, kind, seconds=60.0, **fields):
        command_id = fields.pop("id", None) or str(uuid.uuid4())
        if kind in ("subscribe", "replace"):
            # most tests use more instruments than their list has
            fields.setdefault("unlisted", True)
        self.write(json.dumps({"id": command_id, "type": kind, **fields}).encode())
        return await self.reply(command_id, seconds)

    async def reply(self, command_id, seconds=60.0):
        async with asyncio.timeout(seconds):
            while True:
                message = self._consumer.poll(0)
                if message is None:
                    await asyncio.sleep(0.002)
                    continue
                if message.error() is None:
                    self.replies.append(json.loads(message.value()))
                    if message.key() == command_id.encode():
                        return self.replies[-1]

    def close(self):
        self._consumer.close()
        self._producer.flush(5)
