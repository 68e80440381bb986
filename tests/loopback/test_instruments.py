"""Reading a compacted topic over the embedded broker."""

import threading

import pytest
from confluent_kafka import Producer

from connector.embedded.broker import EmbeddedBroker
from connector.errors import BrokerUnreachableError, KafkaError, TopicError
from connector.kafka.instruments import WHOLE, read_latest
from connector.settings.models import KafkaSettings

TOPIC = "kite.instruments"


@pytest.fixture
def broker():
    with EmbeddedBroker({TOPIC: 3}) as running:
        yield running


@pytest.fixture
def kafka(broker):
    client = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50}
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers, client=client)


def write(broker, *records, headers=None):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for key, value in records:
        producer.produce(TOPIC, value, key, headers=headers)
    assert producer.flush(10) == 0


def test_the_last_record_of_each_key_counts(broker, kafka):
    assert read_latest(kafka, TOPIC, threading.Event(), hash).rows == {}
    write(broker, (b"1", b"old"), (b"2", b"two"), (b"3", b"three"), (None, b"no key"))
    write(broker, (b"1", b"new"), (b"2", None), (b"4", None))
    found, whole = read_latest(kafka, TOPIC, threading.Event(), hash)
    assert found == {b"1": hash(b"new"), b"3": hash(b"three")}
    assert not whole


def test_a_list_is_whole_while_a_newest_row_says_so(broker, kafka):
    def whole():
        return read_latest(kafka, TOPIC, threading.Event(), hash).whole

    write(broker, (b"1", b"one"), headers=[("other", b"whole")])
    assert not whole()
    write(broker, (b"1", b"one"), headers=[WHOLE])
    assert whole()
    write(broker, (b"1", b"new"))
    assert not whole()


def test_many_records(broker, kafka):
    keys = [b"%d" % number for number in range(5000)]
    write(broker, *((key, key * 5) for key in keys))
    assert read_latest(kafka, TOPIC, threading.Event(), hash).rows == {
        key: hash(key * 5) for key in keys
    }


def test_half_of_it_is_not_taken_for_all(broker, kafka):
    write(broker, (b"1", b"one"))
    stop = threading.Event()
    stop.set()
    with pytest.raises(KafkaError, match="not read to its end"):
        read_latest(kafka, TOPIC, stop, hash)


def test_no_broker_and_no_topic(broker, kafka):
    with pytest.raises(TopicError, match="nowhere"):
        read_latest(kafka, "nowhere", threading.Event(), hash)
    broker.set_down()
    with pytest.raises(BrokerUnreachableError):
        read_latest(kafka, TOPIC, threading.Event(), hash, timeout_seconds=0.3)
