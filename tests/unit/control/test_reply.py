import json

from connector.control.commands import Subscribe
from connector.control.reply import About, Answer, Refusal, Reply, ReplyStatus
from connector.kite.feed.events import ConnectionEvent, EventType


def test_a_reply_leaves_out_what_is_not_there():
    reply = Reply(id="1", status=ReplyStatus.APPLIED, revision=3, accepted=2)
    assert json.loads(reply.encoded()) == {
        "id": "1",
        "status": "APPLIED",
        "revision": 3,
        "accepted": 2,
        "refused": [],
        "errors": [],
        "dry_run": False,
    }


def test_a_reply_names_nine_thousand_refusals():
    refused = [{"instrument": 2**31 + n, "reason": "no room: 3 slots"} for n in range(9000)]
    reply = Reply(id="1", status=ReplyStatus.REJECTED, revision=3, refused=refused)
    assert len(json.loads(reply.encoded())["refused"]) == 9000


def test_a_reply_fits_into_a_message_whatever_it_refuses():
    refused = [{"instrument": f"NFO:{n:059}", "reason": "x"} for n in range(50_000)]
    reply = Reply(id="1", status=ReplyStatus.REJECTED, revision=3, refused=refused)
    data = reply.encoded()
    assert len(data) <= Reply.MAX_BYTES
    told = Reply.model_validate_json(data)
    left_out = 50_000 - len(told.refused)
    assert told.errors == (f"{left_out} more were refused, left out for length",)


def test_a_reply_repeats_what_its_command_is():
    command = Subscribe(id="1", type="subscribe", watchlist="a", instruments=(408065,), by="me")
    assert About.of(command) == ("subscribe", "a", "me")


def test_a_failed_answer_is_an_error_or_nothing_but_refusals():
    refused = (Refusal("NSE:X", "why"),)
    event = ConnectionEvent(EventType.INSTRUMENT_EXPIRED, 0, 1)
    assert Answer(errors=("why",), accepted=3).failed
    assert Answer(refused=refused).failed
    assert not Answer(1, refused).failed
    assert not Answer(refused=refused, events=(event,)).failed
    assert not Answer().failed
