"""What a message comes to where its command cannot be done, or cannot be written."""

import json

import pytest

from connector.control import work as work_module
from connector.control.state import Layout, State
from connector.control.transactions import ControlMessage
from connector.control.work import Desk, MessageWork, WaitingWork, accepts_list
from connector.kite.web.instruments import InstrumentMaster
from connector.testing import FakeClock

STATE = State(Layout((0,), 2))


def desk(**options):
    return Desk(InstrumentMaster, max_bytes=10_000, clock=FakeClock(7000), loads=False, **options)


def message(value):
    return ControlMessage(3, value)


def test_an_outcome_that_no_message_holds_is_a_rejection(monkeypatch):
    monkeypatch.setattr("connector.control.bounds.MAX_RECORD_BYTES", 100)
    value = b'{"id": "1", "type": "subscribe", "instruments": [257]}'
    applied = MessageWork(desk(), message(value)).apply(STATE)
    assert (applied.state, applied.records) == (STATE, ())
    reply = json.loads(applied.reply[1])
    assert (reply["status"], reply["revision"]) == ("REJECTED", 0)
    assert reply["errors"][0].startswith("the record 257 would have")


def test_a_command_is_parsed_once_and_its_work_done_as_often_as_need_be(monkeypatch):
    calls = []
    parse = work_module.parse
    monkeypatch.setattr(work_module, "parse", lambda *args: calls.append(1) or parse(*args))
    work = MessageWork(desk(), message(b'{"id": "1", "type": "status"}'))
    assert work.apply(STATE) == work.apply(STATE)
    assert len(calls) == 1
    assert work.skip(STATE).state is STATE


def test_a_rejected_message_with_an_id_is_answered_whatever_else_fails():
    work = MessageWork(desk(), message(b'{"id": "1", "type": "nonsense"}'))
    for applied in (work.apply(STATE), work.refuse(STATE, "too long")):
        assert applied.rejected
        assert json.loads(applied.reply[1])["status"] == "REJECTED"
        assert applied.dead_letter is None


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b"[" * 5000, b'{"accept_list": 1}'])
def test_what_waits_and_cannot_be_read_is_refused(value):
    assert not accepts_list(value)
    state = State(Layout((0,), 2), waiting={"r": value})
    applied = WaitingWork(desk(), "r", value, None).apply(state)
    assert applied.state.waiting == {}
    assert json.loads(applied.reply[1])["status"] == "REJECTED"
    assert [(record.key, record.value) for record in applied.records] == [("@waiting:r", None)]
