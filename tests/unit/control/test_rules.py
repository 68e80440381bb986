"""The models of rules: what they take, and what they refuse with which words."""

from datetime import date

import pytest
from pydantic import ValidationError

from connector.control.rules import RULE, claimant_of, is_rule, told, watchlist_of

CHAIN = {"type": "option-chain", "underlying": "NIFTY"}
PATTERN = {"type": "pattern", "pattern": "NFO:NIFTY*"}
FUTURES = {"type": "futures", "exchange": "NFO"}


def wrong(value):
    with pytest.raises(ValidationError) as caught:
        RULE.validate_python(value)
    return [(".".join(map(str, one["loc"][1:])), one["msg"]) for one in caught.value.errors()]


def test_what_is_left_out_has_a_default():
    chain = RULE.validate_python(CHAIN)
    assert (chain.expiry, chain.strikes, chain.exchange, chain.spot) == ("nearest", 10, None, None)
    assert RULE.validate_python(FUTURES).expiry == "near-month"
    assert RULE.validate_python(PATTERN).kinds == ()


def test_a_day_of_yaml_is_a_day():
    day = date(2026, 12, 29)
    assert RULE.validate_python({**CHAIN, "expiry": day}).expiry == "2026-12-29"


@pytest.mark.parametrize(
    "expiry",
    ["soon", "", "NEAREST", "2026-13-01", "2026-02-30", "2026-12-29T10:00", "nearest/next", "1",
     " nearest", "2026-12-29/", "٢٠٢٦-12-29", "x" * 65, 20261229, None, True, ["nearest"]],
)  # fmt: skip
def test_an_expiry_that_is_none_is_refused(expiry):
    for rule in (CHAIN, FUTURES):
        ((place, _),) = wrong({**rule, "expiry": expiry})
        assert place == "expiry"


def test_a_chain_has_one_expiry_and_a_range_runs_forwards():
    days = "2026-12-01/2026-12-29"
    assert "must be nearest" in wrong({**CHAIN, "expiry": days})[0][1]
    assert RULE.validate_python({**FUTURES, "expiry": days}).expiry == days
    backwards = wrong({**PATTERN, "expiry": "2026-12-29/2026-12-01"})
    assert "2026-12-29, is behind the last one, 2026-12-01" in backwards[0][1]


@pytest.mark.parametrize("strikes", [-1, 501, 10**30, 1.5, "10", True, None])
def test_strikes_have_bounds(strikes):
    ((place, _),) = wrong({**CHAIN, "strikes": strikes})
    assert place == "strikes"


@pytest.mark.parametrize(
    "pattern",
    ["*", "*:*", "NFO", "NFO:", "nfo:NIFTY*", "N?O:NIFTY", ":NIFTY*", "NFO:[A-Z]*", "NFO:NIFTY\n",
     "NFO: NIFTY", "NFO:" + "*" * 70, "NFO:\u202eX", 256265, None],
)  # fmt: skip
def test_a_pattern_names_one_exchange_and_no_sets_of_letters(pattern):
    ((place, _),) = wrong({**PATTERN, "pattern": pattern})
    assert place == "pattern"


def test_a_rule_names_so_many_underlyings():
    names = [f"N{number}" for number in range(501)]
    assert wrong({**FUTURES, "names": names})[0][0] == "names"
    assert len(RULE.validate_python({**FUTURES, "names": names[1:]}).names) == 500


def test_kinds_are_kites_own():
    ((place, _),) = wrong({**PATTERN, "kinds": ["CALL"]})
    assert place == "kinds.0"
    assert RULE.validate_python({**PATTERN, "kinds": ["CE", "PE"]}).kinds == ("CE", "PE")


def test_a_field_of_another_kind_of_rule_is_refused():
    assert wrong({**FUTURES, "strikes": 3}) == [("strikes", "Extra inputs are not permitted")]
    with pytest.raises(ValidationError, match="union_tag_invalid"):
        RULE.validate_python({"type": "all"})


def test_a_rule_claims_under_a_name_of_its_own():
    claimant = claimant_of("algo-1", "chain")
    assert (claimant, watchlist_of(claimant)) == ("algo-1#chain", "algo-1")
    assert is_rule(claimant)
    assert not is_rule("algo-1")
    assert watchlist_of("algo-1") == "algo-1"


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (CHAIN, "options of NIFTY nearest, 10 strikes each way"),
        ({**PATTERN, "kinds": ["FUT"], "expiry": "next"}, "NFO:NIFTY* FUT next"),
        (PATTERN, "NFO:NIFTY*"),
        ({**FUTURES, "names": ["A", "B", "C", "D"]}, "futures of NFO near-month: A, B, C …"),
    ],
)
def test_a_rule_is_told_in_one_line(rule, line):
    assert told(RULE.validate_python(rule)) == line
