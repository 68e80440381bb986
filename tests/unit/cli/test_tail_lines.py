import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connector.cli.tail_lines import HEADER_EACH, CsvLines, JsonLines, TableLines, fitting
from connector.errors import SettingsError
from connector.kafka.tail import TailRecord
from connector.kafka.topics import TopicNames

NAMES = TopicNames("kite")
TIME = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
TICK = {
    "event_time": TIME,
    "tradingsymbol": "INFY",
    "instrument_token": 408065,
    "exchange": "NSE",
    "mode": "full",
    "last_price": 1573.15,
    "ohlc": {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1567.8},
    "volume_traded": 1175986,
    "oi": None,
    "slot": 1,
    "sequence": 7,
    "snapshot": True,
    "best_bid_price": 1573.1,
    "best_ask_price": 1573.2,
    "depth": {"buy": [{"quantity": 1, "price": 2.0, "orders": 3}], "sell": []},
}
LARGEST = {
    **TICK,
    "tradingsymbol": "A" * 40,
    "last_price": -21474836.48,
    "volume_traded": 0xFFFFFFFF,
    "oi": 0xFFFFFFFF,
    "best_bid_price": 21474836.47,
    "best_ask_price": 21474836.47,
    "ohlc": {"open": 1.0, "high": 1.0, "low": 1.0, "close": 0.01},
    "slot": 2999,
    "sequence": 10**11,
}


def record(value, **changes):
    values = {
        "topic": "kite.ticks.nse", "partition": 0, "offset": 1, "timestamp_ms": 1_767_585_600_000,
        "key": "408065", "value": value, "headers": {}, "schema_id": 1, "source": "registry",
    }  # fmt: skip
    return TailRecord(**{**values, **changes})


def table(width=200, *, colors=False):
    return TableLines(NAMES, lambda: width, colors=colors)


def other(topic, value, **changes):
    return table().of(record(value, topic=topic, **changes))


def test_a_tick_on_a_line_under_a_header():
    header, line = table().of(record(TICK)).splitlines()
    assert header.split()[:3] == ["time", "(India)", "instrument"]
    for part in ["09:30:00.000", "NSE:INFY", "full", "1,573.15", "+0.34%", "1,175,986", "1,573.20"]:
        assert part in line
    assert "\x1b" not in line
    assert "\x1b" in table(colors=True).of(record(TICK))


@pytest.mark.parametrize("width", range(20, 230, 7))
def test_every_number_is_whole_or_its_column_is_left_out(width):
    shown, _ = fitting(width)
    lines = table(width).of(record(LARGEST)).splitlines()
    assert all(len(line) <= max(width, 22) for line in lines)
    for column in shown:
        if column.title != "instrument":
            assert len(column.text(record(LARGEST))) <= column.width
            assert column.text(record(LARGEST)) in lines[1]


def test_the_important_columns_stay():
    titles = [[column.title for column in fitting(width)[0]] for width in (30, 50, 80)]
    assert titles == [
        ["instrument"],
        ["time (India)", "instrument", "last price"],
        ["time (India)", "instrument", "mode", "last price", "change", "volume"],
    ]
    assert len(fitting(200)[0]) == 13


def test_the_header_comes_again_after_a_screen_and_with_other_columns():
    width = 100
    lines = TableLines(NAMES, lambda: width, colors=False)
    shown = [lines.of(record(TICK)).count("\n") for _ in range(HEADER_EACH + 1)]
    assert shown == [1, *[0] * (HEADER_EACH - 1), 1]
    width = 60
    assert lines.of(record(TICK)).count("\n") == 1


def test_a_tick_with_little_in_it():
    little = {
        **TICK, "tradingsymbol": None, "ohlc": None, "volume_traded": None, "snapshot": False,
        "best_bid_price": None, "exchange": "CDS", "last_price": 83.1234,
    }  # fmt: skip
    line = table().of(record(little)).splitlines()[1]
    assert "CDS:408065" in line
    assert "83.1234" in line
    assert "yes" not in line


EVENT = {
    "slot": 2, "account": None, "type": "gap", "time": TIME, "session_id": None, "state": None,
    "reason": "", "gap_from": TIME, "gap_to": TIME.replace(second=11), "instruments": 3000,
    "tokens": list(range(8)),
}  # fmt: skip
ORDER = {
    "order_id": "151220000000000", "status": "COMPLETE", "transaction_type": "BUY",
    "filled_quantity": 10, "quantity": 10, "average_price": 1573.15, "price": 0.0,
    "exchange": "NSE", "tradingsymbol": "INFY", "status_message": None,
}  # fmt: skip
INSTRUMENT = {
    "exchange": "NFO", "tradingsymbol": "NIFTY26JANFUT", "instrument_token": 2,
    "instrument_type": "FUT", "expiry": "2026-01-29", "lot_size": 65, "tick_size": 0.1,
    "name": "NIFTY",
}  # fmt: skip

