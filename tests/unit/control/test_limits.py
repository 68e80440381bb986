"""Quotas and priorities of watchlists."""

import pytest

from connector.control import draft
from connector.control.limits import MAX_TOLD, Limits, limits_records, priority_of, together
from connector.control.records import StateRecord
from connector.control.reply import Displaced
from connector.control.state import Layout
from connector.kite.feed.events import EventType
from tests.support.contracts_list import NIFTY_50, usual
from tests.support.reduction import A, B, C, D, E, F, G, Run, writes

FULL = Layout((0, 1), 2, None, (("main", (0,)), ("second", (1,))))


def limited(run, **priorities):
    for name, priority in priorities.items():
        assert run.send("set-limits", watchlist=name, priority=priority)["status"] == "APPLIED"


def claimed(run, watchlist, *instruments, **fields):
    return run.send("subscribe", watchlist=watchlist, instruments=instruments, **fields)


def test_limits_are_set_told_and_ended():
    run = Run()
    reply = run.send("set-limits", watchlist="w", quota=2, priority=-5, by="asha")
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", 0, 1)
    assert writes(run.outcome) == [StateRecord(0, "@limits:w", b'{"quota":2,"priority":-5}')]
    payload = run.send("status")["payload"]
    assert (payload["limits"], payload["watchlists"]) == (
        {"w": {"quota": 2, "priority": -5}}, {"w": 0}
    )  # fmt: skip
    assert run.send("set-limits", watchlist="w")["revision"] == 2
    assert writes(run.outcome) == [StateRecord(0, "@limits:w", None)]
    assert run.state.limits == {}
    assert run.send("set-limits", watchlist="w")["revision"] == 2


def test_a_quota_refuses_what_is_beyond_and_takes_nothing():
    run = Run()
    claimed(run, "w", A, B, C)
    run.send("set-limits", watchlist="w", quota=2)
    assert len(run.state.subscriptions) == 3
    (refusal,) = claimed(run, "w", D)["refused"]
    assert refusal["reason"] == "watchlist w may claim 2 instruments (its quota)"
    assert claimed(run, "w", A, mode="full")["accepted"] == 1
    assert claimed(run, "v", D)["accepted"] == 1


def test_of_two_quotas_the_smaller_counts():
    run = Run(Layout((0, 1, 2), 2, 1))
    run.send("set-limits", watchlist="w", quota=5)
    reply = claimed(run, "w", A, B)
    assert "cluster.watchlist_max_instruments" in reply["refused"][0]["reason"]


def test_what_has_the_lowest_priority_gives_way_and_of_it_the_latest():
    run = Run(FULL)
    claimed(run, "low", A)
    claimed(run, "low", B)
    claimed(run, "lower", C)
    claimed(run, "high", D)
    limited(run, high=10, lower=-1)
    reply = claimed(run, "high", E, F, mode="full")
    assert (reply["accepted"], reply["refused"]) == (2, [])
    assert reply["displaced"] == [
        {"watchlist": "low", "instruments": 1},
        {"watchlist": "lower", "instruments": 1},
    ]
    assert set(run.state.subscriptions) == {A, D, E, F}
    events = run.outcome.events
    assert [(one.type, one.tokens) for one in events] == [
        (EventType.INSTRUMENT_DISPLACED, (C,)),
        (EventType.INSTRUMENT_DISPLACED, (B,)),
    ]
    assert events[0].reason == "NSE:C of lower gave way to high"


def test_what_an_equal_or_a_higher_one_claims_too_stays():
    run = Run(FULL)
    claimed(run, "low", A, B, C, D)
    claimed(run, "equal", A)
    claimed(run, "higher", B)
    limited(run, high=1, equal=1, higher=2)
    reply = claimed(run, "high", E, F, G)
    assert (reply["accepted"], len(reply["refused"])) == (2, 1)
    assert set(run.state.subscriptions) == {A, B, E, F}


def test_without_a_higher_priority_who_comes_last_is_refused():
    run = Run(FULL)
    claimed(run, "a", A, B, C, D)
    limited(run, a=-3, b=-3)
    reply = claimed(run, "b", E)
    assert (reply["status"], reply.get("displaced")) == ("REJECTED", None)


def test_nothing_gives_way_while_there_is_room_or_where_none_is_needed():
    run = Run(FULL)
    claimed(run, "low", A, B, C)
    limited(run, high=1)
    assert "displaced" not in claimed(run, "high", A, B, E)
    assert len(run.state.subscriptions) == 4


