"""A stand-in for confluent_kafka.Producer, whose broker is worked by hand."""

from collections import deque
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException


class FakeMessage:
    def __init__(self, topic, value, key, timestamp_ms):
        self._topic, self._value, self._key, self.timestamp_ms = topic, value, key, timestamp_ms

    def topic(self):
        return self._topic

    def value(self):
        return self._value

    def key(self):
        return self._key

    def partition(self):
        return 0

    def timestamp(self):
        return (0, -1)  # all that librdkafka says of a failed message


@dataclass
class Sent:
    message: FakeMessage
    report: object
    headers: object
    in_flight: bool = False


class FakeCluster:
    """What the records reach: the clients made for it, and its log."""

    def __init__(self, queue_limit=100):
        self.queue_limit = queue_limit
        self.clients = []
        self.log = []  # (topic, key, value, timestamp_ms, headers), in order

    def client(self, properties, logger=None):
        client = FakeClient(self, properties)
        self.clients.append(client)
        return client

    @property
    def current(self):
        return self.clients[-1]


class FakeClient:
    def __init__(self, cluster, properties):
        self.cluster = cluster
        self.properties = properties
        self.queue = deque()
        self.failures = deque()  # (sent, code): reported at the next poll, in the queue until then
        self.late = []  # fail at the poll after the next
        self.fatal = False
        self.closed = False
        self.refuse = {}  # value → the code that produce raises for it

    # the order of confluent-kafka's positional arguments, of which two are the same callback
    def produce(
        self, topic, value, key, partition, report, on_delivery, timestamp_ms, headers=None
    ):
        assert on_delivery is None
        if self.fatal:
            raise KafkaException(KafkaError(KafkaError._FATAL, "fatal", fatal=True))
        if value in self.refuse:
            raise KafkaException(KafkaError(self.refuse[value]))
        if len(self) >= self.cluster.queue_limit:
            raise BufferError
        self.queue.append(Sent(FakeMessage(topic, value, key, timestamp_ms), report, headers))

    def __len__(self):
        return len(self.queue) + len(self.failures) + len(self.late)

    def poll(self, timeout):
        assert timeout == 0
        while self.failures:
            sent, code = self.failures[0]
            sent.report(KafkaError(code), sent.message)
            self.failures.popleft()
        self.failures.extend(self.late)
        self.late.clear()
        return 0

    def purge(self, blocking=True):
        # As librdkafka does: the newer part of the queue first, which its main thread has; then
        # the broker threads give back what is under way, and the older part of the queue.
        queued = [(sent, KafkaError._PURGE_QUEUE) for sent in self.queue if not sent.in_flight]
        under_way = [(sent, KafkaError._PURGE_INFLIGHT) for sent in self.queue if sent.in_flight]
        half = len(queued) // 2
        self.failures.extend(queued[half:])
        self.late.extend(under_way + queued[:half])
        self.queue.clear()

    def close(self):
        assert not self.queue
        self.closed = True

    # -- by hand

    def send(self, count):
        """Requests go out; nothing is acknowledged."""
        for sent in list(self.queue)[:count]:
            sent.in_flight = True

    def write(self, count):
        """The broker writes, and its acknowledgement is lost."""
        if self.fatal:
            return  # an idempotent producer's broker takes nothing behind a gap
        for sent in list(self.queue)[:count]:
            sent.in_flight = True
            self._log(sent)

    def acknowledge(self, count):
        if self.fatal:
            return  # as in `write`
        for _ in range(min(count, len(self.queue))):
            if self.fatal:
                # the broker takes nothing that follows a gap in the sequence
                self.fail(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            else:
                self._log(self.queue.popleft())

    def fail(self, code):
        """The oldest record fails."""
        if self.queue:
            self.failures.append((self.queue.popleft(), code))

    def break_down(self):
        """A fatal error: produce refuses, and what is queued comes back."""
        self.fatal = True
        self.failures.extend(
            (sent, KafkaError._PURGE_QUEUE) for sent in self.queue if not sent.in_flight
        )
        self.queue = deque(sent for sent in self.queue if sent.in_flight)
        self.fail(KafkaError._FATAL)

    def _acceptable(self, count):
        # what is behind a record that failed for good has a gap before it: brokers refuse that
        return [] if self.fatal else list(self.queue)[:count]

    def _log(self, sent):
        message = sent.message
        self.cluster.log.append(
            (message.topic(), message.key(), message.value(), message.timestamp_ms, sent.headers)
        )
