"""The control plane on a real Kafka: what librdkafka's mock broker cannot show.

Fencing by epoch, aborted records that stay unseen, offsets that stick, compaction, partitions that
are added, and both group protocols.
"""

import asyncio
import contextlib
import signal
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connector.control.client import ControlClient
from connector.control.records import StateRecord
from connector.control.transactions import ControlLog, TransactionStep
from connector.errors import FencedError
from connector.kafka.groups import cluster_group, leader_transactional_id
from connector.kafka.topics import TopicNames, ensure_topics
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.processes import in_charge, replica_processes
from tests.support.replicas import Steering, settings

pytestmark = pytest.mark.integration

TOKENS = [n << 8 | 1 for n in range(1, 31)]
KEY = "simulated_key"


@pytest.fixture
async def feed():
    config = SimulatorConfig(
        stepped=False,
        updates_per_second=0,
        accounts=[{"api_key": KEY}, {"api_key": "second_key"}],
    )
    async with SimulatorServer(config) as simulator:
        yield simulator


class Kafka:
    """Topics of its own in a Kafka that others use too."""

    def __init__(self, bootstrap_servers, protocol):
        self.bootstrap_servers = bootstrap_servers
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.topics = TopicNames(self.name)
        self.changes = {
            "name": self.name,
            "topics": {"prefix": self.name, "replication_factor": 1},
            "cluster": {"session_timeout_seconds": 6, "group_protocol": protocol},
        }
        self.tree = settings(bootstrap_servers, "ws://127.0.0.1:1", **self.changes)

    async def create(self, slots=3):
        return await ensure_topics(self.tree.kafka, self.tree.topics, slots=slots)

    def log(self):
        return ControlLog(self.tree.kafka, self.topics, self.name)


@pytest.fixture(params=["classic", "consumer"])
async def kafka(request, bootstrap_servers):
    made = Kafka(bootstrap_servers, request.param)
    await made.create()
    return made


@pytest.fixture
async def one_kafka(bootstrap_servers):
    made = Kafka(bootstrap_servers, "classic")
    await made.create()
    # a broker makes its transactions' topic at the first use, which takes it some time
    client = {
        "bootstrap.servers": bootstrap_servers,
        "transactional.id": leader_transactional_id(made.name, made.topics.prefix),
    }
    await asyncio.to_thread(Producer(client).init_transactions, 60)
    return made


@pytest.fixture
def steering(kafka):
    steers = Steering(kafka.bootstrap_servers, kafka.topics)
    yield steers
    steers.close()


def test_a_second_leader_fences_the_first(one_kafka):
    first, second = one_kafka.log(), one_kafka.log()
    first.open()
    first.write(TransactionStep([StateRecord(0, "257", b"1")]))
    second.open()
    with pytest.raises(FencedError):
        first.write(TransactionStep([StateRecord(0, "257", b"2")]))
    first.close()
    second.write(TransactionStep([StateRecord(1, "513", b"3")]))
    assert sorted(second.read()) == [(0, "257", b"1"), (1, "513", b"3")]
    second.close()


def test_what_an_aborted_transaction_wrote_is_never_seen(one_kafka):
    producer = Producer(
        {
            "bootstrap.servers": one_kafka.bootstrap_servers,
            "transactional.id": leader_transactional_id(one_kafka.name, one_kafka.topics.prefix),
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(one_kafka.topics.subscriptions, b"aborted", key="257", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)
    log = one_kafka.log()
    log.open()
    assert log.read() == []
    log.write(TransactionStep([StateRecord(0, "257", b"good")]))
    assert log.read() == [(0, "257", b"good")]
    log.close()


def test_a_transaction_that_was_left_open_is_aborted_by_the_next_leader(one_kafka):
    first = one_kafka.log()
    first.open()
    first._producer.begin_transaction()
    first._producer.produce(one_kafka.topics.subscriptions, b"left open", key="257", partition=0)
    first._producer.flush(30)
    second = one_kafka.log()
    second.open()
    assert second.read() == []
    second.close()
    first.close()


async def test_the_groups_offset_tells_what_is_applied(kafka, feed):
    reader = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": cluster_group(kafka.name, kafka.topics.prefix),
        }
    )

    def applied():
        (found,) = reader.committed([TopicPartition(kafka.topics.control, 0)], timeout=30)
        return found.offset

    steering = Steering(kafka.bootstrap_servers, kafka.topics)
    async with replica_processes(kafka, feed, 1, **kafka.changes) as members:
        await until(lambda: in_charge(members, range(3)), 60)
        await steering.send("status")
        await until(lambda: applied() == 1, 60)
        await steering.send("status")
        members[0].send_signal(signal.SIGTERM)
        await members[0].ended()
    # one that ends in order leaves no lag behind
    assert applied() == 2
    steering.close()
    reader.close()


