import asyncio
import json
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from connector.kite.feed.wait import cancelled
from connector.kite.wire.orders import parse_order
from connector.service import order_deduplicator
from connector.service.order_deduplicator import (
    HOLD_SECONDS,
    OrderDeduplicator,
    OrdersTopic,
    Update,
)
from connector.testing import FakeClock


class Desk:
    """An `OrderDeduplicator` with a clock that is turned by hand."""

    def __init__(self, connected=None, **options):
        self.clock = FakeClock()
        self.connected = connected
        self.written = []
        self.desk = OrderDeduplicator(
            self.written.append,
            connected=None if connected is None else lambda: self.connected,
            clock=self.clock,
            **options,
        )

    def accept(self, slot, order_id="1", **changes):
        data = {"order_id": order_id, "status": "COMPLETE", **changes}
        raw = json.dumps({"type": "order", "data": data})
        self.desk.accept(Update(parse_order(data), raw, slot, 5, 6))

    def seen(self, order_id="1", **changes):
        # as it stands in the topic: the payload alone, keys in whatever order
        data = {"status": "COMPLETE", **changes, "order_id": order_id}
        self.desk.written(json.dumps(data))

    def wait(self, seconds, *, topic_seen=True):
        self.clock.now += seconds
        self.desk.pass_time(topic_seen=topic_seen)

    @property
    def slots(self):
        return [update.slot for update in self.written]


@pytest.mark.parametrize("connected", [None, {0, 1, 2}])
def test_alone_the_first_copy_is_written(connected):
    desk = Desk(connected)
    for slot in (2, 0, 1):
        desk.accept(slot)
    assert desk.slots == [2]
    assert desk.desk.repeats == 2


def test_another_update_of_the_same_order_is_another():
    desk = Desk()
    desk.accept(0, filled_quantity=1)
    desk.accept(0, filled_quantity=2)
    assert len(desk.written) == 2


def test_the_owner_of_the_lowest_slot_writes_at_once():
    desk = Desk({0})
    desk.accept(0)
    assert desk.slots == [0]


def test_others_wait_and_leave_out_what_they_see():
    desk = Desk({1})
    desk.accept(1)
    assert not desk.written
    assert len(desk.desk._held) == 1
    desk.seen()
    desk.wait(10 * HOLD_SECONDS)
    assert not desk.written
    assert desk.desk.repeats == 1


def test_what_nobody_wrote_is_written_by_whoever_has_it():
    desk = Desk({1})
    desk.accept(1)
    desk.wait(HOLD_SECONDS * 0.9)
    assert not desk.written
    desk.wait(HOLD_SECONDS * 0.2)
    assert desk.slots == [1]
    desk.seen()
    desk.accept(1)
    assert len(desk.written) == 1


def test_the_next_in_line_goes_before_the_last():
    second, third = Desk({1}), Desk({2})
    for desk, slot in ((second, 1), (third, 2)):
        desk.accept(slot)
        desk.wait(HOLD_SECONDS * 1.5)
    assert second.slots == [1]
    assert not third.written
    third.wait(HOLD_SECONDS)
    assert third.slots == [2]


def replicas_of(slots, here):
    """Whose copies of one update come by these slots, among two replicas of which one has `here`.

    Returns:
        The slots whose copies are written, given that each sees the other's at once.
    """
    # a socket that was opened just now is there, and has no copy
    first, second = Desk(here), Desk({0, 1, 2} - here)
    for slot in sorted(slots, reverse=True):
        (first if slot in here else second).accept(slot)
    for _ in range(12):
        for desk, other in ((first, second), (second, first)):
            if desk.written:
                other.seen()
            desk.wait(HOLD_SECONDS / 4)
    return first.slots + second.slots


@pytest.mark.parametrize("slots", [{0, 1, 2}, {1, 2}, {0, 2}, {0, 1}, {2}])
@pytest.mark.parametrize("here", [{0, 2}, {0, 1}, {0}, {1}, {2}, {1, 2}])
def test_one_of_two_replicas_writes_whichever_socket_is_down(slots, here):
    assert len(replicas_of(slots, here)) == 1


def test_a_slot_that_is_taken_over_is_another_s_until_its_socket_is_open():
    desk = Desk({1})
    desk.accept(1)
    assert not desk.written
    desk.seen()
    desk.connected = {0, 1}
    desk.accept(1, "2")
    assert desk.slots == [1]


def test_a_copy_over_a_lower_slot_shortens_the_wait():
    desk = Desk({1, 2})
    desk.accept(2)
    desk.accept(1)
    desk.wait(HOLD_SECONDS)
    assert desk.slots == [2]
    assert desk.desk.repeats == 1

    desk = Desk({2})
    desk.accept(2)
    desk.connected = {0, 2}
    desk.accept(0)
    assert desk.slots == [0]
    assert len(desk.desk._held) == 0


