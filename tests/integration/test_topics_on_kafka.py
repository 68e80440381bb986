"""Making and checking topics on a real Kafka."""

import asyncio
import uuid
from collections import defaultdict

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connector.errors import TopicError
from connector.kafka.topics import (
    TopicNames,
    TopicsReport,
    ensure_topics,
    look_at_topics,
    topic_specs,
)
from connector.kite.wire.models import Exchange
from connector.settings.models import KafkaSettings, TopicSettings

pytestmark = pytest.mark.integration


def nothing_to_do(report: TopicsReport) -> bool:
    return not (report.created or report.extended or report.differences)


@pytest.fixture
def kafka(bootstrap_servers):
    return KafkaSettings(bootstrap_servers=bootstrap_servers)


@pytest.fixture
def topics():
    return TopicSettings(
        prefix=f"it-{uuid.uuid4().hex[:8]}",
        replication_factor=1,
        tick_partitions=2,
        tick_retention_hours=1,
    )


@pytest.fixture
def admin(bootstrap_servers):
    return AdminClient({"bootstrap.servers": bootstrap_servers})


def configuration(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(20)
    return {name: entry.value for name, entry in entries.items()}


async def alter(admin, topic, name, value):
    """Change a property, and wait until the broker tells of it."""
    await asyncio.to_thread(set_property, admin, topic, name, value)
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(configuration, admin, topic))[name] != value:
            pass


def set_property(admin, topic, name, value):
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(20)


async def test_topics_are_made_as_asked_for(kafka, topics, admin):
    report = await ensure_topics(kafka, topics, slots=3)
    specs = topic_specs(topics, slots=3)
    assert sorted(report.created) == sorted(spec.name for spec in specs)
    found = admin.list_topics(timeout=20).topics
    for spec in specs:
        assert len(found[spec.name].partitions) == spec.partitions
        there = await asyncio.to_thread(configuration, admin, spec.name)
        assert {name: there[name] for name in spec.config} == spec.config
    names = TopicNames(topics.prefix)
    there = await asyncio.to_thread(configuration, admin, names.all_ticks().popitem()[1])
    assert (there["retention.ms"], there["cleanup.policy"]) == ("3600000", "delete")
    there = await asyncio.to_thread(configuration, admin, names.subscriptions)
    assert there["cleanup.policy"] == "compact"
    # and once more: there is nothing to do
    report = await ensure_topics(kafka, topics, slots=3)
    assert nothing_to_do(report)
    # Kafka's defaults
    assert report.max_message_bytes[names.orders] == 1_048_588
    assert report.timestamp_after_max_ms[names.orders] == 3_600_000


async def test_replicas_may_start_at_once(kafka, topics):
    reports = await asyncio.gather(*(ensure_topics(kafka, topics, slots=3) for _ in range(4)))
    made = sorted(name for report in reports for name in report.created)
    assert made == sorted(spec.name for spec in topic_specs(topics, slots=3))


async def test_topics_that_were_made_take_the_first_records(kafka, topics):
    await ensure_topics(kafka, topics, slots=3)
    offsets = defaultdict(list)
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "enable.idempotence": True,
            "batch.num.messages": 1,
            "linger.ms": 0,
        }
    )
    partitions = [
        (spec.name, number)
        for spec in topic_specs(topics, slots=3)
        for number in range(spec.partitions)
    ]
    for topic, partition in partitions * 5:
        producer.produce(
            topic,
            b"record",
            b"key",
            partition=partition,
            on_delivery=lambda error, sent: offsets[sent.topic(), sent.partition()].append(
                (error, sent.offset())
            ),
        )
    assert await asyncio.to_thread(producer.flush, 60) == 0
    # a success without an offset is one that a leader took for a repetition: it was lost
    assert offsets == {one: [(None, offset) for offset in range(5)] for one in partitions}


async def test_more_api_keys_are_more_slots(kafka, topics, admin):
    await ensure_topics(kafka, topics, slots=3)
    report = await ensure_topics(kafka, topics, slots=6)
    subscriptions = TopicNames(topics.prefix).subscriptions
    assert report.extended == [subscriptions]
    assert len(admin.list_topics(subscriptions, timeout=20).topics[subscriptions].partitions) == 6
    report = await ensure_topics(kafka, topics, slots=3)
    assert report.differences == [f"{subscriptions}: 6 partitions, the settings say 3"]


