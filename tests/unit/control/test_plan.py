import pytest

from connector.control.commands import COMMAND
from connector.control.held_rules import HeldRule
from connector.control.limits import Limits
from connector.control.plan import Claims, difference, of_claims, parse_watchlists
from connector.control.records import SubscriptionRecord
from connector.control.rules import RULE
from connector.errors import SettingsError
from connector.kite.wire.models import Mode

A, B, C = 257, 513, 769


def record(token, claims, symbol=None):
    modes = {name: Mode(mode) for name, mode in claims.items()}
    highest = max(modes.values(), key=lambda mode: mode.rank)
    return SubscriptionRecord(token=token, mode=highest, claims=modes, symbol=symbol, revision=1)


NOW = Claims.of(
    [
        record(A, {"algo": "full", "other": "ltp"}, "NSE:A"),
        record(B, {"algo": "quote"}, "NSE:B"),
        record(C, {"@settings:full": "full"}),
    ]
)


def planned(watchlists, claims=NOW, **options):
    return difference(claims, parse_watchlists({"watchlists": watchlists}), **options)


def steps(plan):
    return [step.model_dump(mode="json", exclude_defaults=True) for step in plan.steps]


def test_what_is_as_the_file_says_is_no_difference():
    plan = planned({"algo": {"full": ["nse:a"], "quote": [B]}, "other": {"ltp": [A]}})
    assert (plan.changes, plan.unnamed) == ((), {})
    assert (plan.before, plan.after) == (3, 3)


def test_the_difference_is_given_up_first():
    plan = planned({"new": {"full": [A]}, "algo": {"full": ["NSE:B", "NSE:D"], "unlisted": True}})
    assert steps(plan) == [
        {"type": "unsubscribe", "watchlist": "algo", "instruments": [A]},
        {"type": "subscribe", "watchlist": "new", "instruments": [A], "mode": "full"},
        {"type": "set-mode", "watchlist": "algo", "instruments": [B], "mode": "full"},
        {
            "type": "subscribe", "watchlist": "algo", "instruments": ["NSE:D"], "mode": "full",
            "unlisted": True,
        },
    ]  # fmt: skip
    assert plan.unnamed == {"other": 1}
    assert (plan.before, plan.after) == (3, 4)
    COMMAND.validate_python({"id": "1", "type": "sequence", "steps": plan.steps})


def test_what_the_file_does_not_name_ends_with_prune_alone():
    named = {"algo": {"full": [A], "quote": [B]}}
    assert steps(planned(named)) == []
    assert steps(planned(named, prune=True)) == [{"type": "delete", "watchlist": "other"}]


def test_an_empty_watchlist_ends():
    assert steps(planned({"other": {}, "algo": {"full": [A], "quote": [B]}})) == [
        {"type": "delete", "watchlist": "other"}
    ]


def test_an_instrument_in_two_modes_is_refused_however_it_is_named():
    with pytest.raises(SettingsError, match=r"algo: NSE:A is named in quote and in full"):
        planned({"algo": {"full": ["NSE:A"], "quote": [A]}})


def test_a_name_of_two_tokens_means_what_the_watchlist_claims():
    claims = Claims.of([record(A, {"x": "full"}, "NSE:A"), record(B, {"algo": "full"}, "NSE:A")])
    assert steps(planned({"algo": {"full": ["NSE:A"]}}, claims)) == []
    assert of_claims(claims)["watchlists"]["algo"] == {"full": [B]}


def test_export_names_the_highest_mode_first_and_leaves_the_settings_out():
    assert of_claims(NOW) == {
        "watchlists": {"algo": {"full": ["NSE:A"], "quote": ["NSE:B"]}, "other": {"ltp": ["NSE:A"]}}
    }


