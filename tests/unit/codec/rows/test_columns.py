from connector.codec.rows.columns import COLUMNS, STREAM_COLUMNS
from connector.kite.wire.tables import tick_schema
from connector.schemas import load


def test_columns_are_those_of_ticks_to_arrow_and_the_streams_own():
    assert (*tick_schema().names, *STREAM_COLUMNS) == COLUMNS


def test_each_field_of_the_schema_has_its_columns():
    fields = {field["name"] for field in load("tick")["fields"]}
    flat = {"ohlc", "depth"}
    assert {name for name in COLUMNS if not name.startswith(("ohlc_", "depth_"))} == fields - flat
    assert all(any(name.startswith(f"{one}_") for name in COLUMNS) for one in flat)
