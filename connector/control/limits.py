"""Quotas and priorities of watchlists: how much each may claim, and what gives way to whom.

Pure. What there is room for is never taken from anybody. Where there is none, a claim displaces
instruments that only watchlists of lower priority claim, those of the lowest first, of these what
was claimed last. The settings' own watchlists are above all others.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic_core import from_json, to_json

from connector.control.bounds import MAX_PRIORITY
from connector.control.records import (
    LEADER_PARTITION,
    LIMITS_PREFIX,
    OWN,
    StateRecord,
    Subscription,
    count_of,
)
from connector.control.reply import Displaced
from connector.control.rules import is_rule, watchlist_of
from connector.kite.feed.events import ConnectionEvent, EventType

if TYPE_CHECKING:
    from connector.control.draft import Draft

MAX_TOLD: Final = 100
"""A reply names so many watchlists that lost instruments."""


class Limits(NamedTuple):
    """The record `@limits:<watchlist>`, of a watchlist that has other limits than usual."""

    quota: int | None = None
    """How many instruments it may claim, with its rules; None: what the settings say."""
    priority: int = 0

    def encoded(self) -> bytes:
        """Return the value of the record, as JSON."""
        return to_json(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> Limits:
        """Read the record.

        Raises:
            ValueError: the bytes are not such a record.
        """
        try:
            raw = from_json(value)
            quota, priority = raw["quota"], raw["priority"]
            if type(priority) is not int or abs(priority) > MAX_PRIORITY:
                raise ValueError("not a priority")
            return cls(None if quota is None else count_of(quota), priority)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not limits: {error!r}") from error


USUAL: Final = Limits()


def limits_records(
    before: Mapping[str, Limits], after: Mapping[str, Limits]
) -> tuple[StateRecord, ...]:
    """Return the records that say the difference."""
    if after is before:
        return ()
    return tuple(
        StateRecord(
            LEADER_PARTITION, LIMITS_PREFIX + name, after[name].encoded() if name in after else None
        )
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def priority_of(limits: Mapping[str, Limits], claimant: str) -> float:
    """Return the priority of a watchlist, or of a rule of one."""
    if claimant.startswith(OWN):
        return math.inf
    return limits.get(watchlist_of(claimant), USUAL).priority


class Displacement(NamedTuple):
    """What gave way to a claim."""

    slots: tuple[int, ...] = ()
    """Where there is room now, one slot for each instrument that had it."""
    displaced: tuple[Displaced, ...] = ()
    events: tuple[ConnectionEvent, ...] = ()


def displace(
    draft: Draft, claimant: str, count: int, slots: Collection[int], spared: Collection[int]
) -> Displacement:
    """Take instruments from watchlists of lower priority, so that a claim has room.

    Args:
        draft: changed.
        claimant: for whom.
        count: how many instruments need room.
        slots: where it is needed.
        spared: instruments that are claimed by the same command.
    """
    limits = draft.limits
    # without priorities all are equal, and nobody gives way: no look at every subscription
    if not (count and limits):
        return Displacement()
    above = priority_of(limits, claimant)
    ranked: list[tuple[float, int, int]] = []
    for token, one in draft.subscriptions.items():
        if one.slot in slots and token not in spared:
            # an instrument goes with all its claims or stays: one equal or higher claim keeps it
            highest = max(priority_of(limits, name) for name in one.claims)
            if highest < above:
                # lowest priority first, of these the last changed, of equals the lowest token: any
                # leader chooses the same ones
                ranked.append((highest, -one.revision, token))
    chosen = [token for _, _, token in heapq.nsmallest(count, ranked)]
    victims = {token: draft.subscriptions[token] for token in chosen}
    draft.subscriptions.change(dict.fromkeys(victims))
    lost = Counter(name for one in victims.values() for name in one.claims)
    for name, number in lost.items():
        # with a problem it is tried again each minute, and so takes back what there is room for
        if is_rule(name) and (held := draft.rules.get(name)) is not None:
            problem = f"{number} of its instruments gave way to watchlist {watchlist_of(claimant)}"
            draft.rules = {**draft.rules, name: held._replace(problem=problem)}
    return Displacement(
        tuple(one.slot for one in victims.values()),
        _told(lost),
        tuple(_event(draft, token, one, claimant) for token, one in victims.items()),
    )


def together(parts: Iterable[Iterable[Displaced]]) -> tuple[Displaced, ...]:
    """Return what the steps of a sequence displaced, as one."""
    lost: Counter[str] = Counter()
    for part in parts:
        for one in part:
            lost[one.watchlist] += one.instruments
    return _told(lost)


def _told(lost: Mapping[str, int]) -> tuple[Displaced, ...]:
    return tuple(
        Displaced(watchlist=name, instruments=number)
        for name, number in sorted(lost.items())[:MAX_TOLD]
    )


def _event(draft: Draft, token: int, lost: Subscription, claimant: str) -> ConnectionEvent:
    whose = ", ".join(list(lost.claims)[:3]) + (" …" if len(lost.claims) > 3 else "")
    reason = f"{lost.symbol or token} of {whose} gave way to {claimant}"
    return ConnectionEvent(
        EventType.INSTRUMENT_DISPLACED, lost.slot, draft.now_ms, reason=reason, tokens=(token,)
    )