def test_a_watchlist_that_moves_to_an_account_is_given_up_and_claimed_as_a_whole():
    plan = planned({"algo": {"account": "b", "full": [A], "quote": [B]}, "other": {"ltp": [A]}})
    assert steps(plan) == [
        {"type": "delete", "watchlist": "algo"},
        {
            "type": "subscribe", "watchlist": "algo", "instruments": [B],
            "account": "b",
        },
        {
            "type": "subscribe", "watchlist": "algo", "instruments": [A], "mode": "full",
            "account": "b",
        },
    ]  # fmt: skip
    assert [(one.moved, one.deleted) for one in plan.changes] == [(True, False)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "watchlists: is missing"),
        ([], "watchlists: is missing"),
        ({}, "watchlists: is missing"),
        ({"watchlist": {}}, "watchlist: is not known here"),
        ({"watchlists": {"@settings:full": {}}}, "@settings:full: a watchlist's name begins"),
        ({"watchlists": {"a": {"fulll": [1]}}}, "watchlists.a.fulll: is not known here"),
        ({"watchlists": {"a": {"full": [1, "INFY"]}}}, r"a.full\[1\]: 'INFY' is no instrument"),
        ({"watchlists": {"a": {"full": "NSE:A"}}}, "a.full: is to be a list of instruments"),
        ({"watchlists": {"a": [1]}}, "watchlists.a: "),
        ({"watchlists": {str(n): {} for n in range(1001)}}, "more than 1000 watchlists"),
        ({"watchlists": None}, "watchlists: is to be names with values"),
        ({"watchlists": {"a": ["NSE:INFY"]}}, "watchlists.a: is to be names with values"),
        ({"watchlists": {"a": {"quota": 0}}}, "watchlists.a.quota: is to be greater than or"),
        ({"watchlists": {"a": {"quota": "many"}}}, "watchlists.a.quota: is to be a whole number"),
        ({"watchlists": {"a": {"account": 5}}}, "watchlists.a.account: is to be text: put it in"),
    ],
)
def test_a_wrong_file_says_where_and_what_is_allowed(value, problem):
    with pytest.raises(SettingsError, match=problem):
        parse_watchlists(value)


CHAIN = {"type": "option-chain", "underlying": "NIFTY"}
FUTURES = {"type": "futures", "exchange": "NFO", "names": ["NIFTY"]}
RULED = Claims.of(
    [record(A, {"algo": "full", "algo#chain": "full"}, "NSE:A"), record(B, {"x#near": "quote"})],
    {
        "algo#chain": HeldRule(RULE.validate_python(CHAIN), Mode.FULL, problem="why"),
        "x#near": HeldRule(RULE.validate_python(FUTURES), Mode.QUOTE, "second"),
    },
)


def test_what_rules_have_is_no_claim_of_the_file_but_takes_room():
    file = of_claims(RULED)["watchlists"]
    assert file == {
        "algo": {"full": ["NSE:A"], "rules": {"chain": {"mode": "full", "claims": CHAIN}}},
        "x": {"account": "second", "rules": {"near": {"mode": "quote", "claims": FUTURES}}},
    }
    plan = planned(file, RULED)
    assert (plan.changes, plan.before, plan.after) == ((), 2, 2)
    assert planned({"algo": file["algo"]}, RULED).unnamed == {"x": 1}


def test_rules_are_set_where_they_differ_and_ended_where_they_are_left_out():
    other = {"mode": "ltp", "claims": {**CHAIN, "strikes": 3}}
    plan = planned({"algo": {"full": [A], "rules": {"new": other}}}, RULED, prune=True)
    assert steps(plan) == [
        {"type": "delete-rule", "watchlist": "algo", "rule": "chain"},
        {"type": "delete", "watchlist": "x"},
        {
            "type": "set-rule", "watchlist": "algo", "rule": "new", "mode": "ltp",
            "claims": {**CHAIN, "strikes": 3},
        },
    ]  # fmt: skip
    assert plan.rules == 1
    COMMAND.validate_python({"id": "1", "type": "sequence", "steps": plan.steps})
    changed = planned({"algo": {"full": [A], "rules": {"chain": other}}}, RULED)
    assert [step["type"] for step in steps(changed)] == ["set-rule"]
    assert steps(planned({"x": {}}, RULED)) == [{"type": "delete", "watchlist": "x"}]