def test_slots_of_other_accounts_do_not_count():
    desk = Desk({3})
    desk.accept(3)
    assert desk.slots == [3]


def test_seen_before_the_own_copy_came():
    desk = Desk({1})
    desk.seen()
    desk.accept(1)
    desk.wait(10 * HOLD_SECONDS)
    assert not desk.written


def test_while_the_topic_cannot_be_read_nobody_guesses():
    desk = Desk({1})
    desk.accept(1)
    desk.wait(100.0, topic_seen=False)
    assert not desk.written
    desk.wait(HOLD_SECONDS * 0.5)
    assert not desk.written, "whoever was first has a moment to say so"
    desk.wait(HOLD_SECONDS)
    assert desk.slots == [1]


def test_nothing_held_is_lost_at_the_end():
    desk = Desk({1})
    desk.accept(1)
    desk.desk.close()
    assert desk.slots == [1]
    assert len(desk.desk._held) == 0


def test_memory_is_bounded():
    desk = Desk(capacity=2)
    for number in ("1", "2", "3", "1"):
        desk.accept(0, number)
    assert len(desk.written) == 4


def test_what_is_held_is_bounded_too():
    desk = Desk({1}, capacity=3)
    for number in range(5):
        desk.accept(1, str(number))
        desk.wait(10 * HOLD_SECONDS, topic_seen=False)
    assert [update.order.order_id for update in desk.written] == ["0", "1"]
    assert len(desk.desk._held) == 3


def test_time_needs_to_pass_only_while_something_is_held():
    desk = Desk({1})
    assert not desk.desk.holding.is_set()
    desk.accept(1)
    assert desk.desk.holding.is_set()
    desk.wait(HOLD_SECONDS * 0.5)
    assert desk.desk.holding.is_set()
    desk.wait(HOLD_SECONDS)
    assert desk.slots[-1] == 1
    assert not desk.desk.holding.is_set()


async def test_what_is_held_after_a_long_silence_is_written_in_time():
    desk, written = Desk({1}), asyncio.Event()
    desk.desk._write = lambda _update: written.set()

    async def silent():
        await asyncio.Event().wait()
        yield

    topic = OrdersTopic(desk.desk, silent, lambda: True, retry_seconds=0.0)
    watching = asyncio.create_task(topic.run())
    await asyncio.sleep(0)
    desk.accept(1)
    desk.clock.now += HOLD_SECONDS
    await asyncio.wait_for(written.wait(), 10)
    await cancelled(watching)


async def settling(topic, hurry=None):
    """Begin to wait for what is held, and give it some turns."""
    waiting = asyncio.create_task(topic.settle(hurry or asyncio.Event()))
    for _ in range(5):
        await asyncio.sleep(0)
    return waiting


async def test_an_end_waits_until_the_topic_has_shown_what_is_held(monkeypatch):
    monkeypatch.setattr(order_deduplicator, "SETTLE_POLL_SECONDS", 0)
    desk, reachable, hurry = Desk({1}), True, asyncio.Event()
    topic = OrdersTopic(desk.desk, None, lambda: reachable, retry_seconds=0.0)
    await topic.settle(hurry)
    desk.accept(1)
    waiting = await settling(topic)
    assert not waiting.done()
    desk.seen()
    await waiting
    assert not desk.written

    desk.accept(1, "2")
    waiting = await settling(topic)
    desk.wait(HOLD_SECONDS)
    await waiting
    assert desk.slots == [1]

    desk.accept(1, "3")
    waiting = await settling(topic, hurry)
    hurry.set()
    await waiting
    reachable = False
    await topic.settle(asyncio.Event())
    assert desk.desk.held == 1


async def test_the_orders_are_read_on_whatever_stands_there():
    """Else every copy would be written again, by each replica, without a word of why."""
    readings = [
        [SimpleNamespace(value={"another": "program's"}), SimpleNamespace(value={"payload": "x"})],
        [SimpleNamespace(value=b"\0"), SimpleNamespace(value={"payload": "mine"})],
    ]

    async def tail(*_, **__):
        for record in readings.pop(0) if readings else ():
            yield record
        if not readings:
            raise asyncio.CancelledError

    desk = SimpleNamespace(seen=[])
    desk.written = desk.seen.append
    with capture_logs() as log, pytest.raises(asyncio.CancelledError):
        await OrdersTopic(desk, tail, lambda: True, retry_seconds=0.0).read_on()
    assert desk.seen == ["mine"]
    assert [line["event"] for line in log] == ["orders_topic_unreadable"]
