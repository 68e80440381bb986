"""The official Python client as oracle of every value: package `kiteconnect`, `_parse_binary`.

Where it is wrong, the difference is spelt out: it gives local times without a zone, and 1970 where
the wire has no time. It knows NCO since 5.2; before, its price there is 100 times ours.
"""

import warnings
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import connector.codec as codec
from connector.kite.wire.event_time import plausible
from connector.kite.wire.packets import parse_frame
from tests.support.generated import LENGTHS, SEGMENTS, good_packets
from tests.support.packets import frame
from tests.support.ticks import NOW, NOW_US, SCHEMA_IDS, TOPICS, decode

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its network libraries warn at import; not ours to mend
    kiteconnect = pytest.importorskip("kiteconnect")

official = kiteconnect.KiteTicker("key", "token")
knows_nco = official.EXCHANGE_MAP.get("nco") == 12


def utc(local):
    """The official client's naive local time as what the wire said; None for the wire's 0."""
    if local is None or local == datetime.fromtimestamp(0):  # noqa: DTZ006
        return None
    return local.astimezone(UTC)


def expected(parsed):
    """The official client's tick in our words, without what only we have."""
    depth = parsed.get("depth")
    return {
        "instrument_token": parsed["instrument_token"],
        "mode": parsed["mode"],
        "tradable": parsed["tradable"],
        "last_price": parsed["last_price"],
        **{
            name: parsed.get(name)
            for name in (
                "last_traded_quantity", "average_traded_price", "volume_traded",
                "total_buy_quantity", "total_sell_quantity", "ohlc", "oi", "oi_day_high",
                "oi_day_low",
            )
        },
        "last_trade_time": utc(parsed.get("last_trade_time")),
        "exchange_timestamp": utc(parsed.get("exchange_timestamp")),
        "depth": depth,
    }  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("segment", SEGMENTS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_values_are_the_official_clients(length, segment, data):
    if segment == 12 and not knows_nco:
        pytest.skip("this kiteconnect has no NCO")
    token = data.draw(st.integers(0, 2**24 - 1)) << 8 | segment
    packet = data.draw(good_packets(st.just(token), st.just(length)))
    (parsed,) = official._parse_binary(frame(packet))
    wanted = expected(parsed)

    ((_, _, value),), _, _ = codec.Transcoder(TOPICS, SCHEMA_IDS, 0).transcode(
        frame(packet), NOW_US
    )
    got = decode(value)[1]
    assert {name: got[name] for name in wanted} == wanted
    at = wanted["exchange_timestamp"]
    near = at is not None and plausible(int(at.timestamp()) * 1000, NOW_US // 1000)
    assert got["event_time"] == (at if near else NOW)

    (tick,) = parse_frame(frame(packet), strict=True)
    assert tick.last_price == wanted["last_price"]
    assert tick.exchange_timestamp == wanted["exchange_timestamp"]
    # without a close it says 0, we None
    assert (tick.change or 0) == parsed.get("change", 0)
