from hypothesis import given
from hypothesis import strategies as st

from connector.control.commands import MAX_INSTRUMENTS, Replace
from connector.control.reducer import reduce
from connector.control.settings_claims import PART_INSTRUMENTS, settings_claims
from connector.control.state import Layout, NoNames, State
from connector.kite.wire.models import Mode

SLOTS = Layout(tuple(range(39)), 3000)


def applied(state, wanted):
    """The state after the claims of the settings, and the most records of one command."""
    most = 0
    for command in settings_claims(wanted):
        outcome = reduce(state, command, 0, NoNames())
        state, most = outcome.state, max(most, len(outcome.records))
    return state, most


def carried(state):
    return {token: subscription.mode for token, subscription in state.subscriptions.items()}


def test_the_whole_market_in_one_mode_is_claimed_in_parts():
    tokens = [n << 8 | 1 for n in range(1, 117_001)]
    assert len(tokens) > 2 * MAX_INSTRUMENTS
    state, most = applied(State(SLOTS), {Mode.FULL: tokens})
    assert carried(state) == dict.fromkeys(tokens, Mode.FULL)
    assert most <= PART_INSTRUMENTS
    # a new leader finds everything as it should be, and writes nothing
    assert applied(state, {Mode.FULL: tokens}) == (state, 0)


tokens = st.lists(st.integers(1, 60).map(lambda n: n << 8 | 1), max_size=40)


@given(
    st.dictionaries(st.sampled_from(Mode), tokens), st.dictionaries(st.sampled_from(Mode), tokens)
)
def test_what_is_claimed_is_what_the_settings_say_whatever_they_said_before(before, now):
    state, _ = applied(State(SLOTS), before)
    state, _ = applied(state, now)
    wanted = {}
    for mode, some in now.items():
        for token in some:
            wanted[token] = max(mode, wanted.get(token, mode), key=lambda either: either.rank)
    assert carried(state) == wanted


def test_an_instrument_that_changes_its_group_stays_in_its_slot():
    some = [n << 8 | 1 for n in range(1, 10)]
    state, _ = applied(State(SLOTS), {Mode.FULL: some})
    places = {token: one.slot for token, one in state.subscriptions.items()}
    state, _ = applied(state, {Mode.LTP: some})
    assert {token: one.slot for token, one in state.subscriptions.items()} == places


def test_no_message_can_have_their_ids():
    commands = settings_claims({Mode.FULL: [257]})
    assert {command.id[:1] for command in commands} == {"@"}
    assert [command.watchlist for command in commands if isinstance(command, Replace)] == [
        "@settings:ltp", "@settings:quote", "@settings:full",
    ]  # fmt: skip
