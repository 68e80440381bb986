from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import CapacityError
from connector.kite.feed.allocation import place, rebalance

tokens = st.lists(st.integers(1, 400), max_size=120)
loads = st.dictionaries(st.integers(0, 8), st.integers(0, 25), max_size=6)
capacities = st.integers(1, 25)


@given(tokens, loads, capacities)
def test_placing(tokens, loads, capacity):
    placed, refused = place(tokens, loads, capacity)
    unique = list(dict.fromkeys(tokens))

    # each token once, in order, and none lost
    assert [*sorted(placed, key=unique.index)] == list(placed)
    assert sorted([*placed, *refused]) == sorted(unique)
    assert refused == [token for token in unique if token not in placed]

    room = sum(max(0, capacity - load) for load in loads.values())
    assert len(placed) == min(len(unique), room)
    after = Counter(loads) + Counter(placed.values())
    for slot in set(placed.values()):
        assert after[slot] <= capacity
        # no slot with room is left behind one that was filled
        assert all(after[slot] - after[other] <= 1 for other in loads if after[other] < capacity)


@given(st.dictionaries(st.integers(1, 400), st.integers(0, 6), max_size=80),
       st.sets(st.integers(0, 6), max_size=6), capacities)  # fmt: skip
def test_rebalancing(placed, slots, capacity):
    if len(placed) > len(slots) * capacity:
        with pytest.raises(CapacityError) as caught:
            rebalance(placed, sorted(slots), capacity)
        assert len(caught.value.refused) == len(placed) - len(slots) * capacity
        return
    moves = rebalance(placed, sorted(slots), capacity)
    after = {**placed, **moves}
    counts = Counter(after.values())

    assert set(after.values()) <= slots
    assert all(placed[token] != slot for token, slot in moves.items())
    if slots:
        per_slot = [counts[slot] for slot in slots]
        assert max(per_slot) - min(per_slot) <= 1
        assert max(per_slot) <= capacity

        # the fewest: what is above the best even target, and what has no home
        even, remainder = divmod(len(placed), len(slots))
        before = sorted((list(placed.values()).count(slot) for slot in slots), reverse=True)
        kept = sum(min(n, even + (rank < remainder)) for rank, n in enumerate(before))
        assert len(moves) == len(placed) - kept
    assert rebalance(after, sorted(slots), capacity) == {}
