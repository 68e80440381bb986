import struct

import pytest

from connector.simulator import wire


def test_packets_have_the_documented_lengths_and_places():
    assert wire.ltp_packet(408065, 157315) == struct.pack(">II", 408065, 157315)
    quote = wire.quote_packet(
        408065,
        157315,
        last_quantity=1,
        average_price=157033,
        volume=1175986,
        buy_quantity=256511,
        sell_quantity=360503,
        ohlc=(156915, 157500, 156105, 156780),
    )
    assert len(quote) == 44
    assert struct.unpack(">11I", quote) == (
        408065, 157315, 1, 157033, 1175986, 256511, 360503, 156915, 157500, 156105, 156780,
    )  # fmt: skip
    depth = [(10 + level, 1000 + level, 3 + level) for level in range(10)]
    full = wire.full_packet(
        quote, last_trade_time=7, oi=8, oi_high=9, oi_low=6, exchange_time=11, depth=depth
    )
    assert len(full) == 184
    assert full[:44] == quote
    assert struct.unpack(">5I", full[44:64]) == (7, 8, 9, 6, 11)
    assert struct.unpack(">IIH", full[64:74]) == (10, 1000, 3)
    assert struct.unpack(">IIH", full[172:182]) == (19, 1009, 12)


def test_index_packets_put_high_and_low_first():
    quote = wire.index_packet(256265, 5, ohlc=(1, 4, 2, 3), change=-2)
    assert struct.unpack(">6Ii", quote) == (256265, 5, 4, 2, 1, 3, -2)
    full = wire.index_packet(256265, 5, ohlc=(1, 4, 2, 3), exchange_time=99)
    assert len(full) == 32
    assert full[28:] == struct.pack(">I", 99)


def test_a_frame_is_split_into_what_it_was_made_of():
    packets = [b"a" * 8, b"", b"b" * 184]
    frame = wire.encode_frame(packets)
    assert frame[:4] == b"\x00\x03\x00\x08"
    assert wire.split_frame(frame) == packets
    assert wire.split_frame(frame[:-1]) == packets[:2]
    assert wire.split_frame(b"\x00") == []


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_websocket_lengths(size, header):
    frame = wire.websocket_frame(wire.BINARY, bytes(size))
    assert frame[: len(header)] == header
    assert len(frame) == len(header) + size


def test_the_error_frame():
    assert wire.error_text("no") == '{"type":"error","data":"no"}'
