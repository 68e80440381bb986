"""Reading topics back, without decoding."""

import time
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition


def read_topic(servers, topic, count, seconds=20.0):
    """At least `count` messages of a topic, by partition in order; blocks: call it in a thread."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    try:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in metadata.partitions])
        found = []
        end = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            found += [m for m in consumer.consume(2000, 0.1) if m.error() is None]
        return found
    finally:
        consumer.close()


def by_key(messages):
    """Key → values in the order of the log; asserts that a key stays in its partition."""
    values, partitions = defaultdict(list), {}
    for message in messages:
        key = message.key()
        assert partitions.setdefault(key, message.partition()) == message.partition()
        values[key].append(message.value())
    return values
