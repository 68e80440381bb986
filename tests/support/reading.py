"""Reading topics back, without decoding."""

import time
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition


def read_topic(servers, topic, seconds=60.0):
    """All messages of a topic, by partition in order; blocks: call it in a thread."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    try:
        partitions = list(consumer.list_topics(topic, timeout=60).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        found, ended = [], set()
        deadline = time.monotonic() + seconds
        while len(ended) < len(partitions):
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for message in consumer.consume(2000, 0.1):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
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
