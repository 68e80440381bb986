"""Whatever bytes come, a documented result goes out, and every byte is accounted for."""

import pytest
from hypothesis import given, settings

import connector.codec as codec
from connector.codec import REASONS
from connector.errors import ParseTickError
from connector.kite.wire.layout import TOO_MANY_PACKETS, TRAILING_BYTES, TRUNCATED_FRAME
from connector.kite.wire.models import (
    Mode,
    TickMessage,
)
from connector.kite.wire.packets import Tick, parse_frame, parse_packets
from tests.support.generated import any_frames
from tests.support.ticks import NOW_US, SCHEMA_IDS, TOPICS, decode

LEFT_OVER = {TRUNCATED_FRAME, TRAILING_BYTES, TOO_MANY_PACKETS}
LENGTHS = {"ltp": {8}, "quote": {28, 44}, "full": {32, 184}}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(frame=any_frames)
def test_every_byte_is_accounted_for(frame):
    transcoder = codec.Transcoder(TOPICS, SCHEMA_IDS, 0)
    records, confirmed, rejected = transcoder.transcode(frame, NOW_US)

    decoded = [decode(value)[1] for _, _, value in records]
    assert [tick["sequence"] for tick in decoded] == list(range(1, len(records) + 1))
    assert all(isinstance(mode, Mode) for _, mode in confirmed)
    assert {reason for reason, _ in rejected} <= set(REASONS)
    # what is left over is the last, and there is at most one
    whole_frame = [reason in LEFT_OVER for reason, _ in rejected]
    assert not any(whole_frame[:-1])
    left_over = len(rejected[-1][1]) if any(whole_frame) else 0
    odd = [data for (_, data), whole in zip(rejected, whole_frame, strict=True) if not whole]

    in_ticks = sum(
        2 + (32 if tick["mode"] == "full" else 28)
        if is_index(tick)
        else 2 + max(LENGTHS[tick["mode"]])
        for tick in decoded
    )
    if len(frame) >= 2:
        assert 2 + in_ticks + sum(2 + len(data) for data in odd) + left_over == len(frame)


def is_index(tick):
    return tick["ohlc"] is not None and tick["volume_traded"] is None


@settings(max_examples=400, deadline=None, derandomize=True)
@given(frame=any_frames)
def test_parser_and_codec_agree(frame):
    """The library's ticks and the service's records say the same."""
    ticks, rejected = parse_packets(frame)
    records, _, same = codec.Transcoder(TOPICS, SCHEMA_IDS, 0).transcode(frame, NOW_US)
    assert list(same) == rejected
    assert len(ticks) == len(records)
    for tick, (topic, key, value) in zip(ticks, records, strict=True):
        assert topic == TOPICS[tick.exchange]
        assert key == str(tick.instrument_token).encode()
        assert_same(tick, decode(value)[1])


def assert_same(tick: Tick, decoded):
    for name in (
        "instrument_token", "tradable", "last_price", "last_traded_quantity",
        "average_traded_price", "volume_traded", "total_buy_quantity", "total_sell_quantity",
        "last_trade_time", "exchange_timestamp", "oi", "oi_day_high", "oi_day_low",
    ):  # fmt: skip
        assert decoded[name] == getattr(tick, name), name
    event_time_ms = round(decoded["event_time"].timestamp() * 1000)
    assert event_time_ms == TickMessage([tick], NOW_US).event_time_ms(tick)
    assert decoded["exchange"] == tick.exchange.name
    assert decoded["mode"] == tick.mode.value
    assert decoded["ohlc"] == (tick.ohlc and tick.ohlc._asdict())
    best = [
        level and getattr(level, name)
        for level in (tick.depth and tick.depth.buy[0], tick.depth and tick.depth.sell[0])
        for name in ("price", "quantity")
    ]
    assert best == [
        decoded[f"best_{side}_{name}"] for side in ("bid", "ask") for name in ("price", "quantity")
    ]
    assert decoded["depth"] == (
        tick.depth
        and {
            side: [item._asdict() for item in getattr(tick.depth, side)] for side in ("buy", "sell")
        }
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(frame=any_frames)
def test_strict_parsing_raises_for_just_what_is_rejected(frame):
    ticks, rejected = parse_packets(frame)
    if not rejected:
        assert parse_frame(frame, strict=True) == ticks
        return
    with pytest.raises(ParseTickError) as raised:
        parse_frame(frame, strict=True)
    assert (raised.value.reason, raised.value.packet) == rejected[0]
