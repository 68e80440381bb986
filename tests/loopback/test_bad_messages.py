"""A hundred kinds of bad message, and a flood of good ones, over the embedded broker."""

import json

from confluent_kafka import Producer

from connector.control.bounds import DEAD_LETTER_BYTES
from connector.kite.web.instruments import InstrumentMaster
from connector.testing import wait_until
from tests.support.bad_messages import ANSWERED, BAD_MESSAGES, numbered
from tests.support.kafka_topics import Topic
from tests.support.leaders import leader
from tests.support.replicas import TOPICS


def test_each_is_answered_or_put_aside_and_the_last_one_is_applied(kafka):
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    bad_messages = [numbered(bad, number) for number, bad in enumerate(BAD_MESSAGES)]
    replies, letters = (
        Topic(kafka.bootstrap_servers, TOPICS.replies),
        Topic(kafka.bootstrap_servers, TOPICS.deadletter),
    )
    with leader(kafka, InstrumentMaster()) as leads:
        for number, bad in enumerate(bad_messages):
            producer.produce(TOPICS.control, bad.value, key=bad.key, headers=list(bad.headers))
            assert producer.flush(30) == 0
            if len(bad.value or b"") > 100_000:
                # the embedded broker keeps 5 MiB, whoever has read them
                wait_until(lambda passed=number + 1: leads.commands >= passed)
        last = {"id": "last", "type": "subscribe", "instruments": [257]}
        producer.produce(TOPICS.control, json.dumps(last))
        assert producer.flush(30) == 0
        replies.until(lambda seen: any(message.key() == b"last" for message in seen))
        aside = [bad for bad in bad_messages if bad.becomes != ANSWERED]
        letters.until(lambda seen: len(seen) == len(aside))
        assert (leads.error, leads.serving, leads.refused) == (None, True, 0)
        assert leads.commands == len(bad_messages) + 1
    answered = replies.replies()
    assert len(answered) == len(bad_messages) - len(aside) + 1
    assert [reply["status"] for reply in answered if reply["id"] == "last"] == ["APPLIED"]
    assert {reply["status"] for reply in answered[:-1]} == {"REJECTED", "EXPIRED"}
    for bad, letter in zip(aside, letters.messages, strict=True):
        value = bad.value or b""
        assert (letter.value() or b"") == value[:DEAD_LETTER_BYTES]
        assert dict(letter.headers())["length"] == b"%d" % len(value)
    replies.close()
    letters.close()


def test_each_of_many_good_ones_has_one_effect_and_one_reply_over_a_change_of_leaders(kafka):
    sent = 1500
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    replies = Topic(kafka.bootstrap_servers, TOPICS.replies)
    with leader(kafka, InstrumentMaster()):
        for number in range(sent):
            command = {
                "id": str(number),
                "type": "subscribe",
                "instruments": [(number + 1) << 8 | 1],
                "expected_revision": number,
            }
            producer.produce(TOPICS.control, json.dumps(command))
            if number % 50 == 0:
                producer.produce(TOPICS.control, b"\xff poison")
        assert producer.flush(30) == 0
        replies.until(lambda seen: len(seen) >= sent // 3)
    with leader(kafka, InstrumentMaster()):
        replies.until(lambda seen: len(seen) >= sent)
    answered = replies.replies()
    assert [int(reply["id"]) for reply in answered] == list(range(sent))
    assert {reply["status"] for reply in answered} == {"APPLIED"}
    assert [reply["revision"] for reply in answered] == list(range(1, sent + 1))
    replies.close()
