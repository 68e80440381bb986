"""What each type of command does."""

import json

from connector.control.commands import COMMAND
from connector.control.records import StateRecord, Subscription
from connector.control.reducer import reduce
from connector.control.state import Layout
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode
from tests.support.reduction import MASTER, A, B, C, D, E, F, G, Run, writes


def test_subscribe_places_on_the_emptiest_slot():
    run = Run()
    reply = run.send("subscribe", instruments=[A, B, C, D], mode="full")
    assert run.slots() == {A: 0, B: 1, C: 2, D: 0}
    assert reply == {
        "id": "c1",
        "status": "APPLIED",
        "type": "subscribe",
        "watchlist": "default",
        "revision": 1,
        "accepted": 4,
        "refused": [],
        "errors": [],
        "dry_run": False,
    }


def test_records_go_to_the_slots_partition():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=[A, "NSE:B"])
    assert writes(run.outcome) == [
        StateRecord(0, str(A), Subscription(0, {"w": Mode.QUOTE}, "NSE:A", 1).encoded(A)),
        StateRecord(1, str(B), Subscription(1, {"w": Mode.QUOTE}, "NSE:B", 1).encoded(B)),
    ]


def test_a_symbol_of_any_case_is_the_same_instrument():
    run = Run()
    assert run.send("subscribe", instruments=["nse:a", "NSE:A", A])["accepted"] == 1
    assert run.state.subscriptions[A].symbol == "NSE:A"


def test_overflow_is_refused_by_name_and_nothing_else_is_lost():
    run = Run()
    run.send("subscribe", instruments=[D, E])
    reply = run.send("subscribe", watchlist="w", instruments=[F, "NSE:A", G, D, "NSE:B", "NSE:C"])
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 5)
    assert reply["refused"] == [{"instrument": "NSE:C", "reason": "no room: 3 slots carry 2 each"}]
    assert set(run.slots()) == {A, B, D, E, F, G}


def test_when_nothing_is_accepted_it_is_a_rejection():
    run = Run()
    reply = run.send("subscribe", instruments=["NSE:X", 77])
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("REJECTED", 0, 0)
    assert reply["refused"] == [
        {"instrument": "NSE:X", "reason": "not in the instrument master"},
        {"instrument": 77, "reason": "no exchange has the segment 77"},
    ]


def test_the_highest_claim_wins_and_no_one_takes_it_from_another():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=[A], mode="ltp")
    run.send("subscribe", watchlist="y", instruments=[A], mode="full")
    run.send("subscribe", watchlist="z", instruments=[A], mode="quote")
    assert run.modes() == {A: "full"}
    run.send("unsubscribe", watchlist="y", instruments=[A])
    assert run.modes() == {A: "quote"}
    run.send("delete", watchlist="z")
    assert run.modes() == {A: "ltp"}
    run.send("unsubscribe", watchlist="x", instruments=["NSE:A"])
    assert run.modes() == {}
    assert writes(run.outcome) == [StateRecord(0, str(A), None)]


def test_subscribe_again_changes_the_watchlists_own_mode():
    run = Run()
    run.send("subscribe", instruments=[A], mode="full")
    assert run.send("subscribe", instruments=[A], mode="ltp")["revision"] == 2
    assert run.modes() == {A: "ltp"}


def test_no_change_is_no_revision():
    run = Run()
    run.send("subscribe", instruments=[A])
    reply = run.send("subscribe", instruments=[A])
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", 1, 1)
    assert writes(run.outcome) == []


def test_unsubscribe_what_is_not_claimed():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=[A])
    reply = run.send("unsubscribe", watchlist="y", instruments=[A])
    assert reply["status"] == "REJECTED"
    assert reply["refused"] == [{"instrument": A, "reason": "not in watchlist y"}]
    reply = run.send("unsubscribe", watchlist="x", instruments=[A, B])
    assert (reply["status"], reply["accepted"], len(reply["refused"])) == ("APPLIED", 1, 1)


