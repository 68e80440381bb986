"""A rule as a record, and when the price asks for another window."""

import pytest

from connector.control.commands import COMMAND
from connector.control.expansion import StrikeWindow
from connector.control.held_rules import MOVE_MS, HeldRule, KeepRule, rule_records
from connector.control.records import StateRecord
from connector.control.rules import RULE
from connector.kite.wire.models import Mode
from tests.support.contracts_list import NIFTY_50, WEEKLY

CHAIN = RULE.validate_python({"type": "option-chain", "underlying": "NIFTY"})
WINDOW = StrikeWindow(WEEKLY, 25_000.0, 24_962.5, None)
HELD = HeldRule(CHAIN, Mode.FULL, "main", WINDOW, NIFTY_50, "why", 7_000)


@pytest.mark.parametrize(
    "held",
    [
        HELD,
        HeldRule(RULE.validate_python({"type": "futures", "exchange": "NFO"}), Mode.LTP),
        HeldRule(RULE.validate_python({"type": "pattern", "pattern": "NSE:*"}), Mode.QUOTE),
    ],
)
def test_a_record_is_read_as_it_was_written(held):
    assert HeldRule.decode(held.encoded()) == held


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"{}", b"1", HELD.encoded().replace(b"7000", b"-1"),
     HELD.encoded().replace(b"2026-12-01", b"x"), HELD.encoded().replace(b'"full"', b'"all"')],
)  # fmt: skip
def test_what_is_no_record_is_an_error(value):
    with pytest.raises(ValueError):  # noqa: PT011
        HeldRule.decode(value)


def test_only_a_change_of_the_definition_counts_as_one():
    after = HELD._replace(problem=None, moved_ms=8_000)
    assert rule_records({"w#a": HELD}, {"w#a": HELD}) == ((), False)
    record = StateRecord(0, "@rule:w#a", after.encoded())
    assert rule_records({"w#a": HELD}, {"w#a": after}) == ((record,), False)
    assert rule_records({"w#a": HELD}, {"w#a": HELD._replace(mode=Mode.LTP)})[1]
    assert rule_records({"w#a": HELD}, {}) == ((StateRecord(0, "@rule:w#a", None),), True)


def test_a_price_outgrows_a_window_that_may_move():
    later = HELD.moved_ms + MOVE_MS
    assert not HELD.outgrown({}, later)
    assert not HELD.outgrown({NIFTY_50: 24_970.0}, later)
    assert HELD.outgrown({NIFTY_50: 24_960.0}, later)
    assert not HELD.outgrown({NIFTY_50: 24_960.0}, later - 1)
    assert HELD._replace(window=None).outgrown({NIFTY_50: 24_960.0}, later - 1)
    assert not HELD._replace(spot=None).outgrown({NIFTY_50: 24_960.0}, later)


def test_no_message_is_the_leaders_own_command():
    command = KeepRule.of("w#a")
    assert (command.id, command.claimant) == ("@rule:w#a", "w#a")
    assert command.type not in COMMAND.json_schema()["discriminator"]["mapping"]
