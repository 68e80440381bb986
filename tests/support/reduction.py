"""A state of the control plane that a test sends commands to."""

import json

from connector.control.commands import COMMAND
from connector.control.held_rules import KeepRule
from connector.control.reducer import reduce
from connector.control.state import Layout, State
from tests.support.masters import FakeMaster

A, B, C, D, E, F, G = (n << 8 | 1 for n in range(1, 8))  # NSE tokens
MASTER = FakeMaster({"NSE:A": A, "NSE:B": B, "NSE:C": C})
SMALL = Layout((0, 1, 2), 2)


class Run:
    """A state that commands are sent to; every change is replayed from its records."""

    def __init__(self, layout=SMALL, master=MASTER, prices=()):
        self.state = State(layout)
        self.master = master
        self.prices = dict(prices)
        self.log = []
        self.outcome = None
        self.sent = 0

    def send(self, kind, now_ms=1000, **fields):
        self.sent += 1
        if kind in ("subscribe", "replace"):
            # most tests use more instruments than their list has
            fields.setdefault("unlisted", True)
        command = COMMAND.validate_python({"id": f"c{self.sent}", "type": kind, **fields})
        self.take(reduce(self.state, command, now_ms, self.master, self.prices))
        return json.loads(self.outcome.reply)

    def keep(self, claimant, now_ms=1000):
        """Let the leader look at a rule; returns its events."""
        command = KeepRule.of(claimant)
        self.take(reduce(self.state, command, now_ms, self.master, self.prices))
        return self.outcome.events

    def take(self, outcome):
        self.outcome = outcome
        self.check_room(outcome.records)
        self.state, leader = outcome.state.applied(self.sent)
        self.log += [(r.partition, r.key, r.value) for r in (*outcome.records, leader)]
        replayed, strays = State.replay(self.state.layout, self.log)
        assert (replayed, strays) == (self.state, ())

    def check_room(self, records):
        """Owners apply records one by one: no slot may be too full after any of them."""
        carried = {slot: set() for slot in range(10)}
        for token, subscription in self.state.subscriptions.items():
            carried[subscription.slot].add(str(token))
        for record in records:
            if record.key.startswith("@"):
                continue
            on = carried[record.partition]
            on.discard(record.key) if record.value is None else on.add(record.key)
            assert record.value is None or len(on) <= self.state.layout.capacity

    def slots(self):
        return {token: s.slot for token, s in self.state.subscriptions.items()}

    def modes(self):
        return {token: str(s.mode) for token, s in self.state.subscriptions.items()}


def writes(outcome):
    """Records without the remembered replies."""
    return [record for record in outcome.records if not record.key.startswith("@reply")]
