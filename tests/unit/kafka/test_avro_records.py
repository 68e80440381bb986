import io
import json
from datetime import UTC, date, datetime
from pathlib import Path

import fastavro
import pytest

from connector.errors import RegistryError, RegistryUnreachableError
from connector.kafka import avro_records
from connector.kafka.avro_records import (
    RecordDecoder,
    RecordEncoder,
)
from connector.kafka.topics import TopicNames
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.web.instrument_csv import Instrument
from connector.kite.wire.candles import Candle, Gap
from connector.kite.wire.models import (
    Exchange,
    Order,
    OrderStatus,
    OrderTransactionType,
    OrderValidity,
)
from connector.schemas import text
from connector.testing import FakeClock

TOPICS = TopicNames("kite")
IDS = {TOPICS.orders: 77, TOPICS.events: 0x01020304}
EXCHANGE_TIME = datetime(2026, 1, 5, 4, 0, 1, 250_000, tzinfo=UTC)
GOLDEN = Path(__file__).parents[2] / "golden"
RECEIVE_TIME = datetime(2026, 1, 5, 4, 0, 1, 500_000, tzinfo=UTC)


@pytest.fixture
def encoder():
    return RecordEncoder(TOPICS, IDS)


def order(**more):
    return Order(
        "240105000001",
        OrderStatus("COMPLETE"),
        OrderTransactionType("BUY"),
        OrderValidity("DAY"),
        **more,
    )


def decode(topic, value):
    return RecordDecoder(TOPICS).decode(topic, value)


def test_an_order_comes_back(encoder):
    payload = {"order_id": "240105000001", "new": {"field": "ü"}}
    value = encoder.order(
        order(
            tradingsymbol="INFY",
            quantity=10,
            price=1500.05,
            exchange_timestamp=EXCHANGE_TIME,
            payload=payload,
        ),
        slot=2,
        session_id=1_767_585_000_000,
        receive_time_us=1_767_585_601_500_000,
    )
    assert value[:5] == b"\0" + (77).to_bytes(4, "big")
    decoded = decode(TOPICS.orders, value)
    assert (decoded.schema_id, decoded.source) == (77, "shipped")
    row = decoded.value
    assert row["event_time"] == row["exchange_timestamp"] == EXCHANGE_TIME
    assert row["order_timestamp"] is None
    assert (row["order_id"], row["status"], row["tradingsymbol"]) == (
        "240105000001",
        "COMPLETE",
        "INFY",
    )
    assert (row["quantity"], row["price"], row["filled_quantity"]) == (10, 1500.05, None)
    assert (row["slot"], row["session_id"]) == (2, 1_767_585_000_000)
    assert json.loads(row["payload"]) == payload


