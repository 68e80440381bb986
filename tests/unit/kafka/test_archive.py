"""Ticks as rows of a Parquet file, and back."""

import errno
import io
import math
import os

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from connector.codec.rows.tables import value_schema
from connector.errors import ArchiveError
from connector.kafka.archive import (
    ROW_GROUP_ROWS,
    ArchiveReader,
    ArchiveWriter,
)
from connector.kite.wire.models import Exchange
from connector.kite.wire.tables import tick_schema
from tests.support.packets import CDS, NFO, NSE, Level, full, index, ltp, quote
from tests.support.recorded import SESSION, START_MS, recorded

DEPTH = tuple(Level(10 + n, 157_000 + n, n) for n in range(10))
PACKETS = [
    ltp(NSE),
    quote(NFO),
    full(NSE, depth=DEPTH, oi=7, exchange_timestamp=START_MS // 1000),
    full(CDS, last_trade_time=0, exchange_timestamp=0),
    index(256265, exchange_timestamp=START_MS // 1000),
]


def written(path, records):
    with path.open("wb") as file, ArchiveWriter(file) as archive:
        for _, value, _ in records:
            archive.add(value)
    assert archive.ticks == len(records)
    return path


def read(path, **asked):
    """The ticks of a file, and the time behind them."""
    with ArchiveReader(path, **asked) as reader:
        return list(reader), reader.end_ms()


@given(st.lists(st.sampled_from(PACKETS), max_size=8))
def test_what_is_read_is_what_was_written_to_the_byte(tmp_path_factory, packets):
    records = recorded(packets, [START_MS + number for number in range(len(packets))])
    path = written(tmp_path_factory.mktemp("a") / "ticks.parquet", records)
    ticks, end_ms = read(path)
    assert [(b"%d" % one.instrument_token, one.body, one.receive_time_ms) for one in ticks] == [
        (key, value[5:], time_ms) for key, value, time_ms in records
    ]
    assert end_ms == (START_MS + len(packets) if packets else 0)


def test_columns_are_those_of_ticks_to_arrow_and_the_streams_own(tmp_path):
    path = written(tmp_path / "ticks.parquet", recorded(PACKETS, [START_MS] * len(PACKETS)))
    table = parquet.read_table(path)
    assert table.schema.equals(value_schema())
    assert table.schema.names[:-4] == tick_schema().names
    row = table.to_pylist()[2]
    assert {name: row[name] for name in ("slot", "session_id", "sequence", "snapshot")} == {
        "slot": 0, "session_id": SESSION, "sequence": 3, "snapshot": False,
    }  # fmt: skip
    assert (row["exchange"], row["mode"], row["oi"]) == ("NSE", "full", 7)
    assert (row["depth_buy_1_price"], row["best_bid_price"]) == (1570.0, 1570.0)
    assert (row["depth_sell_5_quantity"], row["best_ask_quantity"]) == (19, 15)
    assert row["event_time"].timestamp() * 1000 == START_MS // 1000 * 1000
    assert table.to_pylist()[0]["ohlc_open"] is None


def test_a_tick_of_the_first_version_has_its_best_bid_and_ask_out_of_the_depth(tmp_path):
    ((key, value, time_ms),) = recorded([full(NSE, depth=DEPTH)], [START_MS])
    first = value[: -(2 * (1 + 8) + 2 * 2)]
    path = written(tmp_path / "ticks.parquet", [(key, first, time_ms)])
    ((read_again,), _) = read(path)
    assert read_again.body == value[5:]


def test_rows_are_written_in_groups_of_a_bounded_size(tmp_path):
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    count = ROW_GROUP_ROWS + 5
    path = tmp_path / "ticks.parquet"
    with path.open("wb") as file, ArchiveWriter(file) as archive:
        for _ in range(count):
            archive.add(value)
    found = parquet.read_metadata(path)
    assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == [
        ROW_GROUP_ROWS,
        5,
    ]


def test_only_what_is_asked_for_is_read(tmp_path):
    packets = [ltp(NSE), ltp(NFO), ltp(NSE), ltp(CDS)]
    records = recorded(packets, [START_MS + number for number in range(4)])
    path = written(tmp_path / "ticks.parquet", records)

    def times(**asked):
        ticks, end_ms = read(path, **asked)
        return [tick.receive_time_ms - START_MS for tick in ticks], end_ms - START_MS

    assert times(exchanges=[Exchange.NSE, Exchange.CDS]) == ([0, 2, 3], 4)
    assert times(from_ms=START_MS + 1, to_ms=START_MS + 3) == ([1, 2], 3)
    assert times(exchanges=[Exchange.NSE], from_ms=START_MS + 1) == ([2], 3)
    assert times(exchanges=[Exchange.MCX]) == ([], -START_MS)


def test_a_file_that_another_program_has_written_anew_is_read(tmp_path):
    path = written(tmp_path / "ticks.parquet", recorded(PACKETS, [START_MS] * len(PACKETS)))
    table = parquet.read_table(path)
    plain = pa.table(
        {
            name: column.cast(pa.large_string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(
                reversed(table.column_names), reversed(table.columns), strict=True
            )
        }
    )
    other = tmp_path / "other.parquet"
    parquet.write_table(plain, other)
    assert read(other) == read(path)


class Full(io.BytesIO):
    """A disk that is full after some bytes."""

    def write(self, data):
        if self.tell() + len(data) > 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_full_disk_is_an_error_of_the_systems_own():
    ((_, value, _),) = recorded([ltp(NSE)], [START_MS])
    file = Full()
    with pytest.raises(OSError, match="No space left") as caught, ArchiveWriter(file) as archive:
        archive.add(value)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, None)


def test_what_is_no_file_of_ticks_is_an_error_that_names_it(tmp_path):
    text = tmp_path / "text.parquet"
    text.write_text("a,b\n1,2\n")
    other = tmp_path / "other.parquet"
    parquet.write_table(pa.table({"a": [1]}), other)
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path / "nothing", "No such file"),
        (tmp_path, "a directory"),
        (tmp_path / "pipe", "a pipe"),
        (text, "magic"),
        (other, "no column event_time, receive_time_us"),
    ]:
        with pytest.raises(ArchiveError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_values_that_do_not_fit_are_an_error_that_names_the_file(tmp_path):
    path = written(tmp_path / "ticks.parquet", recorded([ltp(NSE)], [START_MS]))
    table = parquet.read_table(path)
    for name, values, reason in [
        ("slot", ["x"], ""),
        ("last_price", pa.array([None], pa.float64()), "column last_price has a row without"),
        ("receive_time_us", pa.array([None], pa.int64()), "receive_time_us has a row without"),
        ("exchange", pa.array([None], pa.string()), "column exchange has a row without"),
        ("instrument_token", pa.array([math.nan]), ""),
    ]:
        at = table.column_names.index(name)
        parquet.write_table(table.set_column(at, name, [values]), path)
        with pytest.raises(ArchiveError, match=rf"ticks\.parquet.*{reason}"):
            read(path)


def test_a_damaged_file_is_an_error_that_names_it(tmp_path):
    records = recorded([full(NSE)] * 50, [START_MS + number for number in range(50)])
    path = written(tmp_path / "ticks.parquet", records)
    whole = path.read_bytes()
    path.write_bytes(bytes(64) + whole[64:])
    with pytest.raises(ArchiveError, match=r"ticks\.parquet"):
        read(path)
    path.write_bytes(whole[:-20])
    with pytest.raises(ArchiveError, match=r"ticks\.parquet"):
        read(path)
