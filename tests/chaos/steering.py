"""Commands in, replies out, in a thread: the event loop has a market to run."""

import json
import threading
import time
import uuid
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

POLL_SECONDS = 0.05
HOLD_SECONDS = 5.0


class Steering:
    """Writes what it is given, in order and each once, however long Kafka is away for."""

    def __init__(self, bootstrap_servers, topics):
        self._topics = topics
        self._stopping = threading.Event()
        self.replies = defaultdict(list)
        """id → (time, reply), as they came"""
        self.latest_reply = 0.0
        self._held = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "linger.ms": 0,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "log_level": 0,
            }
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"chaos-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, name="steering", daemon=True)

    def __enter__(self):
        self._consumer.assign([TopicPartition(self._topics.replies, 0, OFFSET_BEGINNING)])
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()
        self._consumer.close()

    def write(self, command):
        self._write(json.dumps(command).encode(), command["id"].encode())

    def poison(self, value):
        """Write bytes that are no command."""
        self._write(value)

    def hold(self):
        """Write nothing until `go_on`, for a broker that refuses whoever writes; blocks."""
        self._held = []
        self._producer.flush(HOLD_SECONDS)

    def go_on(self):
        """Write what was held, in order."""
        held, self._held = self._held, None
        for value, key in held:
            self._write(value, key)

    def _write(self, value, key=None):
        if self._held is not None:
            self._held.append((value, key))
        else:
            self._producer.produce(self._topics.control, value, key=key)

    def _run(self):
        while not self._stopping.is_set():
            self._producer.poll(0)
            message = self._consumer.poll(POLL_SECONDS)
            if message is not None and message.error() is None:
                reply = json.loads(message.value())
                self.latest_reply = time.monotonic()
                self.replies[reply["id"]].append((self.latest_reply, reply))