def test_an_order_keeps_who_placed_it_and_what_the_exchange_said(encoder):
    value = encoder.order(
        order(
            algo_id="7",
            guid="0108rft9dnfyOYG",
            market_protection=-1.0,
            exchange_update_timestamp=EXCHANGE_TIME,
            placed_by="AB1234",
            disclosed_quantity=5,
            status_message_raw="RMS:Margin Exceeds",
            meta={"iceberg": {"leg": 1}},
        ),
        slot=2,
        session_id=1,
        receive_time_us=1_767_585_601_500_000,
    )
    row = decode(TOPICS.orders, value).value
    assert json.loads(row.pop("meta")) == {"iceberg": {"leg": 1}}
    wanted = {
        "algo_id": "7",
        "guid": "0108rft9dnfyOYG",
        "market_protection": -1.0,
        "exchange_update_timestamp": EXCHANGE_TIME,
        "placed_by": "AB1234",
        "disclosed_quantity": 5,
        "status_message_raw": "RMS:Margin Exceeds",
    }
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", ["tick.v1", "order_update.v1"])
def test_an_older_version_is_read_without_a_registry(name):
    # its body ends where the fields begin that were appended since: those are null
    older = json.loads((GOLDEN / f"{name}.avsc").read_text("utf-8"))
    topic = TOPICS.orders if name.startswith("order") else TOPICS.all_ticks()[Exchange.NSE]
    values = {"string": "x", "boolean": True, "double": 1.5, "long": 5, "int": 5}
    row = {
        field["name"]: values[field["type"]]
        for field in older["fields"]
        if isinstance(field["type"], str)
    }
    row["event_time"] = EXCHANGE_TIME
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(older), row)
    framed = b"\0\0\0\0\1" + body.getvalue()
    read = decode(topic, framed).value
    assert {name: read[name] for name in row} == row
    assert {read[name] for name in read.keys() - row.keys()} == {None}
    with pytest.raises(ValueError, match="does not describe"):
        decode(topic, framed[:-1])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, RECEIVE_TIME),
        ({"order_timestamp": EXCHANGE_TIME}, EXCHANGE_TIME),
        ({"order_timestamp": datetime(2026, 1, 1, tzinfo=UTC), "exchange_timestamp": EXCHANGE_TIME},
         EXCHANGE_TIME),
        ({"exchange_timestamp": datetime(9999, 12, 31, tzinfo=UTC)}, RECEIVE_TIME),
        ({"exchange_timestamp": datetime(1, 1, 2, tzinfo=UTC)}, RECEIVE_TIME),
        ({"order_timestamp": EXCHANGE_TIME, "exchange_timestamp": datetime(2106, 2, 7, tzinfo=UTC)},
         EXCHANGE_TIME),
    ],
)  # fmt: skip
def test_the_event_time_of_an_order(encoder, times, expected):
    value = encoder.order(
        order(**times), slot=0, session_id=1, receive_time_us=1_767_585_601_500_000
    )
    assert decode(TOPICS.orders, value).value["event_time"] == expected


def test_an_event_comes_back(encoder):
    event = ConnectionEvent(
        EventType.GAP,
        slot=4,
        time_ms=1_767_585_601_250,
        session_id=1_767_585_000_000,
        state=ConnectionState.CONNECTED,
        reason="no frame for 5 s",
        gap_from_ms=1_767_585_590_000,
        gap_to_ms=1_767_585_601_250,
        instruments=3000,
        tokens=(256265, 408065),
    )
    value = encoder.event(event, account="main")
    assert value[:5] == bytes([0, 1, 2, 3, 4])
    row = decode(TOPICS.events, value).value
    assert row["time"] == row["gap_to"] == EXCHANGE_TIME
    assert (row["type"], row["state"], row["account"]) == ("gap", "connected", "main")
    assert row["tokens"] == [256265, 408065]


def test_an_event_with_little_to_say(encoder):
    value = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))
    row = decode(TOPICS.events, value).value
    assert (row["account"], row["session_id"], row["gap_from"], row["tokens"]) == (
        None, None, None, [],
    )  # fmt: skip


def test_the_registrys_schema_is_asked_for_once(encoder):
    asked = []

    def schema_by_id(number):
        asked.append(number)
        return text("connection_event")

    decoder = RecordDecoder(TOPICS, schema_by_id)
    value = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))
    assert [decoder.decode(TOPICS.events, value).source for _ in range(2)] == ["registry"] * 2
    assert asked == [0x01020304]


def test_a_writers_newer_field_is_seen_with_the_registry(encoder):
    newer = json.loads(text("connection_event"))
    newer["fields"].append({"name": "later", "type": ["null", "string"], "default": None})
    decoder = RecordDecoder(TOPICS, lambda number: json.dumps(newer))
    value = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))
    assert decoder.decode(TOPICS.events, value + b"\x02\x04ab").value["later"] == "ab"
    assert "later" not in decode(TOPICS.events, value + b"\x02\x04ab").value


