"""Our KiteTicker's dicts are those of Kite's own Python client, key by key and value by value."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.compat.ticks import tick_dicts
from connector.kite.wire.models import Exchange
from tests.support.generated import SEGMENTS, frames, good_packets
from tests.support.generated import tokens as any_token
from tests.support.packets import frame

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its network libraries warn at import; not ours to mend
    kiteconnect = pytest.importorskip("kiteconnect")

official = kiteconnect.KiteTicker("key", "token")
knows_nco = official.EXCHANGE_MAP.get("nco") == 12
same = any_token.filter(lambda token: knows_nco or token & 0xFF != Exchange.NCO)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(good_packets(same), max_size=5))
def test_a_frame_comes_to_the_same_dicts(packets):
    data = frame(*packets)
    assert tick_dicts(data) == official._parse_binary(data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(frames())
def test_a_broken_frame_gives_its_sound_packets_and_raises_nothing(data):
    for tick in tick_dicts(data):
        assert tick["instrument_token"] & 0xFF in SEGMENTS


@given(st.binary(min_size=2, max_size=400))
def test_bytes_that_are_no_frame_raise_nothing(data):
    tick_dicts(data)
