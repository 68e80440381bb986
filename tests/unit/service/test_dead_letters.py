from connector.kafka.avro_records import RecordDecoder, RecordEncoder
from connector.kafka.producer_state import FailedRecord
from connector.kafka.spool import Record
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.service.dead_letters import DeadLetters
from tests.support.producing import SCHEMA_IDS, TOPICS, RecordingProducer

IDS = {**SCHEMA_IDS, TOPICS.orders: 90, TOPICS.events: 91}


def kept(*records):
    producer = RecordingProducer()
    letters = DeadLetters(producer.produce, TOPICS.deadletter, RecordDecoder(TOPICS))
    for record in records:
        letters.keep(FailedRecord(record, "msg_size_too_large", "too large"))
    assert letters.redirected == len(records)
    return producer.records


def test_a_record_is_kept_with_its_reason_and_origin():
    event = ConnectionEvent(EventType.CONNECTED, slot=4, time_ms=5, session_id=77)
    value = RecordEncoder(TOPICS, IDS).event(event, account="main")
    (letter,) = kept(Record(TOPICS.events, b"4", value, 1234))
    assert (letter.topic, letter.key, letter.value, letter.timestamp_ms) == (
        "kite.deadletter", b"kite.events", value, 1234,
    )  # fmt: skip
    assert dict(letter.headers) == {
        "reason": b"msg_size_too_large",
        "slot": b"4",
        "receive_time_us": b"1234000",
        "session_id": b"77",
    }


def test_a_value_that_nobody_can_read_is_kept_too():
    letters = kept(
        Record(TOPICS.orders, b"1", b"\0\0\0\0\1not avro", 1234),
        Record(TOPICS.instruments, b"408065", None, 1234),
    )
    assert [letter.value for letter in letters] == [b"\0\0\0\0\1not avro", None]
    assert {dict(letter.headers)["slot"] for letter in letters} == {b"0"}