def test_without_an_answer_the_shipped_schema_serves(encoder):
    answers = [RegistryUnreachableError("id 1", "away"), None]

    def schema_by_id(number):
        if answer := answers.pop(0):
            raise answer
        return text("connection_event")

    clock = FakeClock()
    decoder = RecordDecoder(TOPICS, schema_by_id, monotonic=clock)
    value = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))
    # not for each record: whoever is away may take seconds to say so
    for _ in range(3):
        assert decoder.decode(TOPICS.events, value).source == "shipped"
    assert len(answers) == 1
    clock.now += avro_records.ASK_AGAIN_SECONDS
    assert decoder.decode(TOPICS.events, value).source == "registry"


def test_a_registry_that_wants_to_be_left_alone_is_not_asked(encoder):
    asked = []

    def schema_by_id(number):
        asked.append(number)
        wait = 2 * avro_records.ASK_AGAIN_SECONDS
        raise RegistryUnreachableError("id 1", "HTTP 429", retry_after_seconds=wait)

    clock = FakeClock()
    decoder = RecordDecoder(TOPICS, schema_by_id, monotonic=clock)
    value = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))
    for passed, times in ((0, 1), (1, 1), (1, 2)):
        clock.now += passed * avro_records.ASK_AGAIN_SECONDS
        assert decoder.decode(TOPICS.events, value).source == "shipped"
        assert len(asked) == times


def test_ids_that_are_none_are_remembered_within_a_bound(encoder, monkeypatch):
    monkeypatch.setattr(avro_records, "MAX_UNKNOWN_IDS", 2)
    asked, clock = [], FakeClock()

    def schema_by_id(number):
        asked.append(number)
        if number > 1:
            raise RegistryError(f"id {number}", "HTTP 404")
        return text("connection_event")

    decoder = RecordDecoder(TOPICS, schema_by_id, monotonic=clock)
    body = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))[5:]

    def source(number):
        return decoder.decode(TOPICS.events, b"\0" + number.to_bytes(4, "big") + body).source

    assert [source(one) for one in (2, 3, 2, 3, 1)] == ["shipped"] * 4 + ["registry"]
    assert asked == [2, 3, 1]
    assert [source(one) for one in (4, 4, 2)] == ["shipped"] * 3
    assert asked == [2, 3, 1, 4, 2]
    clock.now += avro_records.ASK_AGAIN_SECONDS
    source(2)
    assert asked[5:] == [2]


def test_schemas_are_kept_within_a_bound(encoder, monkeypatch):
    monkeypatch.setattr(avro_records, "MAX_SCHEMAS", 2)
    asked = []

    def schema_by_id(number):
        asked.append(number)
        return text("connection_event")

    decoder = RecordDecoder(TOPICS, schema_by_id)
    body = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))[5:]
    for number in (1, 2, 1, 2, 3, 3, 1):
        value = b"\0" + number.to_bytes(4, "big") + body
        assert decoder.decode(TOPICS.events, value).source == "registry"
    assert asked == [1, 2, 3, 1]


def test_what_is_no_schema_is_refused_once_within_a_bound(encoder, monkeypatch):
    monkeypatch.setattr(avro_records, "MAX_REFUSED_IDS", 2)
    asked, clock = [], FakeClock()

    def schema_by_id(number):
        asked.append(number)
        return text("connection_event") if number == 1 else '{"type": "nothing"}'

    decoder = RecordDecoder(TOPICS, schema_by_id, monotonic=clock)
    body = encoder.event(ConnectionEvent(EventType.CLOSED, slot=0, time_ms=1))[5:]

    def refused(number):
        with pytest.raises(ValueError, match=f"what has the id {number} is no Avro schema"):
            decoder.decode(TOPICS.events, b"\0" + number.to_bytes(4, "big") + body)

    for number in (2, 3, 2, 3, 2):
        refused(number)
    assert asked == [2, 3]
    refused(4)
    refused(2)
    assert asked == [2, 3, 4, 2]
    clock.now += avro_records.ASK_AGAIN_SECONDS
    refused(2)
    assert asked[4:] == [2]
    value = b"\0" + (1).to_bytes(4, "big") + body
    assert decoder.decode(TOPICS.events, value).source == "registry"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\0\0\0",
        b"\1\0\0\0\1abc",
        b"\0\0\0\0\1",
        b"\0\0\0\0\1\xff\xff\xff",
        b"\0\0\0\0\1" + b"\xff" * 9 + b"\1",  # a time beyond the calendar
    ],
)
def test_what_is_no_avro_is_said(value):
    def no_such_id(number):
        raise RegistryError("id 1", "HTTP 404")

    with pytest.raises(ValueError, match=r"kite\.ticks\.nse: a value"):
        RecordDecoder(TOPICS, no_such_id).decode("kite.ticks.nse", value)


