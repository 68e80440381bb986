"""Rules through the reducer, whatever comes: lists, prices, days, other claims, little room."""

import os
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connector.control.expansion import expand
from connector.control.held_rules import MOVE_MS
from connector.control.state import Layout, State
from connector.kite.feed.events import EventType
from connector.kite.web.instruments import InstrumentMaster
from tests.support.contracts_list import NIFTY_50, TODAY, usual
from tests.support.reduction import Run

MASTER = usual().master()
SHARES = ["NSE:INFY", "NSE:TCS", "NSE:RELIANCE"]
NOW_MS = int(datetime.combine(TODAY, datetime.min.time(), UTC).timestamp() * 1000)
watchlists = st.sampled_from(["a", "b"])
names = st.sampled_from(["x", "y"])
descriptions = st.sampled_from(
    [
        {"type": "option-chain", "underlying": "NIFTY", "strikes": 1},
        {"type": "option-chain", "underlying": "NIFTY", "strikes": 2, "expiry": "next"},
        {"type": "futures", "exchange": "NFO"},
        {"type": "futures", "exchange": "MCX", "expiry": "nearest"},
        {"type": "pattern", "pattern": "NSE:*", "kinds": ["EQ"]},
        {"type": "pattern", "pattern": "NFO:INFY*", "expiry": "next"},
    ]
)


class Rules(RuleBasedStateMachine):
    """`Run` replays each state from its records, and looks at the room of each slot."""

    def __init__(self):
        super().__init__()
        self.now_ms = NOW_MS
        self.control = Run(Layout((0, 1), 6), MASTER)

    def keep_all(self):
        for claimant in list(self.control.state.rules):
            before = self.held(claimant)
            events = self.control.keep(claimant, self.now_ms)
            held = self.control.state.rules[claimant]
            if any(event.type is EventType.RULE_KEPT for event in events):
                assert held.problem is not None
                assert self.held(claimant) == before
            assert self.control.keep(claimant, self.now_ms) == ()  # there is nothing left to do
            assert self.control.outcome.records == ()

    def held(self, claimant):
        return set(self.control.state.subscriptions.watchlists.get(claimant, ()))

    @initialize(claims=descriptions)
    def begin(self, claims):
        self.set_rule("a", "x", claims)

    @rule(watchlist=watchlists, name=names, claims=descriptions)
    def set_rule(self, watchlist, name, claims):
        before = self.control.state
        fields = {"watchlist": watchlist, "rule": name, "claims": claims}
        reply = self.control.send("set-rule", self.now_ms, **fields)
        if reply["status"] == "REJECTED":
            assert self.control.state.subscriptions is before.subscriptions
            assert self.control.state.rules == before.rules
        else:
            assert reply["accepted"] == len(self.held(f"{watchlist}#{name}"))

    @rule(watchlist=watchlists, name=st.none() | names)
    def delete(self, watchlist, name):
        """One rule, or the watchlist with all of its rules."""
        rules = [one for one in self.control.state.rules if one.startswith(watchlist)]
        if name is None:
            self.control.send("delete", self.now_ms, watchlist=watchlist)
            assert not any(self.held(one) for one in (watchlist, *rules))
            return
        reply = self.control.send("delete-rule", self.now_ms, watchlist=watchlist, rule=name)
        assert (reply["status"] == "APPLIED") == (f"{watchlist}#{name}" in rules)
        assert not self.held(f"{watchlist}#{name}")

    @rule(watchlist=watchlists, instruments=st.lists(st.sampled_from(SHARES), min_size=1))
    def subscribe(self, watchlist, instruments):
        self.control.send("subscribe", self.now_ms, watchlist=watchlist, instruments=instruments)

    @rule(watchlist=watchlists, priority=st.integers(-1, 1))
    def set_limits(self, watchlist, priority):
        self.control.send("set-limits", self.now_ms, watchlist=watchlist, priority=priority)

    @rule(price=st.none() | st.floats(23_900, 26_100))
    def price_moves(self, price):
        self.control.prices = {} if price is None else {NIFTY_50: price}
        self.now_ms += MOVE_MS
        self.keep_all()

    @rule(days=st.integers(1, 9))
    def days_pass(self, days):
        self.now_ms += days * 86_400_000
        self.keep_all()

    @rule(missing=st.none() | st.sampled_from(["NSE", "NFO", "MCX"]))
    def another_list(self, missing):
        self.control.master = InstrumentMaster(one for one in MASTER if one.exchange != missing)
        self.control.send("refresh-instruments", self.now_ms)
        self.keep_all()

    @invariant()
    def a_rule_that_is_followed_has_what_it_describes(self):
        state: State = self.control.state
        today = datetime.fromtimestamp(self.now_ms / 1000 + 19_800, UTC).date()
        for claimant, held in state.rules.items():
            found = expand(held.rule, self.control.master, today, {}, held.window)
            has = self.held(claimant)
            if held.problem is None and found.problem is None:
                lacking = {token for token in has if self.control.master.get(token) is None}
                assert has - lacking == set(found.tokens)
        claimants = set(state.subscriptions.watchlists)
        assert {one for one in claimants if "#" in one} <= state.rules.keys()


Rules.TestCase.settings = settings(
    max_examples=int(os.environ.get("KITE_CONNECTOR_TEST_EXAMPLES", "60")),
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
)
TestRules = Rules.TestCase
