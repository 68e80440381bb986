"""What commands and the leader do to rules, and what their records say."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from connector.control import rule_changes
from connector.control.held_rules import MOVE_MS, HeldRule
from connector.control.state import Layout
from connector.kite.feed.events import EventType
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode
from tests.support.contracts_list import NIFTY_50, TODAY, symbols, usual
from tests.support.reduction import Run

MASTER = usual().master()
LAYOUT = Layout((0, 1, 2), 100, None, (("main", (0, 1)), ("second", (2,))))
CHAIN = {"type": "option-chain", "underlying": "NIFTY", "strikes": 1}
FUTURES = {"type": "futures", "exchange": "NFO"}
NOW = int(datetime.combine(TODAY, datetime.min.time(), UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def runs(layout=LAYOUT, master=MASTER, price=None):
    return Run(layout, master, {} if price is None else {NIFTY_50: price})


def set_rule(run, rule=CHAIN, name="chain", watchlist="w", now_ms=NOW, **fields):
    return run.send("set-rule", now_ms, watchlist=watchlist, rule=name, claims=rule, **fields)


def held(run, claimant="w#chain"):
    return sorted(symbols(run.master, run.state.subscriptions.watchlists.get(claimant, ())))


def test_a_rule_claims_under_its_own_name_beside_its_watchlist():
    run = runs(price=25_000)
    run.send("subscribe", NOW, watchlist="w", instruments=["NSE:INFY", NIFTY_50], mode="ltp")
    reply = set_rule(run, mode="full", by="asha")
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", 7, 2)
    assert "matched" not in reply
    assert run.state.subscriptions[NIFTY_50].claims == {"w": Mode.LTP, "w#chain": Mode.FULL}
    assert held(run) == [
        "NFO:NIFTY26120124950CE", "NFO:NIFTY26120124950PE", "NFO:NIFTY26120125000CE",
        "NFO:NIFTY26120125000PE", "NFO:NIFTY26120125050CE", "NFO:NIFTY26120125050PE",
        "NSE:NIFTY 50",
    ]  # fmt: skip
    (event,) = run.outcome.events
    assert event.type is EventType.RULE_CHANGED
    assert event.reason == "w#chain: +7 -0, 7 now, 2026-12-01 around 25000"
    assert (event.instruments, len(event.tokens)) == (7, 7)


def test_a_dry_run_tells_what_a_rule_matches_and_changes_nothing():
    run = runs(price=25_000)
    reply = set_rule(run, FUTURES, dry_run=True)
    assert reply["matched"] == ["NFO:NIFTY26DECFUT", "NFO:INFY26DECFUT"]
    assert (run.state.rules, len(run.state.subscriptions), run.outcome.records) == ({}, 0, ())


def test_a_rule_that_matches_nothing_is_rejected_with_the_reason():
    run = runs()
    reply = set_rule(run, {**CHAIN, "underlying": "NIFTI"})
    assert (reply["status"], reply["revision"]) == ("REJECTED", 0)
    assert reply["errors"] == [
        "rule: underlying: the list has no contracts on NIFTI; perhaps NIFTY"
    ]
    assert run.state.rules == {}


def test_a_rule_without_room_is_rejected_with_the_number():
    run = runs(Layout((0,), 6), price=25_000)
    reply = set_rule(run)
    assert (reply["status"], len(reply["refused"])) == ("REJECTED", 1)
    (error,) = reply["errors"]
    assert "1 of its 7 instruments are refused: no room: 1 slots carry 6 each" in error
    assert len(run.state.subscriptions) == 0


def test_a_rule_of_the_same_name_is_replaced_and_keeps_its_window():
    run = runs(price=25_000)
    set_rule(run)
    run.prices = {NIFTY_50: 25_030}
    reply = set_rule(run, {**CHAIN, "strikes": 0}, mode="full")
    assert reply["accepted"] == 3
    assert run.state.rules["w#chain"].window.middle == 25_000
    assert run.modes()[NIFTY_50] == "full"
    set_rule(run, FUTURES)
    assert held(run) == ["NFO:INFY26DECFUT", "NFO:NIFTY26DECFUT"]
    assert run.state.rules["w#chain"].window is None


def test_a_rule_may_name_an_account_that_there_is():
    run = runs(price=25_000)
    assert "no account" in set_rule(run, account="third")["errors"][0]
    set_rule(run, account="second")
    assert set(run.slots().values()) == {2}
    set_rule(run, account="main")
    assert set(run.slots().values()) <= {0, 1}


def test_delete_rule_gives_up_what_nobody_else_claims():
    run = runs(price=25_000)
    run.send("subscribe", NOW, watchlist="w", instruments=[NIFTY_50], mode="ltp")
    set_rule(run, mode="full")
    reply = run.send("delete-rule", NOW, watchlist="w", rule="chain")
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 7)
    assert run.modes() == {NIFTY_50: "ltp"}
    assert run.state.rules == {}
    assert run.outcome.events[0].reason == "w#chain: +0 -7, 0 now"


def test_delete_rule_names_those_that_there_are():
    run = runs()
    set_rule(run, FUTURES, "near")
    reply = run.send("delete-rule", NOW, watchlist="w", rule="chain")
    assert reply["errors"] == ["rule: watchlist w has no rule chain; it has near"]


def test_delete_ends_a_watchlist_with_its_rules():
    run = runs(price=25_000)
    set_rule(run)
    set_rule(run, FUTURES, "near")
    set_rule(run, FUTURES, "near", watchlist="other")
    reply = run.send("delete", NOW, watchlist="w")
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 9)
    assert list(run.state.rules) == ["other#near"]
    assert len(run.state.subscriptions) == 2
    assert run.send("delete", NOW, watchlist="w")["status"] == "REJECTED"


def test_what_a_watchlist_claims_by_itself_and_by_rules_are_two_things():
    run = runs()
    set_rule(run, FUTURES, "near")
    infy = "NFO:INFY26DECFUT"
    assert run.send("unsubscribe", NOW, watchlist="w", instruments=[infy])["status"] == "REJECTED"
    reply = run.send("set-mode", NOW, watchlist="w", mode="full")
    assert "set-rule sets a rule's mode" in reply["errors"][0]
    run.send("replace", NOW, watchlist="w", instruments=["NSE:INFY"])
    run.send("replace", NOW, watchlist="w", instruments=[])
    assert held(run, "w#near") == [infy, "NFO:NIFTY26DECFUT"]


def test_rules_are_steps_of_a_sequence():
    run = runs(price=25_000)
    steps = [
        {"type": "set-rule", "watchlist": "w", "rule": "chain", "claims": CHAIN},
        {"type": "set-rule", "watchlist": "w", "rule": "near", "claims": FUTURES},
        {"type": "delete-rule", "watchlist": "w", "rule": "near"},
    ]
    reply = run.send("sequence", NOW, steps=steps)
    assert (reply["status"], list(run.state.rules)) == ("APPLIED", ["w#chain"])
    assert [event.type for event in run.outcome.events] == [EventType.RULE_CHANGED] * 3
    bad = [*steps[:2], {**steps[0], "rule": "none", "claims": {**CHAIN, "underlying": "X"}}]
    reply = run.send("sequence", NOW, steps=bad)
    assert reply["errors"][0].startswith("steps[2]: rule: underlying: the list has no contracts")
    assert list(run.state.rules) == ["w#chain"]


def test_a_quota_counts_an_instrument_of_a_watchlist_once():
    run = runs(LAYOUT._replace(watchlist_quota=7), price=25_000)
    run.send("subscribe", NOW, watchlist="w", instruments=[NIFTY_50])
    assert set_rule(run)["status"] == "APPLIED"
    reply = set_rule(run, FUTURES, "near")
    assert "watchlist w may claim 7 instruments" in reply["errors"][0]
    reply = run.send("subscribe", NOW, watchlist="w", instruments=["NSE:INFY"])
    assert "watchlist w may claim 7 instruments" in reply["refused"][0]["reason"]
    already = "NFO:NIFTY26120125000CE"
    assert run.send("subscribe", NOW, watchlist="w", instruments=[already])["accepted"] == 1


def test_there_are_only_so_many_rules(monkeypatch):
    monkeypatch.setattr(rule_changes, "MAX_RULES", 1)
    run = runs()
    set_rule(run, FUTURES, "near")
    assert "there are 1 already" in set_rule(run, FUTURES, "other")["errors"][0]
    assert set_rule(run, FUTURES, "near", mode="full")["status"] == "APPLIED"


def test_a_change_of_a_definition_alone_is_a_revision_and_trouble_is_none():
    run = runs()
    set_rule(run, FUTURES, "near")
    assert set_rule(run, {**FUTURES, "expiry": "nearest"}, "near")["revision"] == 2
    run.master = InstrumentMaster(one for one in MASTER if one.exchange == "NSE")
    (event,) = run.keep("w#near")
    assert (event.type, run.state.revision) == (EventType.RULE_KEPT, 2)


# the leader keeps them


def test_a_chain_waits_for_the_first_price():
    run = runs()
    reply = set_rule(run)
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
    assert held(run) == ["NSE:NIFTY 50"]
    assert reply["waits"] == run.state.rules["w#chain"].problem
    assert "no price of NSE:NIFTY 50 has come yet" in run.state.rules["w#chain"].problem
    assert run.keep("w#chain") == ()
    run.prices = {NIFTY_50: 25_000}
    (event,) = run.keep("w#chain")
    assert event.reason == "w#chain: +6 -0, 7 now, 2026-12-01 around 25000"
    assert run.state.rules["w#chain"].problem is None


def test_a_chain_follows_the_price_so_often_and_no_oftener():
    run = runs(price=25_000)
    set_rule(run)
    run.prices = {NIFTY_50: 25_060}
    assert run.keep("w#chain", NOW + MOVE_MS - 1) == ()
    assert run.outcome.records == ()
    (event,) = run.keep("w#chain", NOW + MOVE_MS)
    assert event.reason == "w#chain: +2 -2, 7 now, 2026-12-01 around 25050"
    assert held(run)[0] == "NFO:NIFTY26120125000CE"
    run.prices = {NIFTY_50: 25_200}
    assert run.keep("w#chain", NOW + MOVE_MS + 5) == ()
    assert run.keep("w#chain", NOW + 2 * MOVE_MS) != ()
    # of a clock that was set back nobody waits
    run.prices = {NIFTY_50: 25_300}
    assert run.keep("w#chain", NOW - DAY_MS) != ()


def test_a_new_day_takes_a_chain_to_the_next_expiry():
    run = runs(price=25_000)
    set_rule(run)
    run.keep("w#chain", NOW + DAY_MS)
    assert "NFO:NIFTY26120825000CE" in held(run)
    assert len(held(run)) == 7


def test_a_list_that_was_cut_takes_nothing_from_a_rule():
    run = runs()
    set_rule(run, {"type": "pattern", "pattern": "NSE:*"}, "all")
    run.master = InstrumentMaster(one for one in MASTER if one.tradingsymbol != "TCS")
    assert run.keep("w#all") == ()
    assert MASTER.token("NSE:TCS") in run.state.subscriptions
    run.master = InstrumentMaster(one for one in MASTER if one.exchange != "NSE")
    (event,) = run.keep("w#all")
    assert (event.type, event.instruments) == (EventType.RULE_KEPT, 4)
    assert "the list has no instruments of NSE" in run.state.rules["w#all"].problem
    assert run.keep("w#all") == ()  # told once
    run.master = MASTER
    (event,) = run.keep("w#all")
    assert (event.type, event.reason) == (EventType.RULE_CHANGED, "w#all: it is followed again")


def test_a_cell_that_cannot_be_read_takes_nothing_from_a_rule():
    run = runs(price=25_000)
    set_rule(run)
    set_rule(run, FUTURES, name="futures")
    before, futures = held(run), held(run, "w#futures")
    odd = [{"strike": 0.0}, {"expiry": None}, {"instrument_type": ""}]
    damage = dict(zip(before[0:6:2], odd, strict=True)) | {futures[0]: {"expiry": None}}
    run.master = InstrumentMaster(one._replace(**damage.get(one.symbol, {})) for one in MASTER)
    for claimant in ("w#chain", "w#futures"):
        run.keep(claimant, NOW)
    assert held(run) == before
    assert set(futures) <= set(held(run, "w#futures"))
    # no strike at all: the chain is none
    run.master = InstrumentMaster(one._replace(strike=0.0) for one in MASTER)
    run.keep("w#chain", NOW)
    assert held(run) == before
    assert run.state.rules["w#chain"].problem == (
        "the list has no strikes of NIFTY's options of 2026-12-01"
    )
    # its last trading day ends it all the same
    later = InstrumentMaster(one for one in MASTER if one.expiry is None or one.expiry > TODAY)
    run.master = later
    run.keep("w#chain", NOW + DAY_MS)
    assert "NSE:NIFTY 50" in held(run)
    assert not (set(before) - {"NSE:NIFTY 50"}) & set(held(run))


def test_what_leaves_a_list_leaves_a_rule_when_its_last_day_is_over():
    run = runs()
    set_rule(run, {"type": "pattern", "pattern": "NFO:*", "kinds": ["FUT"]}, "all")
    gone = MASTER.token("NFO:INFY26DECFUT")
    run.master = InstrumentMaster(one for one in MASTER if one.instrument_token != gone)
    run.keep("w#all", NOW + 10 * DAY_MS)
    assert gone in run.state.subscriptions
    run.keep("w#all", NOW + 40 * DAY_MS)
    assert gone not in run.state.subscriptions
    assert held(run, "w#all") == ["NFO:INFY27JANFUT", "NFO:NIFTY27JANFUT"]


def test_a_running_rule_without_room_keeps_what_it_has():
    run = runs(Layout((0,), 8), price=25_000)
    set_rule(run)
    run.send("subscribe", NOW, watchlist="v", instruments=["NFO:NIFTY26120124950CE", "NSE:TCS"])
    before = held(run)
    run.prices = {NIFTY_50: 25_060}
    (event,) = run.keep("w#chain", NOW + MOVE_MS)
    assert event.type is EventType.RULE_KEPT
    assert "are refused: no room" in event.reason
    assert (held(run), run.state.rules["w#chain"].window.middle) == (before, 25_000)
    run.send("delete", NOW, watchlist="v")
    (event,) = run.keep("w#chain", NOW + MOVE_MS)
    assert event.type is EventType.RULE_CHANGED
    assert run.state.rules["w#chain"].window.middle == 25_050


def test_a_rule_that_ended_meanwhile_is_not_kept():
    run = runs()
    assert run.keep("w#gone") == ()
    assert run.outcome.records == ()


def test_a_record_that_is_none_is_taken_away():
    with pytest.raises(ValueError, match="rule"):
        HeldRule.decode(b"{}")
    with pytest.raises(ValueError, match="type"):
        HeldRule.decode(json.dumps({"rule": {"type": "no"}, "mode": "full"}).encode())


def test_the_day_is_indias():
    run = runs()
    late = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(hours=18, minutes=31)
    reply = set_rule(run, {**FUTURES, "expiry": str(TODAY)}, now_ms=int(late.timestamp() * 1000))
    assert reply["status"] == "REJECTED"
