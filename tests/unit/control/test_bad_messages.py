"""Whatever a message is, it is answered or put aside within bounds, and the next one is applied."""

import hashlib
import json

import pytest
from structlog.testing import capture_logs

from connector.control.bounds import DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from connector.control.line_limit import LineLimit
from connector.control.transactions import ControlMessage
from connector.testing import FakeClock
from tests.support.bad_messages import ANSWERED, BAD_MESSAGES
from tests.unit.control.test_leader import A, B, FakeLog, lead

MOST_WRITTEN = 8192
"""Bytes of an answer, or of a dead letter with its headers, however long the message was."""
MOST_LOGGED = 2048


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
def test_a_bad_message_is_answered_or_put_aside_and_the_next_one_is_applied(bad):
    log = FakeLog()
    log.command(id="before", type="subscribe", instruments=[A])
    log.message(bad.value)
    log.command(id="after", type="subscribe", instruments=[B])
    with capture_logs() as lines:
        leader = lead(log)
    assert log.subscriptions().keys() == {A, B}
    assert log.opened == 1
    assert log.applied_offset() == 3
    assert (log.replies[0][0], log.replies[-1][0]) == ("before", "after")
    if bad.becomes == ANSWERED:
        (reply,) = [reply for key, reply in log.replies if key not in ("before", "after")]
        assert reply["status"] in ("REJECTED", "EXPIRED")
        assert reply["errors"] or reply["refused"]
        assert len(json.dumps(reply)) <= MOST_WRITTEN
        assert log.dead_letters == []
    else:
        assert len(log.replies) == 2
        (letter,) = log.dead_letters
        value = bad.value or b""
        assert letter.value == value[:DEAD_LETTER_BYTES]
        assert (letter.offset, letter.length) == (1, len(value))
        assert letter.sha256 == hashlib.sha256(value).hexdigest()
        assert sum(len(line.encode()) for line in letter.errors) <= MOST_WRITTEN
        assert leader.dead_letters == 1
    # a message that is merely bad is no fault of the leader's
    assert not [line for line in lines if line["log_level"] == "error"]
    written = json.dumps([log.replies, [letter.errors for letter in log.dead_letters]])
    for text in (written.encode().decode("unicode_escape"), repr(lines)):
        assert not {one for one in text if ord(one) < 32 or 127 <= ord(one) < 160}
    assert all(len(repr(line)) <= MOST_LOGGED for line in lines)


def stop_the_lines_clock(leader):
    leader._desk.lines = LineLimit(leader._desk.log, clock=FakeClock())


def test_all_of_them_together_are_one_reply_or_letter_each():
    log = FakeLog()
    for bad in BAD_MESSAGES:
        log.message(bad.value)
    log.command(id="after", type="subscribe", instruments=[A])
    with capture_logs() as lines:
        leader = lead(log, watch=stop_the_lines_clock)
    assert len(log.replies) + len(log.dead_letters) == len(BAD_MESSAGES) + 1
    assert log.subscriptions().keys() == {A}
    assert leader.commands == len(BAD_MESSAGES) + 1
    # a flood of them is no flood of lines
    told = [line for line in lines if line["event"] == "control_message_rejected"]
    assert len(told) == 20


def test_no_record_is_longer_than_a_message_may_be():
    log = FakeLog()
    many = [f"NFO:{n:059}" for n in range(13_000)]
    log.command(id="x" * 128, type="subscribe", instruments=many)
    lead(log)
    ((_, reply),) = log.replies
    assert reply["status"] == "REJECTED"
    for step in log.steps:
        for name, value in [*step.replies, *((r.key, r.value) for r in step.records)]:
            assert len(name.encode()) + len(value or b"") <= MAX_RECORD_BYTES
    assert reply["errors"][-1].endswith("left out for length") == (len(reply["refused"]) < 13_000)


def test_a_batch_is_split_by_what_it_writes(monkeypatch):
    log = FakeLog()
    tokens = [n << 8 | 1 for n in range(1, 7)]
    for n in range(6):
        log.messages.append(
            ControlMessage(
                n,
                json.dumps(
                    {"id": str(n), "type": "replace", "watchlist": "w", "instruments": tokens,
                     "mode": ("ltp", "full")[n % 2], "unlisted": True}
                ).encode(),
            )
        )  # fmt: skip
    monkeypatch.setattr("connector.control.batch.TRANSACTION_RECORDS", 10)
    lead(log)
    assert [*map(log.applied_offset, log.steps)] == [2, 4, 6]
    assert [key for key, _ in log.replies] == list("012345")
