"""The reply to a command, as it stands in `kite.control.replies`, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import ClassVar, NamedTuple

from pydantic import Field

from connector.control.commands import PRIORITY, QUOTA, CommandBase
from connector.control.records import ClosedModel, Halt, StateRecord
from connector.control.rules import Rule
from connector.kite.feed.events import ConnectionEvent
from connector.kite.wire.models import Mode


class ReplyStatus(StrEnum):
    """The outcome of a command, in one word."""

    APPLIED = "APPLIED"
    """The command was applied, but for what `refused` lists."""
    REJECTED = "REJECTED"
    """Nothing was changed: `errors`, or `refused` for each instrument, says why."""
    EXPIRED = "EXPIRED"
    """The command came after its `expires_at`; nothing was changed."""


class Refusal(NamedTuple):
    """An instrument as the command wrote it, and the reason why it was refused."""

    instrument: int | str
    reason: str


class RefusedInstrument(ClosedModel):
    """One entry of a reply's `refused`."""

    instrument: int | str
    reason: str


class SlotStatus(ClosedModel):
    """One connection in the answer to `status`."""

    slot: int
    instruments: int
    capacity: int = Field(
        description="How many instruments the slot has room for; 0 when its api_key is gone."
    )
    halt: Halt | None = Field(
        None, description="Set where the slot is paused or stopped until `resume`."
    )
    halted_by: str | None = Field(None, description="Who paused or stopped it, by its own words.")


class RuleStatus(ClosedModel):
    """One rule in the answer to `status`."""

    watchlist: str
    rule: str = Field(description="The rule's name in its watchlist.")
    claims: Rule
    mode: Mode
    account: str | None = None
    instruments: int = Field(description="How many it claims now.")
    expiry: date | None = Field(None, description="Of an option chain: the day it has now.")
    middle: float | None = Field(
        None, description="Of an option chain: the strike in the middle, rupees."
    )
    problem: str | None = Field(
        None, description="Why it cannot be followed; what it had last stays claimed."
    )


class LimitsStatus(ClosedModel):
    """The limits of a watchlist in the answer to `status`."""

    quota: int | None = QUOTA
    priority: int = PRIORITY


class StatusPayload(ClosedModel):
    """The answer to `status`, as the leader knows it."""

    instruments: int
    capacity: int
    slots: tuple[SlotStatus, ...]
    watchlists: dict[str, int] = Field(
        description="How many instruments each watchlist claims, with its rules."
    )
    rules: tuple[RuleStatus, ...] = Field((), description="All rules; on the first page alone.")
    limits: dict[str, LimitsStatus] = Field(
        default_factory=dict,
        description="The limits of those of these watchlists that have any.",
    )
    after: str | None = Field(
        None, description="There are more watchlists: ask with this `after` for the next ones."
    )
    modes: dict[str, int] = Field(description="How many instruments are subscribed in each mode.")
    unplaced: int = Field(
        description="How many instruments wait for room: their account is full, or its slots gone."
    )


class Displaced(ClosedModel):
    """A watchlist, or a rule of one, that lost instruments to a command of higher priority."""

    watchlist: str
    instruments: int


class Reply(ClosedModel):
    """The answer to one command."""

    MAX_BYTES: ClassVar[int] = 900_000
    """A longer list of refusals is cut, and says so: a Kafka message holds 1 MB by default."""

    id: str
    status: ReplyStatus
    type: str | None = Field(None, description="The type of the command.")
    watchlist: str | None = Field(None, description="The watchlist that the command named.")
    by: str | None = Field(None, description="Who sent the command, by its own words.")
    revision: int = Field(description="The revision of the subscriptions after the command.")
    accepted: int = Field(0, description="The command now holds for so many instruments.")
    refused: tuple[RefusedInstrument, ...] = ()
    errors: tuple[str, ...] = ()
    dry_run: bool = False
    payload: StatusPayload | None = Field(None, description="The answer to a `status` command.")
    displaced: tuple[Displaced, ...] | None = Field(
        None, description="Who lost instruments to the command; 100 watchlists at most."
    )
    waits: str | None = Field(
        None, description="Why a rule does not have all of its instruments yet."
    )
    matched: tuple[int | str, ...] | None = Field(
        None, description="The instruments of a rule that `set-rule` only tries (`dry_run`)."
    )

    def encoded(self) -> bytes:
        """The JSON that goes into Kafka, never longer than `MAX_BYTES`."""
        data = self.model_dump_json(exclude_none=True).encode()
        kept = self
        while len(data) > self.MAX_BYTES and kept.refused:
            refused = kept.refused[: len(kept.refused) * 2 // 3]
            left_out = len(self.refused) - len(refused)
            kept = self.model_copy(
                update={
                    "refused": refused,
                    "errors": (*self.errors, f"{left_out} more were refused, left out for length"),
                }
            )
            data = kept.model_dump_json(exclude_none=True).encode()
        return data


class Answer(NamedTuple):
    """The outcome of one type of command, before it is a reply."""

    accepted: int = 0
    refused: Sequence[Refusal] = ()
    errors: tuple[str, ...] = ()
    payload: StatusPayload | None = None
    extra: tuple[StateRecord, ...] = ()
    events: tuple[ConnectionEvent, ...] = ()
    displaced: tuple[Displaced, ...] = ()
    waits: str | None = None
    """Why a rule does not have all of its instruments yet."""
    matched: tuple[int | str, ...] | None = None
    """The instruments of a rule, of one that is only tried."""

    @property
    def failed(self) -> bool:
        """Whether nothing is to be changed."""
        return bool(self.errors) or (bool(self.refused) and not (self.accepted or self.events))


class About(NamedTuple):
    """What a reply repeats of its command, so that it can be understood without that."""

    type: str | None = None
    watchlist: str | None = None
    by: str | None = None

    @classmethod
    def of(cls, command: CommandBase) -> About:
        """Return it of a command."""
        kind = getattr(command, "type", None)
        return cls(kind, getattr(command, "watchlist", None), command.by)
