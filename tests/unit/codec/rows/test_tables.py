"""Tables of values say what their rows say."""

import sys

import pytest

from connector import MissingExtraError, values_to_arrow
from connector.codec.rows import COLUMNS, row_of
from connector.codec.rows.tables import BATCH_ROWS, value_schema
from connector.kite.wire.tables import tick_schema
from tests.support.packets import NFO, NSE, full, index, ltp, quote
from tests.support.recorded import START_MS, recorded

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

PACKETS = [ltp(NSE), quote(NFO), full(NSE), index(256265), full(NFO, last_trade_time=0)]
VALUES = [value for _, value, _ in recorded(PACKETS, [START_MS] * len(PACKETS))]


def rows(table):
    for number, field in enumerate(table.schema):
        if pyarrow.types.is_timestamp(field.type):
            table = table.set_column(number, field.name, table[field.name].cast(pyarrow.int64()))
    return [tuple(row.values()) for row in table.to_pylist()]


def test_each_row_is_that_of_its_value_also_beyond_a_batch():
    values = VALUES * (BATCH_ROWS // len(VALUES) + 1)
    # a word that no batch before had
    values.append(VALUES[0].replace(b"NSE", b"NEW"))
    table = values_to_arrow(iter(values))
    assert table.schema.equals(value_schema())
    assert rows(table) == list(map(row_of, values))
    for name in ("exchange", "tradingsymbol", "mode"):
        first, *others = [chunk.dictionary for chunk in table[name].chunks]
        assert all(one.equals(first) for one in others)


def test_the_columns_are_those_of_ticks_to_arrow_and_the_streams_own():
    empty = values_to_arrow([])
    assert empty.num_rows == 0
    assert tuple(empty.column_names) == COLUMNS
    assert empty.schema.names[: len(tick_schema())] == tick_schema().names


def test_the_columns_that_are_named_come_in_that_order():
    every = values_to_arrow(VALUES)
    for names in (["sequence", "tradingsymbol", "depth_buy_1_price"], ["last_price"], [*COLUMNS]):
        assert values_to_arrow(VALUES, names).equals(every.select(names))
        assert values_to_arrow([], names).schema.names == names
    for names in (["last_price", "price"], "last_price"):
        with pytest.raises(ValueError, match=r"'(price|l)' is no column of a tick"):
            values_to_arrow(VALUES, names)


def test_what_is_no_tick_is_refused():
    for wrong in (b"", b"\x00\x00\x00\x00\x01", VALUES[0][:-1]):
        with pytest.raises(ValueError, match="not the value of a tick"):
            values_to_arrow([VALUES[0], wrong])


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"kite-connector\[arrow\]"):
        values_to_arrow(VALUES)
