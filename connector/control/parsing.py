"""Bytes of the control topic into commands; `parse` never raises.

Whatever bytes come, the result is a command or a `Rejected` whose errors name the field and the
reason.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from connector.control.bounds import (
    MAX_FIELDS,
    MAX_INSTRUMENTS,
    MAX_RULE_FIELDS,
    MAX_STEP_FIELDS,
    MAX_STEPS,
    bounded,
    excerpt,
)
from connector.control.commands import (
    COMMAND,
    COMMAND_TYPES,
    STEP_TYPES,
    Command,
    Id,
    Instrument,
)

_ID: Final[TypeAdapter[str]] = TypeAdapter(Id)
_INSTRUMENT: Final[TypeAdapter[int | str]] = TypeAdapter(Instrument)


class Rejected(NamedTuple):
    """A message that is no command; without an `id` nobody can be answered."""

    id: str | None
    errors: tuple[str, ...]


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
        # before anything that fails by recursion: this reader ends too deep a nesting with a
        # ValueError
        raw = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        return Rejected(None, (f"not JSON: {_encoding(data) or error}",))
    if not isinstance(raw, dict):
        return Rejected(None, (_no_object(raw),))
    if (twice := repeated_key(data)) is not None:
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
    if (much := _too_much_of_rule(raw, "claims")) is not None:
        return much
    steps = raw.get("steps")
    if not isinstance(steps, list):
        return None
    if len(steps) > MAX_STEPS:
        return f"steps: has {len(steps)} items, {MAX_STEPS} are allowed: send several commands"
    for number, step in enumerate(steps):
        if isinstance(step, dict) and len(step) > MAX_STEP_FIELDS:
            return f"steps[{number}]: has {len(step)} fields, no step has so many"
        if isinstance(step, dict) and (much := _too_much_of_rule(step, f"steps[{number}].claims")):
            return much
    return None


def _too_much_of_rule(raw: dict[str, Any], place: str) -> str | None:
    rule = raw.get("claims")
    if isinstance(rule, dict) and len(rule) > MAX_RULE_FIELDS:
        return f"{place}: has {len(rule)} fields, no rule has so many"
    return None


class _RepeatedKeyError(Exception):
    """Ends the reading of JSON at a key that its object has twice; its argument is the key."""


def repeated_key(data: bytes) -> str | None:
    """Find a key that an object of the JSON has twice: readers differ in which one counts.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """

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


def _no_object(raw: object) -> str:
    """Say what JSON is that is no object, and what programs mean that send it."""
    if isinstance(raw, list):
        return "a JSON list: send each command in a message of its own"
    if isinstance(raw, str) and raw.lstrip().startswith("{"):
        return "a JSON string with JSON in it: it was made JSON twice"
    return "not a JSON object"


def _encoding(data: bytes) -> str | None:
    """Name the encoding of the bytes where they are text in another one than UTF-8, or framed."""
    # its magic byte and a schema id of four bytes, in front of whatever it has serialized
    if data.startswith(b"\0") and data[5:].lstrip().startswith(b"{"):
        return "begins with the five bytes of a schema registry's serializer: write the JSON alone"
    if data.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark: write UTF-8 without one"
    # without a mark, the brace of UTF-16 has a zero before or behind it
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
    # of a union pydantic tells what is wrong with each member: one place may have several reasons
    reasons: dict[str, list[str]] = {}
    instruments_told = False
    for detail in details:
        if _is_instrument(detail):
            # `Instruments` ends its check at the first wrong one, so all are looked at here, once
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
    if (within := _within_rule(detail)) is not None:
        before = f"steps[{location[2]}].claims" if location[1] == "steps" else "claims"
        return ".".join((before, *(excerpt(str(part)) for part in within)))
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


def _within_rule(detail: ErrorDetails) -> tuple[int | str, ...] | None:
    """Return the place within a rule; None where an error is about none.

    The place is (type, claims, type of the rule, field …), or the same within a step.
    """
    location = detail["loc"]
    at = 1 if location[1:2] == ("claims",) else 4
    step = location[1:2] == ("steps",) and location[4:5] == ("claims",)
    if len(location) <= at or not (at == 1 or step):
        return None
    if detail["type"].startswith("union_tag"):
        return ("type",)
    return location[at + 2 :]


_NO_INSTRUMENT: Final = "must be an instrument token (1 to 4294967295) or EXCHANGE:TRADINGSYMBOL"
_TYPES: Final = ", ".join(COMMAND_TYPES)


def _reason(detail: ErrorDetails) -> str:
    kind, place = detail["type"], _place(detail).rpartition(".")[2]
    if _within_rule(detail) is not None:
        return reason_in_rule(kind, place, detail["msg"])
    if kind.startswith("union_tag") and "steps" in detail["loc"]:
        return f"must be one of {', '.join(STEP_TYPES)}"
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
    if place in ("watchlist", "rule") and kind == "string_pattern_mismatch":
        return "must begin with a letter or digit; then up to 63 letters, digits or . _ : / -"
    text = detail["msg"].removeprefix("Value error, ")
    return text.replace("Input should be", "must be", 1)


def reason_in_rule(kind: str, place: str, said: str) -> str:
    """Say in words what is wrong in a rule.

    Args:
        kind: pydantic's name of the error.
        place: the field.
        said: pydantic's own words.
    """
    if kind.startswith("union_tag"):
        return "must be one of pattern, option-chain, futures"
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not a field of this rule"
    if kind == "string_pattern_mismatch":
        return {
            "pattern": "must be EXCHANGE:PATTERN, such as NFO:NIFTY*; * is any text, ? one "
            "character",
            "exchange": "must be an exchange in capital letters, such as NFO",
            "spot": "must be EXCHANGE:TRADINGSYMBOL",
        }.get(place, "must be the name of an underlying, such as NIFTY")
    return said.removeprefix("Value error, ").replace("Input should be", "must be", 1)
