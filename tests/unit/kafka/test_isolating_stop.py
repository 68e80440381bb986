"""A stop while the disk fails: what is told as lost is what neither Kafka nor any file has."""

import asyncio
import errno
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from hypothesis import event, given, settings
from hypothesis import strategies as st

from connector.kafka import spooling, topic_producer
from connector.testing import FakeClock
from tests.property.test_kills import on_disk
from tests.support.disk import Disk
from tests.support.kafka_client import WAYS, FakeCluster
from tests.unit.kafka.test_isolating import DEAD, TOPICS, balanced, go_on, new, send, take, written

FAULTS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_TIMESTAMP)
CALLS = ("write", "create", "rename", "remove", "truncate")


def current(cluster):
    """Of each producer the client that it has now."""
    return {each.properties["client.id"]: each for each in cluster.clients if not each.closed}


async def test_what_a_topic_held_apart_was_given_of_a_file_is_in_it_still(cluster, clock, tmp_path):
    disk = Disk()
    told = Counter()
    producer = new(
        tmp_path, clock, files=disk, on_dropped=lambda why, what: told.update({why: what.count})
    )
    await producer.start()
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(3))
    go_on(producer, cluster, clock, 20)
    cluster.faults.clear()
    go_on(producer, cluster, clock, 40)
    assert list(producer._held) == ["a"]
    current(cluster)["test"].break_down()
    send(producer, "b", range(3))
    send(producer, "a", range(3, 6))
    while balanced(producer).spooled < 6:
        producer.poll()
    disk.fail("write", code=errno.ENOSPC)
    for _ in range(6):
        clock.now += 1
        producer.poll()
    # read of one file: three with the topic's own client, three with that of all
    assert [len(client) for client in current(cluster).values()] == [3, 3]
    assert await producer.close(0)
    counts = balanced(producer)
    assert (counts.spooled, counts.in_flight, counts.dropped, told) == (6, 0, {}, {})
    disk.mend()
    after = new(tmp_path, clock)
    await after.start()
    assert after.counts.found == 6
    go_on(after, cluster, clock)
    assert {value for name, _, value, *_ in cluster.log if name in "ab"} == {
        *(b"a %d" % number for number in range(6)),
        *(b"b %d" % number for number in range(3)),
    }
    assert await after.close(0)


async def test_what_the_client_does_not_give_back_stays_in_the_file_that_it_was_read_of(
    cluster, clock, tmp_path, monkeypatch
):
    monkeypatch.setattr(spooling, "_PURGE_SECONDS", 0.0)
    producer = new(tmp_path, clock)
    await producer.start()
    current(cluster)["test"].break_down()
    send(producer, "a", range(20))
    while balanced(producer).spooled < 20:
        producer.poll()
    for _ in range(6):
        clock.now += 1
        producer.poll()
    client = current(cluster)["test"]
    assert len(client) == 20
    monkeypatch.setattr(client, "purge", lambda **_: None)
    monkeypatch.setattr(client, "close", lambda: setattr(client, "closed", True))
    assert not await producer.close(0)
    # nobody knows which of them Kafka has
    assert balanced(producer).dropped == {"not_returned": 20}
    after = new(tmp_path, clock)
    await after.start()
    assert after.counts.found == 20
    go_on(after, cluster, clock)
    assert written(cluster, "a") == list(range(20))
    assert await after.close(0)


