"""The control log against librdkafka's mock broker.

What the mock cannot show (that aborted records stay unseen, and that offsets stick) is tested on a
real one.
"""

import hashlib
import json

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import KafkaError as Code

from connector.control.records import StateRecord
from connector.control.transactions import (
    NO_TOPIC_IDS,
    ControlLog,
    ControlMessage,
    DeadLetter,
    TransactionStep,
)
from connector.embedded.broker import EmbeddedBroker
from connector.errors import (
    BrokerUnreachableError,
    FencedError,
    KafkaError,
    ProducerExpiredError,
    RecordRefusedError,
    TopicError,
    TransactionAbortedError,
)
from tests.support.replicas import TOPICS, settings


def control_log(kafka, **options):
    tree = settings(kafka.bootstrap_servers, "ws://127.0.0.1:1")
    return ControlLog(tree.kafka, TOPICS, "test", **options)


@pytest.fixture
def log(kafka):
    opened = control_log(kafka)
    opened.open()
    yield opened
    opened.close()


def everything(kafka, topic):
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=60)
    messages = []
    while not messages or messages[-1].offset() < end - 2:  # the last one is the commit's marker
        message = consumer.poll(10)
        assert message is not None
        if message.error() is None:
            messages.append(message)
    consumer.close()
    return messages


def poll_for(log, seconds):
    for _ in range(seconds * 10):
        log.poll(0.1)


def test_what_is_written_is_read_in_order(log):
    assert log.read() == []
    assert log.partitions() == 3
    log.write(
        TransactionStep(
            [
                StateRecord(0, "257", b"1"),
                StateRecord(1, "513", b"2"),
                StateRecord(0, "257", None, 1),
            ]
        )
    )
    log.write(TransactionStep([StateRecord(0, "@leader", b"{}")]))
    records = log.read()
    assert [record for record in records if record[0] == 0] == [
        (0, "257", b"1"),
        (0, "257", None),
        (0, "@leader", b"{}"),
    ]
    assert [record for record in records if record[0] == 1] == [(1, "513", b"2")]


def test_a_tombstone_says_where_its_instrument_went(kafka, log):
    log.write(
        TransactionStep([StateRecord(0, "257", b"1"), StateRecord(0, "257", None, moved_to=2)])
    )
    messages = everything(kafka, TOPICS.subscriptions)
    assert [m.headers() for m in messages] == [None, [("moved-to", b"2")]]


def test_replies_and_dead_letters(kafka, log):
    message = ControlMessage(41, b"\xff")
    letter = DeadLetter.of(message, ("not JSON", "x"), 1_767_585_600_000)
    log.write(TransactionStep([], [("é 1", b'{"id":"1"}')], [letter]))
    (reply,) = everything(kafka, TOPICS.replies)
    assert (reply.key().decode(), json.loads(reply.value())) == ("é 1", {"id": "1"})
    (dead,) = everything(kafka, TOPICS.deadletter)
    assert (dead.key(), dead.value()) == (TOPICS.control.encode(), b"\xff")
    assert dict(dead.headers()) == {
        "reason": b"invalid_command",
        "receive_time_us": b"1767585600000000",
        "errors": b"not JSON; x",
        "offset": b"41",
        "length": b"1",
        "sha256": hashlib.sha256(b"\xff").hexdigest().encode(),
    }


def test_control_messages_are_followed_from_an_offset(kafka, log):
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for n in range(5):
        producer.produce(TOPICS.control, b"%d" % n)
    producer.produce(TOPICS.control, None, key="tombstone")
    producer.flush(10)
    log.follow(3)
    messages = []
    while len(messages) < 3:
        messages += log.poll(1)
    assert messages == [(3, b"3"), (4, b"4"), (5, None)]
    assert log.poll(0) == []


def test_a_topic_that_can_be_read_no_more_ends_the_reading(kafka, log):
    log.follow(0)
    assert log.poll(0.1) == []
    kafka.push_errors(FETCH, *[Code.TOPIC_AUTHORIZATION_FAILED] * 3)
    with pytest.raises(KafkaError, match="authorization"):
        poll_for(log, 5)


