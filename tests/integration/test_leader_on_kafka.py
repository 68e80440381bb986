"""The leader on a real Kafka: whatever is in the control topic, the next command is applied.

What the embedded broker cannot show: transactions that are refused, topics with ids, producers that
are forgotten, compression on the broker, a burst with its leader killed in the middle.
"""

import asyncio
import json
import signal
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from connector.control.bounds import DEAD_LETTER_BYTES
from connector.kafka.groups import leader_transactional_id
from connector.kite.web.instruments import InstrumentMaster
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until, wait_until
from tests.integration.containers import kafka_container
from tests.integration.test_control_on_kafka import Kafka
from tests.support.bad_messages import ANSWERED, BAD_MESSAGES, numbered
from tests.support.kafka_topics import Topic
from tests.support.leaders import leader
from tests.support.processes import in_charge, replica_processes

pytestmark = pytest.mark.integration

SECONDS = 120.0
A_MEGABYTE = 1_040_000
"""A message as long as brokers and Java's producer admit by default, a little more than ours do."""


def topic_of(kafka, topic):
    return Topic(kafka.bootstrap_servers, topic, seconds=SECONDS, group=f"{kafka.name}-reader")


def leads(kafka, **options):
    return leader(kafka, InstrumentMaster(), name=kafka.name, topics=kafka.topics, **options)


def send(kafka, *values, **properties):
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "message.max.bytes": 2_000_000,
            **properties,
        }
    )
    errors = []
    for value in values:
        if isinstance(value, dict):
            value = json.dumps(value)
        producer.produce(
            kafka.topics.control, value, on_delivery=lambda error, _: errors.append(error)
        )
        producer.poll(0)
    assert producer.flush(SECONDS) == 0
    return [error for error in errors if error is not None]


def subscribe(number, **fields):
    return {"id": f"c{number}", "type": "subscribe", "instruments": [number << 8 | 1], **fields}


def answered(*ids):
    """Whether replies have come to all of these."""

    def done(messages):
        return {message.key().decode() for message in messages} >= set(ids)

    return done


@pytest.fixture
async def kafka(bootstrap_servers):
    made = Kafka(bootstrap_servers, "classic")
    await made.create()
    return made


@pytest.fixture
def replies(kafka):
    topic = topic_of(kafka, kafka.topics.replies)
    yield topic
    topic.close()


@pytest.fixture
def letters(kafka):
    topic = topic_of(kafka, kafka.topics.deadletter)
    yield topic
    topic.close()


def alter(kafka, topic, name, value):
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)


def test_a_hundred_kinds_of_bad_message_stop_nothing(kafka, replies, letters):
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "message.max.bytes": 2_000_000,
            "batch.num.messages": 1,
            "enable.idempotence": True,
        }
    )
    bad_messages = [numbered(bad, number) for number, bad in enumerate(BAD_MESSAGES)]
    for bad in bad_messages:
        producer.produce(kafka.topics.control, bad.value, key=bad.key, headers=list(bad.headers))
    producer.produce(kafka.topics.control, b"x" * A_MEGABYTE)
    assert producer.flush(60) == 0
    send(kafka, subscribe(1))
    with leads(kafka) as leading:
        replies.until(answered("c1"))
        aside = [bad.value or b"" for bad in bad_messages if bad.becomes != ANSWERED]
        aside.append(b"x" * A_MEGABYTE)
        letters.until(lambda seen: len(seen) == len(aside))
        assert (leading.error, leading.aborted, leading.refused) == (None, 0, 0)
    assert len(replies.messages) == len(bad_messages) + 2 - len(aside)
    for value, letter in zip(aside, letters.messages, strict=True):
        headers = dict(letter.headers())
        assert (letter.value() or b"") == value[:DEAD_LETTER_BYTES]
        assert headers["length"] == b"%d" % len(value)
        assert sum(map(len, headers.values())) < 8192


@pytest.mark.parametrize("compression", ["gzip", "zstd", "lz4", "snappy"])
def test_what_unpacks_to_more_than_a_message_may_be_is_refused_by_the_broker(
    kafka, replies, compression
):
    unpacks_to = {"message.max.bytes": 30_000_000, "compression.type": compression}
    (error,) = send(kafka, bytes(20_000_000), **unpacks_to)
    assert error.name() == "MSG_SIZE_TOO_LARGE"
    assert send(kafka, subscribe(1), **unpacks_to) == []
    with leads(kafka):
        replies.until(answered("c1"))


