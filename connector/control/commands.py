"""The messages of the control topic: commands in, replies out.

Each type of command is a closed model: a key that it does not have is refused, so that a misspelt
`watchlst` is an error and not a change of some other watchlist. `parse` never raises: whatever
bytes come, the result is a command or a `Rejected` whose errors name the field and the reason.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, from_json

from connector.control.bounds import (
    MAX_FIELDS,
    MAX_INSTRUMENTS,
    MAX_STEP_FIELDS,
    MAX_STEPS,
    bounded,
    excerpt,
)
from connector.control.records import DIGEST_BYTES
from connector.kite.wire.models import Mode
from connector.redaction import is_printable

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


def _without_controls(text: str) -> str:
    if not is_printable(text):
        raise ValueError("has control characters, or others that cannot be looked at")
    return text


Id = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=128),
    AfterValidator(_without_controls),
]
By = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=64),
    AfterValidator(_without_controls),
]
Watchlist = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$")
]
Claimant = Annotated[Watchlist, Field(description="The watchlist whose claims are meant.")]
ClaimedMode = Annotated[
    Mode, Field(description="How much each packet carries: ltp, quote or full.")
]
Unlisted = Annotated[
    bool,
    Field(strict=True, description="Accept tokens that the loaded list of instruments lacks."),
]
Token = Annotated[StrictInt, Field(ge=1, le=0xFFFF_FFFF)]
Symbol = Annotated[
    str,
    StringConstraints(strict=True, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]{1,15}:\S(.*\S)?$"),
    AfterValidator(_without_controls),
]
Instrument = Token | Symbol
# the first wrong one ends the check: what else is wrong `_wrong_instruments` tells within a bound
Instruments = Annotated[tuple[Instrument, ...], Field(max_length=MAX_INSTRUMENTS, fail_fast=True)]
SomeInstruments = Annotated[
    tuple[Instrument, ...], Field(min_length=1, max_length=MAX_INSTRUMENTS, fail_fast=True)
]
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


class CommandBase(BaseModel):
    """The fields that every command has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class ChangeBase(BaseModel):
    """A change of watchlists, alone as a command or one step of several."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SubscribeStep(ChangeBase):
    """Claim instruments for a watchlist, in a mode."""

    type: Literal["subscribe"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    instruments: SomeInstruments
    mode: ClaimedMode = Mode.QUOTE
    unlisted: Unlisted = False


class UnsubscribeStep(ChangeBase):
    """Give up a watchlist's claim on instruments; the claims of others stay."""

    type: Literal["unsubscribe"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    instruments: SomeInstruments


class SetModeStep(ChangeBase):
    """Change the mode that a watchlist claims; without instruments, that of all it has."""

    type: Literal["set-mode"]
    watchlist: Claimant = DEFAULT_WATCHLIST
    instruments: SomeInstruments | None = None
    mode: ClaimedMode


class DeleteStep(ChangeBase):
    """Give up all claims of a watchlist."""

    type: Literal["delete"]
    watchlist: Claimant


class Subscribe(CommandBase, SubscribeStep):
    """Claim instruments for a watchlist, in a mode."""


class Unsubscribe(CommandBase, UnsubscribeStep):
    """Give up a watchlist's claim on instruments; the claims of others stay."""


class SetMode(CommandBase, SetModeStep):
    """Change the mode that a watchlist claims; without instruments, that of all it has."""


class Delete(CommandBase, DeleteStep):
    """Give up all claims of a watchlist."""


ChangeStep = Annotated[
    SubscribeStep | UnsubscribeStep | SetModeStep | DeleteStep, Field(discriminator="type")
]


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
    unlisted: Unlisted = False


class Reconnect(CommandBase):
    """Close the socket of a slot and open a new one."""

    type: Literal["reconnect"]
    slot: int = Field(strict=True, ge=0, lt=2**31, description="The number of the connection.")


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
    after: Watchlist | None = Field(
        None, description="Tell of the watchlists behind this one, in the order of their names."
    )


Command = (
    Subscribe
    | Unsubscribe
    | SetMode
    | Replace
    | Delete
    | StepSequence
    | Reconnect
    | Rebalance
    | RefreshInstruments
    | Status
)
COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(
    Annotated[Command, Field(discriminator="type", title="Command")]
)
_ID: Final[TypeAdapter[str]] = TypeAdapter(Id)
_INSTRUMENT: Final[TypeAdapter[int | str]] = TypeAdapter(Instrument)


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


class RefusedInstrument(BaseModel):
    """One entry of a reply's `refused`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instrument: int | str
    reason: str


class SlotStatus(BaseModel):
    """One connection in the answer to `status`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: int
    instruments: int
    capacity: int = Field(
        description="How many instruments the slot has room for; 0 when its api_key is gone."
    )


class StatusPayload(BaseModel):
    """The answer to `status`, as the leader knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruments: int
    capacity: int
    slots: tuple[SlotStatus, ...]
    watchlists: dict[str, int] = Field(description="How many instruments each watchlist claims.")
    after: str | None = Field(
        None, description="There are more watchlists: ask with this `after` for the next ones."
    )
    modes: dict[str, int] = Field(description="How many instruments are subscribed in each mode.")
    unplaced: int = Field(
        description="How many instruments wait for room; 0 unless an api_key is gone."
    )


class Reply(BaseModel):
    """The answer to one command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class About(NamedTuple):
    """What a reply repeats of its command, so that it can be understood without that."""

    type: str | None = None
    watchlist: str | None = None
    by: str | None = None

    @classmethod
    def of(cls, command: Command) -> About:
        """Return it of a command."""
        return cls(command.type, getattr(command, "watchlist", None), command.by)


class Rejected(NamedTuple):
    """A message that is no command; without an `id` nobody can be answered."""

    id: str | None
    errors: tuple[str, ...]


def written(command: Command) -> bytes:
    """Write a command as JSON, always in the same way for the same content."""
    return command.model_dump_json().encode()


def digest(command: Command) -> str:
    """Return a digest that differs between commands, and not between ways to write one."""
    return hashlib.blake2b(written(command), digest_size=DIGEST_BYTES).hexdigest()


def parse(data: bytes | None, max_bytes: int) -> Command | Rejected:
    """Turn the value of a control message into a command.

    Args:
        data: the message's value; None is a tombstone.
        max_bytes: longer messages are refused unread.
    """
    if data is None:
        return Rejected(None, ("the message has no value",))
    if len(data) > max_bytes:
        return Rejected(None, (f"the message has {len(data)} bytes, {max_bytes} are allowed",))
    try:
        raw = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        return Rejected(None, (f"not JSON: {_encoding(data) or error}",))
    if not isinstance(raw, dict):
        return Rejected(None, ("not a JSON object",))
    if (twice := _repeated_key(data)) is not None:
        # whose id is it? of two "id" each reader takes another one
        known = None if twice == "id" else _id_of(raw)
        return Rejected(known, (f"{excerpt(twice)}: is there twice",))
    if (much := _too_much(raw)) is not None:
        return Rejected(_id_of(raw), (much,))
    try:
        return COMMAND.validate_python(raw)
    except ValidationError as error:
        return Rejected(_id_of(raw), _readable(error.errors(include_url=False), raw))


def _too_much(raw: dict[str, Any]) -> str | None:
    """Name what has so many parts that each of them must not become an error of its own."""
    if len(raw) > MAX_FIELDS:
        return f"has {len(raw)} fields, no command has so many"
    steps = raw.get("steps")
    if not isinstance(steps, list):
        return None
    if len(steps) > MAX_STEPS:
        return f"steps: has {len(steps)} items, {MAX_STEPS} are allowed: send several commands"
    for number, step in enumerate(steps):
        if isinstance(step, dict) and len(step) > MAX_STEP_FIELDS:
            return f"steps[{number}]: has {len(step)} fields, no step has so many"
    return None


class _RepeatedKeyError(Exception):
    """Ends the reading of JSON at a key that its object has twice; its argument is the key."""


def _repeated_key(data: bytes) -> str | None:
    """Find a key that an object of the JSON has twice: readers differ in which one counts."""

    def unique(pairs: list[tuple[str, Any]]) -> None:
        keys = {key for key, _ in pairs}
        if len(keys) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            raise _RepeatedKeyError(counts.most_common(1)[0][0])

    try:
        json.loads(data, object_pairs_hook=unique)
    except _RepeatedKeyError as error:
        return str(error.args[0])
    return None


def _encoding(data: bytes) -> str | None:
    """Name the encoding of the bytes where they are text in another one than UTF-8."""
    if data.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark: write UTF-8 without one"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:2].count(0) == 1:
        return "UTF-16 or UTF-32: write UTF-8"
    return None


def _id_of(raw: dict[str, Any]) -> str | None:
    try:
        return _ID.validate_python(raw.get("id"))
    except ValidationError:
        return None


def _readable(details: Sequence[ErrorDetails], raw: dict[str, Any]) -> tuple[str, ...]:
    """Return `instruments[3]: reason` for each place that is wrong; a union counts as one."""
    reasons: dict[str, list[str]] = {}
    instruments_told = False
    for detail in details:
        if _is_instrument(detail):
            if not instruments_told:
                reasons.update(_wrong_instruments(raw["instruments"]))
            instruments_told = True
            continue
        place, reason = _place(detail), _reason(detail)
        if detail["type"] == "too_short" and any(one.startswith(f"{place}[") for one in reasons):
            continue  # pydantic counts what is left without the wrong ones
        known = reasons.setdefault(place, [])
        if reason not in known:
            known.append(reason)
    return bounded(tuple(f"{place}: {' or '.join(known)}" for place, known in reasons.items()))


def _wrong_instruments(instruments: Sequence[object]) -> dict[str, list[str]]:
    """Return the reason for each place of the list that is no instrument."""
    wrong = {}
    reason = [_NO_INSTRUMENT]
    is_instrument = _INSTRUMENT.validator.isinstance_python
    for number, instrument in enumerate(instruments[:MAX_INSTRUMENTS]):
        if not is_instrument(instrument):
            wrong[f"instruments[{number}]"] = reason
    return wrong


def _is_instrument(detail: ErrorDetails) -> bool:
    """Whether it is about one item of `instruments`; any text may be a key of the message."""
    location = detail["loc"]
    return len(location) > 2 and location[1] == "instruments"


def _place(detail: ErrorDetails) -> str:
    location = list(detail["loc"])
    tag = detail["type"].startswith("union_tag")
    if tag and "steps" not in location:
        return "type"
    if len(location) > 1:
        location = location[1:]  # the union's tag, which is the type of the command
    place = excerpt(str(location[0]))
    if _is_instrument(detail):
        return f"instruments[{location[1]}]"
    if place == "steps" and len(location) > 1:
        field = "type" if tag else "".join(excerpt(str(name)) for name in location[3:4])
        item = f"[{location[4]}]" if len(location) > 4 else ""
        return f"steps[{location[1]}].{field}{item}".rstrip(".")
    return place


_NO_INSTRUMENT: Final = "must be an instrument token (1 to 4294967295) or EXCHANGE:TRADINGSYMBOL"
_TYPES: Final = ", ".join(
    (
        "subscribe",
        "unsubscribe",
        "set-mode",
        "replace",
        "delete",
        "sequence",
        "reconnect",
        "rebalance",
        "refresh-instruments",
        "status",
    )
)


def _reason(detail: ErrorDetails) -> str:
    kind, place = detail["type"], _place(detail).rpartition(".")[2]
    if kind.startswith("union_tag") and "steps" in detail["loc"]:
        return "must be one of subscribe, unsubscribe, set-mode, delete"
    if kind == "union_tag_not_found":
        return f"is missing; one of {_TYPES}"
    if kind == "union_tag_invalid":
        return f"must be one of {_TYPES}"
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not a field of this command"
    if place.startswith("instruments["):
        return _NO_INSTRUMENT
    if place == "instruments":
        return {
            "too_short": "must name at least one instrument",
            "too_long": f"must name at most {MAX_INSTRUMENTS} instruments: send several commands",
        }.get(kind, "must be a list")
    if place == "mode":
        return "must be ltp, quote or full"
    if place == "watchlist" and kind == "string_pattern_mismatch":
        return "must begin with a letter or digit; then up to 63 letters, digits or . _ : / -"
    text = detail["msg"].removeprefix("Value error, ")
    return text.replace("Input should be", "must be", 1)
