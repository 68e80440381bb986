"""Which instrument goes on which connection. Pure: the manager and the control plane share it.

An instrument that is placed stays where it is: moving it costs a gap or a doubled tick, and gains
nothing that `place`, which always fills the emptiest connection, does not give already.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from connector.errors import CapacityError


def place(
    tokens: Iterable[int], loads: Mapping[int, int], capacity: int
) -> tuple[dict[int, int], list[int]]:
    """Put each token on the slot that carries the fewest, ties to the lowest slot.

    Args:
        tokens: instruments that have no slot yet; repeated ones count once.
        loads: slot to the number of instruments it carries already.
        capacity: instruments that a slot carries at most.

    Returns:
        Token to slot in the order given, and the tokens that found no room, in order.
    """
    # ordered by load, then slot: the heap's own order is the rule for ties
    heap = [(load, slot) for slot, load in loads.items() if load < capacity]
    heapq.heapify(heap)
    placed: dict[int, int] = {}
    # a dict for its order: the first that found no room is told first
    refused: dict[int, None] = {}
    for token in tokens:
        if token in placed or token in refused:
            continue
        if not heap:
            refused[token] = None
            continue
        load, slot = heap[0]
        placed[token] = slot
        if load + 1 < capacity:
            heapq.heapreplace(heap, (load + 1, slot))
        else:
            heapq.heappop(heap)
    return placed, list(refused)


def rebalance(placed: Mapping[int, int], slots: Sequence[int], capacity: int) -> dict[int, int]:
    """The fewest moves after which every token is on one of `slots`, spread evenly within 1.

    Args:
        placed: token to the slot that it is on; the slot need not be one of `slots`.
        slots: where instruments may be.
        capacity: instruments that a slot carries at most.

    Returns:
        Token to its new slot, of only those that move: the latest placed move first.

    Raises:
        CapacityError: `slots` cannot carry them all; the latest placed are the refused ones.
    """
    room = len(slots) * capacity
    if len(placed) > room:
        raise CapacityError(list(placed)[room:], room)
    on: dict[int, list[int]] = {slot: [] for slot in slots}
    unplaced: list[int] = []
    for token, slot in placed.items():
        on.get(slot, unplaced).append(token)

    # the fullest slots keep the remainder of the division: that is what makes the moves fewest
    even, remainder = divmod(len(placed), len(slots)) if slots else (0, 0)
    fullest_first = sorted(on, key=lambda slot: (-len(on[slot]), slot))
    target = {slot: even + (rank < remainder) for rank, slot in enumerate(fullest_first)}
    for slot in fullest_first:
        unplaced += on[slot][target[slot] :]
    # the slots below their target, in order; zip is strict: moves and places are as many
    free = iter([slot for slot in sorted(on) for _ in range(target[slot] - len(on[slot]))])
    return dict(zip(unplaced, free, strict=True))
