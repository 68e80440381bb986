"""A consumer in memory with its script, and a member that notes what it is told."""

import asyncio
from types import SimpleNamespace

from confluent_kafka import KafkaError as Code
from confluent_kafka import KafkaException, TopicPartition

from connector.cluster.frames import member_of
from connector.kafka.topics import TopicNames

TOPICS = TopicNames()


class Message:
    def __init__(self, topic, partition, key, value, headers=None, error=None):
        self._all = (topic, partition, key, value, headers, error)

    topic, partition, key, value, headers, error = (
        (lambda self, n=n: self._all[n]) for n in range(6)
    )

    def offset(self):
        return 4


class Failure:
    def __init__(self, code, *, fatal=False, text="failure"):
        self._code, self._fatal, self._text = code, fatal, text

    def code(self):
        return self._code

    def fatal(self):
        return self._fatal

    def str(self):
        return self._text


def record(partition, key, value, headers=None):
    return Message(TOPICS.subscriptions, partition, key.encode(), value, headers)


def end(partition, topic=TOPICS.subscriptions):
    return Message(topic, partition, None, None, error=Failure(Code._PARTITION_EOF))


NOTHING = None
"""A step of a script: a poll that times out."""


class FakeConsumer:
    """`script` has messages, and callables that act as librdkafka's background would."""

    def __init__(self, script, journal):
        self.script = list(script)
        self.calls = []
        self._journal = journal
        self.member_id = "m"
        self.asked_for_its_id = 0
        self.left = ""
        self.owned = []
        self.fail_to_subscribe = False
        self.missing = set()

    def list_topics(self, topic, timeout):
        assert timeout > 0
        error = Failure(Code.UNKNOWN_TOPIC_OR_PART) if topic in self.missing else None
        return SimpleNamespace(topics={topic: SimpleNamespace(error=error)})

    def subscribe(self, topics, *, on_assign, on_revoke, on_lost):
        if self.fail_to_subscribe:
            self.fail_to_subscribe = False
            raise KafkaException(Code(Code._INVALID_ARG))
        self.calls.append(("subscribe", topics))
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def poll(self, timeout):
        while self.script:
            step = self.script.pop(0)
            if not callable(step):
                return step
            step(self)
        return NOTHING

    def consume(self, num_messages, timeout):
        assert timeout == 0
        messages = []
        while self.script and self.script[0] is not NOTHING and not callable(self.script[0]):
            messages.append(self.script.pop(0))
        assert len(messages) <= num_messages
        return messages

    def incremental_assign(self, partitions):
        self.owned += partitions
        self.calls.append(("assign", [(p.topic, p.partition, p.offset) for p in partitions]))

    def incremental_unassign(self, partitions):
        self.calls.append(("unassign", [(p.topic, p.partition) for p in partitions]))
        self._journal.append(self.calls[-1])

    def pause(self, partitions):
        self.calls.append(("pause", [(p.topic, p.partition) for p in partitions]))

    def committed(self, partitions, timeout):
        self.calls.append(("committed", [p.partition for p in partitions]))
        if self.left is None:
            raise KafkaException(Code(Code._TIMED_OUT))
        return [TopicPartition(p.topic, p.partition, 0, self.left) for p in partitions]

    def commit(self, *, offsets, asynchronous):
        assert asynchronous
        if offsets[0].topic == TOPICS.control:
            self._journal.append(("progress", offsets[0].offset))
            assert member_of(offsets[0].metadata) == self.member_id
            return
        self._journal.append(("commit", [(p.partition, p.offset, p.metadata) for p in offsets]))

    def memberid(self):
        self.asked_for_its_id += 1
        return self.member_id

    def unsubscribe(self):
        self.calls.append(("unsubscribe",))

        def gone(consumer):
            if consumer.owned:
                revoke(*(p.partition for p in consumer.owned))(consumer)
            consumer.member_id = ""

        self.script.append(gone)

    def close(self):
        if self.owned:
            self.on_revoke(self, self.owned)
            self.owned = []
        self.calls.append(("close",))


class FakeMember:
    def __init__(self, journal=None):
        self.said = []
        self._journal = [] if journal is None else journal
        self.inherited = {}
        self.frames_us = {}
        self.applied = None
        self.hands_over = False

    def applied_offset(self):
        return self.applied

    def last_frames_us(self):
        return dict(self.frames_us)

    def slot_notes(self):
        return {}

    def assigned(self, slots, *, leads, last_frames_us):
        self.inherited |= last_frames_us
        self.said.append(("assigned", list(slots), leads))

    def apply(self, items):
        self.said += items

    async def hand_over(self, slots):
        if not self.hands_over:
            return ()
        self._journal.append(("announced", list(slots)))
        return slots

    async def revoked(self, slots, *, leads):
        self.said.append(("closing", list(slots), leads))
        await asyncio.sleep(0)
        self.said.append(("closed", list(slots), leads))
        self._journal.append(self.said[-1])
        return {slot: self.frames_us[slot] for slot in slots if slot in self.frames_us}

    def held(self, slots, *, topic_gone=False):
        self.said.append(("held", list(slots), *(["topic_gone"] if topic_gone else [])))

    async def not_reassigned(self, after_seconds):
        self.said.append(("not_reassigned", after_seconds))


def slots(*numbers, control=False):
    partitions = [TopicPartition(TOPICS.subscriptions, n) for n in numbers]
    return ([TopicPartition(TOPICS.control, 0)] if control else []) + partitions


def assign(*numbers, control=False):
    return lambda consumer: consumer.on_assign(consumer, slots(*numbers, control=control))


def revoke(*numbers, control=False):
    def step(consumer):
        gone = slots(*numbers, control=control)
        kept = {(p.topic, p.partition) for p in consumer.owned} - {
            (p.topic, p.partition) for p in gone
        }
        consumer.owned = [p for p in consumer.owned if (p.topic, p.partition) in kept]
        consumer.on_revoke(consumer, gone)

    return step


def lose(*numbers, control=False):
    def step(consumer):
        consumer.owned = []
        consumer.on_lost(consumer, slots(*numbers, control=control))

    return step
