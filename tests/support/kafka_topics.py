"""A topic of one partition as a careful consumer sees it, from its beginning."""

import json
import time

from confluent_kafka import Consumer, TopicPartition


class Topic:
    """Keeps all messages that it has read; the caller closes it."""

    def __init__(self, bootstrap_servers, topic, *, seconds=60.0, group="reader"):
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._seconds = seconds
        self.messages = []

    def until(self, done, seconds=None):
        end = time.monotonic() + (seconds or self._seconds)
        while not done(self.messages):
            assert time.monotonic() < end, f"{len(self.messages)} messages"
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.messages.append(message)
        return self.messages

    def replies(self):
        return [json.loads(message.value()) for message in self.messages]

    def close(self):
        self._consumer.close()
