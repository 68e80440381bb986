"""The answer to `status`: what the cluster is to stream, counted. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

from connector.control.bounds import STATUS_WATCHLISTS
from connector.control.placement import waiting_for_room
from connector.control.reply import LimitsStatus, RuleStatus, SlotStatus, StatusPayload
from connector.control.rules import RULE_MARK, watchlist_of
from connector.control.state import State


def status(state: State, after: str | None = None) -> StatusPayload:
    """What the cluster is to stream, counted; one page of its watchlists.

    Args:
        state: what is counted.
        after: only watchlists behind this one, in the order of their names.
    """
    subscriptions, layout, halted = state.subscriptions, state.layout, state.halted
    claimants = _claimants(state)
    behind = (name for name in claimants if after is None or name > after)
    # one more than is shown, which says whether there is another page
    page = heapq.nsmallest(STATUS_WATCHLISTS + 1, behind)
    more = len(page) > STATUS_WATCHLISTS
    page = page[:STATUS_WATCHLISTS]
    carried = subscriptions.carried
    return StatusPayload(
        instruments=len(subscriptions),
        capacity=layout.total,
        slots=tuple(
            SlotStatus(
                slot=slot,
                instruments=carried.get(slot, 0),
                capacity=layout.capacity if slot in layout.slots else 0,
                halt=halted[slot].halt if slot in halted else None,
                halted_by=halted[slot].by if slot in halted else None,
            )
            for slot in sorted({*layout.slots, *carried})
        ),
        watchlists={name: _held(state, claimants[name]) for name in page},
        rules=tuple(rule_statuses(state)) if after is None else (),
        limits={
            name: LimitsStatus(**state.limits[name]._asdict())
            for name in page
            if name in state.limits
        },
        after=page[-1] if more else None,
        modes={str(mode): count for mode, count in sorted(subscriptions.modes.items())},
        unplaced=sum(waiting_for_room(subscriptions, layout).values()),
    )


def rule_statuses(state: State) -> Iterator[RuleStatus]:
    """Yield how each rule is, in the order of watchlists and names."""
    for claimant, held in sorted(state.rules.items()):
        watchlist, _, name = claimant.partition(RULE_MARK)
        yield RuleStatus(
            watchlist=watchlist,
            rule=name,
            claims=held.rule,
            mode=held.mode,
            account=held.account,
            instruments=len(state.subscriptions.watchlists.get(claimant, ())),
            expiry=None if held.window is None else held.window.expiry,
            middle=None if held.window is None else held.window.middle,
            problem=held.problem,
        )


def _claimants(state: State) -> Mapping[str, Sequence[str]]:
    """Return who claims for each watchlist: itself, and its rules."""
    found: dict[str, list[str]] = {}
    for claimant in {**state.subscriptions.watchlists, **state.rules, **state.limits}:
        found.setdefault(watchlist_of(claimant), []).append(claimant)
    return found


def _held(state: State, claimants: Sequence[str]) -> int:
    """Count what claimants claim, each instrument once."""
    watchlists = state.subscriptions.watchlists
    if len(claimants) == 1:
        return len(watchlists.get(claimants[0], ()))
    return len({token for one in claimants for token in watchlists.get(one, ())})
