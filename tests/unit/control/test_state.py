import pytest

from connector.control.records import LeaderProgress, Remembered, StateRecord, Subscription
from connector.control.state import Layout, State
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode

LAYOUT = Layout((0, 1, 2), 3000)
DIGEST = "0" * 32
CLAIMS = {"a": Mode.QUOTE}


def record(slot, token, revision):
    return slot, str(token), Subscription(slot, CLAIMS, None, revision).encoded(token)


def test_an_empty_topic_is_an_empty_state():
    state, strays = State.replay(LAYOUT, [])
    assert state == State(LAYOUT)
    assert (state.revision, strays) == (0, ())


def test_the_last_record_of_a_key_counts():
    state, strays = State.replay(
        LAYOUT,
        [
            record(0, 257, 1),
            record(0, 513, 1),
            record(0, 257, 4),
            (0, "513", None),
            (0, "@leader", LeaderProgress(8, 4, 2).encoded()),
            (0, "@reply:b", Remembered(2, DIGEST, b"{}").encoded()),
            (0, "@reply:a", Remembered(1, DIGEST, b"[]").encoded()),
            (1, "@reconnect", b"whatever"),
        ],
    )
    assert dict(state.subscriptions) == {257: Subscription(0, CLAIMS, None, 4)}
    assert list(state.replies) == ["a", "b"]
    assert state.progress == LeaderProgress(8, 4, 2)
    assert strays == ()


def test_an_instrument_in_two_partitions_stays_in_the_newer_place():
    records = [record(2, 257, 5), record(0, 257, 3), record(1, 257, 4)]
    state, strays = State.replay(LAYOUT, records)
    assert state.subscriptions[257].slot == 2
    assert strays == (StateRecord(0, "257", None), StateRecord(1, "257", None))


def test_what_cannot_be_read_is_taken_away():
    bad = [(0, "257", b"{"), (1, "x", b"{}"), (0, "@leader", b""), (0, "@reply:a", b"")]
    state, strays = State.replay(LAYOUT, bad)
    assert state == State(LAYOUT)
    assert strays == tuple(StateRecord(partition, key, None) for partition, key, _ in bad)


@pytest.mark.parametrize(
    "key", ["0", "-257", "+257", "0257", " 257", "2_57", "\u0662\u0665\u0667", "4294967553", "255"]
)
def test_a_key_that_the_leader_does_not_write_is_taken_away(key):
    value = Subscription(0, CLAIMS, None, 1).encoded(257)
    state, strays = State.replay(LAYOUT, [(0, key, value)])
    assert (state, strays) == (State(LAYOUT), (StateRecord(0, key, None),))


@pytest.mark.parametrize("wrong", [b'"revision": 1e999', b'"revision": -1', b'"symbol": 5'])
def test_a_value_that_only_looks_like_one_is_taken_away(wrong):
    value = b'{"claims": {"a": "quote"}, "symbol": null, "revision": 1, %s}' % wrong
    state, strays = State.replay(LAYOUT, [(0, "257", value)])
    assert (state, strays) == (State(LAYOUT), (StateRecord(0, "257", None),))


def test_applied_names_the_next_offset():
    state, record = State(LAYOUT).applied(17)
    assert state.progress.offset == 17
    assert record == StateRecord(0, "@leader", LeaderProgress(17, 0, 0).encoded())


def test_no_names():
    names = InstrumentMaster()
    assert (names.listed("NSE:INFY"), names.symbol(408065), len(names)) == ((), None, 0)
    assert names.expiry(408065) is None


def test_the_layouts_room():
    assert LAYOUT.total == 9000