def test_set_mode_of_some_and_of_all():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=[A, B], mode="ltp")
    reply = run.send("set-mode", watchlist="w", instruments=[A, C], mode="full")
    assert run.modes() == {A: "full", B: "ltp"}
    assert reply["refused"] == [{"instrument": C, "reason": "not in watchlist w"}]
    assert run.send("set-mode", watchlist="w", mode="quote")["accepted"] == 2
    assert run.modes() == {A: "quote", B: "quote"}
    assert len(writes(run.outcome)) == 2
    reply = run.send("set-mode", watchlist="none", mode="quote")
    assert reply["errors"] == ["watchlist: none has no instruments"]


def test_replace_is_the_whole_watchlist():
    run = Run()
    run.send("subscribe", watchlist="other", instruments=[B], mode="ltp")
    run.send("subscribe", watchlist="w", instruments=[A, B, C], mode="full")
    reply = run.send("replace", watchlist="w", instruments=[C, D], mode="quote")
    assert reply["accepted"] == 2
    assert run.modes() == {B: "ltp", C: "quote", D: "quote"}


def test_replace_gives_room_before_it_takes_it():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=[A, B, C, D, E, F])
    assert run.send("replace", watchlist="w", instruments=[F, G])["refused"] == []
    assert set(run.slots()) == {F, G}


def test_replace_with_nothing_empties():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=[A, B])
    assert run.send("replace", watchlist="w", instruments=[])["status"] == "APPLIED"
    assert run.slots() == {}


def test_replace_with_only_unknown_names_leaves_the_watchlist():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=[A, B])
    reply = run.send("replace", watchlist="w", instruments=["NSE:X"])
    assert reply["status"] == "REJECTED"
    assert set(run.slots()) == {A, B}


def test_names_in_use_are_known_without_a_master():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=["NSE:A", B])
    run.master = InstrumentMaster()
    reply = run.send("replace", watchlist="w", instruments=["NSE:A", "NSE:C"])
    assert reply["accepted"] == 1
    assert set(run.slots()) == {A}


def test_a_name_is_noted_when_it_becomes_known():
    run = Run(master=InstrumentMaster())
    run.send("subscribe", instruments=[A])
    assert run.state.subscriptions[A].symbol is None
    run.master = MASTER
    run.send("subscribe", instruments=["NSE:A"])
    assert run.state.subscriptions[A].symbol == "NSE:A"


def test_reconnect_tells_the_slots_owner():
    run = Run()
    assert run.send("reconnect", slot=2, now_ms=7)["accepted"] == 1
    (record,) = writes(run.outcome)
    assert (record.partition, record.key) == (2, "@reconnect")
    assert json.loads(record.value) == {"id": "c1", "time_ms": 7}
    assert run.state.revision == 0
    assert run.send("reconnect", slot=3)["errors"] == [
        "slot: there is no slot 3; there are 0, 1, 2"
    ]


def test_rebalance_moves_as_few_as_it_must():
    run = Run(Layout((0, 1), 4))
    run.send("subscribe", watchlist="keep", instruments=[A, C, E])
    run.send("subscribe", watchlist="go", instruments=[B, D, F])
    assert run.slots() == {A: 0, C: 1, E: 0, B: 1, D: 0, F: 1}
    run.send("delete", watchlist="go")
    run.send("subscribe", instruments=[G, B])
    run.send("unsubscribe", watchlist="keep", instruments=[C])
    run.send("unsubscribe", instruments=[G, B])
    assert run.slots() == {A: 0, E: 0}
    reply = run.send("rebalance")
    assert reply["accepted"] == 1
    assert run.slots() == {A: 0, E: 1}
    new, old = writes(run.outcome)
    assert (new.partition, new.key, new.moved_to) == (1, str(E), None)
    assert old == StateRecord(0, str(E), None, moved_to=1)
    assert run.send("rebalance")["accepted"] == 0


