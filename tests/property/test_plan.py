"""Any file, applied to any state by the reducer: then it is what the file says, or as before."""

import json

from hypothesis import given
from hypothesis import strategies as st

from connector.control.commands import COMMAND
from connector.control.plan import Claims, difference, of_claims, parse_watchlists
from connector.control.records import SubscriptionRecord
from connector.control.reducer import reduce
from connector.control.state import Layout, State
from connector.kite.wire.models import Mode
from tests.support.masters import FakeMaster

TOKENS = [number << 8 | 1 for number in range(1, 9)]
MASTER = FakeMaster({f"NSE:S{token}": token for token in TOKENS[:6]})
NAMES = ["a", "b", "c"]

written = st.one_of(
    st.sampled_from(TOKENS[:6]),
    st.sampled_from([f"NSE:S{token}" for token in TOKENS[:6]]),
)


@st.composite
def files(draw, instruments=written):
    """A file's value: each instrument of a watchlist in one mode, however it is written."""
    watchlists = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        modes = {}
        chosen = draw(
            st.lists(instruments, max_size=6, unique_by=lambda one: MASTER.tokens.get(one, one))
        )
        for instrument in chosen:
            modes.setdefault(draw(st.sampled_from(list(Mode))).value, []).append(instrument)
        watchlists[name] = modes
    return {"watchlists": watchlists}


def claims_of(state):
    return Claims.of(
        SubscriptionRecord.of(token, one) for token, one in state.subscriptions.items()
    )


def applied(state, value, *, prune):
    """The plan, the reply to it, and the state after it."""
    plan = difference(claims_of(state), parse_watchlists(value), prune=prune)
    if not plan.steps:
        return plan, None, state
    command = COMMAND.validate_python(
        {"id": "x", "type": "sequence", "steps": plan.steps, "expected_revision": state.revision}
    )
    outcome = reduce(state, command, 1, MASTER)
    return (
        plan,
        json.loads(outcome.reply),
        State(state.layout, outcome.state.subscriptions, progress=outcome.state.progress),
    )


def wanted(value):
    return {
        name: {MASTER.tokens.get(one, one): mode for mode, some in modes.items() for one in some}
        for name, modes in value["watchlists"].items()
        if any(modes.values())
    }


@given(files(), files(), st.booleans())
def test_applying_makes_it_so_and_planning_again_is_empty(before, after, prune):
    _, _, state = applied(State(Layout((0, 1), 8)), before, prune=False)
    held = claims_of(state).watchlists
    assert held == wanted(before)
    plan, reply, state = applied(state, after, prune=prune)
    assert reply is None or reply["status"] == "APPLIED"
    kept = {} if prune else {n: one for n, one in held.items() if n not in after["watchlists"]}
    assert claims_of(state).watchlists == {**kept, **wanted(after)}
    assert plan.after >= len(state.subscriptions)
    again, reply, _ = applied(state, after, prune=prune)
    assert (again.changes, reply) == ((), None)
    assert again.after == len(state.subscriptions)
    exported = difference(claims_of(state), parse_watchlists(of_claims(claims_of(state))))
    assert exported.changes == ()


@given(files(), files(st.sampled_from([*TOKENS[:3], "NSE:NONE", TOKENS[7]])), st.integers(1, 3))
def test_what_cannot_be_done_in_full_changes_nothing(before, after, capacity):
    _, _, state = applied(State(Layout((0,), capacity)), before, prune=False)
    plan, reply, then = applied(state, after, prune=True)
    claimed = {token for one in wanted(after).values() for token in one}
    possible = len(claimed) <= capacity and not claimed & {"NSE:NONE", TOKENS[7]}
    if possible:
        assert claims_of(then).watchlists == wanted(after)
    else:
        assert reply["status"] == "REJECTED"
        assert reply["refused"]
        assert (then.subscriptions, then.revision) == (state.subscriptions, state.revision)
    assert plan.before == len(state.subscriptions)


TWO = Layout((0, 1, 2, 3), 8, None, (("one", (0, 1)), ("two", (2, 3))))


def on_account(value, account):
    for modes in value["watchlists"].values():
        if account is not None:
            modes["account"] = account
    return value


accounts = st.sampled_from(["one", "two", None])


@given(files(), accounts, files(), accounts)
def test_a_file_that_names_an_account_takes_all_of_it_there(before, old, after, new):
    _, _, state = applied(State(TWO), on_account(before, old), prune=True)
    _, reply, state = applied(state, on_account(after, new), prune=True)
    assert reply is None or reply["status"] == "APPLIED"
    assert {one.account for one in state.subscriptions.values()} <= {new}
    assert {one.slot for one in state.subscriptions.values()} <= set(TWO.slots_of(new))
    for value in (after, of_claims(claims_of(state))):
        plan, _, _ = applied(state, value, prune=True)
        assert plan.changes == ()
