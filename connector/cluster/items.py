"""What the group and the records of `kite.subscriptions` say to the owner of slots."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import structlog
from confluent_kafka import Message

from connector.control.bounds import excerpt
from connector.control.records import (
    HALT_KEY,
    MOVED_TO,
    RECONNECT_KEY,
    Halt,
    Halted,
    Subscription,
    token_of,
)
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Mode

_log = structlog.get_logger("connector.cluster")


class SlotRecord(NamedTuple):
    """What one record of a slot's partition wants of one instrument."""

    slot: int
    token: int
    mode: Mode | None
    """The mode that is wanted; None when the instrument is not wanted any more."""
    symbol: str | None = None
    moved_to: int | None = None
    revision: int = 0


class ReconnectSlot(NamedTuple):
    """A command to a slot's owner to open a new socket."""

    slot: int
    command_id: str


class Halting(NamedTuple):
    """The slot is to be paused or stopped; None: it is to stream."""

    slot: int
    halt: Halt | None


class CaughtUp(NamedTuple):
    """Everything that was in the slot's partition has been handed over."""

    slot: int
    never_written: bool = False
    """Whether nothing was ever written to the partition: its topic was made just now."""


Item = SlotRecord | ReconnectSlot | Halting | CaughtUp


class Assignee(Protocol):
    """The owner of what the group assigns; every method is called from the event loop."""

    def assigned(
        self, slots: Sequence[int], *, leads: bool, last_frames_us: Mapping[int, int]
    ) -> None:
        """These slots are now owned; their records follow from the first on.

        `last_frames_us` has when the owner before received its last frame, where that is known.
        """

    def apply(self, items: Sequence[Item]) -> None:
        """Apply records, which are in order within each slot."""

    async def hand_over(self, slots: Sequence[int]) -> Collection[int]:
        """Let slots stream on after they were given up, until their next owner is ready.

        Returns:
            Those which do; the others are to be closed before they are given up.
        """

    async def revoked(self, slots: Sequence[int], *, leads: bool) -> Mapping[int, int]:
        """Close these slots' sockets, then return: they are given up right after.

        Returns:
            When the last frame of each came, UTC microseconds.
        """

    def last_frames_us(self) -> Mapping[int, int]:
        """When the last frame of each slot came; called from the member's thread."""

    def slot_notes(self) -> Mapping[int, Mapping[str, Any]]:
        """How each slot is, for other replicas to show; called from the member's thread."""

    def applied_offset(self) -> int | None:
        """The offset of `kite.control` that this member's leader has come to; kept when it ends.

        None before it has taken over. Called from the member's thread.
        """

    def held(self, slots: Sequence[int], *, topic_gone: bool = False) -> None:
        """Keep streaming: the group cannot be reached, so nobody else can own these either.

        Or their topic was deleted: what is in the one that takes its place may be less.
        """

    async def not_reassigned(self, after_seconds: float) -> None:
        """Close whatever was held and is not assigned again by then: the group is back."""


def item_of(message: Message, topics: TopicNames) -> Item | None:
    """Read a record as the slot's owner needs it; the leader's own records are not for it.

    One that cannot be read is logged, and left out.
    """
    key, value, slot = message.key(), message.value(), message.partition() or 0
    if message.topic() != topics.subscriptions or key is None:
        return None
    try:
        text = key.decode() if isinstance(key, bytes) else key
        if text == RECONNECT_KEY:
            return ReconnectSlot(slot, str(json.loads(value)["id"])) if value else None
        if text == HALT_KEY:
            return Halting(slot, Halted.decode(value).halt if value else None)
        if text.startswith("@"):
            return None
        if value is None:
            return SlotRecord(slot, token_of(text), None, moved_to=_moved_to(message))
        wanted = Subscription.decode(slot, value)
        return SlotRecord(
            slot,
            token_of(text),
            wanted.mode,
            symbol=wanted.symbol,
            revision=wanted.revision,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        shown = excerpt(str(key))
        _log.warning("subscription_record_unreadable", slot=slot, key=shown, reason=repr(error))
        return None


def _moved_to(message: Message) -> int | None:
    value = dict(message.headers() or ()).get(MOVED_TO)
    return int(value) if value is not None else None