def test_status():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=[A, B], mode="ltp")
    run.send("subscribe", watchlist="y", instruments=[A], mode="full")
    reply = run.send("status")
    assert run.outcome.records == ()
    assert reply["payload"] == {
        "instruments": 2,
        "capacity": 6,
        "slots": [
            {"slot": 0, "instruments": 1, "capacity": 2},
            {"slot": 1, "instruments": 1, "capacity": 2},
            {"slot": 2, "instruments": 0, "capacity": 2},
        ],
        "watchlists": {"x": 2, "y": 1},
        "rules": [],
        "limits": {},
        "modes": {"full": 1, "ltp": 1},
        "unplaced": 0,
    }


def test_there_are_no_more_watchlists_than_may_be(monkeypatch):
    monkeypatch.setattr("connector.control.draft.MAX_WATCHLISTS", 2)
    run = Run()
    for name in ("x", "y"):
        assert run.send("subscribe", watchlist=name, instruments=[A])["status"] == "APPLIED"
    reply = run.send("subscribe", watchlist="z", instruments=[A])
    assert (reply["status"], reply["errors"][0][:20]) == ("REJECTED", "watchlist: there are")
    assert run.send("replace", watchlist="z", instruments=[A])["status"] == "REJECTED"
    # those that there are may go on, and leave room
    assert run.send("subscribe", watchlist="y", instruments=[B])["status"] == "APPLIED"
    assert run.send("delete", watchlist="x")["status"] == "APPLIED"
    assert run.send("subscribe", watchlist="z", instruments=[A])["status"] == "APPLIED"


def test_an_instrument_is_claimed_by_no_more_watchlists_than_may(monkeypatch):
    monkeypatch.setattr("connector.control.draft.MAX_CLAIMS_OF_INSTRUMENT", 2)
    run = Run()
    for name in ("x", "y"):
        run.send("subscribe", watchlist=name, instruments=[A])
    reply = run.send("subscribe", watchlist="z", instruments=["NSE:A", B])
    assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
    assert [refusal["instrument"] for refusal in reply["refused"]] == ["NSE:A"]
    assert "watchlists claim it already" in reply["refused"][0]["reason"]
    # a claim that there is may change
    assert run.send("set-mode", watchlist="y", mode="full")["accepted"] == 1
    assert run.send("subscribe", watchlist="y", instruments=[A], mode="ltp")["accepted"] == 1


def test_there_are_no_more_claims_than_may_be(monkeypatch):
    monkeypatch.setattr("connector.control.draft.MAX_CLAIMS", 3)
    run = Run()
    run.send("subscribe", watchlist="x", instruments=[A, B])
    reply = run.send("subscribe", watchlist="y", instruments=[B, C, D])
    assert (reply["accepted"], len(reply["refused"])) == (1, 2)
    assert all("claims already" in refusal["reason"] for refusal in reply["refused"])
    assert run.send("replace", watchlist="x", instruments=[C, D])["accepted"] == 2
    assert run.state.subscriptions.claims == 3


def test_what_the_settings_name_has_no_such_bounds(monkeypatch):
    for bound in ("MAX_WATCHLISTS", "MAX_CLAIMS_OF_INSTRUMENT", "MAX_CLAIMS"):
        monkeypatch.setattr(f"connector.control.draft.{bound}", 0)
    run = Run()
    command = COMMAND.validate_python(
        {"id": "1", "type": "replace", "watchlist": "w", "instruments": [A]}
    ).model_copy(update={"id": "@settings", "watchlist": "@settings:quote"})
    run.take(reduce(run.state, command, 0, MASTER))
    assert set(run.slots()) == {A}


