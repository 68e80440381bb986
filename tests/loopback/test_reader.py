"""Reading by assignment: to the end that a topic has, and on from a place."""

import threading

import pytest
from confluent_kafka import Producer, TopicPartition

from connector.embedded.broker import EmbeddedBroker
from connector.errors import BrokerUnreachableError, KafkaError, SettingsError, TopicError
from connector.kafka import reader as reader_module
from connector.kafka.reader import BEGINNING, END, Reader, bytes_of, text_of
from connector.kafka.renewals import outdate
from connector.settings.models import KafkaSettings

TOPIC = "kite.events"


@pytest.fixture
def broker():
    with EmbeddedBroker({TOPIC: 2}) as running:
        yield running


@pytest.fixture
def reader(broker):
    with reader_of(broker) as opened:
        yield opened


def reader_of(broker, **options):
    return Reader(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), "k", "t", **options)


def write(broker, *values):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0})
    for value in values:
        producer.produce(TOPIC, value.encode())
    assert producer.flush(10) == 0


def test_it_ends_at_the_end_that_the_topic_has(broker, reader):
    assert list(reader.read_to_end(TOPIC)) == []
    write(broker, "a", "b", "c")
    assert {bytes_of(message.value()) for message in reader.read_to_end(TOPIC)} == {
        b"a",
        b"b",
        b"c",
    }
    assert not reader.unfinished


def test_it_ends_in_a_topic_into_which_somebody_writes_all_the_time(broker):
    """librdkafka tells of no end then, as here, where it is told not to."""
    with reader_of(broker, **{"enable.partition.eof": False}) as reader:
        write(broker, *map(str, range(50)))
        both = {number for number, end in enumerate(reader.ends(TOPIC)) if end.offset}
        reader.tail_from([TopicPartition(TOPIC, number, BEGINNING) for number in both])
        messages = [reader.next(20.0) for _ in range(50)]
        assert {bytes_of(one.value()) for one in messages} == {b"%d" % n for n in range(50)}
        assert not reader.unfinished
        # from anew it counts anew
        reader.tail_from([TopicPartition(TOPIC, number, BEGINNING) for number in both])
        messages = [reader.next(20.0) for _ in range(50)]
        assert not reader.unfinished


def test_it_reads_on_from_the_end(broker, reader):
    write(broker, "before")
    ends = reader.ends(TOPIC)
    assert sum(end.offset for end in ends) == 1
    reader.tail_from(ends)
    write(broker, "after")
    message = reader.next(20.0)
    while message is None:
        message = reader.next(1.0)
    assert message.value() == b"after"
    assert not reader.at_end
    while not reader.at_end:
        assert reader.next(1.0) is None


def test_one_that_is_stopped_has_not_read_to_the_end(broker, reader):
    write(broker, "a")
    stop = threading.Event()
    stop.set()
    with pytest.raises(KafkaError, match="was not read to its end"):
        list(reader.read_to_end(TOPIC, stop))


def test_a_topic_that_is_not_there_is_named(reader):
    with pytest.raises(TopicError, match="nowhere: is not there"):
        reader.every("nowhere", BEGINNING)


def test_without_a_broker_it_says_so(broker):
    broker.set_down()
    with reader_of(broker, timeout_seconds=0.3) as reader, pytest.raises(BrokerUnreachableError):
        list(reader.read_to_end(TOPIC))


def test_keys_and_values_have_one_type_whatever_the_client_gives():
    assert [text_of(key) for key in (b"257", "257", None, b"\xff")] == ["257", "257", "", "\ufffd"]
    assert [bytes_of(value) for value in (b"v", "v", None)] == [b"v", b"v", None]


def test_one_that_is_outdated_reads_on_where_it_was(broker):
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    write(broker, "a", "b")
    with Reader(settings, "k", "t") as reader:
        reader.tail_from(reader.every(TOPIC, BEGINNING))
        seen = [text_of(read(reader).value())]
        first = reader.consumer
        assert outdate(settings) == 1
        write(broker, "c")
        seen += [text_of(read(reader).value()) for _ in range(2)]
        assert reader.consumer is not first
        while reader.unfinished:
            assert reader.next(1.0) is None
    assert sorted(seen) == ["a", "b", "c"]


def test_one_that_is_outdated_in_the_midst_of_many_returns_each_once(broker, reader):
    values = [f"v{number}" for number in range(2000)]
    write(broker, *values)
    reading = reader.read_to_end(TOPIC)
    seen = [bytes_of(next(reading).value()).decode() for _ in range(700)]
    first = reader.consumer
    assert outdate(KafkaSettings(bootstrap_servers=broker.bootstrap_servers)) == 1
    seen += [bytes_of(message.value()).decode() for message in reading]
    assert reader.consumer is not first
    assert sorted(seen) == sorted(values)


def test_a_place_that_is_read_from_anew_gives_nothing_of_before(broker, reader):
    write(broker, "a", "b", "c")
    reader.tail_from(reader.every(TOPIC, BEGINNING))
    while reader.next(1.0) is None:
        pass
    reader.tail_from(reader.ends(TOPIC))
    write(broker, "d")
    while (message := reader.next(1.0)) is None:
        pass
    assert bytes_of(message.value()) == b"d"


def test_one_that_is_outdated_at_the_end_misses_nothing(broker):
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    write(broker, "before")
    with Reader(settings, "k", "t") as reader:
        reader.tail_from(reader.every(TOPIC, END))
        while reader.unfinished:
            assert reader.next(1.0) is None
        write(broker, "after")
        outdate(settings)
        assert text_of(read(reader).value()) == "after"


def test_one_that_cannot_be_made_anew_goes_on_as_it_is(broker, monkeypatch):
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    write(broker, "a")
    with Reader(settings, "k", "t") as reader:
        reader.tail_from(reader.every(TOPIC, BEGINNING))
        outdate(settings)

        def refused(*_, **__):
            raise SettingsError([])

        monkeypatch.setattr(reader_module, "client_properties", refused)
        assert text_of(read(reader).value()) == "a"


def read(reader):
    message = reader.next(20.0)
    while message is None:
        message = reader.next(1.0)
    return message


class Recorded:
    """A consumer whose waits are noted."""

    def __init__(self, consumer):
        self.consumer = consumer
        self.waits = []

    def __getattr__(self, name):
        return getattr(self.consumer, name)

    def poll(self, timeout):
        self.waits.append(timeout)
        return self.consumer.poll(timeout)


def test_a_reader_does_not_wait_in_librdkafka(broker):
    """It waits until a time of day there, and a clock may be set back meanwhile."""
    write(broker, "a", "b")
    with reader_of(broker) as one:
        one.consumer = recorded = Recorded(one.consumer)
        assert len(list(one.read_to_end(TOPIC))) == 2
        assert set(recorded.waits) == {0}
