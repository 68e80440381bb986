"""Where instruments go that wait for room, or that are evened out."""

from dataclasses import replace

from connector.control.placement import (
    even_moves,
    first_waiting,
    loads,
    no_room,
    waiting_for_room,
    waiting_moves,
)
from connector.control.records import Subscription
from connector.control.reducer import settle
from connector.control.state import Layout
from connector.control.subscriptions import Subscriptions
from connector.kite.wire.models import Mode
from tests.support.reduction import A, B, C, D, E, Run

TWO = Layout((0, 1, 3), 3, None, (("a", (0, 1)), ("b", (3,))))


def carried(**slots):
    """Subscriptions by slot: s0=[A] is on any account, a0=[A] belongs on a."""
    return Subscriptions.of(
        {
            token: Subscription(
                int(key[1:]), {"w": Mode.LTP}, None, 1, None, {} if key[0] == "s" else {"w": key[0]}
            )
            for key, tokens in slots.items()
            for token in tokens
        }
    ).draft()


def test_full_is_told_with_the_account():
    assert no_room(TWO, None) == "no room: 3 slots carry 3 each"
    assert no_room(TWO, "a") == "no room: 2 slots of account a carry 3 each"


def test_what_is_where_it_belongs_does_not_move():
    assert waiting_moves(carried(a0=[A], b3=[B], s3=[C]), TWO) == {}


def test_what_is_on_another_account_goes_back_before_others_take_the_room():
    assert waiting_moves(carried(b0=[A], s7=[B, C], s3=[D, E]), TWO) == {A: 3, B: 1, C: 0}


def test_what_belongs_on_an_account_that_is_gone_or_full_stays_where_it_is():
    assert waiting_moves(carried(c7=[A], s3=[B, C, D], b0=[E]), TWO) == {}


def test_what_waits_for_room_is_counted_by_account_and_named():
    whole = carried(a0=[A], s3=[B], b0=[C], c7=[D], s7=[E]).finish()
    assert waiting_for_room(whole, TWO) == {"b": 1, "c": 1, None: 1}
    assert first_waiting(whole, TWO, 9) == [C, D, E]
    assert first_waiting(whole, TWO, 2) == [C, D]
    settled = carried(a0=[A], s3=[B]).finish()
    assert (waiting_for_room(settled, TWO), first_waiting(settled, TWO, 9)) == ({}, [])


def test_evening_out_keeps_each_on_its_account():
    draft = carried(a0=[A, B, C], s3=[D, E])
    moves = even_moves(draft, TWO)
    assert {slot for token, slot in moves.items() if token in (A, B, C)} == {1}
    after = {**dict.fromkeys((A, B, C), 0), **dict.fromkeys((D, E), 3), **moves}
    assert sorted(list(after.values()).count(slot) for slot in TWO.slots) == [1, 2, 2]
    assert loads(draft, (0, 1)) == {0: 3, 1: 0}  # nothing is changed


def test_an_account_that_comes_back_gets_its_instruments_back():
    run = Run(TWO)
    run.send("subscribe", watchlist="w", instruments=[A, B], account="b")
    run.state = replace(run.state, layout=Layout((0, 1), 3, None, (("a", (0, 1)),)))
    run.take(settle(run.state))
    assert run.slots() == {A: 3, B: 3}  # nobody carries them
    assert run.send("status")["payload"]["unplaced"] == 2
    # the accounts were put in another order: b has other slots now
    run.state = replace(run.state, layout=Layout((0, 3, 4), 3, None, (("b", (0,)), ("a", (3, 4)))))
    run.take(settle(run.state))
    assert run.slots() == {A: 0, B: 0}
