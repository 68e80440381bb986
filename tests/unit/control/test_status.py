from connector.control.records import Subscription
from connector.control.state import Layout, State
from connector.control.status import status
from connector.control.subscriptions import Subscriptions
from connector.kite.wire.models import Mode


def test_a_slot_that_is_gone_is_told_without_room():
    claims = {"w": Mode.FULL}
    wanted = Subscriptions.of({n << 8 | 1: Subscription(n % 2, claims, None, 1) for n in (1, 2, 3)})
    payload = status(State(Layout((0,), 5), wanted))
    assert [(one.slot, one.instruments, one.capacity) for one in payload.slots] == [
        (0, 1, 5),
        (1, 2, 0),
    ]
    assert (payload.instruments, payload.unplaced, payload.watchlists) == (3, 2, {"w": 3})


def test_what_waits_on_another_account_than_its_own_is_told_without_room():
    on_b = Subscription(0, {"w": Mode.FULL}, None, 1, None, {"w": "b"})
    layout = Layout((0, 3), 1, None, (("a", (0,)), ("b", (3,))))
    full = {257: on_b, 513: on_b._replace(slot=3)}
    assert status(State(layout, Subscriptions.of(full))).unplaced == 1
