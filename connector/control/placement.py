"""Puts each instrument on a slot of the account that a claim names, else on any slot. Pure.

A slot takes in only what it had room for before the change, whatever it gives up in the same one:
owners apply the records one by one, and no socket may carry too much on the way.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable

from connector.control.records import Subscription
from connector.control.state import Layout
from connector.control.subscriptions import Subscriptions, SubscriptionsDraft
from connector.kite.feed import allocation


def loads(subscriptions: SubscriptionsDraft, slots: Iterable[int]) -> dict[int, int]:
    """Return how many instruments each of these slots carries."""
    return {slot: subscriptions.carried.get(slot, 0) for slot in slots}


def no_room(layout: Layout, account: str | None) -> str:
    """Explain why an instrument has no slot."""
    whose = "" if account is None else f" of account {account}"
    slots = len(layout.slots_of(account))
    return f"no room: {slots} slots{whose} carry {layout.capacity} each"


def waiting_moves(subscriptions: SubscriptionsDraft, layout: Layout) -> dict[int, int]:
    """Find a slot for what is on a slot where it does not belong, as far as there is room.

    That is the slot of an api_key that is gone, or of another account than the one it belongs on.

    Returns:
        Token to its new slot; the least recently changed are the first to get one.
    """
    waiting = {
        account
        for account in waiting_for_room(subscriptions, layout)
        # else every command in a full cluster would sort all subscriptions for nothing
        if any(
            load < layout.capacity
            for load in loads(subscriptions, layout.slots_of(account)).values()
        )
    }
    if not waiting:
        return {}
    tokens: dict[str | None, list[int]] = {account: [] for account in waiting}
    for token, one in _oldest_first(subscriptions):
        if one.account in waiting and one.slot not in layout.slots_of(one.account):
            tokens[one.account].append(token)
    moves: dict[int, int] = {}
    carried = loads(subscriptions, layout.slots)
    # what may go anywhere leaves the room of an account to what belongs there
    for account in sorted(waiting, key=lambda one: (one is None, one or "")):
        room = {slot: carried[slot] for slot in layout.slots_of(account)}
        placed, _ = allocation.place(tokens[account], room, layout.capacity)
        for slot in placed.values():
            carried[slot] += 1
        moves.update(placed)
    return moves


def waiting_for_room(
    subscriptions: Subscriptions | SubscriptionsDraft, layout: Layout
) -> dict[str | None, int]:
    """Count what is on a slot where it does not belong, by its account; None: any would do.

    A change moves what has room, so of a state these wait for it.
    """
    waiting: Counter[str | None] = Counter()
    astray = sum(n for slot, n in subscriptions.carried.items() if slot not in layout.slots)
    for (account, slot), count in subscriptions.pinned.items():
        if slot not in layout.slots_of(account):
            waiting[account] += count
        if slot not in layout.slots:
            astray -= count
    if astray:
        waiting[None] = astray
    return dict(waiting)


def first_waiting(subscriptions: Subscriptions, layout: Layout, limit: int) -> list[int]:
    """Return the first of these, those that were changed least recently."""
    waiting = (
        token
        for token, one in _oldest_first(subscriptions)
        if one.slot not in layout.slots_of(one.account)
    )
    return list(itertools.islice(waiting, limit))


def even_moves(subscriptions: SubscriptionsDraft, layout: Layout) -> dict[int, int]:
    """Even the slots out, what belongs on an account within its own; the latest placed move first.

    Where room must first be made on an account, a second call finds what the first one left.

    Returns:
        Token to its new slot, of only those that move.
    """
    groups: dict[str | None, dict[int, list[int]]] = {}
    before: dict[int, int] = {}
    for token, one in _oldest_first(subscriptions):
        if one.slot in layout.slots_of(one.account):
            before[token] = one.slot
            groups.setdefault(one.account, {}).setdefault(one.slot, []).append(token)
    # nothing is on an account: then all slots are alike
    if groups.keys() <= {None}:
        return allocation.rebalance(before, layout.slots, layout.capacity)
    carried = loads(subscriptions, layout.slots)
    room = {slot: layout.capacity - load for slot, load in carried.items()}
    after = dict(before)
    # each move brings two slots closer together, so there is an end
    while sum(
        _even_out(tokens, layout.slots_of(account), carried, room, after)
        for account, tokens in groups.items()
    ):
        pass
    return {token: slot for token, slot in after.items() if slot != before[token]}


def _even_out(
    tokens: dict[int, list[int]],
    slots: Collection[int],
    carried: dict[int, int],
    room: dict[int, int],
    after: dict[int, int],
) -> int:
    """Move instruments of one group from its fullest slot to the emptiest; returns how many.

    Args:
        tokens: the group's instruments by slot; changed in place, as all that follow `slots`.
        slots: where the group may be.
        carried: how many instruments each slot carries.
        room: how many each slot may still take in.
        after: where each instrument is to be.
    """
    moved = 0
    while True:
        giving = [slot for slot in slots if tokens.get(slot)]
        taking = [slot for slot in slots if room[slot] > 0]
        if not giving or not taking:
            return moved
        # of equals the lowest slot, so that every leader finds the same moves
        fullest = max(giving, key=lambda slot: (carried[slot], -slot))
        emptiest = min(taking, key=lambda slot: (carried[slot], slot))
        # one more on either side is as even as it gets
        if carried[fullest] - carried[emptiest] < 2:
            return moved
        # the last changed: what has streamed for longest stays
        token = tokens[fullest].pop()
        tokens.setdefault(emptiest, []).append(token)
        carried[fullest] -= 1
        carried[emptiest] += 1
        room[emptiest] -= 1
        after[token] = emptiest
        moved += 1


def _oldest_first(
    subscriptions: Subscriptions | SubscriptionsDraft,
) -> list[tuple[int, Subscription]]:
    """Return all subscriptions, least recently changed first: an order of the log."""
    return sorted(subscriptions.items(), key=lambda entry: (entry[1].revision, entry[0]))
