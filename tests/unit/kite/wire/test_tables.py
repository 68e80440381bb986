"""Tables of frames say what their ticks say, row by row."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector import FrameMessage, MissingExtraError, parse_frame, ticks_to_arrow
from connector.kite.wire.models import TickMessage
from connector.kite.wire.names import name_ticks
from tests.support.generated import any_frames
from tests.support.packets import frame, full, ltp

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
polars = pytest.importorskip("polars", reason="polars is not installed")

TIME_US = 1_767_585_600_123_456
times = st.sampled_from([TIME_US, 0, 4_294_967_295_000_000])


def rows(frames):
    for one in frames:
        ticks = parse_frame(one.data)
        message = TickMessage(ticks, one.receive_time_us)
        for tick in ticks:
            yield {
                "event_time": message.event_time_ms(tick),
                "receive_time_us": one.receive_time_us,
                **tick.to_row(),
            }


def in_milliseconds(table):
    """Times as numbers, which have no range that Python's have not."""
    for number, field in enumerate(table.schema):
        if pyarrow.types.is_timestamp(field.type):
            table = table.set_column(number, field.name, table[field.name].cast(pyarrow.int64()))
    return table.to_pylist()


def milliseconds(row):
    def plain(value):
        return round(value.timestamp() * 1000) if hasattr(value, "timestamp") else value

    return {name: plain(value) for name, value in row.items()}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.builds(FrameMessage, any_frames, times), max_size=4))
def test_each_row_says_what_its_tick_says_in_the_order_of_the_wire(frames):
    expected = [milliseconds(row) for row in rows(frames)]
    assert in_milliseconds(ticks_to_arrow(frames)) == expected


def test_the_columns_are_those_of_the_schema_whatever_comes():
    import json
    from pathlib import Path

    schema = json.loads(Path("schemas/tick.avsc").read_text())
    empty = ticks_to_arrow([])
    streams = {"slot", "session_id", "sequence", "snapshot"}
    plain = {field["name"] for field in schema["fields"]} - streams - {"ohlc", "depth"}
    nested = {name for name in empty.column_names if name.startswith(("ohlc_", "depth_"))}
    assert set(empty.column_names) == plain | nested
    assert len(nested) == 4 + 2 * 5 * 3
    assert ticks_to_arrow([FrameMessage(frame(full(408065)), TIME_US)]).schema == empty.schema


def test_names_are_words_of_the_list_that_is_loaded():
    name_ticks({408065: "INFY"}.get)
    try:
        table = ticks_to_arrow([FrameMessage(frame(ltp(408065), ltp(738561)), TIME_US)])
    finally:
        name_ticks(None)
    assert table["tradingsymbol"].to_pylist() == ["INFY", None]
    assert table["exchange"].to_pylist() == ["NSE", "NSE"]


def test_polars_takes_a_table_rows_and_ticks():
    data = frame(full(408065), ltp(738561))
    table = polars.from_arrow(ticks_to_arrow([FrameMessage(data, TIME_US)]))
    ticks = parse_frame(data)
    assert table["last_price"].to_list() == [tick.last_price for tick in ticks]
    assert polars.DataFrame([tick.to_row() for tick in ticks])["mode"].to_list() == ["full", "ltp"]
    assert polars.DataFrame(ticks)["last_price"].to_list() == [tick.last_price for tick in ticks]


def test_pandas_takes_a_table():
    pytest.importorskip("pandas", reason="pandas is not installed")
    table = ticks_to_arrow([FrameMessage(frame(full(408065)), TIME_US)]).to_pandas()
    assert list(table["exchange"]) == ["NSE"]
    assert str(table["event_time"].dtype) == "datetime64[ms, UTC]"


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"kite-connector\[arrow\]"):
        ticks_to_arrow([])
