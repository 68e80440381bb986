"""What today's list makes of names and tokens that are claimed."""

from datetime import date

from connector.control.state import Layout
from connector.kite.feed.events import EventType
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode
from tests.support.masters import FakeMaster
from tests.support.reduction import A, B, C, D, E, Run


def test_refresh_gives_names_their_new_token():
    run = Run()
    run.send("subscribe", watchlist="w", instruments=["NSE:A", "NSE:B", D], mode="full")
    # A's token went to B, as tokens do after an expiry
    run.master = FakeMaster({"NSE:A": C, "NSE:B": A, "NSE:D": D})
    reply = run.send("refresh-instruments", now_ms=9)
    assert (reply["status"], reply["accepted"], reply["refused"]) == ("APPLIED", 3, [])
    assert {t: s.symbol for t, s in run.state.subscriptions.items()} == {
        A: "NSE:B",
        C: "NSE:A",
        D: "NSE:D",
    }
    assert run.slots() == {A: 1, C: 0, D: 2}
    assert [(e.type, e.slot, e.time_ms, e.reason, e.tokens) for e in run.outcome.events] == [
        (EventType.INSTRUMENT_CHANGED, 0, 9, "NSE:A", (A, C)),
        (EventType.INSTRUMENT_CHANGED, 1, 9, "NSE:B", (B, A)),
    ]


# 2026-01-29 23:59 and 2026-01-30 00:00 in India
LAST_MINUTE_MS = 1_769_711_340_000
NEXT_DAY_MS = LAST_MINUTE_MS + 60_000


def test_refresh_ends_what_has_expired_once_its_last_day_is_over():
    run = Run(master=FakeMaster({"NSE:A": A, "NSE:B": B}, {A: date(2026, 1, 29)}))
    run.send("subscribe", instruments=["NSE:A", "NSE:B"])
    assert run.state.subscriptions[A].expiry == date(2026, 1, 29)
    run.master = FakeMaster({"NSE:B": B})
    reply = run.send("refresh-instruments", now_ms=LAST_MINUTE_MS)
    kept = {"instrument": "NSE:A", "reason": "not in today's list: its claims are kept"}
    assert (reply["status"], reply["accepted"], reply["refused"]) == ("APPLIED", 1, [kept])
    assert (set(run.slots()), run.outcome.events) == ({A, B}, ())
    reply = run.send("refresh-instruments", now_ms=NEXT_DAY_MS)
    assert reply["refused"] == [{"instrument": "NSE:A", "reason": "expired on 2026-01-29"}]
    assert set(run.slots()) == {B}
    assert [event.type for event in run.outcome.events] == [EventType.INSTRUMENT_EXPIRED]


def test_what_is_listed_is_kept_however_old_the_list_says_it_is():
    run = Run(master=FakeMaster({"NSE:A": A}, {A: date(2026, 1, 29)}))
    run.send("subscribe", instruments=["NSE:A"])
    assert run.send("refresh-instruments", now_ms=NEXT_DAY_MS)["accepted"] == 1


def test_a_list_that_names_an_instrument_cannot_end_it_before_its_day():
    run = Run(master=FakeMaster({"NSE:A": A, "NSE:B": B}, {A: date(2026, 2, 26)}))
    run.send("subscribe", instruments=["NSE:A", "NSE:B"])
    run.master = FakeMaster({"NSE:A": A, "NSE:B": B}, {A: date(2020, 1, 1)})
    run.send("refresh-instruments", now_ms=NEXT_DAY_MS)
    run.master = FakeMaster({"NSE:B": B})
    run.send("refresh-instruments", now_ms=NEXT_DAY_MS)
    assert set(run.slots()) == {A, B}
    assert run.state.subscriptions[A].expiry == date(2026, 2, 26)


def test_what_a_list_lacks_is_kept_and_found_again():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=["NSE:A", "NSE:B"])
    before = run.state.subscriptions
    run.master = FakeMaster({"NSE:C": C})
    for _ in range(5):
        run.send("refresh-instruments", now_ms=NEXT_DAY_MS)
    assert run.state.subscriptions == before
    # a watchlist can still name it, whole or in part
    assert run.send("replace", watchlist="x", instruments=["NSE:A", "NSE:B"])["accepted"] == 2
    assert run.send("unsubscribe", watchlist="x", instruments=["NSE:B"])["accepted"] == 1
    run.master = FakeMaster({"NSE:A": D})
    run.send("refresh-instruments", now_ms=NEXT_DAY_MS)
    assert set(run.slots()) == {D}


def test_an_operator_who_accepts_a_list_ends_what_it_lacks():
    run = Run()
    run.send("subscribe", instruments=["NSE:A", "NSE:B", D])
    run.master = FakeMaster({"NSE:B": B})
    reply = run.send("refresh-instruments", accept_list=True)
    assert reply["refused"] == [
        {"instrument": "NSE:A", "reason": "ended: not in the list that was accepted"}
    ]
    # of what was claimed by a token no list ever had the name
    assert set(run.slots()) == {B, D}
    assert [event.type for event in run.outcome.events] == [EventType.INSTRUMENT_EXPIRED]


