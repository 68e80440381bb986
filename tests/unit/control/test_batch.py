from connector.control import batch as batch_module
from connector.control.batch import Batch
from connector.control.records import LeaderProgress, StateRecord
from connector.control.state import Layout, State
from connector.control.work import Applied

STATE = State(Layout((0,), 2), progress=LeaderProgress(offset=7))


class Piece:
    def __init__(self, next_offset=None):
        self.next_offset = next_offset


def test_an_empty_batch_keeps_the_offset_and_commits_none():
    state, step = Batch(STATE).finish()
    assert state.progress.offset == 7
    assert [record.key for record in step.records] == ["@leader"]


def test_the_last_message_gives_the_offset():
    batch = Batch(STATE)
    batch.add(Piece(8), Applied(STATE, (StateRecord(0, "257", b"1"),), ("a", b"{}")))
    batch.add(Piece(), Applied(STATE, reply=("b", b"{}")))
    batch.add(Piece(9), Applied(STATE, rejected=True))
    state, step = batch.finish()
    assert state.progress.offset == LeaderProgress.decode(step.records[-1].value).offset == 9
    assert [record.key for record in step.records] == ["257", "@leader"]
    assert [key for key, _ in step.replies] == ["a", "b"]
    assert (batch.messages, batch.rejected) == (2, 1)


def test_it_is_full_by_records_and_by_bytes(monkeypatch):
    monkeypatch.setattr(batch_module, "TRANSACTION_RECORDS", 2)
    monkeypatch.setattr(batch_module, "TRANSACTION_BYTES", 100)
    by_records, by_bytes = Batch(STATE), Batch(STATE)
    by_records.add(Piece(1), Applied(STATE, reply=("a", b"")))
    assert not by_records.full
    by_records.add(Piece(2), Applied(STATE, reply=("b", b"")))
    assert by_records.full
    by_bytes.add(Piece(1), Applied(STATE, reply=("a", b"x" * 100)))
    assert by_bytes.full