async def test_a_compacted_topic_gives_the_same_state(bootstrap_servers, feed):
    kafka = Kafka(bootstrap_servers, "classic")
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    eager = {
        "cleanup.policy": "compact",
        "segment.ms": "300",
        "min.cleanable.dirty.ratio": "0.01",
        "delete.retention.ms": "100",
        "max.compaction.lag.ms": "500",
    }
    new = [NewTopic(kafka.topics.subscriptions, 3, 1, config=eager)]
    for future in admin.create_topics(new).values():
        future.result(30)
    await kafka.create()
    steering = Steering(bootstrap_servers, kafka.topics)
    async with replica_processes(kafka, feed, 1, **kafka.changes) as members:
        await until(lambda: in_charge(members, range(3)), 60)
        for n in range(40):
            await steering.send("subscribe", watchlist=f"w{n % 3}", instruments=TOKENS)
            await steering.send("delete", watchlist=f"w{(n + 1) % 3}")
        before = await steering.send("status")
    log = kafka.log()
    log.open()

    async def compacted():
        # only writing rolls a segment, and only then is the one before it compacted
        log.write(TransactionStep([StateRecord(n, "@nothing", b"") for n in range(3)]))
        keys = [key for partition, key, _ in await asyncio.to_thread(log.read) if partition == 1]
        return keys.count(str(TOKENS[1])) <= 1

    while not await compacted():  # noqa: ASYNC110 - the broker's cleaner has no event
        await asyncio.sleep(0.5)
    log.close()
    async with replica_processes(kafka, feed, 1, **kafka.changes) as members:
        await until(lambda: in_charge(members, range(3)), 60)
        after = await steering.send("status")
        assert after["payload"] == before["payload"]
        assert after["revision"] == before["revision"]
        await until(lambda: set(feed.subscriptions()) == set(TOKENS))
    steering.close()


async def test_commands_are_applied_in_order_whoever_leads(kafka, feed, steering):
    """Each command doubles as its own check: expected_revision is the number before it."""
    async with replica_processes(kafka, feed, 3, **kafka.changes) as members:
        await until(lambda: in_charge(members, range(3)), 60)
        for number, token in enumerate(TOKENS):
            if number in (10, 20):
                # the member that came last may just be given the control partition
                await until(lambda: in_charge(members, range(3)), 60)
                (leader,) = [member for member in members if member.leads]
                leader.send_signal(signal.SIGKILL if number == 10 else signal.SIGTERM)
                await leader.ended()
                members.remove(leader)
            reply = await steering.send(
                "subscribe", 60, instruments=[token], expected_revision=number
            )
            assert (reply["status"], reply["revision"]) == ("APPLIED", number + 1)
        await until(lambda: in_charge(members, range(3)), 60)
        await until(lambda: set(feed.subscriptions()) == set(TOKENS))
    assert feed.max_open_sockets(KEY) == 3


async def test_a_leader_that_was_frozen_is_fenced_when_it_wakes(kafka, feed, steering):
    async with replica_processes(kafka, feed, 2, **kafka.changes) as members:
        await until(lambda: in_charge(members, range(3)), 60)
        await steering.send("subscribe", instruments=TOKENS)
        # the member that came last may just be given the control partition
        await until(lambda: in_charge(members, range(3)), 60)
        (frozen,) = [member for member in members if member.leads]
        (other,) = [member for member in members if not member.leads]
        frozen.send_signal(signal.SIGSTOP)
        # written to both: the frozen one reads it as soon as it wakes
        reply = await steering.send("set-mode", 60, mode="full", expected_revision=1)
        assert (reply["status"], reply["revision"]) == ("APPLIED", 2)
        frozen.send_signal(signal.SIGCONT)
        await until(lambda: in_charge(members, range(3)), 60)
        await until(lambda: set(feed.subscriptions().values()) == {"full"}, 60)
        assert other.leads or frozen.leads
        reply = await steering.send("set-mode", 60, mode="ltp", expected_revision=2)
        assert (reply["status"], reply["revision"]) == ("APPLIED", 3)
    assert feed.max_open_sockets(KEY) == 3


