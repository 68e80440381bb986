"""Stand-ins for both ways' clients of librdkafka, whose broker is worked by hand."""

import itertools
from collections import deque
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException

from connector.kafka import confluent_client, delivery
from connector.kafka.confluent_client import ConfluentClient
from connector.kafka.spool import Record

WAYS = ("native", "confluent")


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
        self.faults = {}  # topic → the code that refuses whatever is for it
        self.latest_ms = None  # records of a later time are refused
        self.poison = {}  # value → the code with which the batch that holds it is refused

    def install(self, patch, way):
        """Have producers make clients of this cluster, by one of the ways."""
        if way == "confluent":
            patch.setattr(delivery, "new_client", lambda *given: ConfluentClient(*given[:2]))
            patch.setattr(confluent_client, "Producer", self.confluent_client)
        else:
            patch.setattr(delivery, "new_client", self.native_client)

    def confluent_client(self, properties, logger=None):
        assert {"error_cb", "stats_cb", "throttle_cb"} <= properties.keys()
        return self._added(FakeConfluentClient(self, properties))

    def native_client(self, properties, handlers, wake):
        return self._added(FakeNativeClient(self, properties, handlers))

    def _added(self, client):
        self.clients.append(client)
        return client

    @property
    def current(self):
        return self.clients[-1]


class FakeClient:
    def __init__(self, cluster, properties):
        self.cluster = cluster
        self.properties = properties
        self.batch_messages = properties.get("batch.num.messages")
        self.queue = deque()
        self.failures = deque()  # (sent, code): reported at the next poll, in the queue until then
        self.late = []  # fail at the poll after the next
        self.fatal = False
        self.fatal_error = None  # raised by the next poll
        self.closed = False
        self.refuse = {}  # value → the code that produce raises for it

    def accept(self, topic, value, key, timestamp_ms, headers, report):
        if self.fatal:
            raise KafkaException(KafkaError(KafkaError._FATAL, "fatal", fatal=True))
        if value in self.refuse:
            raise KafkaException(KafkaError(self.refuse[value]))
        if len(self) >= self.cluster.queue_limit:
            raise BufferError
        self.queue.append(Sent(FakeMessage(topic, value, key, timestamp_ms), report, headers))

    def __len__(self):
        return len(self.queue) + len(self.failures) + len(self.late)

    def report_failures(self):
        while self.failures:
            sent, code = self.failures[0]
            sent.report(KafkaError(code), sent.message)
            self.failures.popleft()
        self.failures.extend(self.late)
        self.late.clear()

    def take_fatal_error(self):
        error, self.fatal_error = self.fatal_error, None
        return None if error is None else KafkaError(error, "fatal", fatal=True)

    def flush(self, _seconds=0.0):
        """Send what is queued: its broker is worked by hand."""

    def give_back(self, *, in_flight):
        # As librdkafka does: the newer part of the queue first, which its main thread has; then
        # the broker threads give back what is under way, and the older part of the queue.
        queued = [(sent, KafkaError._PURGE_QUEUE) for sent in self.queue if not sent.in_flight]
        under_way = [sent for sent in self.queue if sent.in_flight]
        half = len(queued) // 2
        self.failures.extend(queued[half:])
        self.queue.clear()
        if in_flight:
            self.late.extend((sent, KafkaError._PURGE_INFLIGHT) for sent in under_way)
        else:
            self.queue.extend(under_way)
        self.late.extend(queued[:half])

    def close(self):
        assert not self.queue
        self.closed = True

    # -- by hand

    def send(self, count):
        """Requests go out; nothing is acknowledged."""
        for sent in list(self.queue)[: self._whole(count)]:
            sent.in_flight = True

    def write(self, count):
        """The broker writes, and its acknowledgement is lost."""
        if self.fatal:
            return  # an idempotent producer's broker takes nothing behind a gap
        for sent in list(self.queue)[: self._whole(count)]:
            if self._refusal(sent) is not None:
                return
            sent.in_flight = True
            self._log(sent)

    def acknowledge(self, count):
        """The broker answers for so many records: it writes a batch whole, or refuses it whole."""
        count = self._whole(count)
        while count > 0 and self.queue and not self.fatal:  # fatal: as in `write`
            topic = self.queue[0].message.topic()
            batch = []
            for sent in itertools.islice(self.queue, count):
                if sent.message.topic() != topic or len(batch) == self.batch_messages:
                    break
                batch.append(sent)
            code = next(filter(None, map(self._refusal, batch)), None)
            if code is not None:
                self.fail(code, len(batch))
            else:
                for sent in batch:
                    self._log(sent)
                    self.queue.popleft()
            count -= len(batch)

    def fail(self, code, count=1):
        """A batch of the oldest records fails; an idempotent client ends with it."""
        for _ in range(min(self._whole(count), len(self.queue))):
            self.failures.append((self.queue.popleft(), code))
            if self.properties["enable.gapless.guarantee"] and not self.fatal:
                self.fatal = True
                self.fatal_error = KafkaError._GAPLESS_GUARANTEE

    def break_down(self):
        """A fatal error: produce refuses, and what is queued comes back."""
        self.fatal = True
        self.fatal_error = None
        self.failures.extend(
            (sent, KafkaError._PURGE_QUEUE) for sent in self.queue if not sent.in_flight
        )
        self.queue = deque(sent for sent in self.queue if sent.in_flight)
        self.fail(KafkaError._FATAL)

    def _whole(self, count):
        """So many records and more, where a client sends its queue as one batch: see `flush`."""
        if self.properties["enable.gapless.guarantee"] or self.batch_messages == 1:
            return count
        return max(count, len(self.queue))

    def _refusal(self, sent):
        """The code that refuses a record for itself or for its topic; None where it is sound."""
        cluster, message = self.cluster, sent.message
        if cluster.latest_ms is not None and message.timestamp_ms > cluster.latest_ms:
            return KafkaError.INVALID_TIMESTAMP
        return cluster.faults.get(message.topic()) or cluster.poison.get(message.value())

    def _log(self, sent):
        message = sent.message
        self.cluster.log.append(
            (message.topic(), message.key(), message.value(), message.timestamp_ms, sent.headers)
        )