@pytest.mark.parametrize("left_bytes", [1 << 20, 0])
async def test_a_stop_loses_nothing_small_of_a_topic_whose_own_folder_is_of_no_use(
    cluster, clock, tmp_path, monkeypatch, left_bytes
):
    """It has a temporary one, which goes with the process."""
    monkeypatch.setattr(topic_producer, "_LEFT_BYTES", left_bytes)
    (tmp_path / "held").mkdir()
    (tmp_path / "held/a").write_text("a file")
    producer = new(tmp_path, clock)
    await producer.start()
    cluster.faults["a"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    send(producer, "a", range(20))
    send(producer, "b", range(3))
    go_on(producer, cluster, clock, 20)
    assert list(producer._held) == ["a"]
    send(producer, "a", range(20, 30))
    go_on(producer, cluster, clock, 5)
    assert await producer.close(0) is bool(left_bytes)
    counts = balanced(producer)
    if not left_bytes:
        assert counts.dropped == {"no_spool_directory": 30}
        return
    assert (counts.spooled, counts.dropped) == (30, {})
    cluster.faults.clear()
    after = new(tmp_path, clock)
    await after.start()
    go_on(after, cluster, clock)
    assert written(cluster, "a") == list(range(30))
    assert await after.close(0)


async def test_a_topic_stays_apart_while_the_disk_fails(cluster, clock, tmp_path):
    """What waits of it would be in memory alone, and in its files, to be sent once more."""
    disk = Disk()
    producer = new(tmp_path, clock, files=disk)
    await producer.start()
    cluster.poison[b"a 1"] = KafkaError.INVALID_RECORD
    send(producer, "a", range(3))
    go_on(producer, cluster, clock, 20)
    assert list(producer._held) == ["a"]
    disk.fail("write", code=errno.ENOSPC)
    current(cluster)["test"].break_down()
    numbers = itertools.count(3)
    for _ in range(200):
        send(producer, "a", itertools.islice(numbers, 2))
        send(producer, "b", [0])
        go_on(producer, cluster, clock, 1)
        if not producer.spool_problem:
            current(cluster)["test"].break_down()  # so that the disk is asked
    assert list(producer._held) == ["a"]
    disk.mend()
    for _ in range(200):
        send(producer, "a", itertools.islice(numbers, 2))
        go_on(producer, cluster, clock, 1)
    assert not producer._held
    assert written(cluster, "a") == [0, *range(2, next(numbers))]
    assert not (tmp_path / "held" / "a").exists()
    await producer.close(0)


Topic = st.sampled_from(TOPICS)
Step = st.one_of(
    st.tuples(st.just("stream"), Topic, st.integers(1, 10)),
    st.tuples(st.just("fault"), st.sampled_from([*TOPICS, DEAD]), st.integers(0, 1)),
    st.tuples(st.just("poison"), Topic, st.integers(1, 9)),
    st.tuples(st.just("produce"), Topic, st.integers(1, 40)),
    st.tuples(st.just("acknowledge"), Topic, st.integers(1, 80)),
    st.tuples(st.just("send"), Topic, st.integers(1, 30)),
    st.tuples(st.just("poll"), Topic, st.integers(1, 10)),
    st.tuples(st.just("wait"), Topic, st.integers(1, 100)),
    st.tuples(st.just("break"), Topic, st.integers(0, 5)),
    st.tuples(st.just("mend"), Topic, st.just(0)),
    st.tuples(st.just("disk"), st.sampled_from(CALLS), st.just(0)),
    st.tuples(st.just("room"), Topic, st.integers(0, 3000)),
    st.tuples(st.just("disk mended"), Topic, st.just(0)),
)


@settings(max_examples=150)
@given(st.lists(Step, min_size=5, max_size=30), st.sampled_from(WAYS))
def test_whatever_fails_what_is_lost_is_what_nobody_has(steps, way):
    cluster, clock, disk = FakeCluster(), FakeClock(), Disk()
    made = Counter()

    async def scenario(directory):
        producer = new(directory, clock, files=disk)
        await producer.start()
        for step, what, count in steps:
            if step == "disk":
                disk.fail(what, code=errno.ENOSPC)
            elif step == "room":
                disk.room = count
            elif step == "disk mended":
                disk.mend()
            else:
                take(step, what, count, producer, cluster, clock, made, FAULTS)
            clock.now += 0.5
            balanced(producer)
        before = told(producer)
        clean = await producer.close(0)
        counts, dead = balanced(producer), producer.dead_letters
        assert (counts.in_flight, dead.in_flight) == (0, 0)
        assert clean == (told(producer) == before)
        everything = {b"%s %d" % (each.encode(), n) for each in TOPICS for n in range(made[each])}
        stored, log = on_disk(directory), {value for _, _, value, *_ in cluster.log}
        lost = {v for v in everything if not {v, b"dead " + v} & (stored | log)}
        assert told(producer) >= len(lost)
        # a dead letter is lost for itself, whatever file has the record that it was made of
        if not dead.dropped:
            assert told(producer) == len(lost)
            unsent = {v for v in stored - log if b"dead " + v not in stored | log}
            assert len(unsent) <= counts.spooled + dead.spooled <= len(stored)
        event(f"{'some' if lost else 'none'} lost, {'some' if dead.dropped else 'no'} dead letters")

    def told(producer):
        return sum(producer.counts.dropped.values()) + sum(producer.dead_letters.dropped.values())

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        cluster.install(patch, way)
        asyncio.run(scenario(Path(directory)))
