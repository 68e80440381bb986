"""The plan is its seed's, and the model agrees with the reducer: both without a process."""

import json

import pytest

from connector.control.parsing import Rejected, parse
from connector.control.reducer import reduce
from connector.control.state import Layout, State
from connector.kite.web.instruments import InstrumentMaster
from tests.chaos.model import Model
from tests.chaos.plan import POOL, Kind, make_plan

TOKENS = [number << 8 | 1 for number in range(1, POOL + 1)]


def test_the_same_seed_gives_the_same_plan():
    assert make_plan(7, 60, TOKENS) == make_plan(7, 60, TOKENS)
    assert make_plan(7, 60, TOKENS) != make_plan(8, 60, TOKENS)
    assert Kind.BROKER not in {action.kind for action in make_plan(7, 600, TOKENS, outages=False)}


def test_a_long_plan_has_every_kind_of_action_and_command():
    plan = make_plan(1, 600, TOKENS)
    assert {action.kind for action in plan} == set(Kind)
    assert {action.command["type"] for action in plan if action.command} == {
        "subscribe", "unsubscribe", "set-mode", "replace", "delete", "rebalance", "reconnect",
        "status",
    }  # fmt: skip
    assert [action.at_seconds for action in plan] == sorted(action.at_seconds for action in plan)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_model_foretells_the_reducers_replies(seed):
    model, state = Model(9000), State(Layout((0, 1, 2), 3000))
    statuses = set()
    for action in make_plan(seed, 60, TOKENS):
        if action.kind is not Kind.COMMAND:
            continue
        command = parse(json.dumps(action.command).encode(), 1_000_000)
        for _ in range(1 + action.again):
            if isinstance(command, Rejected):
                assert model.apply(action.command).status == "REJECTED"
                continue
            outcome = reduce(state, command, 1_700_000_000_000, InstrumentMaster())
            state, reply = outcome.state, json.loads(outcome.reply)
            expected = model.apply(action.command, reply["accepted"])
            statuses.add(expected.status)
            assert (expected.status, expected.revision, expected.accepted, expected.refused) == (
                reply["status"],
                reply["revision"],
                reply["accepted"],
                len(reply.get("refused", ())),
            ), action
    # which of the rare ones a seed brings is chance
    assert statuses >= {"APPLIED", "REJECTED"}
    assert model.claims == {
        token: {name: mode.value for name, mode in one.claims.items()}
        for token, one in state.subscriptions.items()
    }
