"""What holds of every command: ids, times, revisions, dry runs."""

import pytest

from connector.control import remembered_replies
from connector.control.commands import COMMAND
from connector.control.records import StateRecord
from connector.control.reducer import is_internal, reduce, settle
from connector.control.state import Layout, State
from connector.kite.wire.models import Mode
from tests.support.reduction import MASTER, A, B, C, D, Run


def test_a_repeated_id_has_one_effect_and_the_same_reply():
    run = Run()
    run.send("subscribe", id="same", instruments=[A])
    first = run.outcome.reply
    run.send("subscribe", instruments=[B])
    before = run.state.subscriptions
    run.send("subscribe", id="same", instruments=[A])
    assert run.outcome.reply == first
    assert run.outcome.records == ()
    assert run.state.subscriptions == before


def test_another_command_under_a_known_id_is_rejected_and_the_first_is_still_known():
    run = Run()
    run.send("subscribe", id="deploy-42", instruments=[A])
    first = run.outcome.reply
    before = run.state
    reply = run.send("delete", id="deploy-42", watchlist="default")
    assert (reply["status"], reply["errors"][0][:31]) == (
        "REJECTED",
        "id: another command had this id",
    )
    assert (run.outcome.records, run.state.subscriptions) == ((), before.subscriptions)
    run.send("subscribe", id="deploy-42", instruments=[A], mode="quote", watchlist="default")
    assert run.outcome.reply == first  # defaults, written out, are the same command


def test_a_dry_run_under_a_known_id_is_another_command():
    run = Run()
    run.send("subscribe", id="x", instruments=[A])
    reply = run.send("subscribe", id="x", instruments=[A], dry_run=True)
    assert (reply["status"], reply["dry_run"]) == ("REJECTED", True)


def test_ids_are_forgotten_in_order(monkeypatch):
    monkeypatch.setattr(remembered_replies, "REMEMBERED_COMMANDS", 2)
    run = Run()
    for token in (A, B, C):
        run.send("subscribe", instruments=[token])
    assert list(run.state.replies) == ["c2", "c3"]
    assert run.outcome.records[-1] == StateRecord(0, "@reply:c1", None)


def test_what_is_remembered_is_bounded_in_bytes_too(monkeypatch):
    monkeypatch.setattr(remembered_replies, "REMEMBERED_BYTES", 300)
    run = Run()
    for token in (A, B, C, D):
        run.send("subscribe", instruments=[token])
    assert list(run.state.replies) == ["c3", "c4"]


def test_too_late():
    run = Run()
    assert run.send("subscribe", instruments=[A], expires_at=1000)["status"] == "APPLIED"
    reply = run.send("subscribe", instruments=[B], expires_at=999)
    assert (reply["status"], reply["accepted"]) == ("EXPIRED", 0)
    assert reply["errors"] == ["1 ms too late"]
    assert set(run.slots()) == {A}


def test_seconds_in_place_of_milliseconds_are_told():
    now_ms = 1_796_036_713_067
    reply = Run().send("subscribe", now_ms, instruments=[A], expires_at=now_ms // 1000 + 60)
    assert reply["status"] == "EXPIRED"
    assert "expires_at is in seconds, it seems" in reply["errors"][0]


def test_expected_revision():
    run = Run()
    assert run.send("subscribe", instruments=[A], expected_revision=0)["status"] == "APPLIED"
    reply = run.send("subscribe", instruments=[B], expected_revision=0)
    assert (reply["status"], reply["revision"]) == ("REJECTED", 1)
    assert reply["errors"] == ["expected_revision: the revision is 1"]
    assert run.send("subscribe", instruments=[B], expected_revision=1)["revision"] == 2


def test_a_dry_run_answers_and_changes_nothing():
    run = Run()
    before = run.state
    reply = run.send("subscribe", id="x", instruments=[A, "NSE:X"], dry_run=True)
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", 1, 1)
    assert reply["dry_run"] is True
    assert (run.outcome.state, run.outcome.records) == (before, ())
    assert run.send("subscribe", id="x", instruments=[A])["dry_run"] is False


def without(state, *slots):
    """The same state after an api_key was removed."""
    left = tuple(slot for slot in state.layout.slots if slot not in slots)
    return State(
        Layout(left, state.layout.capacity), state.subscriptions, state.replies, state.progress
    )


def test_a_removed_slot_is_drained():
    run = Run()
    run.send("subscribe", instruments=[A, B, C, D])
    run.state = without(run.state, 1, 2)
    run.take(settle(run.state))
    assert run.slots() == {A: 0, D: 0, B: 1, C: 2}  # no room, so nothing is lost
    assert run.send("status")["payload"]["unplaced"] == 2
    run.send("unsubscribe", instruments=[A])
    assert run.slots() == {D: 0, B: 0, C: 2}
    assert StateRecord(1, str(B), None, moved_to=0) in run.outcome.records


def test_an_added_slot_takes_new_instruments_and_moves_none():
    run = Run(Layout((0,), 4))
    run.send("subscribe", instruments=[A, B])
    run.state = State(
        Layout((0, 1), 4), run.state.subscriptions, run.state.replies, run.state.progress
    )
    assert settle(run.state).records == ()
    run.send("subscribe", instruments=[C, D])
    assert run.slots() == {A: 0, B: 0, C: 1, D: 1}


def test_the_leaders_own_commands_are_not_remembered():
    run = Run()
    template = COMMAND.validate_python(
        {"id": "1", "type": "replace", "watchlist": "w", "instruments": [A]}
    )
    own = template.model_copy(update={"id": "@settings", "watchlist": "@settings:quote"})
    assert is_internal(own)
    assert not is_internal(template)
    run.take(reduce(run.state, own, 0, MASTER))
    assert run.state.replies == {}
    assert run.state.subscriptions[A].claims == {"@settings:quote": Mode.QUOTE}
    assert reduce(run.state, own, 0, MASTER).records == ()


@pytest.mark.parametrize("kind", ["delete", "replace"])
def test_nine_thousand_at_once(kind):
    run = Run(Layout((0, 1, 2), 3000))
    tokens = [n << 8 | 1 for n in range(1, 9002)]
    reply = run.send("replace", watchlist="w", instruments=tokens, mode="full")
    assert (reply["accepted"], len(reply["refused"])) == (9000, 1)
    fields = {"instruments": []} if kind == "replace" else {}
    run.send(kind, watchlist="w", **fields)
    assert run.slots() == {}
