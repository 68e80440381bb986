import json

import pytest

from connector.control.records import Halt, Halted
from connector.control.state import Layout
from connector.kite.feed.events import EventType
from tests.support.reduction import A, Run, writes

ACCOUNTS = Layout((0, 1, 3), 2, None, (("main", (0, 1)), ("second", (3,))))


def halted(run):
    return {slot: one.halt for slot, one in run.state.halted.items()}


@pytest.mark.parametrize(
    ("target", "slots"),
    [({"slot": 1}, [1]), ({"account": "main"}, [0, 1]), ({"all": True}, [0, 1, 3])],
)
@pytest.mark.parametrize(("kind", "halt"), [("pause", Halt.PAUSED), ("stop", Halt.STOPPED)])
def test_a_slot_an_account_or_all_are_halted_until_they_are_resumed(target, slots, kind, halt):
    run = Run(ACCOUNTS)
    run.send("subscribe", instruments=[A])
    reply = run.send(kind, by="asha", **target)
    assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", len(slots), 1)
    assert halted(run) == dict.fromkeys(slots, halt)
    assert [(record.partition, record.key) for record in writes(run.outcome)] == [
        (slot, "@halt") for slot in slots
    ]
    assert {event.slot for event in run.outcome.events} == set(slots)
    assert {event.reason for event in run.outcome.events} == {"by asha"}
    payload = run.send("status")["payload"]
    assert [one["slot"] for one in payload["slots"] if one.get("halted_by") == "asha"] == slots
    assert run.send("resume", **target)["accepted"] == len(slots)
    assert halted(run) == {}
    assert {event.type for event in run.outcome.events} == {EventType.SLOT_RESUMED}


def test_what_is_so_already_is_not_written_again():
    run = Run(ACCOUNTS)
    run.send("stop", slot=0, by="asha")
    reply = run.send("stop", all=True, by="other", now_ms=2000)
    assert reply["accepted"] == 3
    assert [record.partition for record in writes(run.outcome)] == [1, 3]
    assert run.state.halted[0] == Halted(Halt.STOPPED, "asha", 1000)
    run.send("pause", slot=0)
    assert run.state.halted[0].halt is Halt.PAUSED
    run.send("resume", slot=1, dry_run=True)
    assert 1 in run.state.halted


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ({"slot": 2}, "slot: there is no slot 2; there are 0, 1, 3"),
        ({"account": "third"}, "account: there is no account of this name; there are main, second"),
    ],
)
def test_what_is_not_there_is_rejected(target, error):
    run = Run(ACCOUNTS)
    reply = run.send("pause", **target)
    assert (reply["status"], reply["errors"]) == ("REJECTED", [error])
    assert halted(run) == {}


def test_the_record_says_who_and_when():
    value = Halted(Halt.PAUSED, None, 5).encoded()
    assert json.loads(value) == {"halt": "paused", "by": None, "time_ms": 5}
    assert Halted.decode(value) == Halted(Halt.PAUSED, None, 5)
    for wrong in (b"[]", b"{}", b'{"halt": "asleep", "by": null, "time_ms": 5}'):
        with pytest.raises(ValueError, match=r"(?i)halt"):
            Halted.decode(wrong)
