"""Hypothesis strategies for packets and frames: good ones, odd ones, and frames that lie."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from tests.support.packets import frame

LENGTHS = (8, 28, 32, 44, 184)
SEGMENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)

_EDGES = (0, 1, 63, 64, 127, 128, 8191, 8192, 2**20, 2**27, 2**31 - 1, 2**31, 2**32 - 1)

words = st.one_of(st.sampled_from(_EDGES), st.integers(0, 2**32 - 1))
"""Any 32-bit field, mostly at the edges of what an encoding has."""

tokens = st.builds(
    lambda number, segment: number << 8 | segment,
    st.one_of(st.integers(0, 3), st.integers(0, 2**24 - 1)),
    st.sampled_from(SEGMENTS),
)
"""Tokens of known segments; few enough numbers that they come again."""


lengths = st.sampled_from(LENGTHS)


@st.composite
def good_packets(
    draw: st.DrawFn,
    tokens: st.SearchStrategy[int] = tokens,
    lengths: st.SearchStrategy[int] = lengths,
) -> bytes:
    """A packet that is a tick. A few drawn words fill it, so that even a long one is cheap."""
    length = draw(lengths)
    some = draw(st.lists(words, min_size=1, max_size=12))
    shift = draw(st.integers(0, 3))  # so that depth's 16-bit fields get odd values too
    body = b"\0" * shift + struct.pack(f">{len(some)}I", *some) * 46
    return (struct.pack(">I", draw(tokens)) + body)[:length]


odd_packets = st.one_of(
    st.binary(max_size=200),
    good_packets(st.integers(0, 2**32 - 1)),
    good_packets().map(lambda packet: packet[:-1]),
)
"""Packets that are mostly no ticks: other lengths, other segments."""


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame that is right, or cut, or longer than it says, or wrong about a count or length."""
    packets = draw(st.lists(st.one_of(good_packets(), good_packets(), odd_packets), max_size=6))
    count = draw(st.one_of(st.just(len(packets)), st.integers(0, 9), st.just(0xFFFF)))
    lie = draw(st.one_of(st.none(), st.tuples(st.integers(0, 5), st.integers(0, 0xFFFF))))
    parts = [struct.pack(">H", count)]
    for place, packet in enumerate(packets):
        length = lie[1] if lie is not None and lie[0] == place else len(packet)
        parts += (struct.pack(">H", length), packet)
    whole = b"".join(parts) + draw(st.one_of(st.just(b""), st.binary(max_size=12)))
    return whole[: draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))]


good_frames = st.lists(good_packets(), min_size=1, max_size=8).map(lambda several: frame(*several))

any_frames = st.one_of(good_frames, frames(), st.binary(max_size=400))
"""Whatever a socket may deliver."""
