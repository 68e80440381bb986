import pytest

from connector.kafka.topics import (
    TopicNames,
    replication,
    topic_specs,
)
from connector.kite.wire.models import Exchange
from connector.settings.models import TopicSettings


def specs(slots=3, **topics):
    return {spec.name: spec for spec in topic_specs(TopicSettings(**topics), slots=slots)}


def test_names():
    names = TopicNames("kite")
    assert names.ticks(Exchange.NSE) == "kite.ticks.nse"
    assert list(names.all_ticks()) == list(Exchange)
    assert names.replies == "kite.control.replies"


def test_every_topic_has_a_spec():
    names = TopicNames("kite")
    assert set(specs()) == {
        *names.all_ticks().values(),
        names.orders,
        names.events,
        names.control,
        names.replies,
        names.subscriptions,
        names.instruments,
        names.deadletter,
    }


def test_topics_that_are_off_by_default():
    more = specs(latest=True, backfill=True, tick_partitions=5, backfill_retention_hours=2)
    assert set(more) - set(specs()) == {"kite.latest", "kite.backfill.1m"}
    candles = more["kite.backfill.1m"]
    # keyed as ticks are, so that one instrument is in one number of partition of both
    assert candles.partitions == more["kite.ticks.nse"].partitions == 5
    assert candles.config["cleanup.policy"] == "delete"
    assert candles.config["retention.ms"] == str(2 * 3_600_000)


def test_only_ticks_begin_like_ticks():
    assert [name for name in specs() if name.startswith("kite.ticks.")] == list(
        TopicNames("kite").all_ticks().values()
    )


def test_partitions():
    found = specs(slots=6, tick_partitions=12, order_partitions=2)
    assert found["kite.ticks.nfo"].partitions == 12
    assert found["kite.instruments"].partitions == 12
    assert found["kite.orders"].partitions == 2
    assert found["kite.subscriptions"].partitions == 6
    assert found["kite.control"].partitions == 1
    assert found["kite.control"].partitions_are == "exact"


def test_retention_and_compaction():
    found = specs(tick_retention_hours=0.5)
    assert found["kite.ticks.nse"].config["retention.ms"] == "1800000"
    assert found["kite.ticks.nse"].config["cleanup.policy"] == "delete"
    assert {name for name, spec in found.items() if spec.compacted} == {
        "kite.subscriptions",
        "kite.instruments",
    }
    assert "retention.ms" not in found["kite.subscriptions"].config


@pytest.mark.parametrize(("brokers", "replicas"), [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_without_a_number_there_are_three_replicas_or_one_a_broker(brokers, replicas):
    assert replication(TopicSettings(), brokers) == replicas
    assert replication(TopicSettings(replication_factor=2), brokers) == 2
    spec = topic_specs(TopicSettings(), slots=3, brokers=brokers)[0]
    assert spec.config["min.insync.replicas"] == str(max(1, replicas - 1))


@pytest.mark.parametrize(
    ("replicas", "setting", "expected"), [(3, None, "2"), (1, None, "1"), (3, 3, "3")]
)
def test_min_insync_replicas(replicas, setting, expected):
    found = specs(replication_factor=replicas, min_insync_replicas=setting)
    assert {spec.config["min.insync.replicas"] for spec in found.values()} == {expected}
