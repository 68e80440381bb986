"""A rule as the cluster keeps it, in the record `@rule:<watchlist>#<name>`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Final, Literal, NamedTuple, TypeVar

from pydantic_core import from_json, to_json

from connector.control.commands import CommandBase
from connector.control.expansion import StrikeWindow
from connector.control.records import (
    LEADER_PARTITION,
    RULE_PREFIX,
    StateRecord,
    count_of,
    symbol_of,
)
from connector.control.rules import RULE, ChainRule, FuturesRule, PatternRule
from connector.kite.wire.models import Mode

V = TypeVar("V")

# each move is a transaction, and requests to the feed
MOVE_MS: Final = 10_000
"""A chain follows the price at most once in so long: six times a minute."""


class HeldRule(NamedTuple):
    """A rule, what a command said of it, and how far it was followed."""

    rule: PatternRule | ChainRule | FuturesRule
    mode: Mode
    account: str | None = None
    window: StrikeWindow | None = None
    spot: int | None = None
    """The instrument whose price a chain follows."""
    problem: str | None = None
    """Why it cannot be followed at the moment; what it had last stays claimed."""
    moved_ms: int = 0
    """When the window moved last, UTC milliseconds."""

    @property
    def definition(self) -> tuple[object, ...]:
        """What a command said: the rest follows from the list and the price."""
        return self.rule, self.mode, self.account

    def may_move(self, now_ms: int) -> bool:
        """Whether the last move is long enough ago; a clock that was set back does not wait."""
        # wall clock, since it goes over a change of the leader
        return self.window is None or not 0 <= now_ms - self.moved_ms < MOVE_MS

    def outgrown(self, prices: Mapping[int, float], now_ms: int) -> bool:
        """Whether the price asks for another window than there is, and it may move."""
        price = None if self.spot is None else prices.get(self.spot)
        if price is None or not self.may_move(now_ms):
            return False
        return self.window is None or not self.window.holds(price)

    def encoded(self) -> bytes:
        """Return the value of the record, as JSON."""
        return to_json({**self._asdict(), "window": self.window and self.window._asdict()})

    @classmethod
    def decode(cls, value: bytes) -> HeldRule:
        """Read the record.

        Raises:
            ValueError: the bytes are not such a record.
        """
        try:
            raw = from_json(value)
            spot, window = raw.get("spot"), raw.get("window")
            return cls(
                RULE.validate_json(to_json(raw["rule"])),
                Mode(raw["mode"]),
                symbol_of(raw.get("account")),
                None if window is None else _window(window),
                None if spot is None else count_of(spot),
                symbol_of(raw.get("problem")),
                count_of(raw.get("moved_ms", 0)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a rule: {error!r}") from error


class KeepRule(CommandBase):
    """The leader's own command: bring what a rule claims in line with the list and the price.

    No message is one: its type is not among those of commands.
    """

    type: Literal["@keep-rule"] = "@keep-rule"
    claimant: str

    @classmethod
    def of(cls, claimant: str) -> KeepRule:
        """Return the command for a rule."""
        return cls.model_construct(id=RULE_PREFIX + claimant, claimant=claimant)


def without(entries: Mapping[str, V], names: Collection[str]) -> Mapping[str, V]:
    """Return the entries but for some; the same object where it has none of these."""
    if not any(name in entries for name in names):
        return entries
    return {name: one for name, one in entries.items() if name not in names}


def rule_records(
    before: Mapping[str, HeldRule], after: Mapping[str, HeldRule]
) -> tuple[tuple[StateRecord, ...], bool]:
    """Return the records that say the difference, and whether a definition is among it."""
    records: list[StateRecord] = []
    redefined = False
    if after is before:
        return (), False
    for claimant in dict.fromkeys((*before, *after)):
        old, new = before.get(claimant), after.get(claimant)
        if old is new or old == new:
            continue
        value = None if new is None else new.encoded()
        records.append(StateRecord(LEADER_PARTITION, RULE_PREFIX + claimant, value))
        redefined |= old is None or new is None or old.definition != new.definition
    return tuple(records), redefined


def _window(raw: Mapping[str, Any]) -> StrikeWindow:
    low, high = raw["low"], raw["high"]
    return StrikeWindow(
        date.fromisoformat(raw["expiry"]),
        float(raw["middle"]),
        None if low is None else float(low),
        None if high is None else float(high),
    )
