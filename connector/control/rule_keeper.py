"""When the leader looks at a rule again: for a new list, day or price, or a try that failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from typing import Final

from connector.control.expansion import NO_PRICES
from connector.control.held_rules import KeepRule
from connector.control.state import State
from connector.kite.clock import IST, SYSTEM_CLOCK, Clock
from connector.kite.web.instruments import InstrumentMaster

LOOK_SECONDS: Final = 1.0
"""Prices are looked at so often."""
RETRY_SECONDS: Final = 60.0
"""A rule that could not be followed is tried again so often."""
RULES_A_TURN: Final = 20
"""So many rules are brought in line before the leader reads messages again: each looks through an
exchange, which takes some milliseconds."""
Prices = Callable[[Collection[int]], Mapping[int, float]]
"""Last prices by token, of those asked for that are known; the others are looked for from now on.
None asked for: nothing is looked for any more."""


def no_prices(_: Collection[int]) -> Mapping[int, float]:
    """Return no price, since nobody looks for any."""
    return NO_PRICES


class RuleKeeper:
    """Belongs to the leader's thread.

    Args:
        prices: tells last prices.
        clock: for its seconds, and the day.
    """

    def __init__(self, prices: Prices = no_prices, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.prices: Mapping[int, float] = NO_PRICES
        """As they were at the last look."""
        self._ask = prices
        self._clock = clock
        # in the clock's monotonic seconds, so that the first round looks at once
        self._looked = -LOOK_SECONDS
        # the list and the day that all rules were looked at with: another of either is a reason for
        # all
        self._seen: tuple[InstrumentMaster | None, date | None] = (None, None)
        # in the order in which they are to be looked at
        self._waiting: dict[str, None] = {}
        # when each rule was looked at last, monotonic seconds, for those that failed
        self._tried: dict[str, float] = {}

    def due(self, state: State, names: InstrumentMaster) -> list[KeepRule]:
        """Return the commands for rules that something has happened to, not too many at once."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look(state, names, now)
        # one that was deleted meanwhile is passed over
        turn = [one for one in self._waiting if one in state.rules][:RULES_A_TURN]
        self._waiting = {one: None for one in self._waiting if one in state.rules}
        for claimant in turn:
            del self._waiting[claimant]
            self._tried[claimant] = now
        return [KeepRule.of(claimant) for claimant in turn]

    def forget(self) -> None:
        """Ask for no prices any more, and look at every rule when there is a leader again."""
        self.prices = self._ask(())
        self._seen = (None, None)
        self._waiting.clear()

    def _look(self, state: State, names: InstrumentMaster, now: float) -> None:
        rules = state.rules
        self.prices = self._ask(frozenset(r.spot for r in rules.values() if r.spot is not None))
        if not rules:
            return
        now_ms = self._clock.time_us() // 1000
        today = datetime.fromtimestamp(now_ms / 1000, IST).date()
        seen = self._seen
        # a list is replaced whole, so another object is another list; without any, rules keep what
        # they have until there is one
        everything = len(names) > 0 and (names is not seen[0] or today != seen[1])
        if everything:
            self._seen = names, today
        self._tried = {one: at for one, at in self._tried.items() if one in rules}
        for claimant, held in rules.items():
            again = held.problem is not None and (
                now - self._tried.setdefault(claimant, now) >= RETRY_SECONDS
            )
            if everything or again or held.outgrown(self.prices, now_ms):
                self._waiting.setdefault(claimant)
