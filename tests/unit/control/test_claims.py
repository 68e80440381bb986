"""Claims that name an account."""

from connector.control.claims import Claim, claimed, has_to_move, without_conflicts
from connector.control.records import Subscription
from connector.control.state import Layout
from connector.kite.wire.models import Mode
from tests.support.reduction import A, B, C, D, E, F, G, Run

TWO = Layout((0, 1, 3, 4), 2, None, (("a", (0, 1)), ("b", (3, 4))))
OLD = Subscription(0, {"w": Mode.FULL}, None, 1, None, {"w": "a"})


def accounts(run):
    return {token: one.account for token, one in run.state.subscriptions.items()}


def test_a_claim_without_a_change_leaves_the_same_object():
    assert claimed({A: OLD}, {}, Claim("w", Mode.FULL, "a"), 2)[A] is OLD


def test_a_claim_that_names_no_account_any_more_frees_the_instrument_where_it_is():
    freed = claimed({A: OLD}, {}, Claim("w", Mode.FULL, None), 2)[A]
    assert (freed.slot, freed.account, freed.revision) == (0, None, 2)


def test_only_what_the_claim_takes_elsewhere_moves():
    free = OLD._replace(accounts={})
    assert has_to_move(free, "w", "b", (3, 4))
    assert not has_to_move(free, "w", "a", (0, 1))
    assert not has_to_move(free, "w", None, (0, 1, 3, 4))
    assert not has_to_move(OLD, "x", "b", (3, 4))  # w named another one first


def test_the_first_account_that_is_named_stays():
    tokens, refused = without_conflicts("x", "b", {A: "NSE:A"}, {A: OLD})
    assert (tokens, refused) == ({}, [("NSE:A", "watchlist w placed it on account a")])
    assert without_conflicts("x", "a", {A: A}, {A: OLD}) == ({A: A}, [])
    assert without_conflicts("x", None, {A: A}, {A: OLD}) == ({A: A}, [])
    assert without_conflicts("@settings:full:b", "b", {A: A}, {A: OLD}) == ({A: A}, [])


def test_the_named_account_alone_carries_the_instruments():
    run = Run(TWO)
    reply = run.send("subscribe", watchlist="w", instruments=[A, B, C, D], account="b")
    assert (reply["accepted"], run.slots()) == (4, {A: 3, B: 4, C: 3, D: 4})
    reply = run.send("subscribe", watchlist="w", instruments=[E])  # the watchlist is on b
    assert (reply["status"], reply["refused"]) == (
        "REJECTED",
        [{"instrument": E, "reason": "no room: 2 slots of account b carry 2 each"}],
    )
    assert run.send("subscribe", watchlist="x", instruments=[E, F])["accepted"] == 2


def test_an_account_that_is_not_there_is_named_with_those_that_are():
    run = Run(TWO)
    for kind in ("subscribe", "replace"):
        reply = run.send(kind, watchlist="w", instruments=[A], account="c")
        assert (reply["status"], reply["errors"]) == (
            "REJECTED",
            ["account: there is no account of this name; there are a, b"],
        )


def test_what_is_there_already_moves_to_the_account_that_is_named():
    run = Run(TWO)
    run.send("subscribe", watchlist="any", instruments=[A, B])
    assert run.slots() == {A: 0, B: 1}
    assert run.send("subscribe", watchlist="w", instruments=[A], account="b")["accepted"] == 1
    assert run.slots() == {A: 3, B: 1}
    # nobody names it any more: it may stay
    run.send("delete", watchlist="w")
    assert (run.slots(), accounts(run)) == ({A: 3, B: 1}, {A: None, B: None})


def test_another_watchlist_cannot_take_it_to_another_account():
    run = Run(TWO)
    run.send("subscribe", watchlist="w", instruments=[A], account="a")
    reply = run.send("subscribe", watchlist="x", instruments=[A, B], account="b")
    assert (reply["accepted"], reply["refused"]) == (
        1,
        [{"instrument": A, "reason": "watchlist w placed it on account a"}],
    )
    run.send("delete", watchlist="w")
    assert run.send("subscribe", watchlist="x", instruments=[A])["accepted"] == 1
    assert (run.slots(), accounts(run)) == ({A: 4, B: 3}, {A: "b", B: "b"})


def test_a_watchlist_is_on_one_account_until_it_is_replaced():
    run = Run(TWO)
    run.send("subscribe", watchlist="w", instruments=[A])
    reply = run.send("subscribe", watchlist="w", instruments=[B], account="b")
    assert reply["errors"] == ["account: watchlist w is on no account; replace it, or use another"]
    assert run.send("replace", watchlist="w", instruments=[A, B], account="b")["accepted"] == 2
    assert run.slots() == {A: 3, B: 4}
    run.send("set-mode", watchlist="w", mode="full")
    assert accounts(run) == {A: "b", B: "b"}
    assert run.send("replace", watchlist="w", instruments=[A, B])["accepted"] == 2
    assert (run.slots(), accounts(run)) == ({A: 3, B: 4}, {A: None, B: None})


def test_a_watchlist_goes_to_another_account_as_a_whole_or_not_at_all():
    run = Run(TWO)
    run.send("subscribe", watchlist="full", instruments=[D, E, F], account="b")
    run.send("subscribe", watchlist="w", instruments=[A, B], account="a")
    reply = run.send("replace", watchlist="w", instruments=[A, B, C], account="b")
    assert reply["status"] == "REJECTED"
    assert [one["reason"] for one in reply["refused"]] == [
        "no room: 2 slots of account b carry 2 each"
    ] * 2
    assert (accounts(run)[A], run.state.subscriptions.get(C)) == ("a", None)
    # of new ones those that have room are taken, as ever
    reply = run.send("replace", watchlist="new", instruments=[G, C], account="b")
    assert (reply["accepted"], len(reply["refused"])) == (1, 1)
