"""What can be tested of `ensure_topics` where topics cannot be created; the rest needs Kafka."""

import socket
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from connector.embedded.broker import EmbeddedBroker
from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.topics import TopicsReport, _Topics, ensure_topics, topic_specs
from connector.settings.models import KafkaSettings, TopicSettings

TOPICS = TopicSettings(create=False)


@pytest.fixture
def broker():
    with EmbeddedBroker({s.name: s.partitions for s in topic_specs(TOPICS, slots=3)}) as broker:
        yield broker


def kafka(broker):
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


async def test_all_there(broker):
    report = await ensure_topics(kafka(broker), TOPICS, slots=3)
    there = {spec.name: spec.partitions for spec in topic_specs(TOPICS, slots=3)}
    assert report == TopicsReport(partitions=there)


async def test_all_that_is_missing_is_named():
    with (
        EmbeddedBroker({"kite.orders": 3}) as broker,
        pytest.raises(TopicError, match=r"topics\.create is off") as caught,
    ):
        await ensure_topics(kafka(broker), TOPICS, slots=3)
    assert "kite.ticks.nse, kite.ticks.nfo" in caught.value.topic
    assert "kite.orders" not in caught.value.topic.split(", ")


async def test_the_embedded_broker_has_a_topic_once_it_is_asked_for():
    """Where its number of partitions does not matter, that is enough; where it does, it is told."""
    made = TopicSettings(prefix="new", replication_factor=1, tick_partitions=4)
    with EmbeddedBroker() as broker:
        report = await ensure_topics(kafka(broker), made, slots=3, only={"new.ticks.nse"})
        assert report == TopicsReport(partitions={"new.ticks.nse": 4})
        with pytest.raises(TopicError, match="must have exactly 1"):
            await ensure_topics(kafka(broker), made, slots=3, only={"new.control"})


async def test_a_topic_of_other_settings_is_not_called_made(broker):
    """Its records wait in the spool of a connector that had another prefix."""
    with pytest.raises(
        TopicError, match=r"topic old\.ticks\.nse: .*topics\.prefix is kite"
    ) as caught:
        await ensure_topics(
            kafka(broker), TOPICS, slots=3, only={"old.ticks.nse", "kite.ticks.nse"}
        )
    assert caught.value.topic == "old.ticks.nse"


def test_a_topic_deleted_while_another_one_is_made_does_no_harm(broker, monkeypatch):
    specs = [s for s in topic_specs(TOPICS, slots=3) if s.name.startswith("kite.ticks.n")][:2]
    gone, made = (spec.name for spec in specs)
    topics = _Topics(kafka(broker), TopicSettings(), 3, 1.0, {gone, made})
    there = [{gone}, {made}]

    def list_topics():
        found = {
            spec.name: SimpleNamespace(partitions=range(spec.partitions), error=None)
            for spec in specs
            if spec.name in there[0]
        }
        there.pop(0)
        return SimpleNamespace(topics=found, brokers={1: None}, cluster_id="mockCluster")

    monkeypatch.setattr(topics, "_list", list_topics)
    made_now = []
    monkeypatch.setattr(topics, "_ask_for", made_now.extend)
    assert topics.ensure().differences == []
    assert [spec.name for spec in made_now] == [made]
    assert there == []


async def test_another_number_of_partitions_is_a_warning(broker):
    with capture_logs() as lines:
        report = await ensure_topics(
            kafka(broker), TopicSettings(create=False, order_partitions=5), slots=3
        )
    assert report.differences == ["kite.orders: 3 partitions, the settings say 5"]
    assert [line["difference"] for line in lines] == report.differences


async def test_fewer_slots_than_partitions_is_a_warning(broker):
    report = await ensure_topics(kafka(broker), TOPICS, slots=2)
    assert report.differences == ["kite.subscriptions: 3 partitions, the settings say 2"]


async def test_more_slots_than_partitions_cannot_work(broker):
    with pytest.raises(TopicError, match=r"kite\.subscriptions: has 3 partitions and needs 6"):
        await ensure_topics(kafka(broker), TOPICS, slots=6)


async def test_commands_have_one_order():
    specs = {s.name: s.partitions for s in topic_specs(TOPICS, slots=3)}
    with (
        EmbeddedBroker({**specs, "kite.control": 2}) as broker,
        pytest.raises(TopicError, match=r"kite\.control: has 2 partitions and must have exactly"),
    ):
        await ensure_topics(kafka(broker), TOPICS, slots=3)


@pytest.mark.parametrize("setting", ["replication_factor", "min_insync_replicas"])
async def test_too_few_brokers_for_what_the_settings_name(setting):
    topics = TopicSettings.model_validate({setting: 3})
    with (
        EmbeddedBroker() as broker,
        pytest.raises(TopicError, match=rf"topics\.{setting} is 3, .* has 1 broker:"),
    ):
        await ensure_topics(kafka(broker), topics, slots=3)


async def test_nobody_answers():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerUnreachableError) as caught:
            await ensure_topics(
                KafkaSettings(bootstrap_servers=servers), TOPICS, slots=3, timeout_seconds=0.3
            )
    assert caught.value.retryable
    assert caught.value.bootstrap_servers == servers
