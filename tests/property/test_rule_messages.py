"""Whatever stands where a rule belongs: a command, or a refusal in words that can be shown."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from connector.control.bounds import ERROR_CHARACTERS, MAX_ERRORS
from connector.control.commands import SetRule
from connector.control.expansion import expand
from connector.control.parsing import Rejected, parse
from connector.control.rules import told
from connector.redaction import is_printable
from tests.support.contracts_list import NIFTY_50, TODAY, usual

MASTER = usual().master()
words = st.sampled_from(
    ["pattern", "option-chain", "futures", "NFO:NIFTY*", "*", "NFO", "NIFTY", "nearest", "next",
     "near-month", "next-month", "2026-12-29", "2026-12-01/2026-12-29", "2026-02-30", "CE", "FUT"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=70) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "type",
        "pattern",
        "expiry",
        "kinds",
        "underlying",
        "strikes",
        "exchange",
        "spot",
        "names",
        "x",
    ]
)
rules = st.one_of(
    values,
    st.dictionaries(fields, values | st.integers(-2, 600), max_size=9),
    st.fixed_dictionaries(
        {"type": st.just("option-chain"), "underlying": st.just("NIFTY") | st.text(max_size=9)},
        optional={"strikes": st.integers(-3, 600), "expiry": words, "spot": words},
    ),
    st.fixed_dictionaries(
        {"type": st.just("pattern"), "pattern": st.text("NFO:*?I[]", max_size=30)},
        optional={"kinds": st.lists(words, max_size=3), "expiry": words},
    ),
)


@given(rules, values, st.booleans())
@example({"type": "pattern", "pattern": "NFO:" + "*I" * 30}, "x", True)
# a code point that no version of Unicode has given away: it is shown as a box, and harms nobody
@example({"type": "option-chain", "underlying": "\ud7fc"}, "x", False)
def test_a_rule_is_taken_or_refused_in_words(claims, name, within):
    step = {"type": "set-rule", "watchlist": "w", "rule": name, "claims": claims}
    message = {"id": "1", "type": "sequence", "steps": [step]} if within else {"id": "1", **step}
    found = parse(json.dumps(message).encode(), 100_000)
    if isinstance(found, Rejected):
        assert 0 < len(found.errors) <= MAX_ERRORS + 1
        for error in found.errors:
            assert error.isprintable()
            assert len(error) <= ERROR_CHARACTERS + 30
        return
    step = found if isinstance(found, SetRule) else found.steps[0]
    assert is_printable(told(step.claims))
    outcome = expand(step.claims, MASTER, TODAY, {NIFTY_50: 25_000.0})
    assert (outcome.problem is None) == bool(outcome.tokens)
    assert outcome.problem is None or outcome.problem.isprintable()
