"""Tick dicts of single packets; tests/property compares them with the official client's."""

from connector.compat.ticks import tick_dicts
from tests.support.packets import frame


def test_a_packet_of_a_segment_without_a_divisor_has_no_price_and_is_left_out():
    unknown = (99 << 8 | 200).to_bytes(4, "big") + bytes(4)
    known = (408065).to_bytes(4, "big") + (150_000).to_bytes(4, "big")
    assert tick_dicts(frame(unknown, known)) == [
        {"tradable": True, "mode": "ltp", "instrument_token": 408065, "last_price": 1500.0}
    ]


def test_a_heartbeat_has_no_ticks():
    assert tick_dicts(b"\0") == []
