from confluent_kafka import KafkaError

from connector.kafka.one_by_one import OneByOne
from connector.kafka.refusals import UNCLEAR_SECONDS
from connector.kafka.spool import Record

RECORD = Record("t", b"k", b"v", 5)


def refused(alone, code, now=0.0):
    alone.tried = RECORD
    return alone.refused("t", KafkaError(code), now)


def test_records_are_counted_down_as_they_are_written():
    alone = OneByOne()
    alone.begin(2)
    for left in (1, 0, 0):
        alone.tried = RECORD
        assert alone.accepted() is None
        assert (alone.remaining, alone.tried) == (left, None)


def test_a_record_at_fault_is_passed_and_the_next_one_follows_at_once():
    alone = OneByOne()
    alone.begin(3)
    assert refused(alone, KafkaError.INVALID_RECORD, 7.0)
    assert (alone.remaining, alone.retry_at, alone.trouble) == (2, 0.0, None)


def test_another_fault_is_waited_for_with_growing_pauses():
    alone = OneByOne()
    alone.begin(3)
    pauses = []
    for now in range(0, 100, 10):
        assert not refused(alone, KafkaError.TOPIC_AUTHORIZATION_FAILED, float(now))
        pauses.append(alone.retry_at - now)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, 5.0)
    assert (alone.trouble.topic, alone.trouble.since) == ("t", 0.0)
    # those behind it need not go alone once this one is written
    alone.tried = RECORD
    assert alone.accepted().code == "TOPIC_AUTHORIZATION_FAILED"
    assert (alone.remaining, alone.trouble, alone.retry_at) == (0, None, 0.0)


def test_a_trouble_that_changes_is_another_trouble():
    alone = OneByOne()
    alone.begin(1)
    refused(alone, KafkaError.UNKNOWN_TOPIC_OR_PART, 1.0)
    refused(alone, KafkaError.TOPIC_AUTHORIZATION_FAILED, 2.0)
    assert (alone.trouble.code, alone.trouble.since) == ("TOPIC_AUTHORIZATION_FAILED", 2.0)


def test_a_code_that_tells_nothing_is_waited_for_within_a_bound():
    alone = OneByOne()
    alone.begin(1)
    now = 50.0
    while not refused(alone, KafkaError.UNKNOWN, now):
        now = alone.retry_at
    assert 50.0 + UNCLEAR_SECONDS <= now <= 60.0 + UNCLEAR_SECONDS
    assert alone.trouble is None


def test_a_fault_of_the_topic_is_waited_for_without_a_bound():
    alone = OneByOne()
    alone.begin(1)
    assert not refused(alone, KafkaError.INVALID_TIMESTAMP, 0.0)
    assert not refused(alone, KafkaError.INVALID_TIMESTAMP, 1e9)