def test_a_watchlist_that_moves_sets_its_rules_anew():
    rules = {"chain": {"mode": "full", "claims": CHAIN}}
    plan = planned({"algo": {"account": "second", "full": [A], "rules": rules}}, RULED)
    assert [step["type"] for step in steps(plan)] == ["delete", "subscribe", "set-rule"]
    assert {step.account for step in plan.steps[1:]} == {"second"}
    # without claims of its own, its rules move by themselves
    near = {"near": {"mode": "quote", "claims": FUTURES}}
    assert [step["type"] for step in steps(planned({"x": {"rules": near}}, RULED))] == ["set-rule"]


def test_limits_are_set_before_what_they_let_in():
    limits = {"algo": Limits(5, 0), "gone": Limits(None, 3)}
    claims = Claims.of([record(A, {"algo": "full"})], limits=limits)
    exported = of_claims(claims)["watchlists"]
    assert exported == {"algo": {"quota": 5, "full": [A]}, "gone": {"priority": 3}}
    assert steps(planned(exported, claims)) == []
    plan = planned({"algo": {"priority": 7, "full": [A, B]}}, claims, prune=True)
    assert steps(plan) == [
        {"type": "delete", "watchlist": "gone"},
        {"type": "set-limits", "watchlist": "algo", "priority": 7},
        {"type": "subscribe", "watchlist": "algo", "instruments": [B], "mode": "full"},
    ]
    moved = planned({"algo": {"quota": 5, "account": "b", "full": [A]}}, claims)
    assert [step["type"] for step in steps(moved)] == ["delete", "set-limits", "subscribe"]
    emptied = planned({"algo": {"quota": 5}, "gone": {}}, claims)
    assert [(step["type"], step["watchlist"]) for step in steps(emptied)] == [
        ("delete", "algo"), ("set-limits", "algo"), ("set-limits", "gone")
    ]  # fmt: skip
    with pytest.raises(SettingsError, match=r"algo\.priority: "):
        planned({"algo": {"priority": 2000}})


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"a": {"claims": {**CHAIN, "strikes": -1}}}, "a.rules.a.claims.strikes: must be greater"),
        ({"a": {"claims": {**CHAIN, "expiry": "x"}}}, "a.rules.a.claims.expiry: must be nearest"),
        ({"a": {"claims": {"type": "all"}}}, "a.rules.a.claims.type: must be one of pattern"),
        ({"a": {"claims": {**CHAIN, "x": 1}}}, "a.rules.a.claims.x: is not a field of this rule"),
        ({"a": {"mode": "full"}}, "a.rules.a.claims: is missing"),
        ({"a": {"claims": CHAIN, "x": 1}}, "a.rules.a.x: is not known here; a rule has mode and"),
        ({"a": {"claims": CHAIN, "mode": "all"}}, "a.rules.a.mode: must be"),
        ({"a#b": {"claims": CHAIN}}, "a.rules.a#b: a rule's name begins with a letter"),
        ({"a": None}, "a.rules.a: "),
        ([], "a.rules: "),
        ({str(n): {"claims": CHAIN} for n in range(501)}, "a.rules: has more than 500 rules"),
    ],
)
def test_a_wrong_rule_says_where_and_what_is_allowed(rules, problem):
    with pytest.raises(SettingsError, match=problem):
        parse_watchlists({"watchlists": {"a": {"rules": rules}}})


def test_problems_are_bounded():
    wrong = {str(n): {"full": ["INFY"]} for n in range(100)}
    with pytest.raises(SettingsError, match="80 more") as raised:
        parse_watchlists({"watchlists": wrong})
    assert len(raised.value.problems) == 21


def test_more_than_a_command_holds_is_refused():
    some = list(range(1, 40_001))
    with pytest.raises(SettingsError, match="80000 instruments in 2 steps"):
        planned({"a": {"full": some}, "b": {"full": some}})