CANDLE = {
    "exchange": "CDS", "tradingsymbol": "USDINR26JANFUT", "instrument_token": 3,
    "event_time": TIME, "open": 83.1234, "high": 83.2, "low": 83.0, "close": 83.15,
    "volume": 7000, "oi": None, "slot": 2, "cause": "gap",
}  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "value", "line"),
    [
        (
            NAMES.events,
            EVENT,
            (
                "events  slot 2  gap  from 09:30:00.000 to 09:30:11.000 (11.0 s)  "
                "3000 instruments  tokens 0, 1, 2, 3, 4 and 3 more"
            ),
        ),
        (
            NAMES.events,
            {**EVENT, "type": "disconnected", "gap_from": None, "gap_to": None, "tokens": [],
             "instruments": None, "reason": "closed\x1b[2J"},
            r"events  slot 2  disconnected  closed\x1b[2J",
        ),
        (
            NAMES.replies,
            {"id": "a", "status": "APPLIED", "revision": 7, "accepted": 2,
             "refused": [{"instrument": "NSE:X", "reason": "unknown"}], "errors": []},
            "control.replies  APPLIED  revision 7  2 accepted  1 refused: NSE:X (unknown)  id a",
        ),
        (
            NAMES.control,
            {"id": "a", "type": "subscribe", "watchlist": "algo", "mode": "full",
             "instruments": ["NSE:INFY", 5], "dry_run": True},
            "control  subscribe  algo  full  2 instruments: NSE:INFY, 5  dry_run=true  id a",
        ),
        (
            NAMES.orders,
            ORDER,
            "orders  151220000000000  COMPLETE  BUY  10 of 10  NSE:INFY  at 1,573.15",
        ),
        (
            NAMES.instruments,
            INSTRUMENT,
            "instruments  NFO:NIFTY26JANFUT  2  FUT  expires 2026-01-29  lot 65  tick 0.1  NIFTY",
        ),
        (NAMES.instruments, None, "instruments  408065  is gone"),
        (
            NAMES.backfill,
            CANDLE,
            (
                "backfill.1m  CDS:USDINR26JANFUT  09:30  open 83.1234  high 83.2  low 83.0  "
                "close 83.15  volume 7,000  slot 2  gap"
            ),
        ),
        (
            NAMES.subscriptions,
            {"token": 5, "symbol": None, "mode": "full", "claims": {"a": "ltp", "b": "full"}},
            "subscriptions  slot 0  5  full  claimed by a (ltp), b (full)",
        ),
        (NAMES.subscriptions, None, "subscriptions  slot 0  408065  ends"),
        (NAMES.deadletter, bytes(20), "deadletter  408065  20 bytes: " + "00 " * 16 + "…"),
        (NAMES.control, ["not", "a", "command"], 'control  ["not", "a", "command"]'),
        (NAMES.replies, b"\x01", "control.replies  1 bytes: 01"),
    ],
)  # fmt: skip
def test_what_is_no_tick_is_one_line(topic, value, line):
    assert other(topic, value) == f"09:30:00.000 {line}"


def test_what_is_too_long_for_the_terminal_ends_with_dots():
    long = {**EVENT, "reason": "no route to host " * 20}
    line = table(60).of(record(long, topic=NAMES.events))
    assert len(line) == 60
    assert line.endswith("…")


@pytest.mark.parametrize(
    "value",
    [
        {"last_price": 1, "mode": "x", "sequence": 1},
        {**TICK, "last_price": "much"},
        {**TICK, "volume_traded": [1]},
        {**TICK, "ohlc": 5},
        {**TICK, "exchange": None, "best_bid_price": "x"},
    ],
)
def test_what_only_looks_like_a_tick_is_one_line_and_takes_no_header(value):
    line = other("kite.control", value)
    assert "control" in line
    assert '  {"' in line
    assert "last price" not in line


def test_a_time_that_there_is_not_is_no_reason_to_end():
    for timestamp_ms in (2**62, -(2**63)):
        assert other("kite.control", {"type": "status"}, timestamp_ms=timestamp_ms).startswith("--")


def test_values_of_other_schemas_are_written_as_text():
    value = {"day": TIME.date(), "price": Decimal("1.50"), "at": TIME}
    written = json.loads(JsonLines().of(record(value)))["value"]
    assert written == {"day": "2026-01-05", "price": "1.50", "at": "2026-01-05T04:00:00.000+00:00"}


def test_what_could_not_be_decoded():
    assert other("kite.ticks.nse", b"?", problem="not framed") == (
        "09:30:00.000 ticks.nse  1 bytes: 3f  not framed"
    )


def test_json_is_the_whole_record():
    row = json.loads(JsonLines().of(record({"time": TIME, "raw": b"\x01"})))
    assert row["value"] == {"time": "2026-01-05T04:00:00.000+00:00", "raw": {"base64": "AQ=="}}
    assert "problem" not in row


def rows(lines, *records):
    return list(csv.reader(io.StringIO("\n".join(lines.of(one) for one in records))))


def test_csv_has_a_header_and_the_schemas_columns():
    header, *lines = rows(
        CsvLines(["kite.ticks.nse", "kite.ticks.nfo"], NAMES), record(TICK), record(TICK)
    )
    assert len(lines) == 2
    row = dict(zip(header, lines[0], strict=True))
    assert row["topic"] == "kite.ticks.nse"
    assert row["event_time"] == "2026-01-05T04:00:00.000+00:00"
    assert row["ohlc.close"] == "1567.8"
    assert row["oi"] == ""
    assert row["snapshot"] == "true"
    assert json.loads(row["depth.buy"]) == [{"quantity": 1, "price": 2.0, "orders": 3}]


def test_csv_of_what_has_no_schema_has_the_value_as_json():
    header, row = rows(
        CsvLines([NAMES.control], NAMES), record({"id": 'a "b", c'}, topic=NAMES.control)
    )
    assert header[-1] == "value"
    assert json.loads(row[-1]) == {"id": 'a "b", c'}


def test_csv_of_what_could_not_be_decoded():
    header, row = rows(CsvLines(["kite.ticks.nse"], NAMES), record(b"?", problem="not framed"))
    found = dict(zip(header, row, strict=True))
    assert (found["problem"], found["last_price"]) == ("not framed", "")


def test_csv_of_topics_that_differ_is_refused():
    with pytest.raises(SettingsError, match="different columns"):
        CsvLines(["kite.ticks.nse", NAMES.events], NAMES)
