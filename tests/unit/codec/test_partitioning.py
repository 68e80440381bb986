"""The partition of a key, as Kafka's clients have it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.codec.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # what the test of Kafka's own Utils.murmur2 holds, as signed numbers there
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(key, expected):
    assert murmur2(key) == expected % 2**32


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_it_is_one_of_the_partitions(key, partitions):
    assert 0 <= partition_of(key, partitions) < partitions