@pytest.mark.parametrize(
    ("topic", "value", "expected", "source"),
    [
        ("kite.control", b'{"id": "1"}', {"id": "1"}, "json"),
        ("kite.deadletter", b"\xb8\x01", b"\xb8\x01", "raw"),
        ("kite.subscriptions", None, None, "raw"),
        ("kite.ticks.nse", None, None, "raw"),
    ],
)
def test_other_topics(topic, value, expected, source):
    decoded = decode(topic, value)
    assert (decoded.value, decoded.source) == (expected, source)


OPTION = Instrument(
    12345602, 48225, "NIFTY26JAN25000CE", "NIFTY", 0.0, date(2026, 1, 29), 25_000.0, 0.05, 75,
    "CE", "NFO-OPT", "NFO",
)  # fmt: skip
INDEX = Instrument(
    256265, 1001, "NIFTY 50", "", 0.0, None, 0.0, 0.0, 0, "EQ", "INDICES", "NSE"
)  # fmt: skip


def test_an_instrument_comes_back():
    encode = RecordEncoder(TOPICS, {TOPICS.instruments: 5}).instrument
    assert encode(OPTION) == encode(OPTION._replace())
    decoded = decode(TOPICS.instruments, encode(OPTION))
    assert decoded.schema_id == 5
    assert decoded.value == {**OPTION._asdict(), "expiry": "2026-01-29"}
    index = decode(TOPICS.instruments, encode(INDEX)).value
    assert index == {**INDEX._asdict(), "name": None}


@pytest.mark.parametrize(
    "text",
    ["x", "5", "null", "[]", '{"type":"record"}', '{"type":"zzz"}', "[" * 5000,
     '{"type":"record","name":"a","fields":[{}]}'],
)  # fmt: skip
def test_an_id_of_something_else_than_a_schema_is_a_problem_of_the_record(text):
    decoder = RecordDecoder(TOPICS, lambda _: text)
    with pytest.raises(ValueError, match=r"no Avro schema|does not describe"):
        decoder.decode(TOPICS.events, b"\0\0\0\0\7abc")


def test_a_candle_comes_back():
    ids = {TOPICS.backfill: 9}
    gap = Gap(4, 77, 1_000, 61_000, "dropped")
    value = RecordEncoder(TOPICS, ids).candle(
        Candle(29_495_840, 10.0, 12.5, 9.25, 11.0, 7, None), gap, 256265, "NIFTY 50", 5
    )
    decoded = RecordDecoder(TOPICS).decode(TOPICS.backfill, value)
    assert decoded.schema_id == 9
    row = decoded.value
    assert row["event_time"] == datetime(2026, 1, 30, 5, 20, tzinfo=UTC)
    assert (row["exchange"], row["tradingsymbol"], row["oi"]) == ("INDICES", "NIFTY 50", None)
    assert [row[name] for name in ("open", "high", "low", "close", "volume")] == [
        10.0, 12.5, 9.25, 11.0, 7,
    ]  # fmt: skip
    assert (row["slot"], row["session_id"], row["cause"]) == (4, 77, "dropped")
    assert (row["gap_from"].timestamp(), row["gap_to"].timestamp()) == (1.0, 61.0)
    assert row["source"] == "historical"
