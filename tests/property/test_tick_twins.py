"""The compiled ticks and those in Python are the same in everything that can be seen."""

import copy
import dataclasses
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import ParseTickError
from connector.kite.wire import _pure
from tests.support.generated import any_frames, good_packets

_native = pytest.importorskip(
    "connector.kite.wire._native", reason="the compiled codec is not built"
)

FIELDS = [field.name for field in dataclasses.fields(_pure.Tick)]


def values(tick):
    return [getattr(tick, name) for name in FIELDS]


def same(native, pure):
    # repr too: 1 and 1.0 and True are equal
    assert repr(native) == repr(pure)
    assert values(native) == values(pure)
    assert native.change == pure.change


@settings(max_examples=500, deadline=None, derandomize=True)
@given(any_frames)
def test_a_frame_gives_the_same_ticks_and_the_same_rejects(frame):
    (native, rejected), (pure, also_rejected) = (
        twin.parse_packets(frame) for twin in (_native, _pure)
    )
    assert rejected == also_rejected
    assert len(native) == len(pure)
    for one, other in zip(native, pure, strict=True):
        same(one, other)


@pytest.mark.parametrize("packet", [b"odd", b"\0\0\x01\x01\0\0\0\1"], ids=["odd", "ltp"])
@pytest.mark.parametrize("count", [63, 64, 65, 66, 9_999, 10_000, 10_001, 65_535])
def test_the_bounds_of_a_frame_are_the_same(packet, count):
    frame = count.to_bytes(2) + (len(packet).to_bytes(2) + packet) * count
    (native, rejected), (pure, also_rejected) = (
        twin.parse_packets(frame) for twin in (_native, _pure)
    )
    assert rejected == also_rejected
    assert len(native) == len(pure) <= 10_000
    assert len(rejected) <= 66


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200) | good_packets())
def test_a_packet_gives_the_same_tick_or_error(packet):
    results = []
    for twin in (_native, _pure):
        try:
            results.append(twin.parse_packet(packet))
        except ParseTickError as error:
            results.append((error.reason, error.packet))
    if isinstance(results[0], tuple):
        assert results[0] == results[1]
    else:
        same(*results)


@pytest.mark.parametrize("twin", [_native, _pure], ids=["native", "pure"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_tick_is_a_value(twin, data):
    packet = data.draw(good_packets())
    tick, again = twin.parse_packet(packet), twin.parse_packet(packet)
    assert tick == again
    assert tick == twin.Tick(*values(tick))
    assert pickle.loads(pickle.dumps(tick)) == copy.copy(tick) == copy.deepcopy(tick) == tick
    assert dataclasses.asdict(tick).keys() == set(FIELDS)
    name = data.draw(st.sampled_from(FIELDS))
    changed = dataclasses.replace(tick, **{name: "another"})
    setattr(again, name, "another")
    assert changed == again != tick
    assert values(changed) == ["another" if one == name else getattr(tick, one) for one in FIELDS]
    assert tick != "a tick"
    with pytest.raises(TypeError):
        hash(tick)
    with pytest.raises(AttributeError):
        tick.no_such_field = 1


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(any_frames, max_size=3))
def test_the_same_tokens_are_new_in_their_mode(frames):
    known = {}, {}
    for frame in frames:
        native, pure = (
            twin.new_modes(frame, modes)
            for twin, modes in zip((_native, _pure), known, strict=True)
        )
        assert native == pure
        assert known[0] == known[1]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(any_frames, st.sampled_from([8, 28, 32, 44, 184]))
def test_the_same_frames_are_uniform(frame, length):
    assert _native.uniform(frame, length) == _pure.uniform(frame, length)


@pytest.mark.parametrize("twin", [_native, _pure], ids=["native", "pure"])
def test_a_uniform_frame_is_whole_and_of_one_length(twin):
    packet = b"\0\x08" + bytes(8)
    assert twin.uniform(b"\0\2" + packet * 2, 8) == 2
    assert twin.uniform(b"\0\1" + packet * 2, 8) == 0
    assert twin.uniform(b"\0\2" + packet * 2, 44) == 0
    assert twin.uniform(b"\0\2" + packet + b"\0\x07" + bytes(8), 8) == 0
    assert twin.uniform(b"\0\2" + packet + packet[:-1], 8) == 0
    assert twin.uniform(b"\0", 8) == twin.uniform(b"", 8) == twin.uniform(b"\0\0", 8) == 0
