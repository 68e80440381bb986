"""Which partition of a topic a key belongs to: Kafka's murmur2, as librdkafka and Java have it."""

from __future__ import annotations

from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, from 0; what the client's partitioner chooses too.

    Source: Kafka's Java client, `Utils.murmur2` and `BuiltInPartitioner.partitionForKey`.
    """
    # Java's Utils.toPositive: the sign bit is taken off, not the absolute value
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the 32 bits of Kafka's variant of MurmurHash2."""
    whole = len(data) & ~3
    result = _SEED ^ len(data)
    for place in range(0, whole, 4):
        word = int.from_bytes(data[place : place + 4], "little") * _MULTIPLIER & _MASK
        # Python's numbers have no end: what C drops by itself is masked here
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        result = result * _MULTIPLIER & _MASK ^ word
    if rest := data[whole:]:
        result = (result ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _MASK
    result = (result ^ result >> 13) * _MULTIPLIER & _MASK
    return result ^ result >> 15
