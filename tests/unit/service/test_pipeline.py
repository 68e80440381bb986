import json

import pytest
from structlog.testing import capture_logs

from connector.kafka.instruments import WHOLE
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType, TickCount
from connector.kite.wire.messages import parse_message
from connector.kite.wire.models import Exchange, Mode, TextMessage
from connector.service.pipeline import (
    MAX_DEAD_LETTER_BYTES,
    MINUTE_US,
    RECENT_EVENTS,
    SAMPLE_EVERY_US,
)
from connector.simulator.wire import encode_frame, full_packet, index_packet, quote_packet
from tests.support.producing import TIME_US, PlainEncoder, pipeline

INFY, NIFTY = 408065, 256265
QUOTE = quote_packet(INFY, 157315)


@pytest.fixture
def kite():
    return pipeline()


def produced(kite, topic=None):
    return [record for record in kite.producer.records if topic in (None, record.topic)]


def test_each_packet_becomes_a_record_at_once(kite):
    handler = kite.handler(0)
    handler.opened(1000)
    confirmed = handler.frame(encode_frame([QUOTE, index_packet(NIFTY, 100)]), TIME_US)
    assert list(confirmed) == [(INFY, Mode.QUOTE), (NIFTY, Mode.QUOTE)]
    assert [(record.topic, record.key) for record in produced(kite)] == [
        ("kite.ticks.nse", b"408065"),
        ("kite.ticks.indices", b"256265"),
    ]
    assert {record.timestamp_ms for record in produced(kite)} == {TIME_US // 1000}
    assert kite.received == 2
    assert kite.ticks[Exchange.NSE] == 1
    assert kite.packets(0) == 2
    assert kite.packets(7) == 0


def test_what_is_no_tick_goes_to_the_dead_letters(kite):
    handler = kite.handler(4)
    handler.opened(1000)
    odd_length = QUOTE[:12]
    odd_segment = (77).to_bytes(4, "big") + QUOTE[4:]
    frame = encode_frame([odd_length, QUOTE, odd_segment]) + b"rest"
    handler.frame(frame, TIME_US)
    dead = produced(kite, "kite.deadletter")
    assert [(record.key, record.value, dict(record.headers)["reason"]) for record in dead] == [
        (b"kite.ticks.nse", odd_length, b"unknown_length"),
        (b"kite.ticks", odd_segment, b"unknown_segment"),
        (b"kite.ticks", b"rest", b"trailing_bytes"),
    ]
    assert dict(dead[0].headers) == {
        "reason": b"unknown_length",
        "slot": b"4",
        "receive_time_us": b"%d" % TIME_US,
        "session_id": b"1000",
    }
    assert kite.rejected == {"unknown_length": 1, "unknown_segment": 1, "trailing_bytes": 1}
    assert kite.received == len(kite.producer.records) == 4


@pytest.mark.parametrize("packet", [b"\0\0\0", b"\0\0\0\x63tail"])
def test_an_odd_packet_whose_exchange_none_can_tell(kite, packet):
    kite.handler(0).frame(encode_frame([packet]), TIME_US)
    (dead,) = produced(kite, "kite.deadletter")
    assert dead.key == b"kite.ticks"


def order_frame(**changes):
    data = {"order_id": "1", "status": "COMPLETE", "filled_quantity": 5, **changes}
    return json.dumps({"type": "order", "data": data})


def test_an_order_update_is_written_once(kite):
    handlers = [kite.handler(slot) for slot in range(3)]
    for session, handler in enumerate(handlers, 100):
        handler.opened(session)
    for raw in (order_frame(), order_frame(filled_quantity=6)):
        for handler in handlers:
            handler.message(parse_message(raw), raw)
    orders = produced(kite, "kite.orders")
    assert [record.value for record in orders] == [f"order 1 0 100 {TIME_US}".encode()] * 2
    assert {record.key for record in orders} == {b"1"}
    assert (kite.orders, kite.order_desk.repeats) == (2, 4)
    assert kite.received == 2


def test_an_event_is_written_and_a_gap_logged(kite):
    gap = ConnectionEvent(
        EventType.GAP, slot=4, time_ms=9, reason="silent", gap_from_ms=1, gap_to_ms=8, instruments=3
    )
    with capture_logs() as logs:
        kite.handler(4).event(gap)
        kite.handler(4).event(ConnectionEvent(EventType.CONNECTED, slot=4, time_ms=10))
    record = produced(kite, "kite.events")[0]
    assert (record.key, record.value, record.timestamp_ms) == (b"4", b"event gap 4 account-1", 9)
    assert kite.events == kite.received == 2
    assert logs == [
        {
            "event": "gap_in_feed", "log_level": "warning", "slot": 4,
            "account": "account-1", "seconds": 0.007, "instruments": 3,
        }
    ]  # fmt: skip


def test_an_event_that_cannot_be_written_was_not_received(kite):
    kite.encoder.event = lambda *_, **__: "\ud800".encode()
    with pytest.raises(UnicodeEncodeError):
        kite.handler(4).event(ConnectionEvent(EventType.CONNECTED, slot=4, time_ms=10))
    assert kite.received == len(kite.producer.records) == 0


@pytest.mark.parametrize(
    ("raw", "level"),
    [
        ('{"type": "error", "data": "Can\'t subscribe"}', "warning"),
        ('{"type": "message", "data": "maintenance tonight"}', "info"),
        ('{"type": "app_code"}', "debug"),
    ],
)
def test_other_messages_are_logged_alone(kite, raw, level):
    with capture_logs() as logs:
        kite.handler(1).message(parse_message(raw), raw)
    assert [entry["log_level"] for entry in logs] == [level]
    assert kite.received == 0
    assert not produced(kite)


def test_counts_go_on_when_a_slot_is_opened_again(kite):
    for session in (1, 2):
        handler = kite.handler(0)
        handler.opened(session)
        handler.frame(encode_frame([QUOTE]), TIME_US)
    assert kite.handler(0).session_id == 2
    assert kite.packets(0) == 2
    # and the count that ends the first session
    assert kite.received == 3


@pytest.mark.parametrize(
    ("raw", "reason", "topic"),
    [
        ("no json", "text_not_json", b"kite.ticks"),
        ("[" * 5000, "text_too_deep", b"kite.ticks"),
        ("[1]", "text_not_an_object", b"kite.ticks"),
        ('{"type":"order","data":7}', "order_without_data", b"kite.orders"),
        ('{"type":"order","data":{}}', "order_without_id", b"kite.orders"),
        ('{"type":"order","data":{"order_id":[1]}}', "order_without_id", b"kite.orders"),
        ('{"type":"order","data":{"order_id":null}}', "order_without_id", b"kite.orders"),
    ],
)
def test_a_text_frame_that_cannot_be_read_is_a_dead_letter(kite, raw, reason, topic):
    handler = kite.handler(4)
    handler.opened(1000)
    with capture_logs() as logs:
        handler.message(parse_message(raw), raw)
    assert [(log["log_level"], log["reason"]) for log in logs] == [("debug", reason)]
    (dead,) = produced(kite, "kite.deadletter")
    assert (dead.key, dead.value) == (topic, raw.encode())
    assert dict(dead.headers) == {
        "reason": reason.encode(), "slot": b"4", "session_id": b"1000",
        "receive_time_us": b"%d" % TIME_US,
    }  # fmt: skip
    assert kite.rejected == {reason: 1}
    assert kite.received == len(kite.producer.records) == 1


def test_an_order_that_no_record_can_hold_is_a_dead_letter_and_the_next_is_written(monkeypatch):
    kite = pipeline()
    write = kite.encoder.order

    def order(order, **details):
        if order.order_id == "1":
            raise RecursionError
        return write(order, **details)

    monkeypatch.setattr(kite.encoder, "order", order)
    for raw in (order_frame(), order_frame(order_id="2")):
        kite.handler(0).message(parse_message(raw), raw)
    assert kite.rejected == {"order_unencodable": 1}
    assert [record.key for record in produced(kite)] == [b"kite.orders", b"2"]
    assert (kite.orders, kite.received) == (1, 2)


def test_a_dead_letter_keeps_the_beginning_and_says_how_long_it_was(kite):
    handler = kite.handler(0)
    handler.frame(b"\0\0" + bytes(MAX_DEAD_LETTER_BYTES + 1), TIME_US)
    handler.message(TextMessage("", "x", "text_too_long", 99), "x")
    long, text = produced(kite, "kite.deadletter")
    assert long.value == bytes(MAX_DEAD_LETTER_BYTES)
    assert dict(long.headers)["length"] == b"%d" % (MAX_DEAD_LETTER_BYTES + 1)
    assert (text.value, dict(text.headers)["length"]) == (b"x", b"99")


def test_what_the_feed_repeats_is_logged_with_growing_gaps(kite):
    with capture_logs() as logs:
        for text in ["no"] * 9 + ["other"]:
            raw = json.dumps({"type": "error", "data": text})
            kite.handler(0).message(parse_message(raw), raw)
    assert [(log["text"], log["count"]) for log in logs] == [
        ("no", 1), ("no", 2), ("no", 4), ("no", 8), ("other", 1)
    ]  # fmt: skip


def test_symbols_reach_slots_that_are_there_and_those_that_come(kite):
    kite.handler(0)
    kite.set_symbols({INFY: "INFY"})
    for slot in (0, 1):
        kite.handler(slot).frame(encode_frame([QUOTE]), TIME_US)
    kite.set_symbols({})
    kite.handler(0).frame(encode_frame([QUOTE]), TIME_US)
    assert [b"INFY" in record.value for record in produced(kite)] == [True, True, False]


def test_expected_tokens_are_confirmed_again(kite):
    handler = kite.handler(0)
    frame = encode_frame([QUOTE])
    assert handler.frame(frame, TIME_US)
    assert not handler.frame(frame, TIME_US)
    handler.expect([INFY])
    assert handler.frame(frame, TIME_US)
    handler.forget([INFY])
    assert handler.frame(frame, TIME_US)


def test_latencies_are_sampled():
    kite = pipeline(time_us=lambda: TIME_US + 300)
    packet = full_packet(QUOTE, exchange_time=TIME_US // 1_000_000 - 2)
    index = index_packet(NIFTY, 100, exchange_time=TIME_US // 1_000_000 + 5)
    frames = [encode_frame([packet, packet]), encode_frame([index]), encode_frame([QUOTE])]
    handler = kite.handler(0)
    for number, frame in enumerate(frames[:2] * 2 + frames[2:]):
        handler.frame(frame, TIME_US - 100_000 + number * SAMPLE_EVERY_US)
        handler.frame(frame, TIME_US - 100_000 + number * SAMPLE_EVERY_US + 1)
    assert kite.receive_to_produce.count == 5
    # the first frame of each was a snapshot; a clock of ours that is behind is no negative time
    assert kite.exchange_to_receive.count == 2
    assert kite.exchange_to_receive.total == pytest.approx(1.92)


def test_latencies_are_sampled_also_after_the_clock_was_set_back(kite):
    handler = kite.handler(0)
    for time_us in (TIME_US + 7200 * 10**6, TIME_US, TIME_US + SAMPLE_EVERY_US):
        handler.frame(encode_frame([QUOTE]), time_us)
    assert kite.receive_to_produce.count == 3


@pytest.mark.parametrize("exchange_time", [1, 2**32 - 1, TIME_US // 10**6 + 7200])
def test_a_wild_exchange_time_is_counted_and_no_latency(kite, exchange_time):
    handler = kite.handler(0)
    frame = encode_frame([full_packet(QUOTE, exchange_time=exchange_time)])
    for number in range(3):
        handler.frame(frame, TIME_US + number * SAMPLE_EVERY_US)
    assert kite.exchange_to_receive.count == 0
    assert kite.implausible_times == 3


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\1\0\xb8", b"\0\1\0\xb8" + bytes(61)])
def test_no_bytes_make_it_raise(kite, data):
    kite.handler(0).frame(data, TIME_US)
    assert kite.received == len(kite.producer.records)


def test_rows_of_the_instrument_master_are_records_too(kite):
    kite.write_instruments([(b"258", b"row"), (b"514", None)], False)
    kite.write_instruments([(b"258", b"row")], True)
    assert list(produced(kite, "kite.instruments")) == [
        ("kite.instruments", b"row", b"258", TIME_US // 1000, None),
        ("kite.instruments", None, b"514", TIME_US // 1000, None),
        ("kite.instruments", b"row", b"258", TIME_US // 1000, [WHOLE]),
    ]
    assert (kite.instruments, kite.received) == (3, 3)


def test_an_announced_list_is_handed_on():
    announced = []
    kite = pipeline(announced=announced.append)
    slot = kite.handler(0)
    for data in ({"count": 9, "etag": "W/1"}, {"count": 9}, {"etag": 5}, None, "etag"):
        slot.message(TextMessage("instruments_meta", data), "")
    slot.message(TextMessage("app_code", {"etag": "W/2"}), "")
    assert announced == ["W/1"]
    pipeline().handler(0).message(TextMessage("instruments_meta", {"etag": "W/1"}), "")


def test_a_tap_sees_the_frames_of_its_slot_while_it_is_there(kite):
    seen = []
    kite.tap(0, lambda data, receive_time_us: seen.append((data, receive_time_us)))
    for slot in (0, 1):
        kite.handler(slot).opened(1000)
    frame = encode_frame([QUOTE])
    kite.handler(0).frame(frame, TIME_US)
    assert seen == [], "there was no such slot"
    kite.tap(0, lambda data, receive_time_us: seen.append((data, receive_time_us)))
    kite.handler(0).frame(frame, TIME_US)
    kite.handler(1).frame(frame, TIME_US)
    assert seen == [(frame, TIME_US)]
    kite.tap(0, None)
    kite.handler(0).frame(frame, TIME_US)
    assert len(seen) == 1


def test_the_newest_events_are_kept(kite):
    for number in range(RECENT_EVENTS + 1):
        kite.write_event(ConnectionEvent(EventType.CONNECTED, number, 1), "main")
    assert len(kite.recent_events) == RECENT_EVENTS
    assert kite.recent_events.rows()[0]["slot"] == RECENT_EVENTS


class Counting(PlainEncoder):
    """Keeps the counts."""

    def __init__(self):
        self.counts = []

    def event(self, event, *, account):
        if event.count is not None:
            self.counts.append((event.slot, event.session_id, event.time_ms, event.count))
        return super().event(event, account=account)


@pytest.fixture
def counting():
    now = [TIME_US]
    kite = pipeline(time_us=lambda: now[0])
    kite.encoder = Counting()
    kite.now = now
    kite.count_ticks()  # of the minute that has begun already
    return kite


def test_each_minute_every_open_session_is_counted(counting):
    first, second = counting.handler(0), counting.handler(1)
    first.opened(1000)
    second.opened(2000)
    first.frame(encode_frame([QUOTE, index_packet(NIFTY, 100)]), TIME_US)
    counting.count_ticks()
    assert counting.encoder.counts == []
    counting.now[0] += MINUTE_US
    for _ in range(2):
        counting.count_ticks()
    time_ms = counting.now[0] // 1000
    assert counting.encoder.counts == [
        (
            0, 1000, time_ms,
            TickCount(1, 2, False, {(Exchange.NSE, 0): 1, (Exchange.INDICES, 0): 1}),
        ),
        (1, 2000, time_ms, TickCount(1, 0, False, {})),
    ]  # fmt: skip
    assert counting.received == 2 + counting.events == 4


def test_the_end_of_a_socket_is_counted_once(counting):
    handler = counting.handler(0)
    handler.opened(1000)
    handler.frame(encode_frame([QUOTE]), TIME_US)
    handler.event(event_in(ConnectionState.CONNECTED))
    assert counting.encoder.counts == []
    handler.event(event_in(ConnectionState.BACKING_OFF))
    handler.event(event_in(ConnectionState.CLOSED))
    counting.now[0] += MINUTE_US
    counting.count_ticks()
    ((_, session, _, count),) = counting.encoder.counts
    assert (session, count) == (1000, TickCount(1, 1, True, {(Exchange.NSE, 0): 1}))
    # behind the last tick, and before the event of the end
    events = [record.value for record in produced(counting, "kite.events")]
    assert events[1:3] == [b"event count 0 account-0", b"event disconnected 0 account-0"]


def test_a_session_that_follows_at_once_ends_the_one_before(counting):
    handler = counting.handler(0)
    for session in (1000, 2000):
        handler.opened(session)
        handler.frame(encode_frame([QUOTE]), TIME_US)
    handler.event(event_in(ConnectionState.CLOSED))
    assert [(session, count.last_sequence, count.session_ended) for _, session, _, count in
            counting.encoder.counts] == [(1000, 1, True), (2000, 1, True)]  # fmt: skip


def event_in(state):
    return ConnectionEvent(EventType.DISCONNECTED, slot=0, time_ms=9, state=state)
