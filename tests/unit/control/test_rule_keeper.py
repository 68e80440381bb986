"""When the leader looks at which rule again."""

from connector.control.expansion import StrikeWindow
from connector.control.held_rules import MOVE_MS, HeldRule
from connector.control.rule_keeper import (
    LOOK_SECONDS,
    RETRY_SECONDS,
    RULES_A_TURN,
    RuleKeeper,
    no_prices,
)
from connector.control.rules import RULE
from connector.control.state import Layout, State
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode
from tests.support.clock import SteppedClock
from tests.support.contracts_list import NIFTY_50, WEEKLY, usual

MASTER = usual().master()
FUTURES = HeldRule(RULE.validate_python({"type": "futures", "exchange": "NFO"}), Mode.LTP)
CHAIN = HeldRule(
    RULE.validate_python({"type": "option-chain", "underlying": "NIFTY"}),
    Mode.LTP,
    window=StrikeWindow(WEEKLY, 25_000.0, 24_962.5, 25_037.5),
    spot=NIFTY_50,
)


class Keeping:
    def __init__(self, **rules):
        self.clock = SteppedClock()
        self.asked = []
        self.prices = {}
        self.keeper = RuleKeeper(self.ask, clock=self.clock)
        self.state = State(Layout((0,), 10), rules=rules)
        self.names = MASTER

    def ask(self, tokens):
        self.asked.append(set(tokens))
        return self.prices

    def due(self, seconds=LOOK_SECONDS):
        self.clock.seconds += seconds
        return [one.claimant for one in self.keeper.due(self.state, self.names)]


def test_every_rule_is_looked_at_for_a_new_leader_a_new_list_and_a_new_day():
    keeping = Keeping(a=FUTURES, b=CHAIN)
    assert keeping.due() == ["a", "b"]
    assert keeping.due() == []
    keeping.names = usual().master()
    assert keeping.due() == ["a", "b"]
    assert keeping.due() == []
    assert keeping.due(86_400) == ["a", "b"]
    keeping.keeper.forget()
    assert keeping.asked[-1] == set()
    assert keeping.due() == ["a", "b"]


def test_without_a_list_nothing_is_due():
    keeping = Keeping(a=FUTURES)
    keeping.names = InstrumentMaster()
    assert keeping.due() == []
    keeping.names = MASTER
    assert keeping.due() == ["a"]


def test_a_chain_is_due_when_the_price_has_left_its_window():
    keeping = Keeping(a=FUTURES, b=CHAIN)
    keeping.due()
    assert keeping.asked == [{NIFTY_50}]  # of what is followed, whoever streams it
    keeping.prices = {NIFTY_50: 25_030.0}
    assert keeping.due() == []
    keeping.prices = {NIFTY_50: 25_100.0}
    assert keeping.due(LOOK_SECONDS / 2) == []
    assert keeping.due(LOOK_SECONDS / 2) == ["b"]
    moved_ms = keeping.clock.time_us() // 1000
    keeping.state = State(Layout((0,), 10), rules={"b": CHAIN._replace(moved_ms=moved_ms)})
    assert keeping.due() == []
    assert keeping.due(MOVE_MS / 1000) == ["b"]


def test_what_could_not_be_followed_is_tried_again_after_a_while():
    keeping = Keeping(a=FUTURES._replace(problem="why"))
    assert keeping.due() == ["a"]
    assert keeping.due(RETRY_SECONDS - 1) == []
    assert keeping.due(1) == ["a"]


def test_only_so_many_are_looked_at_in_one_turn_and_none_that_has_ended():
    rules = {f"r{number}": FUTURES for number in range(RULES_A_TURN + 2)}
    keeping = Keeping(**rules)
    assert len(keeping.due()) == RULES_A_TURN
    del rules[f"r{RULES_A_TURN}"]
    keeping.state = State(Layout((0,), 10), rules=rules)
    assert keeping.due(0) == [f"r{RULES_A_TURN + 1}"]


def test_without_rules_nobody_is_asked_for_prices():
    keeping = Keeping()
    assert keeping.due() == []
    assert keeping.asked == [set()]
    assert no_prices({1}) == {}