FETCH, END_TXN = 1, 26


@pytest.mark.parametrize("code", [Code.INVALID_PRODUCER_EPOCH, Code.PRODUCER_FENCED])
def test_a_leader_that_is_fenced_is_told(kafka, log, code):
    # the mock broker does not compare epochs by itself
    kafka.push_errors(END_TXN, code)
    with pytest.raises(FencedError):
        log.write(TransactionStep([StateRecord(0, "257", b"2")]))


def test_without_its_topic_it_says_so():
    with EmbeddedBroker({"other": 1}) as kafka:
        log = control_log(kafka)
        log.open()
        kafka.set_topic_error(TOPICS.subscriptions, 3)  # UNKNOWN_TOPIC_OR_PART
        with pytest.raises(TopicError, match=r"kite\.subscriptions"):
            log.read()
        log.close()


def test_without_a_broker_it_can_be_tried_again(kafka):
    kafka.set_down()
    log = control_log(kafka, timeout_seconds=0.3)
    with pytest.raises(BrokerUnreachableError):
        log.open()
    log.close()
    kafka.set_up()
    again = control_log(kafka)
    again.open()
    again.write(TransactionStep([StateRecord(0, "257", b"1")]))
    again.close()


def test_a_closed_log_is_of_no_use(kafka):
    log = control_log(kafka)
    for use in (log.read, lambda: log.write(TransactionStep([])), lambda: log.poll(0)):
        with pytest.raises(KafkaError, match="not open"):
            use()


def test_a_batch_of_messages_is_bounded(kafka):
    log = control_log(kafka, batch_messages=4, batch_bytes=1000)
    log.open()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 50})
    for size in (*[10] * 8, *[600] * 8):
        producer.produce(TOPICS.control, b"x" * size)
    producer.flush(10)
    log.follow(0)
    batches = []
    while sum(map(len, batches)) < 16:
        batches.append([len(message.value) for message in log.poll(1)])
    assert max(map(len, batches)) == 4
    assert max(map(sum, batches)) <= 1000 + 600
    while not log.at_end:
        assert log.poll(1) == []
    log.close()


ADD_PARTITIONS_TO_TXN, PRODUCE = 24, 0


def test_a_producer_that_the_broker_forgot_says_so_and_another_writes(kafka, log):
    kafka.push_errors(ADD_PARTITIONS_TO_TXN, Code.INVALID_PRODUCER_ID_MAPPING)
    with pytest.raises(ProducerExpiredError):
        log.write(TransactionStep([StateRecord(0, "257", b"1")]))
    again = control_log(kafka)
    again.open()
    again.write(TransactionStep([StateRecord(0, "257", b"2")]))
    assert again.read()[-1] == (0, "257", b"2")
    again.close()


@pytest.mark.parametrize("code", [Code.MSG_SIZE_TOO_LARGE, Code.INVALID_RECORD])
def test_a_record_that_can_never_be_written_is_told_from_a_cluster_that_cannot_write(
    kafka, log, code
):
    kafka.push_errors(PRODUCE, code)
    with pytest.raises(RecordRefusedError, match=r"kite\.subscriptions: "):
        log.write(TransactionStep([StateRecord(0, "257", b"1")]))
    again = control_log(kafka)
    again.open()
    kafka.push_errors(PRODUCE, Code.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(TransactionAbortedError) as caught:
        again.write(TransactionStep([StateRecord(0, "257", b"1")]))
    assert not isinstance(caught.value, RecordRefusedError)
    again.close()


def test_a_record_that_outgrows_the_producer_is_refused_and_the_next_is_written(log):
    with pytest.raises(RecordRefusedError, match="size too large"):
        log.write(TransactionStep([StateRecord(0, "257", b"x" * 1_100_000)]))
    with pytest.raises(RecordRefusedError, match="surrogates"):
        log.write(TransactionStep([StateRecord(0, "\ud800", b"1")]))
    log.write(TransactionStep([StateRecord(0, "257", b"2")]))


def test_a_broker_without_ids_of_topics_has_none(log):
    assert log.topic_ids() == NO_TOPIC_IDS
