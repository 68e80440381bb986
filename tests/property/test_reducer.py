"""The reducer against a model that knows only who claims what."""

import json
import os
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connector.control.commands import COMMAND
from connector.control.reducer import reduce, settle
from connector.control.state import Layout, State
from connector.kite.wire.models import Mode
from tests.support.masters import FakeMaster

TOKENS = [n << 8 | 1 for n in range(1, 25)]
MASTER = FakeMaster({f"NSE:S{token >> 8}": token for token in TOKENS[:12]})
UNKNOWN = ["NSE:NONE", 77]

instruments = st.lists(
    st.sampled_from([*TOKENS, *MASTER.tokens, *UNKNOWN]), min_size=1, max_size=14
)
watchlists = st.sampled_from(["a", "b", "c"])
modes = st.sampled_from(["ltp", "quote", "full"])


def token_of(instrument):
    return MASTER.token(instrument) if isinstance(instrument, str) else instrument


class Control(RuleBasedStateMachine):
    @initialize(slots=st.integers(1, 4), capacity=st.integers(1, 6))
    def start(self, slots, capacity):
        self.state = State(Layout(tuple(range(slots)), capacity))
        self.claims = {}
        """watchlist -> {token: mode}"""
        self.log = []
        self.sent = []
        self.now_ms = 0

    def send(self, kind, **fields):
        """Returns the reply, and the tokens that it accepts by its own words."""
        self.now_ms += 1
        raw = {"id": str(len(self.sent)), "type": kind, **fields}
        if kind in ("subscribe", "replace"):
            raw["unlisted"] = True
        command = COMMAND.validate_python(raw)
        before = self.state
        outcome = reduce(before, command, self.now_ms, MASTER)
        assert reduce(before, command, self.now_ms, MASTER) == outcome  # pure
        reply = json.loads(outcome.reply)
        self.take(outcome)
        self.sent.append((command, outcome.reply))
        refused = {token_of(refusal["instrument"]) for refusal in reply["refused"]}
        asked = {token_of(instrument) for instrument in fields.get("instruments", ())}
        accepted = asked - refused
        if kind in ("subscribe", "replace", "unsubscribe"):
            assert reply["accepted"] == len(accepted)
        moved = {
            token
            for token, old in before.subscriptions.items()
            if (new := self.state.subscriptions.get(token)) and new.slot != old.slot
        }
        if kind != "rebalance":
            assert not {token for token in moved if before.subscriptions[token].slot in self.slots}
        changed = dict(before.subscriptions) != dict(self.state.subscriptions)
        assert self.state.revision == before.revision + changed
        if not command.dry_run:
            assert reply["revision"] == self.state.revision
        return reply, accepted

    def take(self, outcome):
        self.state, leader = outcome.state.applied(len(self.log))
        self.log += [(r.partition, r.key, r.value) for r in (*outcome.records, leader)]

    @property
    def slots(self):
        return self.state.layout.slots

    def room_for_new(self):
        carried = [s.slot for s in self.state.subscriptions.values()]
        return sum(self.state.layout.capacity - carried.count(slot) for slot in self.slots)

    @rule(name=watchlists, asked=instruments, mode=modes)
    def subscribe(self, name, asked, mode):
        new = {token_of(i) for i in asked} - {None, 77} - set(self.state.subscriptions)
        room = self.room_for_new()
        _, accepted = self.send("subscribe", watchlist=name, instruments=asked, mode=mode)
        assert len(new & accepted) == min(len(new), room)  # never refused while there is room
        self.claims.setdefault(name, {}).update(dict.fromkeys(accepted, mode))

    @rule(name=watchlists, asked=instruments)
    def unsubscribe(self, name, asked):
        _, accepted = self.send("unsubscribe", watchlist=name, instruments=asked)
        held = self.claims.get(name, {})
        assert accepted == {token_of(i) for i in asked} & set(held)
        for token in accepted:
            del held[token]

    @rule(name=watchlists, asked=instruments, mode=modes)
    def replace(self, name, asked, mode):
        reply, accepted = self.send("replace", watchlist=name, instruments=asked, mode=mode)
        if reply["status"] == "APPLIED":
            self.claims[name] = dict.fromkeys(accepted, mode)
        else:
            assert not accepted

    @rule(name=watchlists, mode=modes)
    def set_mode(self, name, mode):
        reply, _ = self.send("set-mode", watchlist=name, mode=mode)
        held = self.claims.get(name, {})
        assert reply["accepted"] == len(held)
        self.claims[name] = dict.fromkeys(held, mode)

    @rule(name=watchlists)
    def delete(self, name):
        reply, _ = self.send("delete", watchlist=name)
        assert (reply["status"] == "APPLIED") == bool(self.claims.pop(name, None))

    @rule()
    def rebalance(self):
        self.send("rebalance")
        carried = [s.slot for s in self.state.subscriptions.values()]
        if set(carried) <= set(self.slots):
            loads = [carried.count(slot) for slot in self.slots]
            assert max(loads) - min(loads) <= 1

    @rule(name=watchlists, asked=instruments)
    def dry_run(self, name, asked):
        before = self.state.subscriptions
        self.send("replace", watchlist=name, instruments=asked, dry_run=True)
        assert self.state.subscriptions == before

    @rule(name=watchlists, asked=instruments)
    def too_late(self, name, asked):
        reply, _ = self.send("replace", watchlist=name, instruments=[], expires_at=self.now_ms)
        assert reply["status"] == "EXPIRED"

    @rule(name=watchlists, away=st.integers(-2, 2))
    def expected_revision(self, name, away):
        expected = max(self.state.revision + away, 0)
        right = expected == self.state.revision
        reply, _ = self.send("delete", watchlist=name, expected_revision=expected)
        if right:
            self.claims.pop(name, None)
        else:
            assert reply["status"] == "REJECTED"
            assert reply["errors"][0].startswith("expected_revision")

    @rule(data=st.data())
    def repeat(self, data):
        remembered = [
            (command, reply) for command, reply in self.sent if command.id in self.state.replies
        ]
        if remembered:
            command, reply = data.draw(st.sampled_from(remembered))
            outcome = reduce(self.state, command, self.now_ms, MASTER)
            assert (outcome.state, outcome.records, outcome.reply) == (self.state, (), reply)

    @rule(slots=st.integers(1, 4))
    def add_or_remove_slots(self, slots):
        layout = Layout(tuple(range(slots)), self.state.layout.capacity)
        old = self.state
        self.take(settle(replace(old, layout=layout)))
        left = [s.slot for s in self.state.subscriptions.values() if s.slot not in layout.slots]
        assert not left or self.room_for_new() == 0

    @rule()
    def the_leader_dies(self):
        self.state = self.replayed()

    def replayed(self):
        state, strays = State.replay(self.state.layout, self.log)
        assert strays == ()
        return state

    @invariant()
    def claims_and_modes_are_right(self):
        wanted = {}
        for name, held in self.claims.items():
            for token, mode in held.items():
                wanted.setdefault(token, {})[name] = Mode(mode)
        found = {token: s.claims for token, s in self.state.subscriptions.items()}
        assert found == wanted
        for token, subscription in self.state.subscriptions.items():
            assert subscription.mode.rank == max(mode.rank for mode in wanted[token].values())

    @invariant()
    def capacity_is_kept(self):
        carried = [s.slot for s in self.state.subscriptions.values()]
        assert all(carried.count(slot) <= self.state.layout.capacity for slot in self.slots)

    @invariant()
    def the_log_alone_gives_the_same_state(self):
        assert self.replayed() == self.state


Control.TestCase.settings = settings(
    max_examples=int(os.environ.get("KITE_CONNECTOR_TEST_EXAMPLES", "150")),
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
)
TestControl = Control.TestCase