def test_status_tells_of_watchlists_page_by_page(monkeypatch):
    monkeypatch.setattr("connector.control.status.STATUS_WATCHLISTS", 2)
    run = Run()
    for name in "edcba":
        run.send("subscribe", watchlist=name, instruments=[A])
    pages, after = [], None
    while after is not None or not pages:
        payload = run.send("status", **({"after": after} if after else {}))["payload"]
        pages.append(list(payload["watchlists"]))
        after = payload.get("after")
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_tokens_that_the_list_does_not_have_are_refused_unless_told_otherwise():
    run = Run()
    invented = [n << 8 | 1 for n in range(1000, 1100)]
    reply = run.send("subscribe", instruments=[A, *invented], unlisted=False)
    assert (reply["accepted"], len(reply["refused"])) == (1, 100)
    assert "`unlisted` accepts it" in reply["refused"][0]["reason"]
    reply = run.send("replace", watchlist="w", instruments=invented, unlisted=False)
    assert reply["status"] == "REJECTED"
    assert set(run.slots()) == {A}
    assert run.send("subscribe", instruments=[D], unlisted=True)["accepted"] == 1
    # what is subscribed is never in doubt: the list may be a bad one
    assert run.send("subscribe", watchlist="w", instruments=[D], unlisted=False)["accepted"] == 1
    assert run.send("unsubscribe", watchlist="w", instruments=[D])["accepted"] == 1


def test_without_a_list_every_token_is_accepted():
    run = Run(master=InstrumentMaster())
    assert run.send("subscribe", instruments=[D], unlisted=False)["accepted"] == 1


def test_a_watchlist_has_no_more_than_its_quota():
    run = Run(layout=Layout((0, 1, 2), 3000, watchlist_quota=3))
    reply = run.send("subscribe", watchlist="w", instruments=[A, B, C, D])
    assert reply["accepted"] == 3
    assert [one["instrument"] for one in reply["refused"]] == [D]
    assert "watchlist w may claim 3 instruments" in reply["refused"][0]["reason"]
    # what it has it may change; another has a quota of its own
    assert run.send("subscribe", watchlist="w", instruments=[A], mode="full")["refused"] == []
    assert run.send("subscribe", watchlist="v", instruments=[D])["accepted"] == 1
    assert run.send("replace", watchlist="w", instruments=[D, E, F])["refused"] == []


def test_a_sequence_is_done_in_its_order():
    run = Run()
    run.send("subscribe", watchlist="a", instruments=[A, B, C, D, E, F], mode="ltp")
    reply = run.send(
        "sequence",
        by="deploy",
        steps=[
            {"type": "unsubscribe", "watchlist": "a", "instruments": [A]},
            {"type": "set-mode", "watchlist": "a", "mode": "full", "instruments": [B]},
            {"type": "subscribe", "watchlist": "b", "instruments": [G], "unlisted": True},
        ],
    )
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", 3, 2)
    assert (reply["type"], reply["by"]) == ("sequence", "deploy")
    assert run.modes() == {B: "full", C: "ltp", D: "ltp", E: "ltp", F: "ltp", G: "quote"}


def test_a_sequence_is_done_in_full_or_not_at_all():
    run = Run()
    run.send("subscribe", watchlist="a", instruments=[A])
    before = run.state.subscriptions
    reply = run.send(
        "sequence",
        steps=[
            {"type": "delete", "watchlist": "a"},
            {"type": "subscribe", "watchlist": "b", "instruments": ["NSE:B", "NSE:NONE"]},
            {"type": "delete", "watchlist": "c"},
        ],
    )
    assert reply["status"] == "REJECTED"
    assert [one["instrument"] for one in reply["refused"]] == ["NSE:NONE"]
    assert reply["errors"][0] == "steps[2]: watchlist: c has no instruments"
    assert "nothing was changed" in reply["errors"][1]
    assert run.state.subscriptions == before


def test_a_sequence_that_changes_the_same_again_and_again_ends(monkeypatch):
    monkeypatch.setattr("connector.control.draft.MAX_CHANGES", 10)
    run = Run()
    run.send("subscribe", watchlist="a", instruments=[A, B, C], mode="ltp")
    before = run.state.subscriptions
    steps = [
        {"type": "set-mode", "watchlist": "a", "mode": mode} for mode in ("full", "ltp", "quote")
    ]
    reply = run.send("sequence", steps=[*steps, *steps])
    assert reply["status"] == "REJECTED"
    assert reply["errors"][0].startswith("steps[3]: with it the steps change more than")
    assert run.state.subscriptions == before
    assert run.send("sequence", steps=steps)["status"] == "APPLIED"
