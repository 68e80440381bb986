import asyncio
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import KafkaError as Code

from connector.embedded import broker as embedded
from connector.embedded.broker import EmbeddedBroker
from connector.errors import KafkaError, TopicError
from connector.testing import until
from tests.support.reading import read_topic


@pytest.fixture
def broker():
    with EmbeddedBroker({"t": 3}) as broker:
        yield broker


def client(broker, **more):
    return Producer(
        {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0, "linger.ms": 0, **more}
    )


def test_topics_have_the_partitions_asked_for(broker):
    broker.create_topic("more", 7)
    found = client(broker).list_topics(timeout=60).topics
    assert {name: len(topic.partitions) for name, topic in found.items()} == {"t": 3, "more": 7}
    assert broker.topics == {"t": 3, "more": 7}


def test_a_topic_is_made_once(broker):
    with pytest.raises(TopicError, match="topic t: the embedded broker refused it"):
        broker.create_topic("t", 1)


def test_another_process_reads_what_was_written(broker):
    producer = client(broker)
    producer.produce("t", b"value", b"key")
    assert producer.flush(10) == 0
    code = (
        "from tests.support.reading import read_topic\n"
        f"print(read_topic({broker.bootstrap_servers!r}, 't')[0].value())"
    )
    read = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert read.stdout == "b'value'\n"


async def test_down_and_up(broker):
    producer = client(broker, **{"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50})
    producer.produce("t", b"1")
    assert await asyncio.to_thread(producer.flush, 10) == 0
    broker.set_down()
    producer.produce("t", b"2")
    assert await asyncio.to_thread(producer.flush, 0.2) == 1
    broker.set_up()
    assert await asyncio.to_thread(producer.flush, 10) == 0
    messages = await asyncio.to_thread(read_topic, broker.bootstrap_servers, "t")
    assert sorted(m.value() for m in messages) == [b"1", b"2"]


async def test_errors_of_requests(broker):
    codes = []
    producer = client(broker)
    broker.push_errors(0, Code.MSG_SIZE_TOO_LARGE)
    producer.produce("t", b"1", on_delivery=lambda error, _: codes.append(error and error.code()))
    await asyncio.to_thread(producer.flush, 10)
    broker.push_errors(0, Code.MSG_SIZE_TOO_LARGE)
    broker.clear_errors(0)
    producer.produce("t", b"2", on_delivery=lambda error, _: codes.append(error and error.code()))
    await asyncio.to_thread(producer.flush, 10)
    assert codes == [Code.MSG_SIZE_TOO_LARGE, None]


async def test_a_topic_with_an_error(broker):
    producer = client(broker)
    broker.set_topic_error("t", Code.TOPIC_AUTHORIZATION_FAILED)
    found = (await asyncio.to_thread(producer.list_topics, "t", 10)).topics["t"]
    assert found.error is not None
    broker.set_topic_error("t", 0)
    assert (await asyncio.to_thread(producer.list_topics, "t", 10)).topics["t"].error is None


async def test_a_slow_broker_answers_late(broker):
    producer = client(broker)
    producer.produce("t", b"1")
    await asyncio.to_thread(producer.flush, 10)
    broker.set_rtt_ms(60_000)
    producer.produce("t", b"2")
    assert await asyncio.to_thread(producer.flush, 0.2) == 1
    broker.set_rtt_ms(0)
    producer.purge()


async def test_a_group_gets_its_partitions(broker):
    assigned = []
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g"})
    consumer.subscribe(["t"], on_assign=lambda _, partitions: assigned.extend(partitions))
    try:
        await until(lambda: consumer.poll(0.05) is None and len(assigned) == 3)
    finally:
        await asyncio.to_thread(consumer.close)


def test_a_broker_that_is_not_running_says_so():
    broker = EmbeddedBroker()
    with pytest.raises(KafkaError, match="not running"):
        _ = broker.bootstrap_servers
    broker.close()
    with EmbeddedBroker() as running:
        running.start()
        with pytest.raises(KafkaError, match="embedded broker"):
            running.set_down(7)


def test_two_nodes():
    with EmbeddedBroker({"t": 4}, brokers=2) as broker:
        assert len(broker.bootstrap_servers.split(",")) == 2
        assert len(client(broker).list_topics(timeout=60).brokers) == 2


def test_without_the_library_it_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "candidates", list)
    with pytest.raises(KafkaError, match="no file of confluent-kafka or of the system is named"):
        EmbeddedBroker().start()
    wrong = tmp_path / "librdkafka.so.1"
    wrong.write_bytes(b"")
    monkeypatch.setattr(embedded, "candidates", lambda: [wrong])
    with pytest.raises(KafkaError, match=r"librdkafka\.so\.1: .*file too short"):
        EmbeddedBroker().start()


def test_the_client_cannot_make_topics_there(broker):
    # what design and demo rest on: topics are made by the broker object alone
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    future = admin.create_topics([NewTopic("x", 1, 1)], request_timeout=0.3)["x"]
    with pytest.raises(KafkaException):
        future.result(10)
