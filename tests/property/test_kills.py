"""A producer is killed at any moment, between any two changes of its disk, and another one goes on.

The broker is worked by hand, and refuses topics and records; topics are held apart. Whatever was
once on disk is at each moment still there, or acknowledged, itself or as its dead letter.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connector.kafka import spooling
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.spool_files import Segment, SpoolFiles
from connector.kafka.spool_format import decode, scan
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.testing import FakeClock
from tests.support.kafka_client import WAYS, FakeCluster

TOPICS = ("a", "b")
DEAD = "dead"
CLIENTS = ("test", *(f"test-{topic}" for topic in (*TOPICS, DEAD)))
FAULTS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_TIMESTAMP)
CHANGES = ("create", "truncate", "rename", "remove")


class Killed(BaseException):
    """Nothing catches it, as nothing survives SIGKILL."""


class MortalFiles(SpoolFiles):
    """The disk of a process that is killed before one of its changes."""

    def __init__(self, clock):
        self.clock = clock
        self.takes_seconds = 0.0  # of the clock, each change
        self.full = False
        self.changes_left = None  # None: it is not killed by itself
        self.locks = set()

    def change(self):
        if self.changes_left is not None:
            if self.changes_left == 0:
                raise Killed
            self.changes_left -= 1
        self.clock.now += self.takes_seconds

    def write(self, descriptor, data, offset):
        self.change()
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data, offset)

    def lock(self, directory):
        descriptor = super().lock(directory)
        self.locks.add(descriptor)
        return descriptor

    def close(self, descriptor):
        self.locks.discard(descriptor)
        super().close(descriptor)

    def sync(self, descriptor):
        """What was written survives the process; the machine is not what fails here."""

    def release(self):
        for descriptor in self.locks:
            os.close(descriptor)
        self.locks.clear()


def _mortal(call):
    def method(self, *arguments):
        self.change()
        return getattr(SpoolFiles, call)(self, *arguments)

    return method


for _call in CHANGES:
    setattr(MortalFiles, _call, _mortal(_call))


def on_disk(directory):
    """The values that another process would find."""
    values = set()
    for path in directory.rglob("*.spool"):
        segment, counted = Segment.named(path.parent, path.name, path.stat().st_size)
        found, _ = scan(path.read_bytes(), segment.seed)
        bodies = [body for index, body in found.items() if index >= segment.begin]
        waiting = bodies[-segment.waiting :] if counted and segment.waiting else bodies
        values.update(decode(body).value for body in waiting if not counted or segment.waiting)
    return values


class Producers(RuleBasedStateMachine):
    """One process after another over one directory."""

    @initialize(way=st.sampled_from(WAYS))
    def begin(self, way):
        self.patch = pytest.MonkeyPatch()
        # files may go while the queue never empties: here nobody acknowledges for any time
        self.patch.setattr(spooling, "_KEPT_SECONDS", float("inf"))
        self.directory = Path(tempfile.mkdtemp())
        self.cluster, self.clock = FakeCluster(), FakeClock()
        self.cluster.install(self.patch, way)
        self.made = Counter()
        self.stored = set()
        self.start()

    def start(self):
        self.files = MortalFiles(self.clock)
        self.producer = IsolatingProducer(
            KafkaSettings(queue_max_messages=1000),
            SpoolSettings(directory=self.directory),
            client_id="test",
            dead_letter_topic=DEAD,
            on_failed=self.dead_letter,
            clock=lambda: 1_767_585_600 + self.clock(),
            monotonic=self.clock,
            files=self.files,
        )
        self.producer.open()

    def dead_letter(self, failure):
        record = failure.record
        self.producer.produce(DEAD, b"dead " + record.value, record.topic.encode())

    def die(self):
        self.files.release()
        self.cluster.clients.clear()

    def kill_and_start(self):
        self.die()
        self.start()

    def clients(self, names):
        """Of each producer the one that it has now."""
        now = {each.properties["client.id"]: each for each in self.cluster.clients}
        return [client for name, client in now.items() if name in names and not client.closed]

    def poll(self, times=1):
        for _ in range(times):
            try:
                self.producer.poll()
            except Killed:
                self.kill_and_start()
            self.nothing_is_lost()

    def produce(self, topic):
        value = b"%s %d" % (topic.encode(), self.made[topic])
        self.made[topic] += 1
        try:
            self.producer.produce_all([(topic, b"k", value)], 1_700_000_000_000)
        except Killed:
            self.kill_and_start()

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 30))
    def send(self, topic, count):
        for _ in range(count):
            self.produce(topic)

    @rule(topic=st.sampled_from(TOPICS), before=st.integers(0, 5), behind=st.integers(0, 5))
    def send_a_bad_one(self, topic, before, behind):
        self.send(topic, before)
        self.cluster.poison[b"%s %d" % (topic.encode(), self.made[topic])] = (
            KafkaError.INVALID_RECORD
        )
        self.send(topic, 1 + behind)

    @rule(times=st.integers(1, 20))
    def polls(self, times):
        self.poll(times)

    @rule(times=st.integers(1, 20), names=st.sets(st.sampled_from(CLIENTS), min_size=1))
    def some_acknowledge(self, times, names):
        for _ in range(times):
            self.poll()
            for client in self.clients(names):
                client.acknowledge(50)

    @rule(times=st.integers(1, 150), streaming=st.booleans())
    def all_acknowledge(self, times, streaming=False):
        for _ in range(times):
            under_way = [(client, len(client.queue)) for client in self.clients(CLIENTS)]
            if streaming:
                for topic in TOPICS:
                    self.produce(topic)
            self.poll()
            if not streaming:
                under_way = [(client, 1000) for client in self.clients(CLIENTS)]
            for client, count in under_way:
                client.acknowledge(count)
            self.clock.now += 0.5

    @rule(name=st.sampled_from(CLIENTS), count=st.integers(1, 80))
    def acknowledge(self, name, count):
        for client in self.clients([name]):
            client.acknowledge(count)

    @rule(name=st.sampled_from(CLIENTS), count=st.integers(1, 30))
    def send_out(self, name, count):
        for client in self.clients([name]):
            client.send(count)

    @rule(name=st.sampled_from(CLIENTS), count=st.integers(1, 10))
    def write(self, name, count):
        for client in self.clients([name]):
            client.write(count)

    @rule(name=st.sampled_from(CLIENTS))
    def break_down(self, name):
        for client in self.clients([name]):
            client.break_down()

    @rule(seconds=st.sampled_from([0.0, 0.2]))
    def the_disk_takes(self, seconds):
        self.files.takes_seconds = seconds

    @rule(full=st.booleans())
    def the_disk_is_full(self, full):
        self.files.full = full

    @rule(topic=st.sampled_from([*TOPICS, DEAD]), fault=st.sampled_from(FAULTS))
    def refuse_a_topic(self, topic, fault):
        self.cluster.faults[topic] = fault

    @rule()
    def mend(self):
        self.cluster.faults.clear()

    @rule(seconds=st.sampled_from([1, 5, 25, 61]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule()
    def kill(self):
        self.kill_and_start()

    @precondition(lambda self: self.files.changes_left is None)
    @rule(changes=st.integers(0, 12))
    def kill_amid_changes(self, changes):
        self.files.changes_left = changes

    @rule()
    def stop(self):
        with contextlib.suppress(Killed):
            asyncio.run(self.producer.close(0))
        self.kill_and_start()

    @invariant()
    def nothing_is_lost(self):
        there = on_disk(self.directory)
        self.stored |= there
        there |= {value for _, _, value, _, _ in self.cluster.log}
        lost = {
            value for value in self.stored if value not in there and b"dead " + value not in there
        }
        # to wait for a disk in trouble would keep files from being deleted, and so the disk full
        if any(child.spool_problem for child in self.producer._apart()):
            self.stored -= lost
        else:
            assert not lost

    @invariant()
    def keys_keep_their_order(self):
        for topic in TOPICS:
            values = dict.fromkeys(
                value for name, _, value, *_ in self.cluster.log if name == topic
            )
            numbers = [int(value.split()[1]) for value in values]
            assert numbers == sorted(numbers)

    def teardown(self):
        if not hasattr(self, "producer"):
            return
        try:
            self.cluster.faults.clear()
            self.files.full = False
            # until topics that were held apart have come back
            self.all_acknowledge(150, streaming=True)
            self.files.changes_left = None
            self.all_acknowledge(300)
            assert not on_disk(self.directory)
            assert not self.producer.counts.dropped
            self.keys_keep_their_order()
            asyncio.run(self.producer.close(0))
            self.nothing_is_lost()
        finally:
            self.die()
            self.patch.undo()
            shutil.rmtree(self.directory)


def test_what_was_once_on_disk_is_never_lost_by_a_kill():
    run_state_machine_as_test(
        Producers,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, database=None
        ),
    )


def with_a_topic_held_apart(way):
    """Producers of which "a" has its own client, and the client of all others has gone."""
    process = Producers()
    process.begin(way)
    process.refuse_a_topic("a", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    process.send("a", 3)
    process.all_acknowledge(20)
    process.mend()
    process.all_acknowledge(40)
    assert process.clients(["test-a"])
    process.break_down("test")
    process.send("b", 3)
    return process


@pytest.mark.parametrize("way", WAYS)
def test_a_file_stays_while_a_topic_held_apart_has_its_records_in_memory_alone(way):
    """Returned records go before the spool, which is no reason to delete what was read of it."""
    process = with_a_topic_held_apart(way)
    process.send("a", 3)
    process.poll()
    process.wait(5)
    process.poll(5)
    # read of one file: three with the topic's own client, three with that of all, which come back
    assert [len(client) for client in process.clients(CLIENTS)] == [3, 3]
    process.break_down("test")
    process.poll(5)
    process.kill()
    process.teardown()


@pytest.mark.parametrize("way", WAYS)
def test_what_a_topic_held_apart_was_given_of_a_file_is_sent_before_newer_records(way):
    """Its queue has no room for all: the newer ones would be on its disk, the older ones not."""
    process = with_a_topic_held_apart(way)
    process.send("a", process.cluster.queue_limit + 50)
    process.poll()
    process.wait(5)
    process.poll(5)
    (client,) = process.clients(["test-a"])
    assert len(client) >= process.cluster.queue_limit // 2
    process.kill()
    process.all_acknowledge(20)
    process.keys_keep_their_order()
    process.teardown()


@pytest.mark.parametrize("way", WAYS)
def test_topics_that_come_back_over_a_slow_disk_leave_no_file(way):
    """What waited of them would be sent once more at the next start."""
    process = Producers()
    process.begin(way)
    for topic in TOPICS:
        process.refuse_a_topic(topic, KafkaError.INVALID_TIMESTAMP)
    process.stop()
    process.all_acknowledge(111, streaming=True)
    process.stop()
    process.mend()
    process.all_acknowledge(103, streaming=True)
    for topic in TOPICS:
        process.break_down(f"test-{topic}")
    # both come back now, in one turn, and the disk rests in between
    process.the_disk_takes(0.2)
    process.teardown()