async def test_differences_are_told_and_left(kafka, topics, admin):
    await ensure_topics(kafka, topics, slots=3)
    orders = TopicNames(topics.prefix).orders
    await alter(admin, orders, "retention.ms", "1000")
    report = await ensure_topics(kafka, topics, slots=3)
    assert report.differences == [f"{orders}: retention.ms is 1000, the settings say 2592000000"]
    assert (await asyncio.to_thread(configuration, admin, orders))["retention.ms"] == "1000"


@pytest.mark.parametrize(
    ("topic", "policy", "right"),
    [
        ("subscriptions", "delete", "compact"),
        ("subscriptions", "compact,delete", "compact"),
        ("instruments", "delete,compact", "compact"),
        ("control", "compact,delete", "delete"),
    ],
)
async def test_a_policy_that_loses_state_is_refused(kafka, topics, admin, topic, policy, right):
    await ensure_topics(kafka, topics, slots=3)
    name = getattr(TopicNames(topics.prefix), topic)
    await alter(admin, name, "cleanup.policy", policy)
    with pytest.raises(TopicError, match=rf"cleanup\.policy is .* and must be {right}: ") as caught:
        await ensure_topics(kafka, topics, slots=3)
    # the command that it names helps
    assert f"--entity-name {name} --add-config cleanup.policy={right}" in str(caught.value)
    await alter(admin, name, "cleanup.policy", right)
    assert (await ensure_topics(kafka, topics, slots=3)).differences == []


async def test_what_somebody_has_changed_is_seen_by_a_look_that_changes_nothing(
    kafka, topics, admin
):
    missing = await look_at_topics(kafka, topics, slots=3)
    assert (len(missing.missing), missing.faults) == (len(topic_specs(topics, slots=3)), [])
    await ensure_topics(kafka, topics, slots=3)
    report = await look_at_topics(kafka, topics, slots=3)
    assert (report.missing, report.faults, report.losses, report.differences) == ([], [], [], [])
    assert (report.created, report.unreadable) == ([], {})
    names = TopicNames(topics.prefix)
    await alter(admin, names.subscriptions, "cleanup.policy", "compact,delete")
    await alter(admin, names.replies, "min.insync.replicas", "2")
    await alter(admin, names.events, "retention.ms", "1000")
    await alter(admin, names.ticks(Exchange.NSE), "message.timestamp.type", "LogAppendTime")
    report = await look_at_topics(kafka, topics, slots=6)
    assert sorted(fault.split(" and ")[0] for fault in report.faults) == sorted(
        [
            f"topic {names.replies}: min.insync.replicas is 2",
            f"topic {names.subscriptions}: cleanup.policy is compact,delete",
            f"topic {names.subscriptions}: has 3 partitions",
        ]
    )
    assert {loss.split(" is ")[0] for loss in report.losses} == {
        f"topic {names.events}: retention.ms",
        f"topic {names.ticks(Exchange.NSE)}: message.timestamp.type",
    }
    # the commands that it names help
    await alter(admin, names.subscriptions, "cleanup.policy", "compact")
    await alter(admin, names.replies, "min.insync.replicas", "1")
    report = await look_at_topics(kafka, topics, slots=3)
    assert (report.faults, report.missing, report.extended) == ([], [], [])


async def test_commands_have_one_order(kafka, topics, admin):
    control = TopicNames(topics.prefix).control
    admin.create_topics([NewTopic(control, 2, 1)])[control].result(20)
    with pytest.raises(TopicError, match="has 2 partitions and must have exactly 1"):
        await ensure_topics(kafka, topics, slots=3)


async def test_more_replicas_than_brokers(kafka, topics, admin):
    brokers = len(admin.list_topics(timeout=20).brokers)
    more = topics.model_copy(update={"replication_factor": brokers + 1})
    with pytest.raises(TopicError, match=rf"replication_factor is {brokers + 1}, but the cluster"):
        await ensure_topics(kafka, more, slots=3)


async def test_without_leave_to_create(kafka, topics):
    only_check = topics.model_copy(update={"create": False})
    with pytest.raises(TopicError, match=r"topics\.create is off") as caught:
        await ensure_topics(kafka, only_check, slots=3)
    assert caught.value.topic.count(topics.prefix) == len(topic_specs(topics, slots=3))
    await ensure_topics(kafka, topics, slots=3)
    assert nothing_to_do(await ensure_topics(kafka, only_check, slots=3))
    with pytest.raises(TopicError, match=r"has 3 partitions and needs 6, and topics\.create is"):
        await ensure_topics(kafka, only_check, slots=6)