def test_a_reply_that_the_broker_refuses_is_cut_and_stops_nothing(kafka, replies):
    alter(kafka, kafka.topics.replies, "max.message.bytes", "1000")
    # what compresses badly: brokers count the bytes of a batch as they come
    unknown = [f"NSE:{uuid.uuid4()}" for _ in range(100)]
    with leads(kafka) as leading:
        send(
            kafka,
            subscribe(1),
            {"id": "long", "type": "subscribe", "instruments": [513, *unknown]},
            subscribe(3),
        )
        replies.until(answered("c1", "long", "c3"))
        assert (leading.error, leading.serving) == (None, True)
        assert leading.refused > 0
    by_id = {reply["id"]: reply for reply in replies.replies()}
    assert (by_id["c1"]["status"], by_id["c3"]["status"]) == ("APPLIED", "APPLIED")
    assert (by_id["long"]["status"], by_id["long"]["accepted"]) == ("APPLIED", 1)
    assert by_id["long"]["errors"] == ["the rest is left out: Kafka refuses a longer reply"]
    assert len(replies.messages) == 3


def test_a_control_topic_that_was_made_anew_is_applied_from_its_beginning(kafka, replies):
    with leads(kafka):
        send(kafka, *map(subscribe, (1, 2, 3)))
        replies.until(answered("c1", "c2", "c3"))
    make_anew(kafka)
    send(kafka, *map(subscribe, (4, 5, 6)))
    with leads(kafka):
        replies.until(answered("c4", "c5", "c6"))
    with leads(kafka):
        send(kafka, subscribe(7))
        replies.until(answered("c7"))
    assert [reply["revision"] for reply in replies.replies()] == [1, 2, 3, 4, 5, 6, 7]


def test_a_control_topic_that_is_made_anew_under_a_leader_is_applied_too(kafka, replies):
    with leads(kafka):
        send(kafka, *map(subscribe, (1, 2, 3)))
        replies.until(answered("c1", "c2", "c3"))
        make_anew(kafka)
        send(kafka, *map(subscribe, (4, 5, 6, 7)))
        replies.until(answered("c4", "c5", "c6", "c7"))
    assert [reply["revision"] for reply in replies.replies()] == [1, 2, 3, 4, 5, 6, 7]


def make_anew(kafka):
    """Delete the control topic and make it as the connector does."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    topic = kafka.topics.control
    admin.delete_topics([topic])[topic].result(30)

    def gone():
        return topic not in admin.list_topics(timeout=10).topics

    wait_until(gone, 60)
    asyncio.run(kafka.create())


async def test_ten_thousand_commands_of_a_burst_whose_leader_is_killed(kafka, replies):
    sent = 10_000
    feed_config = SimulatorConfig(stepped=False, updates_per_second=0)
    async with (
        SimulatorServer(feed_config) as feed,
        replica_processes(kafka, feed, 2, **kafka.changes) as members,
    ):
        await until(lambda: in_charge(members, range(3)), 60)
        values = []
        for number in range(1, sent + 1):
            kind = "subscribe" if number % 2 else "unsubscribe"
            token = (number + 1) // 2 << 8 | 1
            values.append({"id": f"c{number}", "type": kind, "instruments": [token]})
            if number % 100 == 0:
                values.append(b"\xff poison %d" % number)
        assert await asyncio.to_thread(send, kafka, *values) == []
        await asyncio.to_thread(replies.until, lambda seen: len(seen) > 500)
        await until(lambda: sum(member.leads for member in members) == 1)
        (killed,) = [member for member in members if member.leads]
        killed.send_signal(signal.SIGKILL)
        await killed.ended()
        members.remove(killed)
        assert len(replies.messages) < sent
        await asyncio.to_thread(replies.until, answered(f"c{sent}"))
    assert [reply["id"] for reply in replies.replies()] == [f"c{n + 1}" for n in range(sent)]
    assert {reply["status"] for reply in replies.replies()} == {"APPLIED"}
    assert [reply["revision"] for reply in replies.replies()] == list(range(1, sent + 1))


def test_a_leader_whose_producer_was_forgotten_opens_another_at_once():
    with kafka_container(
        KAFKA_TRANSACTIONAL_ID_EXPIRATION_MS="2000",
        KAFKA_TRANSACTION_REMOVE_EXPIRED_TRANSACTION_CLEANUP_INTERVAL_MS="500",
        KAFKA_PRODUCER_ID_EXPIRATION_MS="2000",
        KAFKA_PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS="500",
    ) as container:
        kafka = Kafka(container.bootstrap_servers, "classic")
        asyncio.run(kafka.create())
        replies = topic_of(kafka, kafka.topics.replies)
        with leads(kafka) as leading:
            send(kafka, subscribe(1))
            replies.until(answered("c1"))
            wait_until(lambda: forgotten(container, kafka), 60)
            send(kafka, subscribe(2))
            replies.until(answered("c2"))
            assert (leading.error, leading.aborted, leading.fenced) == (None, 0, 0)
        replies.close()


def forgotten(container, kafka):
    """Whether the broker knows the leader's transactional.id no more."""
    command = "/opt/kafka/bin/kafka-transactions.sh --bootstrap-server localhost:19092 list"
    answer = container.run(command)
    assert "TransactionalId" in answer
    return leader_transactional_id(kafka.name, kafka.topics.prefix) not in answer
