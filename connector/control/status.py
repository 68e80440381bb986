"""The answer to `status`: what the cluster is to stream, counted. Pure."""

from __future__ import annotations

import heapq

from connector.control.bounds import STATUS_WATCHLISTS
from connector.control.commands import SlotStatus, StatusPayload
from connector.control.state import State


def status(state: State, after: str | None = None) -> StatusPayload:
    """What the cluster is to stream, counted; one page of its watchlists.

    Args:
        state: what is counted.
        after: only watchlists behind this one, in the order of their names.
    """
    subscriptions, layout, halted = state.subscriptions, state.layout, state.halted
    behind = (name for name in subscriptions.watchlists if after is None or name > after)
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
        watchlists={name: len(subscriptions.watchlists[name]) for name in page},
        after=page[-1] if more else None,
        modes={str(mode): count for mode, count in sorted(subscriptions.modes.items())},
        unplaced=sum(n for slot, n in carried.items() if slot not in layout.slots),
    )
