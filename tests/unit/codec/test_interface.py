"""What a twin makes of good packets, run over both."""

import io
import json
from datetime import UTC, datetime

import fastavro
import pytest

from connector.codec.interface import REASONS
from connector.kite.wire import layout as wire
from connector.kite.wire.event_time import EXCHANGE_TIME_AHEAD_MS, EXCHANGE_TIME_BEHIND_MS
from connector.kite.wire.models import Exchange
from connector.schemas import load
from tests.support import packets
from tests.support.packets import NSE, Level, frame, full, index, ltp, quote
from tests.support.ticks import NOW, NOW_US, SCHEMA_IDS, TOPICS, decode, tick, ticks

INFY = 408065
# the whole seconds at the edges of what may be an event time
EARLIEST = (NOW_US // 1000 - EXCHANGE_TIME_BEHIND_MS) // 1000 + 1
LATEST = (NOW_US // 1000 + EXCHANGE_TIME_AHEAD_MS) // 1000

NOT_IN_LTP = (
    "last_traded_quantity", "average_traded_price", "volume_traded", "total_buy_quantity",
    "total_sell_quantity", "ohlc",
)  # fmt: skip
ONLY_IN_FULL = (
    "last_trade_time", "exchange_timestamp", "oi", "oi_day_high", "oi_day_low", "depth",
    "best_bid_price", "best_bid_quantity", "best_ask_price", "best_ask_quantity",
)  # fmt: skip


def test_a_record_is_topic_key_and_framed_value(transcoder):
    ((topic, key, value),), _, _ = transcoder.transcode(frame(quote(INFY)), NOW_US)
    assert topic == "kite.ticks.nse"
    assert key == b"408065"
    assert decode(value)[0] == SCHEMA_IDS[topic]


def test_quote(transcoder):
    transcoder.set_symbols({INFY: "INFY"})
    assert tick(transcoder, quote(INFY)) == {
        "event_time": NOW,
        "receive_time_us": NOW_US,
        "instrument_token": 408065,
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "mode": "quote",
        **packets.OF_A_QUOTE,
        "ohlc": {"open": 1569.15, "high": 1575.00, "low": 1561.05, "close": 1567.80},
        **dict.fromkeys(ONLY_IN_FULL),
        "slot": 2,
        "session_id": 1_700_000_000_123,
        "sequence": 1,
        "snapshot": False,
    }


def test_two_full_packets_of_a_frame(transcoder):
    first, second = ticks(
        transcoder,
        full(408065, last_price=129905, volume_traded=6065675, exchange_timestamp=1612777255),
        full(2953217, last_price=320940, volume_traded=2261635, exchange_timestamp=1612777254),
    )
    assert (first["instrument_token"], second["instrument_token"]) == (408065, 2953217)
    assert (first["last_price"], second["last_price"]) == (1299.05, 3209.40)
    assert (first["volume_traded"], second["volume_traded"]) == (6065675, 2261635)
    assert first["exchange_timestamp"] == datetime(2021, 2, 8, 9, 40, 55, tzinfo=UTC)
    assert second["exchange_timestamp"] == datetime(2021, 2, 8, 9, 40, 54, tzinfo=UTC)
    assert (first["sequence"], second["sequence"]) == (1, 2)


def test_full_has_interest_and_depth_in_wire_order(transcoder):
    levels = [Level(10 + i, 100_00 + i, 1 + i) for i in range(10)]
    got = tick(transcoder, full(NSE, oi=5, oi_day_high=7, oi_day_low=3, depth=levels))
    assert (got["oi"], got["oi_day_high"], got["oi_day_low"]) == (5, 7, 3)
    assert [tuple(level.values()) for level in got["depth"]["buy"]] == [
        (10 + i, (100_00 + i) / 100, 1 + i) for i in range(5)
    ]
    assert [tuple(level.values()) for level in got["depth"]["sell"]] == [
        (10 + i, (100_00 + i) / 100, 1 + i) for i in range(5, 10)
    ]


def test_a_depth_of_zeros_is_a_depth(transcoder):
    side = [{"quantity": 0, "price": 0.0, "orders": 0}] * 5
    got = tick(transcoder, full(NSE))
    assert got["depth"] == {"buy": side, "sell": side}
    assert (got["best_bid_price"], got["best_bid_quantity"]) == (0.0, 0)
    assert (got["best_ask_price"], got["best_ask_quantity"]) == (0.0, 0)


def test_the_flat_book_is_the_first_level_of_each_side(transcoder):
    levels = [Level(10 + i, 100_00 + i, 1 + i) for i in range(10)]
    got = tick(transcoder, full(NSE, depth=levels))
    assert (got["best_bid_price"], got["best_bid_quantity"]) == (100.00, 10)
    assert (got["best_ask_price"], got["best_ask_quantity"]) == (100.05, 15)


def test_ltp(transcoder):
    got = tick(transcoder, ltp(NSE, 5))
    assert (got["mode"], got["last_price"], got["event_time"]) == ("ltp", 0.05, NOW)
    assert {got[name] for name in (*NOT_IN_LTP, *ONLY_IN_FULL)} == {None}


@pytest.mark.parametrize("timestamp", [None, 1612777255])
def test_index_has_another_order_and_no_trades(transcoder, timestamp):
    got = tick(
        transcoder,
        index(256265, 1507470, high=4, low=1, open=2, close=3, exchange_timestamp=timestamp),
    )
    assert got["ohlc"] == {"open": 0.02, "high": 0.04, "low": 0.01, "close": 0.03}
    assert (got["exchange"], got["tradable"], got["last_price"]) == ("INDICES", False, 15074.70)
    assert got["mode"] == ("full" if timestamp else "quote")
    assert got["exchange_timestamp"] == (
        datetime(2021, 2, 8, 9, 40, 55, tzinfo=UTC) if timestamp else None
    )
    assert got["event_time"] == NOW
    absent = {*NOT_IN_LTP, *ONLY_IN_FULL} - {"ohlc", "exchange_timestamp"}
    assert {got[name] for name in absent} == {None}


@pytest.mark.parametrize("packet", [ltp, quote, full], ids=["ltp", "quote", "full"])
def test_an_index_is_never_tradable_whatever_the_length(transcoder, packet):
    assert tick(transcoder, packet(packets.INDEX))["tradable"] is False


@pytest.mark.parametrize(
    ("token", "raw", "price"),
    [
        (31132428, 3782000, 378.20),  # NCO: ALUMINI26SEPFUT
        (packets.NCO, 2_685_000_000, 268_500.00),  # silver, over 2**31
        (packets.CDS, 831234000, 83.1234),
        (packets.BCD, 831234, 83.1234),
        (packets.MCX, 2**32 - 1, 42949672.95),
    ],
)
def test_worked_prices(transcoder, token, raw, price):
    assert tick(transcoder, ltp(token, raw))["last_price"] == price
    assert tick(transcoder, quote(token, last_price=raw, low=raw))["ohlc"]["low"] == price
    assert tick(transcoder, full(token, average_traded_price=raw))["average_traded_price"] == price


@pytest.mark.parametrize("exchange", list(Exchange))
def test_every_exchange_has_its_topic_name_and_divisor(transcoder, exchange):
    records, _, _ = transcoder.transcode(frame(ltp(7 << 8 | exchange.value, 12345)), NOW_US)
    ((topic, _, value),) = records
    schema_id, got = decode(value)
    assert topic == TOPICS[exchange]
    assert schema_id == SCHEMA_IDS[topic]
    assert got["exchange"] == exchange.name
    assert got["last_price"] == 12345 / exchange.divisor
    assert got["tradable"] is exchange.tradable


def test_quantities_are_unsigned(transcoder):
    most = 2**32 - 1
    got = tick(
        transcoder,
        full(
            NSE, last_traded_quantity=most, volume_traded=most, total_buy_quantity=most,
            total_sell_quantity=most, oi=most, oi_day_high=most, oi_day_low=most,
            depth=[Level(most, most, 2**16 - 1)] * 10, last_trade_time=most,
            exchange_timestamp=most,
        ),
    )  # fmt: skip
    assert {
        got[name]
        for name in (
            "last_traded_quantity", "volume_traded", "total_buy_quantity", "total_sell_quantity",
            "oi", "oi_day_high", "oi_day_low",
        )
    } == {most}  # fmt: skip
    assert got["depth"]["sell"][4] == {"quantity": most, "price": most / 100, "orders": 65535}
    assert got["last_trade_time"] == datetime.fromtimestamp(most, UTC) == got["exchange_timestamp"]


@pytest.mark.parametrize(
    "seconds", [1, 2**31 - 1, 2**31, 2**32 - 1, 1612777255, EARLIEST - 1, LATEST + 1]
)
@pytest.mark.parametrize("packet", [full, index])
def test_a_wild_exchange_time_does_not_move_the_event_time(transcoder, packet, seconds):
    token = 256265 if packet is index else NSE
    got = tick(transcoder, packet(token, exchange_timestamp=seconds))
    assert got["event_time"] == NOW
    assert got["exchange_timestamp"] == datetime.fromtimestamp(seconds, UTC)
    assert transcoder.implausible_times == 1


@pytest.mark.parametrize("seconds", [EARLIEST, NOW_US // 10**6, LATEST])
@pytest.mark.parametrize("packet", [full, index])
def test_the_exchange_time_is_the_event_time_within_its_window(transcoder, packet, seconds):
    token = 256265 if packet is index else NSE
    got = tick(transcoder, packet(token, exchange_timestamp=seconds))
    assert got["event_time"] == got["exchange_timestamp"] == datetime.fromtimestamp(seconds, UTC)
    assert transcoder.implausible_times == 0


def test_a_wild_time_leaves_those_of_other_packets_alone(transcoder):
    wild, good = full(NSE, exchange_timestamp=2**32 - 1), full(NSE, exchange_timestamp=LATEST)
    times = [got["event_time"] for got in ticks(transcoder, good, wild, good, ltp(NSE), wild)]
    late = datetime.fromtimestamp(LATEST, UTC)
    assert times == [late, NOW, late, NOW, NOW]
    assert transcoder.implausible_times == 2


def test_a_time_of_zero_is_none_and_never_1970(transcoder):
    got = tick(transcoder, full(NSE, last_trade_time=0, exchange_timestamp=0))
    assert got["last_trade_time"] is None
    assert got["exchange_timestamp"] is None
    assert got["event_time"] == NOW
    assert tick(transcoder, index(256265, exchange_timestamp=0))["exchange_timestamp"] is None


def test_the_shortest_value(twin):
    (record,), _, _ = twin(TOPICS, SCHEMA_IDS, 0).transcode(frame(ltp(1, 0)), 0)
    assert len(record[2]) == 46
    assert decode(record[2])[1]["instrument_token"] == 1


def test_the_longest_value(twin):
    transcoder = twin(TOPICS, SCHEMA_IDS, 2**31 - 1)
    transcoder.open_session(2**63 - 1)
    most = full(0xFFFFFF09)[:4] + b"\xff" * 180
    (record,), _, _ = transcoder.transcode(frame(most), 2**63 - 1)
    # times as plain numbers: this receive time is beyond what a datetime has
    plain = json.loads(json.dumps(load("tick")).replace('"timestamp-millis"', '"none"'))
    got = fastavro.schemaless_reader(io.BytesIO(record[2][5:]), plain, None)
    assert got["event_time"] == (2**63 - 1) // 1000
    assert (got["slot"], got["session_id"], got["sequence"]) == (2**31 - 1, 2**63 - 1, 1)
    assert got["receive_time_us"] == 2**63 - 1


def test_the_highest_token(transcoder):
    token = 0xFFFFFF01
    records, _, _ = transcoder.transcode(frame(ltp(token)), NOW_US)
    assert records[0][1] == b"4294967041"
    assert decode(records[0][2])[1]["instrument_token"] == token


def test_counters_account_for_everything(transcoder):
    assert transcoder.counts() == dict.fromkeys(Exchange, 0)
    first = frame(ltp(NSE), quote(NSE), ltp(packets.NCO), b"odd") + b"more"
    transcoder.transcode(first, NOW_US)
    assert transcoder.packets == 5
    assert transcoder.bytes == len(first)
    assert transcoder.last_tick_us == NOW_US
    assert transcoder.counts() == dict.fromkeys(Exchange, 0) | {Exchange.NSE: 2, Exchange.NCO: 1}
    # nothing but garbage: no tick, so its time does not count
    second = frame(b"odd")
    transcoder.transcode(second, NOW_US + 5)
    assert transcoder.last_tick_us == NOW_US
    assert transcoder.packets == 6
    transcoder.transcode(b"\0", NOW_US + 6)
    assert transcoder.bytes == len(first) + len(second) + 1


def test_every_exchange_needs_a_topic_and_every_topic_an_id(twin):
    with pytest.raises(KeyError):
        twin({}, SCHEMA_IDS, 0)
    with pytest.raises(KeyError):
        twin(TOPICS, {}, 0)


@pytest.mark.parametrize("schema_id", [0, 1, 2**31, 2**32 - 1])
def test_the_whole_range_of_schema_ids(twin, schema_id):
    transcoder = twin(TOPICS, dict.fromkeys(SCHEMA_IDS, schema_id), 0)
    records, _, _ = transcoder.transcode(frame(ltp(NSE)), NOW_US)
    assert decode(records[0][2])[0] == schema_id


def test_one_topic_may_take_several_exchanges(twin):
    transcoder = twin(dict.fromkeys(Exchange, "ticks"), {"ticks": 7}, 0)
    records, _, _ = transcoder.transcode(frame(ltp(NSE), ltp(packets.MCX)), NOW_US)
    assert [topic for topic, _, _ in records] == ["ticks", "ticks"]


def test_before_a_session_opens_its_id_is_zero(twin):
    transcoder = twin(TOPICS, SCHEMA_IDS, 26)
    got = tick(transcoder, ltp(NSE))
    assert (got["slot"], got["session_id"], got["sequence"]) == (26, 0, 1)


def test_reasons_are_a_fixed_set():
    assert set(REASONS) == {
        wire.UNKNOWN_LENGTH,
        wire.UNKNOWN_SEGMENT,
        wire.TRUNCATED_FRAME,
        wire.TRAILING_BYTES,
        wire.TOO_MANY_PACKETS,
        wire.TOO_MANY_REJECTED,
    }
