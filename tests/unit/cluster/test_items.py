import json

import pytest

from connector.cluster.items import Halting, ReconnectSlot, SlotRecord, item_of
from connector.control.records import Halt, Halted, Subscription
from connector.kite.wire.models import Mode
from tests.support.group_script import TOPICS, Message, record


@pytest.mark.parametrize(
    ("message", "item"),
    [
        (
            record(1, "257", Subscription(1, {"w": Mode.FULL}, "NSE:X", 7).encoded(257)),
            SlotRecord(1, 257, Mode.FULL, "NSE:X", revision=7),
        ),
        (
            record(1, "257", None, [("moved-to", b"2")]),
            SlotRecord(1, 257, None, moved_to=2),
        ),
        (record(2, "513", None), SlotRecord(2, 513, None)),
        (
            record(1, "@reconnect", json.dumps({"id": "c1", "time_ms": 1}).encode()),
            ReconnectSlot(1, "c1"),
        ),
        (record(1, "@halt", Halted(Halt.STOPPED, "asha", 1).encoded()), Halting(1, Halt.STOPPED)),
        (record(1, "@halt", None), Halting(1, None)),
    ],
)
def test_what_a_record_says(message, item):
    assert item_of(message, TOPICS) == item


@pytest.mark.parametrize(
    "message",
    [
        record(0, "@leader", b"{}"),
        record(0, "@reply:1", b"1 {}"),
        record(0, "@reconnect", None),
        record(0, "@halt", b'{"halt": "asleep", "by": null, "time_ms": 1}'),
        record(0, "x", b"{}"),
        record(0, "257", b"not JSON"),
        record(0, "257", b'{"claims": {"w": "depth"}, "symbol": null, "revision": 1}'),
        record(0, "257", b'{"claims": {}, "symbol": null, "revision": 1}'),
        record(0, "257", b"[]"),
        record(0, "257", b'{"claims": {"w": "ltp"}, "symbol": null, "revision": 1e999}'),
        record(0, "257", b'{"claims": {"w": "ltp"}, "symbol": 5, "revision": 1}'),
        record(0, "-257", b'{"claims": {"w": "ltp"}, "symbol": null, "revision": 1}'),
        record(0, "0257", None),
        record(0, "257", b"[" * 5000),
        Message(TOPICS.subscriptions, 0, None, b"no key"),
        Message(TOPICS.control, 0, b"1", b"{}"),
    ],
)
def test_what_is_not_for_the_slots_owner_is_left_out(message):
    assert item_of(message, TOPICS) is None
