from datetime import UTC, datetime

import pytest

from connector.errors import ParseTickError
from connector.kite.wire.layout import (
    TRAILING_BYTES,
    TRUNCATED_FRAME,
    UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT,
    split_frame,
)
from connector.kite.wire.models import (
    OHLC,
    Depth,
    DepthItem,
    Exchange,
    Mode,
)
from connector.kite.wire.packets import Tick, parse_frame, parse_packet, parse_packets
from tests.support import packets
from tests.support.packets import NSE, Level, frame, full, index, ltp, quote

INFY = 408065
QUOTED = {
    "instrument_token": 408065,
    "exchange": Exchange.NSE,
    **packets.OF_A_QUOTE,
    "ohlc": OHLC(open=1569.15, high=1575.00, low=1561.05, close=1567.80),
}
"""What the packets of `tests.support.packets` say of an instrument in modes quote and full."""


def test_quote():
    assert parse_packet(quote(INFY)) == Tick(
        mode=Mode.QUOTE,
        **QUOTED,
    )


def test_full():
    levels = [Level(10 + i, 100_00 + i, 1 + i) for i in range(10)]
    tick = parse_packet(full(INFY, oi=5, oi_day_high=7, oi_day_low=3, depth=levels))
    assert tick == Tick(
        mode=Mode.FULL,
        **QUOTED,
        last_trade_time=datetime(2021, 2, 8, 9, 40, 50, tzinfo=UTC),
        oi=5,
        oi_day_high=7,
        oi_day_low=3,
        exchange_timestamp=datetime(2021, 2, 8, 9, 40, 55, tzinfo=UTC),
        depth=Depth(
            buy=tuple(DepthItem(10 + i, (100_00 + i) / 100, 1 + i) for i in range(5)),
            sell=tuple(DepthItem(10 + i, (100_00 + i) / 100, 1 + i) for i in range(5, 10)),
        ),
    )
    assert isinstance(tick.depth.sell[4], DepthItem)
    assert (tick.depth.sell[4].price, tick.depth.sell[4].orders) == (100.09, 10)


def test_two_full_packets_of_a_frame():
    first, second = parse_frame(
        frame(
            full(408065, last_price=129905, volume_traded=6065675, exchange_timestamp=1612777255),
            full(2953217, last_price=320940, volume_traded=2261635, exchange_timestamp=1612777254),
        )
    )
    assert (first.instrument_token, first.last_price, first.volume_traded) == (
        408065,
        1299.05,
        6065675,
    )
    assert (second.instrument_token, second.last_price, second.volume_traded) == (
        2953217,
        3209.40,
        2261635,
    )
    assert second.exchange_timestamp == datetime(2021, 2, 8, 9, 40, 54, tzinfo=UTC)


def test_ltp():
    assert parse_packet(ltp(NSE, 5)) == Tick(NSE, Mode.LTP, Exchange.NSE, True, 0.05)


def test_index():
    packet = index(256265, 1507470, high=4, low=1, open=2, close=3)
    tick = parse_packet(packet)
    assert tick == Tick(
        256265, Mode.QUOTE, Exchange.INDICES, False, 15074.70, ohlc=OHLC(0.02, 0.04, 0.01, 0.03)
    )
    timed = parse_packet(packet + (1612777255).to_bytes(4))
    assert timed.mode is Mode.FULL
    assert timed.exchange_timestamp == datetime(2021, 2, 8, 9, 40, 55, tzinfo=UTC)
    assert (timed.ohlc, timed.depth, timed.oi) == (tick.ohlc, None, None)


@pytest.mark.parametrize(
    ("token", "raw", "price"),
    [
        (31132428, 3782000, 378.20),
        (packets.NCO, 2_685_000_000, 268_500.00),
        (packets.CDS, 831234000, 83.1234),
        (packets.BCD, 831234, 83.1234),
    ],
)
def test_worked_prices(token, raw, price):
    assert parse_packet(ltp(token, raw)).last_price == price


def test_a_time_of_zero_is_none():
    tick = parse_packet(full(NSE, last_trade_time=0, exchange_timestamp=0))
    assert tick.last_trade_time is None
    assert tick.exchange_timestamp is None


@pytest.mark.parametrize("beat", [b"", b"\1", b"\0\0"])
def test_a_heartbeat_has_no_ticks(beat):
    assert parse_packets(beat) == ([], [])
    assert parse_frame(beat, strict=True) == []


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", UNKNOWN_LENGTH),
        (b"\0" * 12, UNKNOWN_LENGTH),
        (b"\0" * 492, UNKNOWN_LENGTH),
        (ltp(packets.NO_SEGMENT), UNKNOWN_SEGMENT),
        (full(packets.NO_SEGMENT), UNKNOWN_SEGMENT),
    ],
)
def test_what_is_not_a_tick_is_rejected_alone(packet, reason):
    whole = frame(ltp(NSE), packet, quote(INFY))
    ticks, rejected = parse_packets(whole)
    assert [tick.instrument_token for tick in ticks] == [NSE, INFY]
    assert rejected == [(reason, packet)]
    assert parse_frame(whole) == ticks
    with pytest.raises(ParseTickError) as raised:
        parse_frame(whole, strict=True)
    assert (raised.value.reason, raised.value.packet) == (reason, packet)
    with pytest.raises(ParseTickError):
        parse_packet(packet)


def test_a_cut_frame_keeps_its_good_prefix():
    whole = frame(ltp(NSE), quote(INFY))
    ticks, rejected = parse_packets(whole[:-1])
    assert [tick.instrument_token for tick in ticks] == [NSE]
    assert rejected == [(TRUNCATED_FRAME, whole[12:-1])]


def test_split_frame_says_what_is_left_over():
    assert split_frame(frame(b"a", b"bc")) == ([b"a", b"bc"], None)
    assert split_frame(b"\0\1\0\1a?") == ([b"a"], (TRAILING_BYTES, b"?"))
    assert split_frame(b"\0\2\0\1a") == ([b"a"], (TRUNCATED_FRAME, b""))
    assert split_frame(b"\0\1\0") == ([], (TRUNCATED_FRAME, b"\0"))
    assert split_frame(b"\0\1\0\5abcd") == ([], (TRUNCATED_FRAME, b"\0\5abcd"))
