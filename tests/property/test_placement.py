"""Whatever commands come, what names an account is carried there, and no slot carries too much."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.control.reducer import settle
from connector.control.state import Layout
from tests.support.reduction import Run

TOKENS = [n << 8 | 1 for n in range(1, 17)]
ACCOUNTS = (("a", (0, 1, 2)), ("b", (3, 4)), ("c", (6,)))
some = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=9)
names = st.sampled_from(["u", "v", "w"])
accounts = st.sampled_from(["a", "b", "c", None, "none"])
commands = st.one_of(
    st.tuples(
        st.sampled_from(["subscribe", "replace"]),
        st.fixed_dictionaries({"watchlist": names, "instruments": some, "account": accounts}),
    ),
    st.tuples(
        st.just("unsubscribe"), st.fixed_dictionaries({"watchlist": names, "instruments": some})
    ),
    st.tuples(st.just("delete"), st.fixed_dictionaries({"watchlist": names})),
    st.tuples(st.just("rebalance"), st.just({})),
)


def layout(accounts, capacity):
    return Layout(
        tuple(sorted(slot for _, slots in accounts for slot in slots)), capacity, None, accounts
    )


def astray(state):
    """What is not where it belongs."""
    return [
        one for one in state.subscriptions.values()
        if one.slot not in state.layout.slots_of(one.account)
    ]  # fmt: skip


def check(state):
    for one in state.subscriptions.values():
        assert len(set(one.accounts.values())) <= 1  # nobody is carried against their word
        assert one.accounts.keys() <= one.claims.keys()
    for watchlist, tokens in state.subscriptions.watchlists.items():
        on = {state.subscriptions[token].accounts.get(watchlist) for token in tokens}
        assert len(on) == 1


def has_room(state, account):
    carried = state.subscriptions.carried
    return any(
        carried.get(slot, 0) < state.layout.capacity for slot in state.layout.slots_of(account)
    )


@settings(max_examples=150)
@given(st.lists(commands, max_size=14), st.integers(1, 5))
def test_what_names_an_account_is_carried_there_or_refused(sent, capacity):
    run = Run(layout(ACCOUNTS, capacity))
    for kind, fields in sent:
        before = run.state
        reply = run.send(kind, **fields)
        if fields.get("account") == "none":
            assert reply["status"] == "REJECTED"
            assert run.state.subscriptions == before.subscriptions
        for one in reply["refused"]:
            if one["reason"].startswith("no room"):
                named = fields.get("account") or before.subscriptions.draft().account_of(
                    fields["watchlist"]
                )
                room_of = named if kind == "subscribe" else fields.get("account")
                assert reply["status"] == "REJECTED" or not has_room(run.state, room_of)
        check(run.state)
        assert astray(run.state) == []


@settings(max_examples=100)
@given(
    st.lists(commands, max_size=8), st.integers(1, 4), st.permutations(["a", "b", "c"]),
    st.integers(1, 3),
)  # fmt: skip
def test_after_other_accounts_in_the_settings_only_what_has_no_room_is_astray(
    sent, capacity, order, kept
):
    run = Run(layout(ACCOUNTS, capacity))
    for kind, fields in sent:
        run.send(kind, **fields)
    present = tuple(
        (name, (3 * number, 3 * number + 1)) for number, name in enumerate(order[:kept])
    )
    run.state = replace(run.state, layout=layout(present, capacity))
    # what one step moves away leaves room that only the next one takes
    while (outcome := settle(run.state)).records:
        run.take(outcome)
    check(run.state)
    assert all(not has_room(run.state, one.account) for one in astray(run.state))