class FakeConfluentClient(FakeClient):
    # the order of confluent-kafka's positional arguments, of which two are the same callback
    def produce(
        self, topic, value, key, partition, report, on_delivery, timestamp_ms, headers=None
    ):
        assert on_delivery is None
        self.accept(topic, value, key, timestamp_ms, headers, report)

    def poll(self, timeout):
        assert timeout == 0
        error = self.take_fatal_error()
        if error is not None:
            raise KafkaException(error)
        self.report_failures()
        return 0

    def purge(self, in_queue=True, in_flight=True, blocking=True):
        assert in_queue
        assert not blocking
        self.give_back(in_flight=in_flight)


class FakeNativeClient(FakeClient):
    way = "native"
    wakes = True

    def __init__(self, cluster, properties, handlers):
        super().__init__(cluster, properties)
        self.handlers = handlers

    def produce_all(self, records, timestamp_ms, sequence):
        for accepted, (topic, key, value) in enumerate(records):
            try:
                self.produce(topic, key, value, timestamp_ms, None, sequence)
            except (BufferError, KafkaException):
                return accepted
        return len(records)

    def produce(self, topic, key, value, timestamp_ms, headers, sequence):
        def report(error, message):
            record = Record(topic, key, value, timestamp_ms, headers)
            self.handlers.failed(record, sequence, message.partition(), error)

        self.accept(topic, value, key, timestamp_ms, headers, report)

    def poll(self):
        error = self.take_fatal_error()
        if error is not None:
            self.handlers.error(error)
        self.report_failures()

    def purge(self, *, in_flight):
        self.give_back(in_flight=in_flight)
