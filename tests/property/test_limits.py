"""Displacement by priority against what it promises, for any watchlists in any little room."""

import json

from hypothesis import given
from hypothesis import strategies as st

from connector.control.commands import COMMAND
from connector.control.limits import Limits
from connector.control.reducer import reduce
from connector.control.state import Layout, State
from tests.support.masters import FakeMaster

TOKENS = [number << 8 | 1 for number in range(1, 15)]
NAMES = ["a", "b", "c"]
some = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8, unique=True)


def sent(state, number, kind, **fields):
    command = COMMAND.validate_python({"id": str(number), "type": kind, **fields})
    outcome = reduce(state, command, 1, FakeMaster())
    return outcome, json.loads(outcome.reply)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), some), max_size=6),
    st.fixed_dictionaries({name: st.integers(-2, 2) for name in NAMES}),
    st.sampled_from(NAMES),
    some,
    st.integers(1, 3),
)
def test_only_lower_ones_give_way_the_lowest_first_and_no_more_than_needed(
    before, priorities, name, instruments, capacity
):
    state = State(Layout((0, 1), capacity))
    for number, (other, tokens) in enumerate(before):
        outcome, _ = sent(state, number, "subscribe", watchlist=other, instruments=tokens)
        state = outcome.state
    limits = {one: Limits(None, priority) for one, priority in priorities.items() if priority}
    state = State(state.layout, state.subscriptions, limits=limits)
    held = dict(state.subscriptions)
    outcome, reply = sent(state, "x", "subscribe", watchlist=name, instruments=instruments)
    after = dict(outcome.state.subscriptions)
    gone = held.keys() - after.keys()
    highest = {t: max(priorities[one] for one in held[t].claims) for t in held}

    assert len(after) <= 2 * capacity
    new = set(instruments) - held.keys()
    room = 2 * capacity - len(held)
    lower = [t for t in held if highest[t] < priorities[name] and t not in instruments]
    assert len(new & after.keys()) == min(len(new), room + len(lower))
    assert len(gone) == max(0, min(len(new) - room, len(lower)))
    assert all(highest[token] < priorities[name] for token in gone)
    stayed = [highest[token] for token in lower if token not in gone]
    assert max((highest[t] for t in gone), default=-9) <= min(stayed, default=9)
    assert {event.tokens[0] for event in outcome.events} == gone
    lost = sum(one["instruments"] for one in reply.get("displaced") or ())
    assert lost == sum(len(held[token].claims) for token in gone)
