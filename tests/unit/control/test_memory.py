"""A state that is written whole into a topic: what is read out of it is the same state."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.control.memory import Memory, all_records
from connector.control.parsing import parse
from connector.control.records import HALT_KEY, LeaderProgress
from connector.control.reducer import reduce, wait
from connector.control.state import Layout, State
from connector.kite.web.instruments import InstrumentMaster

LAYOUT = Layout((0, 1, 2), 4)
TOKENS = [number << 8 | 1 for number in range(1, 15)]
STEPS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("subscribe"),
            "watchlist": st.sampled_from(["w", "v"]),
            "instruments": st.lists(st.sampled_from(TOKENS), min_size=1, max_size=6),
            "mode": st.sampled_from(["ltp", "full"]),
            "unlisted": st.just(True),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("unsubscribe"),
            "watchlist": st.just("w"),
            "instruments": st.lists(st.sampled_from(TOKENS), min_size=1, max_size=6),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("set-limits"), "watchlist": st.just("w"), "quota": st.integers(1, 9)}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["pause", "resume"]), "slot": st.just(1)}),
)


def parse_command(fields):
    return parse(json.dumps(fields).encode(), 100_000)


def after(*steps):
    state = State(LAYOUT)
    for number, step in enumerate(steps):
        command = parse_command({"id": f"c{number}", **step})
        state = reduce(state, command, 0, InstrumentMaster()).state
    return state


def written(state, layout=LAYOUT, partitions=3):
    state, records = all_records(state, layout, partitions)
    assert all(record.partition < partitions for record in records)
    after, leader = state.applied(state.progress.offset)
    return after, [(one.partition, one.key, one.value) for one in (*records, leader)]


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=8))
def test_what_is_written_is_the_state_that_is_read(steps):
    state, records = written(after(*steps))
    found, unexpected = State.replay(LAYOUT, records)
    assert unexpected == ()
    for part in ("subscriptions", "replies", "progress", "waiting", "halted", "rules", "limits"):
        assert getattr(found, part) == getattr(state, part), part


def test_each_slot_gets_a_record_and_commands_that_wait_are_among_them():
    command = parse_command({"id": "r", "type": "refresh-instruments"})
    waits = wait(State(LAYOUT), command, 0).state
    _, records = written(waits)
    assert [(where, key) for where, key, _ in records if key == HALT_KEY] == [
        (slot, HALT_KEY) for slot in LAYOUT.slots
    ]
    assert "@waiting:r" in [key for _, key, _ in records]


def test_what_waits_for_room_in_a_partition_that_is_no_more_is_not_lost():
    wide = Layout((0, 1, 2, 3, 4, 5), 4)
    state = replace(after(), layout=wide)
    command = {"id": "c", "type": "subscribe", "instruments": TOKENS, "unlisted": True}
    state = reduce(state, parse_command(command), 0, InstrumentMaster()).state
    assert max(one.slot for one in state.subscriptions.values()) == 5
    found, _ = State.replay(LAYOUT, written(state)[1])
    assert found.subscriptions.keys() == state.subscriptions.keys()


STATE = replace(State(LAYOUT), progress=LeaderProgress(7, 3, 2, "control"))


@pytest.mark.parametrize(
    ("known", "now", "found", "lost"),
    [
        ("old", "new", LeaderProgress(), True),
        # written by this process before it looked
        ("old", "new", STATE.progress, True),
        # another leader has begun anew
        ("old", "new", LeaderProgress(1, 1, 1, "control"), False),
        ("old", "old", LeaderProgress(), False),
        (None, "new", LeaderProgress(), False),
        ("old", None, LeaderProgress(), False),
    ],
)
def test_a_state_is_lost_to_a_topic_made_anew_in_which_nobody_has_begun(known, now, found, lost):
    memory = Memory()
    assert memory.lost_to(now, State(LAYOUT)) is None
    memory.state, memory.topic_id = STATE, known
    expected = STATE if lost else None
    assert memory.lost_to(now, replace(State(LAYOUT), progress=found)) is expected