async def test_two_prefixes_under_one_name_are_two_clusters(bootstrap_servers, feed):
    keys = [KEY, "second_key"]
    ours, others = (Kafka(bootstrap_servers, "classic") for _ in keys)
    name = f"shared-{uuid.uuid4().hex[:8]}"
    async with contextlib.AsyncExitStack() as running:
        clusters = []
        for kafka, key in zip((ours, others), keys, strict=True):
            await kafka.create()
            account = {"name": "one", "api_key": key, "access_token": "simulated_token"}
            changes = {**kafka.changes, "name": name, "accounts": [account]}
            members = replica_processes(kafka, feed, 2, **changes)
            clusters.append((kafka, await running.enter_async_context(members)))
        for (kafka, members), token in zip(clusters, TOKENS, strict=False):
            await until(lambda members=members: in_charge(members, range(3)), 60)
            steering = Steering(kafka.bootstrap_servers, kafka.topics)
            reply = await steering.send("subscribe", instruments=[token])
            assert (reply["accepted"], reply["revision"]) == (1, 1)
            steering.close()
        await until(lambda: set(feed.subscriptions()) == set(TOKENS[:2]))
        assert [feed.open_sockets(key) for key in keys] == [3, 3]


async def test_the_broker_tells_who_owns_what(kafka, feed):
    with ControlClient(kafka.tree.kafka, kafka.topics) as client:
        assert await asyncio.to_thread(client.owners, kafka.name) in (None, {})
        assert await asyncio.to_thread(client.clusters) == []
        async with replica_processes(kafka, feed, 2, **kafka.changes) as members:
            await until(lambda: in_charge(members, range(3)), 60)
            # what moves once more streams on meanwhile, and belongs to nobody for a moment
            async with asyncio.timeout(60):
                owners = {}
                while owners.keys() != {None, 0, 1, 2}:
                    owners = await asyncio.to_thread(client.owners, kafka.name)
            assert all(owner.startswith(f"{kafka.name}-") for owner in owners.values())
            assert await asyncio.to_thread(client.clusters) == [kafka.name]
            # and a name that nobody runs under is taken for the only one that somebody does
            name, _ = await asyncio.to_thread(client.found, "nobody")
            assert name == kafka.name


async def test_an_api_key_is_added_and_removed(kafka, feed, steering):
    one = {"name": "one", "api_key": KEY, "access_token": "simulated_token"}
    two = {"name": "two", "api_key": "second_key", "access_token": "simulated_token"}
    small = {
        **kafka.changes,
        "connection": {"max_symbols_per_connection": 5, "slot_wait_seconds": 0.2},
    }
    async with replica_processes(kafka, feed, 1, **small, accounts=[one]) as old:
        await until(lambda: in_charge(old, range(3)), 60)
        reply = await steering.send("subscribe", watchlist="w", instruments=TOKENS)
        assert (reply["accepted"], len(reply["refused"])) == (15, 15)
        # the other api_key comes with a replica that knows it, beside the one that does not
        assert (await kafka.create(slots=6)).extended == [kafka.topics.subscriptions]
        async with replica_processes(kafka, feed, 2, **small, accounts=[one, two]) as new:
            old[0].send_signal(signal.SIGTERM)
            await old[0].ended()
            await until(lambda: in_charge(new, range(6)), 60)
            reply = await steering.send("subscribe", watchlist="w", instruments=TOKENS)
            assert (reply["accepted"], reply["refused"]) == (30, [])
            await until(lambda: len(feed.subscriptions()) == 30)
            assert {len(socket.subscriptions) for socket in feed.sockets} == {5}
            await steering.send("unsubscribe", watchlist="w", instruments=TOKENS[:20])
    async with replica_processes(kafka, feed, 2, **small, accounts=[one]) as members:
        await until(lambda: sum(member.leads for member in members) == 1, 60)
        await until(lambda: set(feed.subscriptions()) == set(TOKENS[20:]), 60)
        assert feed.open_sockets("second_key") == 0