def test_room_on_an_account_is_made_on_this_account():
    run = Run(FULL)
    claimed(run, "main", A, B, account="main")
    claimed(run, "second", C, D, account="second")
    limited(run, high=1)
    reply = claimed(run, "high", E, account="second")
    assert reply["displaced"] == [{"watchlist": "second", "instruments": 1}]
    assert run.slots()[E] == 1


def test_a_dry_run_tells_who_would_give_way():
    run = Run(FULL)
    claimed(run, "low", A, B, C, D)
    limited(run, high=1)
    reply = claimed(run, "high", E, dry_run=True)
    assert reply["displaced"] == [{"watchlist": "low", "instruments": 1}]
    assert set(run.state.subscriptions) == {A, B, C, D}


def test_a_sequence_that_is_not_done_displaces_nobody():
    run = Run(FULL)
    claimed(run, "low", A, B, C, D)
    limited(run, high=1)
    steps = [{"type": "subscribe", "watchlist": "high", "instruments": [E], "unlisted": True}]
    wrong = {"type": "delete", "watchlist": "none"}
    assert run.send("sequence", steps=[*steps, wrong])["status"] == "REJECTED"
    assert run.outcome.events == ()
    reply = run.send("sequence", steps=[*steps, {**steps[0], "instruments": [F]}])
    assert reply["displaced"] == [{"watchlist": "low", "instruments": 2}]
    assert len(run.outcome.events) == 2


def test_a_rule_gives_way_says_so_and_takes_the_room_again():
    futures = {"type": "futures", "exchange": "NFO"}
    run = Run(Layout((0,), 2), usual().master())
    run.send("set-rule", watchlist="low", rule="near", claims=futures)
    limited(run, high=1)
    claimed(run, "high", NIFTY_50)
    problem = run.state.rules["low#near"].problem
    assert problem == "1 of its instruments gave way to watchlist high"
    (event,) = run.keep("low#near")
    assert (event.type, len(run.state.subscriptions)) == (EventType.RULE_KEPT, 2)
    run.send("delete", watchlist="high")
    (event,) = run.keep("low#near")
    assert (event.type, event.instruments) == (EventType.RULE_CHANGED, 2)


def test_a_rule_of_a_higher_priority_takes_room_and_in_full_or_not_at_all():
    futures = {"type": "futures", "exchange": "NFO"}
    run = Run(Layout((0,), 2), usual().master())
    claimed(run, "low", NIFTY_50)
    limited(run, high=1, other=2)
    reply = run.send("set-rule", watchlist="high", rule="near", claims=futures)
    assert reply["displaced"] == [{"watchlist": "low", "instruments": 1}]
    claimed(run, "other", NIFTY_50)
    before = dict(run.state.subscriptions)
    reply = run.send(
        "set-rule", watchlist="high", rule="more", claims={**futures, "expiry": "next"}
    )
    assert (reply["status"], dict(run.state.subscriptions)) == ("REJECTED", before)


def test_delete_ends_limits_too():
    run = Run()
    limited(run, w=1)
    assert run.send("delete", watchlist="w")["status"] == "APPLIED"
    assert run.state.limits == {}
    assert run.send("delete", watchlist="w")["status"] == "REJECTED"


def test_there_are_no_more_limits_than_watchlists_may_be(monkeypatch):
    monkeypatch.setattr(draft, "MAX_WATCHLISTS", 1)
    run = Run()
    limited(run, w=1)
    assert run.send("set-limits", watchlist="v", quota=1)["status"] == "REJECTED"
    assert run.send("set-limits", watchlist="w", quota=1)["status"] == "APPLIED"
    assert run.send("set-limits", watchlist="v")["status"] == "APPLIED"


def test_the_settings_are_above_all():
    limits = {"w": Limits(None, 1000)}
    assert priority_of(limits, "@settings:full") > priority_of(limits, "w#rule") == 1000
    assert priority_of(limits, "v") == 0


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"[]", b'{"quota":-1,"priority":0}', b'{"quota":null,"priority":1.5}',
     b'{"quota":null,"priority":1001}', b'{"quota":true,"priority":0}'],
)  # fmt: skip
def test_a_record_that_is_none_is_an_error(value):
    with pytest.raises(ValueError):  # noqa: PT011
        Limits.decode(value)
    assert Limits.decode(Limits(None, -7).encoded()) == Limits(None, -7)
    assert limits_records({}, {}) == ()


def test_a_reply_names_so_many_who_lost():
    parts = [[Displaced(watchlist=f"w{n}", instruments=1)] for n in range(200)] * 2
    told = together(parts)
    assert len(told) == MAX_TOLD
    assert {one.instruments for one in told} == {2}