def test_a_name_of_two_tokens_is_refused_with_both_and_keeps_the_one_it_has():
    run = Run(Layout((0,), 9))
    run.send("subscribe", watchlist="x", instruments=["NSE:A"])
    run.master = FakeMaster({"NSE:A": (B, A), "NSE:C": (C, D)})
    assert run.send("refresh-instruments")["accepted"] == 1
    assert set(run.slots()) == {A}
    reply = run.send("subscribe", watchlist="y", instruments=["NSE:A", "NSE:C", E])
    assert [refusal["reason"] for refusal in reply["refused"]] == [
        f"ambiguous: the list has it for the tokens {B}, {A}; give the token",
        f"ambiguous: the list has it for the tokens {C}, {D}; give the token",
    ]
    # who has it already means that one
    reply = run.send("replace", watchlist="x", instruments=["NSE:A"], mode="full")
    assert (reply["accepted"], reply["refused"]) == (1, [])
    assert run.send("unsubscribe", watchlist="x", instruments=["NSE:A"])["accepted"] == 1
    assert set(run.slots()) == {E}


def test_a_claim_whose_name_went_to_two_other_tokens_is_kept():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=["NSE:A"])
    run.master = FakeMaster({"NSE:A": (B, C)})
    assert "ambiguous" in run.send("refresh-instruments")["refused"][0]["reason"]
    assert set(run.slots()) == {A}
    assert run.send("set-mode", watchlist="x", instruments=["NSE:A"], mode="ltp")["accepted"] == 1


def test_refresh_joins_two_names_of_one_token():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=["NSE:A"], mode="full")
    run.send("subscribe", watchlist="x", instruments=["NSE:B"], mode="ltp")
    run.send("subscribe", watchlist="y", instruments=["NSE:B"], mode="ltp")
    run.master = FakeMaster({"NSE:A": B, "NSE:B": B})
    run.send("refresh-instruments")
    assert run.state.subscriptions[B].claims == {"x": Mode.FULL, "y": Mode.LTP}
    assert set(run.slots()) == {B}


def test_what_a_list_lacks_is_not_joined_with_the_instrument_that_has_its_token_now():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=["NSE:A"])
    run.send("subscribe", watchlist="y", instruments=["NSE:B"])
    run.master = FakeMaster({"NSE:B": A})
    reply = run.send("refresh-instruments")
    why = "ended: not in today's list, and its token is another instrument's now"
    assert reply["refused"] == [{"instrument": "NSE:A", "reason": why}]
    assert [(event.type, event.reason) for event in run.outcome.events] == [
        (EventType.INSTRUMENT_EXPIRED, "NSE:A"),
        (EventType.INSTRUMENT_CHANGED, "NSE:B"),
    ]
    assert {one.symbol: set(one.claims) for one in run.state.subscriptions.values()} == {
        "NSE:B": {"y"}
    }


def test_a_name_does_not_go_to_a_token_that_the_feed_has_no_prices_of():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=["NSE:A", "NSE:B"])
    strange = A | 0xFF
    run.master = FakeMaster({"NSE:A": strange, "NSE:B": B})
    why = "no exchange has the segment 255: its claims are kept"
    # whoever leads next could not read such a record, and the claim would be gone
    assert run.send("refresh-instruments")["refused"] == [{"instrument": "NSE:A", "reason": why}]
    assert set(run.slots()) == {A, B}


def test_a_claim_of_a_token_that_is_used_again_does_not_end_with_the_name_before():
    run = Run(master=FakeMaster({"NFO:OLD": A}, {A: date(2026, 1, 29)}))
    run.send("subscribe", watchlist="x", instruments=["NFO:OLD"])
    run.master = FakeMaster({"NFO:NEW": A}, {A: date(2026, 2, 26)})
    # before the leader has looked at the list
    run.send("subscribe", watchlist="y", instruments=["NFO:NEW"], now_ms=NEXT_DAY_MS)
    assert run.send("refresh-instruments", now_ms=NEXT_DAY_MS)["refused"] == []
    assert run.state.subscriptions[A].symbol == "NFO:NEW"
    assert run.state.subscriptions[A].expiry == date(2026, 2, 26)
    assert run.outcome.events == ()


def test_a_name_that_was_changed_is_known_by_the_new_one_once_somebody_claims_it():
    run = Run()
    run.send("subscribe", watchlist="x", instruments=["NSE:A"])
    run.master = FakeMaster({"NSE:Z": A})
    run.send("subscribe", watchlist="y", instruments=["NSE:Z"])
    run.master = FakeMaster({"NSE:Z": B, "NSE:A": C})
    run.send("refresh-instruments")
    assert {one.symbol: set(one.claims) for one in run.state.subscriptions.values()} == {
        "NSE:Z": {"x", "y"}
    }


def test_refresh_needs_a_master():
    run = Run()
    run.send("subscribe", instruments=["NSE:A"])
    run.master = InstrumentMaster()
    reply = run.send("refresh-instruments")
    assert (reply["status"], reply["errors"]) == (
        "REJECTED",
        ["the instrument master is not loaded"],
    )
    assert set(run.slots()) == {A}
