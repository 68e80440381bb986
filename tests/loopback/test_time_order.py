"""Topics read between two times, merged by time, on the embedded broker."""

import heapq
import itertools
import random

import pytest
from confluent_kafka import Producer

from connector.embedded.broker import EmbeddedBroker
from connector.errors import BrokerUnreachableError, TopicError
from connector.kafka.reader import Reader
from connector.kafka.time_order import TimeOrder, time_order_reader
from connector.settings.models import KafkaSettings

TOPICS = {"kite.ticks.nse": 3, "kite.ticks.nfo": 1, "kite.ticks.bse": 2}


def never():
    return False


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker(TOPICS) as running:
        yield running


@pytest.fixture(scope="module")
def written(broker):
    """Times by partition; in one they fall back, one is empty."""
    chance = random.Random(7)
    times = {
        (topic, number): sorted(chance.randrange(10_000, 20_000) for _ in range(count))
        for topic, number, count in [
            ("kite.ticks.nse", 0, 900),
            ("kite.ticks.nse", 1, 40),
            ("kite.ticks.nse", 2, 900),
            ("kite.ticks.nfo", 0, 300),
            ("kite.ticks.bse", 0, 1),
        ]
    }
    late = times["kite.ticks.nfo", 0]
    late[200:250] = late[100:150]
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for (topic, partition), of_partition in times.items():
        for number, time_ms in enumerate(of_partition):
            producer.produce(topic, b"%d" % number, None, partition, timestamp=time_ms)
    assert producer.flush(10) == 0
    return times


def settings(broker):
    return KafkaSettings(
        bootstrap_servers=broker.bootstrap_servers, client=dict(EmbeddedBroker.client)
    )


def read(broker, topics=TOPICS, *, from_ms=None, to_ms=10**13, **more):
    with time_order_reader(settings(broker), "k", "t") as reader:
        order = TimeOrder(
            reader, settings(broker), topics, from_ms=from_ms, to_ms=to_ms, stop=never, **more
        )
        return order.end_ms(), [
            (message.timestamp()[1], (message.topic(), message.partition()), message.offset())
            for message in order
        ]


def merged(times):
    """Where each partition keeps its order, and the earliest head comes first."""
    partitions = [
        [(time_ms, place, offset) for offset, time_ms in enumerate(of_partition)]
        for place, of_partition in sorted(times.items())
    ]
    return list(heapq.merge(*partitions, key=lambda one: one[:2]))


@pytest.mark.parametrize("max_held", [100_000, 600])
def test_partitions_are_merged_by_time_and_each_keeps_its_order(broker, written, max_held):
    end_ms, found = read(broker, max_held=max_held)
    assert found == merged(written)
    assert end_ms == max(times[-1] for times in written.values()) + 1


def test_ranges_that_follow_one_another_have_every_record_once(broker, written):
    nfo = written["kite.ticks.nfo", 0]
    edges = [None, 11_000, nfo[120], nfo[199] + 1, 19_000, 10**13]
    assert edges[1:] == sorted(edges[1:])
    parts = [read(broker, from_ms=begin, to_ms=end)[1] for begin, end in itertools.pairwise(edges)]
    assert sorted(one for part in parts for one in part) == sorted(merged(written))
    for (begin, end), part in zip(itertools.pairwise(edges), parts, strict=True):
        # what fell back counts to the time at which it stands in its partition
        in_order = [one for one in part if one[1] != ("kite.ticks.nfo", 0)]
        assert all((begin or 0) <= time_ms < end for time_ms, _, _ in in_order)


def test_an_empty_range_ends_at_once(broker, written):
    assert read(broker, from_ms=1, to_ms=2)[1] == []
    assert read(broker, from_ms=10**12)[1] == []


def test_what_is_written_meanwhile_is_left_out():
    with EmbeddedBroker({"kite.ticks.nse": 1}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

        def write(count):
            for _ in range(count):
                producer.produce("kite.ticks.nse", b"", timestamp=1000)
            assert producer.flush(10) == 0

        write(3)
        with time_order_reader(settings(broker), "k", "t") as reader:
            order = TimeOrder(
                reader, settings(broker), ["kite.ticks.nse"],
                from_ms=None, to_ms=10**13, stop=never,
            )  # fmt: skip
            write(3)
            assert [message.offset() for message in order] == [0, 1, 2]


def test_it_stops_when_it_is_asked_to(broker, written):
    found = []
    with time_order_reader(settings(broker), "k", "t") as reader:
        order = TimeOrder(
            reader, settings(broker), TOPICS,
            from_ms=None, to_ms=10**13, stop=lambda: len(found) == 10,
        )  # fmt: skip
        found.extend(order)
    assert len(found) == 10


def test_a_topic_that_is_not_there_is_named(broker):
    with pytest.raises(TopicError, match=r"kite\.ticks\.lse: is not there"):
        read(broker, ["kite.ticks.lse"])


def test_brokers_that_fall_silent_end_it():
    with EmbeddedBroker({"kite.ticks.nse": 1}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce("kite.ticks.nse", b"", timestamp=1000)
        assert producer.flush(10) == 0
        with Reader(settings(broker), "k", "t") as reader:
            order = TimeOrder(
                reader, settings(broker), ["kite.ticks.nse"],
                from_ms=None, to_ms=10**13, stop=never, silent_seconds=0.3,
            )  # fmt: skip
            broker.set_down()
            with pytest.raises(BrokerUnreachableError, match="could not be read"):
                list(order)
