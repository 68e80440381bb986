"""A topic most of whose records are at fault: each is refused alone, and several at a time."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.testing import FakeClock
from tests.support.kafka_client import WAYS, FakeCluster
from tests.support.producers import balanced
from tests.unit.kafka.test_isolating import DEAD, go_on, new

KEYS = (b"k0", b"k1", b"k2", None)


async def sent(directory, cluster, clock, records, code=KafkaError.INVALID_RECORD):
    """A producer that was given (key, number, whether it is bad), each at once."""
    producer = new(directory, clock)
    await producer.start()
    for key, number, bad in records:
        value = b"a %d" % number
        if bad:
            cluster.poison[value] = code
        producer.produce("a", value, key, 1_700_000_000_000)
    return producer


def of_key(cluster, topic, key):
    return [
        int(value.split()[-1]) for name, k, value, *_ in cluster.log if (name, k) == (topic, key)
    ]


def batches(cluster):
    """How many records a batch of the topic's producer may have, of each of its clients."""
    return [
        each.batch_messages for each in cluster.clients if each.properties["client.id"] == "test-a"
    ]


async def test_what_is_all_bad_takes_few_round_trips_and_each_is_refused_alone(
    cluster, clock, tmp_path
):
    records = [(b"k%d" % number, number, True) for number in range(90)]
    producer = await sent(tmp_path, cluster, clock, records)
    go_on(producer, cluster, clock, 40)
    assert balanced(producer).failed == {"invalid_record": 90}
    assert of_key(cluster, DEAD, b"a") == list(range(90))
    assert 1 in batches(cluster)
    # a good one, and they go in batches again
    producer.produce("a", b"a 90", b"k", 1_700_000_000_000)
    go_on(producer, cluster, clock, 40)
    assert of_key(cluster, "a", b"k") == [90]
    assert batches(cluster)[-1] != 1
    await producer.close(0)


async def test_of_those_sent_alone_all_wait_behind_one_that_is_held_back(cluster, clock, tmp_path):
    """A fault of the topic amid records at fault: what is behind it waits, and nothing is lost."""
    records = [(b"k%d" % number, number, number != 60) for number in range(90)]
    producer = await sent(tmp_path, cluster, clock, records)
    cluster.poison[b"a 60"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    go_on(producer, cluster, clock, 40)
    assert balanced(producer).failed == {"invalid_record": 60}
    assert [trouble.topic for trouble in producer.troubles] == ["a"]
    del cluster.poison[b"a 60"]
    go_on(producer, cluster, clock, 60)
    assert balanced(producer).failed == {"invalid_record": 89}
    assert of_key(cluster, "a", b"k60") == [60]
    assert of_key(cluster, DEAD, b"a") == [n for n in range(90) if n != 60]
    await producer.close(0)


Records = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 4)), min_size=10, max_size=80)


@settings(max_examples=60, deadline=None)
@given(Records, st.sampled_from(WAYS), st.integers(0, 79))
def test_each_key_keeps_its_order_whatever_is_refused(records, way, troubled):
    """Most are bad, and one is refused for the topic until that is mended."""
    cluster, clock = FakeCluster(), FakeClock()
    numbered = [(key, number, kind > 0) for number, (key, kind) in enumerate(records)]

    async def scenario(directory):
        producer = await sent(directory, cluster, clock, numbered)
        value = b"a %d" % troubled
        own, cluster.poison[value] = (
            cluster.poison.get(value),
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
        )
        go_on(producer, cluster, clock, 40)
        cluster.poison[value] = own
        go_on(producer, cluster, clock, 200)
        assert await producer.close(0)
        counts = balanced(producer)
        assert (counts.spooled, counts.in_flight, counts.dropped) == (0, 0, {})

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        cluster.install(patch, way)
        asyncio.run(scenario(Path(directory)))
    for key in KEYS:
        good = [number for each, number, bad in numbered if each == key and not bad]
        assert of_key(cluster, "a", key) == good or key is None
        assert sorted(of_key(cluster, "a", key)) == good
    assert of_key(cluster, DEAD, b"a") == [number for _, number, bad in numbered if bad]
