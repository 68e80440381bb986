"""Frames as arrays say what their ticks say."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import MissingExtraError
from connector.kite.wire.arrays import frame_array, packet_dtype
from connector.kite.wire.layout import split_frame
from connector.kite.wire.packets import parse_packet
from tests.support.generated import LENGTHS, any_frames, good_packets
from tests.support.packets import frame, full, ltp

numpy = pytest.importorskip("numpy", reason="numpy is not installed")

QUANTITIES = (
    "last_traded_quantity", "volume_traded", "total_buy_quantity", "total_sell_quantity", "oi",
    "oi_day_high", "oi_day_low",
)  # fmt: skip


def seconds(time):
    return int(time.timestamp()) if time else 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(good_packets(), max_size=8), st.sampled_from(LENGTHS))
def test_each_row_says_what_the_tick_of_its_packet_says(packets, length):
    rows = frame_array(frame(*packets), length)
    assert rows.dtype == packet_dtype(length)
    ticks = [parse_packet(packet) for packet in packets if len(packet) == length]
    assert len(rows) == len(ticks)
    names = rows.dtype.names
    for row, tick in zip(rows, ticks, strict=True):
        divisor = tick.exchange.divisor
        assert row["instrument_token"] == tick.instrument_token
        assert row["last_price"] / divisor == tick.last_price
        for name in QUANTITIES:
            assert name not in names or row[name] == getattr(tick, name)
        if tick.ohlc is not None:
            assert [row[name] / divisor for name in tick.ohlc._fields] == list(tick.ohlc)
        if "exchange_timestamp" in names:
            assert row["exchange_timestamp"] == seconds(tick.exchange_timestamp)
        if tick.depth is not None:
            assert row["last_trade_time"] == seconds(tick.last_trade_time)
            for side in ("buy", "sell"):
                assert [
                    (level["quantity"], level["price"] / divisor, level["orders"])
                    for level in row[side]
                ] == list(getattr(tick.depth, side))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(any_frames, st.sampled_from(LENGTHS))
def test_any_frame_gives_its_whole_packets_of_the_length(data, length):
    packets = [packet for packet in split_frame(data)[0] if len(packet) == length]
    prefix = length.to_bytes(2)
    assert frame_array(data, length).tobytes() == b"".join(prefix + one for one in packets)


def test_a_frame_of_one_length_is_not_copied():
    data = frame(full(408065), full(2953217))
    rows = frame_array(data)
    assert numpy.shares_memory(rows, numpy.frombuffer(data, "u1"))
    assert not rows.flags.writeable
    assert rows["instrument_token"].tolist() == [408065, 2953217]


@pytest.mark.parametrize("beat", [b"", b"\1", b"\0\0"])
def test_a_heartbeat_has_no_rows(beat):
    assert len(frame_array(beat)) == 0


def test_no_packet_has_another_length():
    with pytest.raises(KeyError):
        frame_array(frame(ltp(408065)), 12)


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    # None in sys.modules is Python's own way to make an import fail
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtraError, match="pip install numpy"):
        frame_array(frame(full(408065)))
