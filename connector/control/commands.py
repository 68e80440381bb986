"""The commands: what may be written to the control topic.

Each type of command is a closed model: a key that it does not have is refused, so that a misspelt
`watchlst` is an error and not a change of some other watchlist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from connector.control.bounds import MAX_CLAIMS, MAX_INSTRUMENTS, MAX_PRIORITY, MAX_STEPS
from connector.control.records import DIGEST_BYTES, ClosedModel
from connector.control.rules import Name, Rule, Symbol, checked_printable
from connector.kite.wire.models import Mode

DEFAULT_WATCHLIST: Final = "default"
_FAR_MS: Final = 10**15
"""No time beyond this is meant, on either side of 1970: some 31 700 years."""


def _milliseconds(value: object) -> object:
    """Epoch milliseconds out of what `expires_at` may be; an hour without a zone is refused."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be epoch milliseconds or an ISO 8601 time with a zone")  # noqa: TRY004
    if isinstance(value, int):
        if abs(value) > _FAR_MS:
            raise ValueError("is no time: epoch milliseconds have 13 digits")
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            "must be epoch milliseconds or an ISO 8601 time with a zone, "
            "such as 2026-01-31T09:15:00+05:30"
        ) from None
    if time.tzinfo is None:
        raise ValueError("has no time zone: add Z or +05:30")
    # a difference, not a conversion: the first and last hours of the calendar overflow there
    return round((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


Id = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=128),
    AfterValidator(checked_printable),
]
By = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=64),
    AfterValidator(checked_printable),
]
Claimant = Annotated[Name, Field(description="The watchlist whose claims are meant.")]
ClaimedMode = Annotated[
    Mode, Field(description="How much each packet carries: ltp, quote or full.")
]
Unlisted = Annotated[
    bool,
    Field(strict=True, description="Accept tokens that the loaded list of instruments lacks."),
]
AccountName = Annotated[str, StringConstraints(strict=True, max_length=64)]
OnAccount = Annotated[
    AccountName | None,
    Field(
        description="The connections of this account alone carry the instruments; without it, "
        "those of any."
    ),
]
Token = Annotated[StrictInt, Field(ge=1, le=0xFFFF_FFFF)]
Instrument = Token | Symbol
# the first wrong one ends the check: what else is wrong `_wrong_instruments` tells within a bound
Instruments = Annotated[tuple[Instrument, ...], Field(max_length=MAX_INSTRUMENTS, fail_fast=True)]
SomeInstruments = Annotated[
    tuple[Instrument, ...], Field(min_length=1, max_length=MAX_INSTRUMENTS, fail_fast=True)
]
Quota = Annotated[int, Field(strict=True, ge=1, le=MAX_CLAIMS)]
Priority = Annotated[int, Field(strict=True, ge=-MAX_PRIORITY, le=MAX_PRIORITY)]
QUOTA: Final = Field(
    None,
    description="The watchlist may claim at most so many instruments, with its rules; without it, "
    "as many as the settings let any.",
)
PRIORITY: Final = Field(
    0,
    description="When there is no room, instruments give way that only watchlists of lower "
    "priority claim.",
)
ExpiresAt = Annotated[
    int,
    BeforeValidator(_milliseconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "description": "epoch milliseconds"},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]


class CommandBase(ClosedModel):
    """The fields that every command has."""

    id: Id = Field(
        description="Any text of up to 128 characters; commands with the same id have one effect."
    )
    dry_run: bool = Field(
        False, strict=True, description="Answer as if it were done, and change nothing."
    )
    expires_at: ExpiresAt | None = Field(
        None,
        description="Reject the command after this time: epoch milliseconds, or ISO 8601 with a "
        "zone.",
    )
    expected_revision: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = Field(
        None, description="Reject the command unless the revision is this one."
    )
    by: By | None = Field(
        None,
        description="Who sends the command, in up to 64 characters: for the log and the reply.",
    )


