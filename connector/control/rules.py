"""Rules of a watchlist: what it claims by a description instead of a list.

One model a kind of rule, told apart by `type`: commands, the file of watchlists, the command line
and the documents all have these. What a rule comes to is in `connector.control.expansion`.
"""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)

from connector.control.bounds import MAX_STRIKES, MAX_UNDERLYINGS
from connector.control.records import ClosedModel
from connector.redaction import is_printable

NEAREST: Final = "nearest"
NEXT: Final = "next"
NEAR_MONTH: Final = "near-month"
NEXT_MONTH: Final = "next-month"
EXPIRY_WORDS: Final = (NEAREST, NEXT, NEAR_MONTH, NEXT_MONTH)
RULE_MARK: Final = "#"
"""Stands between a watchlist and its rule in the name of the rule's claims; no message may name a
watchlist with it."""
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_EXPIRY: Final = rf"^({'|'.join(EXPIRY_WORDS)}|{_DAY})$"
_EXPIRY_OR_RANGE: Final = rf"^({'|'.join(EXPIRY_WORDS)}|{_DAY}(/{_DAY})?)$"
_WRONG_DAY: Final = (
    "must be nearest, next, near-month, next-month or a day such as 2026-12-29",
    ", or two days as first/last",
)


class Kind(StrEnum):
    """The `instrument_type` of Kite's list of instruments."""

    EQ = "EQ"
    """What is no contract: shares, funds, bonds and the indices."""
    FUT = "FUT"
    CE = "CE"
    PE = "PE"


def _day_as_text(value: object) -> object:
    # YAML reads 2026-12-29 as a day; one with an hour is none
    return value.isoformat() if type(value) is date else value


def _expiry(text: str) -> str:
    return _checked(text, _EXPIRY, _WRONG_DAY[0])


def _expiry_or_range(text: str) -> str:
    return _checked(text, _EXPIRY_OR_RANGE, "".join(_WRONG_DAY))


def _checked(text: str, pattern: str, wrong: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(wrong)
    if text in EXPIRY_WORDS:
        return text
    first, _, last = text.partition("/")
    try:
        days = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise ValueError(f"{wrong}; there is no such day") from None
    if days[0] > days[1]:
        raise ValueError(f"the first day, {first}, is behind the last one, {last}")
    return text


def checked_printable(text: str) -> str:
    """Return a text whose characters can all be looked at; raises ValueError for any other."""
    if not is_printable(text):
        raise ValueError("has control characters, or others that cannot be looked at")
    return text


_Text = Annotated[str, StringConstraints(strict=True, max_length=64)]
ChainExpiry = Annotated[
    _Text,
    BeforeValidator(_day_as_text),
    AfterValidator(_expiry),
    WithJsonSchema({"type": "string", "pattern": _EXPIRY}),
]
Expiry = Annotated[
    _Text,
    BeforeValidator(_day_as_text),
    AfterValidator(_expiry_or_range),
    WithJsonSchema({"type": "string", "pattern": _EXPIRY_OR_RANGE}),
]
ExchangeName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z][A-Z0-9]{1,15}$")]
SymbolPattern = Annotated[
    str,
    StringConstraints(
        strict=True, max_length=64, pattern=r"^[A-Z][A-Z0-9]{1,15}:[^\s\[\]](.*[^\s\[\]])?$"
    ),
    AfterValidator(checked_printable),
]
Underlying = Annotated[
    str,
    StringConstraints(strict=True, max_length=64, pattern=r"^\S(.*\S)?$"),
    AfterValidator(checked_printable),
]
Symbol = Annotated[
    str,
    StringConstraints(strict=True, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]{1,15}:\S(.*\S)?$"),
    AfterValidator(checked_printable),
]
Name = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$")
]
"""The name of a watchlist, or of a rule of one."""


class PatternRule(ClosedModel):
    """All instruments whose symbol matches a pattern, narrowed by expiry and kind."""

    type: Literal["pattern"]
    pattern: SymbolPattern = Field(
        description="EXCHANGE:SYMBOL, where * is any text and ? one character."
    )
    expiry: Expiry | None = Field(
        None,
        description="Only what expires then, counted for each underlying, its futures and options "
        "apart: nearest, next, near-month, next-month, a day, or two as first/last.",
    )
    kinds: Annotated[tuple[Kind, ...], Field(max_length=len(Kind))] = Field(
        (), description="Only these kinds: EQ, FUT, CE, PE; without it, all."
    )


class ChainRule(ClosedModel):
    """The options of one underlying and expiry whose strikes lie around its price, and itself."""

    type: Literal["option-chain"]
    underlying: Underlying = Field(
        description="The underlying as the list of instruments names it: NIFTY, INFY, CRUDEOIL."
    )
    expiry: ChainExpiry = Field(
        NEAREST, description="nearest, next, near-month, next-month, or a day."
    )
    strikes: int = Field(
        10,
        strict=True,
        ge=0,
        le=MAX_STRIKES,
        description="How many strikes below, and as many above, the one that is nearest the price.",
    )
    exchange: ExchangeName | None = Field(
        None,
        description="The exchange of the options; without it, the first of NFO, BFO, MCX, CDS, BCD "
        "and NCO that has any.",
    )
    spot: Symbol | None = Field(
        None,
        description="The instrument whose last price the strikes lie around; without it, the index "
        "or share of NFO's and BFO's underlyings, the future of the others.",
    )


class FuturesRule(ClosedModel):
    """All futures of an exchange, of one expiry or of all."""

    type: Literal["futures"]
    exchange: ExchangeName
    names: Annotated[tuple[Underlying, ...], Field(max_length=MAX_UNDERLYINGS)] = Field(
        (), description="Only of these underlyings; without it, of all."
    )
    expiry: Expiry = Field(
        NEAR_MONTH,
        description="nearest, next, near-month, next-month, a day, or two as first/last; counted "
        "for each underlying.",
    )


Rule = Annotated[PatternRule | ChainRule | FuturesRule, Field(discriminator="type")]
RULE: Final[TypeAdapter[PatternRule | ChainRule | FuturesRule]] = TypeAdapter(Rule)


def claimant_of(watchlist: str, name: str) -> str:
    """Return the name under which a rule claims its instruments."""
    return f"{watchlist}{RULE_MARK}{name}"


def watchlist_of(claimant: str) -> str:
    """Return the watchlist of a claimant: of a rule, or of the watchlist itself."""
    return claimant.partition(RULE_MARK)[0]


def is_rule(claimant: str) -> bool:
    """Whether a claimant is a rule of a watchlist."""
    return RULE_MARK in claimant


def told(rule: PatternRule | ChainRule | FuturesRule) -> str:
    """Say in one line what a rule describes."""
    match rule:
        case PatternRule():
            kinds = f" {','.join(rule.kinds)}" if rule.kinds else ""
            return f"{rule.pattern}{kinds}{f' {rule.expiry}' if rule.expiry else ''}"
        case ChainRule():
            return f"options of {rule.underlying} {rule.expiry}, {rule.strikes} strikes each way"
        case FuturesRule():
            of = ", ".join(rule.names[:3]) + (" …" if len(rule.names) > 3 else "")
            return f"futures of {rule.exchange} {rule.expiry}{f': {of}' if of else ''}"
