"""What both twins of the codec are: their interface, their result and their words."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

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


class Twin(Protocol):
    """Turns the frames of one connection into Kafka records; one a slot, not thread-safe.

    Does no I/O and reads no clock. Memory goes with the expected tokens, whatever the wire says.
    """

    def __init__(
        self,
        topics: Mapping[Exchange, str],
        schema_ids: Mapping[str, int],
        slot: int,
        partitions: Mapping[str, int] = NO_PARTITIONS,
    ) -> None:
        """Each exchange needs a topic, each topic the registry's id of its value's schema.

        `partitions` says how many a topic has, by which `next_tally` counts; one that is not in it
        has one.

        Raises:
            KeyError: an exchange has no topic, or a topic no id.
        """

    @property
    def packets(self) -> int:
        """How many packets there were so far: ticks, and whatever was rejected."""

    @property
    def bytes(self) -> int:
        """How many bytes all frames had so far."""

    @property
    def last_tick_us(self) -> int:
        """Receive time of the last frame that had a tick; 0 before the first."""

    @property
    def implausible_times(self) -> int:
        """Ticks whose exchange timestamp was too far from the receive time to be the event_time."""

    @property
    def unkept(self) -> int:
        """Packets beyond `MAX_REJECTED_PER_FRAME` that are only counted, and in nothing else."""

    def counts(self) -> dict[Exchange, int]:
        """Return how many ticks of each exchange there were so far."""

    def next_tally(self) -> Tally:
        """Return the ticks since the last call, or since the session was opened."""

    @property
    def newest_waiting(self) -> int:
        """How many instruments have a newest value that `next_newest` has not given yet."""

    def keep_newest(self, topic: str) -> None:
        """Keep the newest value of each instrument from now on, as a record of this topic."""

    def next_newest(self, limit: int) -> Sequence[Record]:
        """Return the newest values of at most so many instruments, in no order, each given once.

        Fewer than the limit are all that wait. Strays beyond `MAX_STRAYS` are not kept.
        """

    def open_session(self, session_id: int) -> None:
        """A new socket, opened at `session_id` (UTC ms): ticks are numbered from 1 again."""

    def expect(self, tokens: Iterable[int]) -> None:
        """The next packet of each of these is a snapshot, and is reported as confirmed.

        A number that does not fit 32 bits never comes over the wire and is passed over.
        """

    def watch(self, tokens: Iterable[int]) -> None:
        """Report the next packet of each of these as confirmed; it is no snapshot for that.

        Of tokens that are not known nothing is reported that would not be anyway.
        """

    def forget(self, tokens: Iterable[int]) -> None:
        """Forget what is known of these tokens."""

    def set_symbols(self, symbols: Mapping[int, str]) -> None:
        """Replace the tradingsymbols by token.

        A dict is kept, not copied, as it may be the whole instrument master: do not change it.
        """

    def transcode(self, frame: builtins.bytes, receive_time_us: int) -> Transcoded:
        """Take one binary frame, read at `receive_time_us` (UTC); no bytes make it raise.

        A frame below two bytes is a heartbeat and yields nothing.
        """


class IdentityOf(Protocol):
    """Reads what identifies a tick out of its framed value, and nothing else."""

    def __call__(self, value: bytes, /) -> tuple[int, int, int]:
        """Return slot, session_id and sequence.

        They stand at the same place in every version of the schema, as fields are only appended
        behind them.

        Raises:
            ValueError: it is not the value of a tick. Nor is what reads as one with numbers that no
                tick has, such as zeros: a token of no exchange, or a sequence below 1.
        """