class SubscribeStep(ClosedModel):
    """Claim instruments for a watchlist, in a mode."""

    type: Literal["subscribe"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    instruments: SomeInstruments
    mode: ClaimedMode = Mode.QUOTE
    account: OnAccount = None
    unlisted: Unlisted = False


class UnsubscribeStep(ClosedModel):
    """Give up a watchlist's claim on instruments; the claims of others stay."""

    type: Literal["unsubscribe"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    instruments: SomeInstruments


class SetModeStep(ClosedModel):
    """Change the mode that a watchlist claims; without instruments, that of all it has."""

    type: Literal["set-mode"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    instruments: SomeInstruments | None = None
    mode: ClaimedMode


class SetRuleStep(ClosedModel):
    """Let a watchlist claim whatever a rule describes, from now on."""

    type: Literal["set-rule"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    rule: Name = Field(
        description="The rule's name in its watchlist; one of this name is replaced."
    )
    claims: Rule
    mode: ClaimedMode = Mode.QUOTE
    account: OnAccount = None


class DeleteRuleStep(ClosedModel):
    """End a rule of a watchlist, with what it claims."""

    type: Literal["delete-rule"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    rule: Name = Field(description="The rule's name in its watchlist.")


class SetLimitsStep(ClosedModel):
    """Set how many instruments a watchlist may claim, and its priority where there is no room."""

    type: Literal["set-limits"]
    watchlist: Claimant
    quota: Quota | None = QUOTA
    priority: Priority = PRIORITY


class DeleteStep(ClosedModel):
    """Give up all claims of a watchlist, and end its rules and limits."""

    type: Literal["delete"]
    watchlist: Claimant


class Subscribe(CommandBase, SubscribeStep):
    """Claim instruments for a watchlist, in a mode."""


class Unsubscribe(CommandBase, UnsubscribeStep):
    """Give up a watchlist's claim on instruments; the claims of others stay."""


class SetMode(CommandBase, SetModeStep):
    """Change the mode that a watchlist claims; without instruments, that of all it has."""


class SetRule(CommandBase, SetRuleStep):
    """Let a watchlist claim whatever a rule describes, from now on."""


class DeleteRule(CommandBase, DeleteRuleStep):
    """End a rule of a watchlist, with what it claims."""


class SetLimits(CommandBase, SetLimitsStep):
    """Set how many instruments a watchlist may claim, and its priority where there is no room."""


class Delete(CommandBase, DeleteStep):
    """Give up all claims of a watchlist, and end its rules and limits."""


ChangeStep = Annotated[
    SubscribeStep
    | UnsubscribeStep
    | SetModeStep
    | SetRuleStep
    | DeleteRuleStep
    | SetLimitsStep
    | DeleteStep,
    Field(discriminator="type"),
]
STEP_TYPES: Final = (
    "subscribe",
    "unsubscribe",
    "set-mode",
    "set-rule",
    "delete-rule",
    "set-limits",
    "delete",
)


class StepSequence(CommandBase):
    """Change watchlists in several steps, of which all are done or none."""

    type: Literal["sequence"]
    steps: Annotated[tuple[ChangeStep, ...], Field(min_length=1, max_length=MAX_STEPS)] = Field(
        description="Commands without the fields that every command has, done in this order."
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if (
            sum(len(getattr(step, "instruments", None) or ()) for step in self.steps)
            > MAX_INSTRUMENTS
        ):
            raise ValueError(f"the steps name more than {MAX_INSTRUMENTS} instruments")
        return self


class Replace(CommandBase):
    """Make these instruments, in this mode, the whole of a watchlist; none empties it."""

    type: Literal["replace"]
    watchlist: Claimant
    instruments: Instruments
    mode: ClaimedMode = Mode.QUOTE
    account: OnAccount = None
    unlisted: Unlisted = False


class Reconnect(CommandBase):
    """Close the socket of a slot and open a new one."""

    type: Literal["reconnect"]
    slot: int = Field(strict=True, ge=0, lt=2**31, description="The number of the connection.")


class HaltBase(CommandBase):
    """The fields of commands for a slot, an account's slots or all slots."""

    slot: int | None = Field(
        None, strict=True, ge=0, lt=2**31, description="The number of the connection."
    )
    account: AccountName | None = Field(
        None, description="The name of an account: all its connections."
    )
    all: bool = Field(False, strict=True, description="Take all connections of the cluster.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.slot is not None) + (self.account is not None) + self.all != 1:
            raise ValueError("give one of slot, account and all")
        return self


class Pause(HaltBase):
    """Stream nothing on some connections but keep their sockets, until `resume`."""

    type: Literal["pause"]


class Stop(HaltBase):
    """Close the sockets of some connections and open none, until `resume`."""

    type: Literal["stop"]


class Resume(HaltBase):
    """Let connections that were paused or stopped stream again."""

    type: Literal["resume"]


class Rebalance(CommandBase):
    """Even the slots out, with as few moves as possible."""

    type: Literal["rebalance"]


class RefreshInstruments(CommandBase):
    """Load the instrument master anew and give every symbol its token of today."""

    type: Literal["refresh-instruments"]
    accept_list: bool = Field(
        False,
        strict=True,
        description="Use the list even where it lacks much that the last one had, and end the "
        "claims of all that it does not name.",
    )


class Status(CommandBase):
    """Report slots, watchlists and the revision; changes nothing and is not remembered."""

    type: Literal["status"]
    after: Name | None = Field(
        None, description="Tell of the watchlists behind this one, in the order of their names."
    )


Command = (
    Subscribe
    | Unsubscribe
    | SetMode
    | Replace
    | SetRule
    | DeleteRule
    | SetLimits
    | Delete
    | StepSequence
    | Reconnect
    | Pause
    | Stop
    | Resume
    | Rebalance
    | RefreshInstruments
    | Status
)
COMMAND_TYPES: Final[Mapping[str, type[CommandBase]]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(Command)
}
"""The model of each command by its type."""
COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(
    Annotated[Command, Field(discriminator="type", title="Command")]
)


def written(command: CommandBase) -> bytes:
    """Write a command as JSON, always in the same way for the same content."""
    return command.model_dump_json().encode()


def digest(command: CommandBase) -> str:
    """Return a digest that differs between commands, and not between ways to write one."""
    return hashlib.blake2b(written(command), digest_size=DIGEST_BYTES).hexdigest()
