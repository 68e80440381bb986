from hypothesis import given
from hypothesis import strategies as st

from connector.control.commands import COMMAND, MAX_INSTRUMENTS, Replace
from connector.control.reducer import reduce
from connector.control.settings_claims import PART_INSTRUMENTS, InstrumentGroup, settings_claims
from connector.control.state import Layout, State
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode

SLOTS = Layout(tuple(range(39)), 3000)


def applied(state, wanted):
    """The state after the claims of the settings, and the most records of one command."""
    most = 0
    for command in settings_claims(wanted, state.subscriptions.watchlists):
        outcome = reduce(state, command, 0, InstrumentMaster())
        state, most = outcome.state, max(most, len(outcome.records))
    return state, most


def carried(state):
    return {token: subscription.mode for token, subscription in state.subscriptions.items()}


def test_the_whole_market_in_one_mode_is_claimed_in_parts():
    tokens = [n << 8 | 1 for n in range(1, 117_001)]
    assert len(tokens) > 2 * MAX_INSTRUMENTS
    state, most = applied(State(SLOTS), {InstrumentGroup(Mode.FULL): tokens})
    assert carried(state) == dict.fromkeys(tokens, Mode.FULL)
    assert most <= PART_INSTRUMENTS
    # a new leader finds everything as it should be, and writes nothing
    assert applied(state, {InstrumentGroup(Mode.FULL): tokens}) == (state, 0)


groups = st.builds(InstrumentGroup, st.sampled_from(Mode), st.none())
tokens = st.lists(st.integers(1, 60).map(lambda n: n << 8 | 1), max_size=40)


@given(st.dictionaries(groups, tokens), st.dictionaries(groups, tokens))
def test_what_is_claimed_is_what_the_settings_say_whatever_they_said_before(before, now):
    state, _ = applied(State(SLOTS), before)
    state, _ = applied(state, now)
    wanted = {}
    for (mode, _), some in now.items():
        for token in some:
            wanted[token] = max(mode, wanted.get(token, mode), key=lambda either: either.rank)
    assert carried(state) == wanted


def test_an_instrument_that_changes_its_group_stays_in_its_slot():
    some = [n << 8 | 1 for n in range(1, 10)]
    state, _ = applied(State(SLOTS), {InstrumentGroup(Mode.FULL): some})
    places = {token: one.slot for token, one in state.subscriptions.items()}
    state, _ = applied(state, {InstrumentGroup(Mode.LTP): some})
    assert {token: one.slot for token, one in state.subscriptions.items()} == places


def test_no_message_can_have_their_ids():
    commands = settings_claims({InstrumentGroup(Mode.FULL): [257]})
    assert {command.id[:1] for command in commands} == {"@"}
    assert [command.watchlist for command in commands if isinstance(command, Replace)] == [
        "@settings:ltp", "@settings:quote", "@settings:full",
    ]  # fmt: skip


ON_TWO = Layout(tuple(range(6)), 3000, None, (("a", (0, 1, 2)), ("b", (3, 4, 5))))


def places(state):
    return {token: one.account for token, one in state.subscriptions.items()}


def test_a_group_on_an_account_is_carried_there_and_moves_with_the_settings():
    some = [n << 8 | 1 for n in range(1, 10)]
    state, _ = applied(State(ON_TWO), {InstrumentGroup(Mode.FULL, "b"): some})
    assert {one.slot for one in state.subscriptions.values()} == {3, 4, 5}
    state, _ = applied(
        state, {InstrumentGroup(Mode.QUOTE, "a"): some[:5], InstrumentGroup(Mode.FULL): some[5:]}
    )
    assert places(state) == {**dict.fromkeys(some[:5], "a"), **dict.fromkeys(some[5:])}
    assert {state.subscriptions[token].slot for token in some[:5]} <= {0, 1, 2}
    assert set(state.subscriptions.watchlists) == {"@settings:quote:a", "@settings:full"}
    # an account that the settings have no more leaves nothing behind
    state, _ = applied(state, {})
    assert carried(state) == {}


def test_the_settings_wait_for_what_a_watchlist_placed_elsewhere_first():
    command = COMMAND.validate_python(
        {"id": "1", "type": "subscribe", "watchlist": "w", "instruments": [257], "account": "a"}
    )
    state = reduce(State(ON_TWO), command, 0, InstrumentMaster()).state
    state, _ = applied(state, {InstrumentGroup(Mode.FULL, "b"): [257]})
    assert (places(state), carried(state)) == ({257: "a"}, {257: Mode.FULL})
    ended = COMMAND.validate_python({"id": "2", "type": "delete", "watchlist": "w"})
    state = reduce(state, ended, 0, InstrumentMaster()).state
    assert (places(state), state.subscriptions[257].slot) == ({257: "b"}, 3)
