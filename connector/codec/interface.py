"""What both twins of the codec have: their result and their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from connector.kite.wire.layout import (
    TOO_MANY_PACKETS,
    TOO_MANY_REJECTED,
    TRAILING_BYTES,
    TRUNCATED_FRAME,
    UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT,
)
from connector.kite.wire.models import Exchange, Mode

REASONS: Final = (
    UNKNOWN_LENGTH,
    UNKNOWN_SEGMENT,
    TRUNCATED_FRAME,
    TRAILING_BYTES,
    TOO_MANY_PACKETS,
    TOO_MANY_REJECTED,
)
"""The reasons that `Transcoded.rejected` can have."""

MAX_STRAYS: Final = 4096
"""Tokens that nobody expects, yet are remembered: bounds memory under garbage from the wire."""


NO_PARTITIONS: Final[Mapping[str, int]] = MappingProxyType({})

Record: TypeAlias = tuple[str, bytes, bytes]
"""(topic, key, value): the key is the token as decimal text, the value Confluent-framed Avro."""

Transcoded: TypeAlias = tuple[
    Sequence[Record], Sequence[tuple[int, Mode]], Sequence[tuple[str, bytes]]
]
"""What became of a frame, as (records, confirmed, rejected), to be unpacked at once.

    records    in wire order. Nothing is lost: each packet is here or in `rejected`, but for
               those of `unkept`. The native twin makes each when it is asked for: the producer
               reads the arena that they lie in instead
    confirmed  (instrument_token, mode) where the mode is not the one last seen, or the token is
               seen for the first time since it was expected or watched; empty in steady state
    rejected   (reason, bytes) of what is not a tick; empty in steady state

A plain tuple: Python makes it and takes it apart several times faster than a NamedTuple, which a
feed with one packet a frame would feel.
"""


Tally: TypeAlias = tuple[int, int, dict[tuple[Exchange, int], int]]
"""The ticks of a part of a session: their first and last sequence, and how many of them went to
each exchange's topic and partition. Without a tick the last is one less than the first."""
