import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connector.errors import FeedUnreachableError, RestError, RestTokenError
from connector.kite.feed.wait import cancelled
from connector.kite.wire.orders import parse_order
from connector.service import order_reconciler
from connector.service.order_reconciler import (
    MAX_REJECTED,
    OrderReconciler,
    Written,
    missing,
    read_from_ms,
    state_of,
    updated,
)
from connector.testing import FakeClock, until

DAY = datetime(2026, 1, 30, tzinfo=UTC)
ASKED_US = round(DAY.timestamp() * 1e6) + 60_000_000


def row(order_id="1", second=0, status="OPEN", filled=0, price=10.0, **more):
    stamp = DAY + timedelta(seconds=second, hours=5, minutes=30)
    return {
        "order_id": order_id, "status": status, "quantity": 10, "filled_quantity": filled,
        "price": price, "trigger_price": 0, "order_timestamp": f"{DAY:%Y-%m-%d} 05:30:00",
        "exchange_update_timestamp": f"{stamp:%Y-%m-%d %H:%M:%S}", **more,
    }  # fmt: skip


def written(raw, receive_time_us=ASKED_US - 1):
    order = parse_order(raw)
    return Written(state_of(order), updated(order), receive_time_us)


def test_what_the_topic_has_is_not_missing():
    filled = row(status="COMPLETE", filled=10, second=5)
    assert missing([parse_order(filled)], {"1": written(filled)}, ASKED_US) == []
    # a part was filled: the socket has another word for it than the list
    part = written(row(status="UPDATE", filled=3, second=4))
    assert missing([parse_order(row(filled=3, second=4))], {"1": part}, ASKED_US) == []


@pytest.mark.parametrize(
    "changed",
    [{"status": "COMPLETE", "filled": 10}, {"status": "CANCELLED"}, {"filled": 4}, {"price": 11.0}],
)
def test_what_changed_since_is_missing(changed):
    now = parse_order(row(second=9, **changed))
    assert missing([now], {"1": written(row(second=5))}, ASKED_US) == [now]
    assert missing([now], {}, ASKED_US) == [now]


def test_a_list_that_is_older_than_the_topic_takes_nothing_back():
    """What a socket brought while the list was on its way, or before Kite's list knew of it."""
    old = parse_order(row(second=5))
    filled = row(status="COMPLETE", filled=10, second=9)
    assert missing([old], {"1": written(filled)}, ASKED_US) == []
    same_second = row(status="COMPLETE", filled=10, second=5)
    assert missing([old], {"1": written(same_second, ASKED_US)}, ASKED_US) == []


def test_a_replica_whose_clock_is_ahead_hides_no_change_that_no_socket_brought():
    filled = parse_order(row(status="COMPLETE", filled=10, second=9))
    in_five_minutes = ASKED_US + 300_000_000
    assert missing([filled], {"1": written(row(second=5), in_five_minutes)}, ASKED_US) == [filled]


HOUR_MS = 3_600_000
# 00:00 of 30 January in India, and half an hour later: Kite still has the list of the day before
MIDNIGHT_MS = round(DAY.timestamp() * 1000) - 11 * HOUR_MS // 2
AT_NIGHT_US = (MIDNIGHT_MS + HOUR_MS // 2) * 1000


@pytest.mark.parametrize(
    ("changed_ms", "read_from"),
    [
        pytest.param([], MIDNIGHT_MS, id="no-order"),
        pytest.param([MIDNIGHT_MS + HOUR_MS], MIDNIGHT_MS, id="of-today"),
        pytest.param(
            [MIDNIGHT_MS - 14 * HOUR_MS, MIDNIGHT_MS - HOUR_MS],
            MIDNIGHT_MS - 14 * HOUR_MS,
            id="of-the-day-before",
        ),
        pytest.param([0, MIDNIGHT_MS - HOUR_MS], MIDNIGHT_MS - HOUR_MS, id="one-is-of-1970"),
    ],
)
def test_the_topic_is_read_from_the_first_change_on_though_the_day_has_changed(
    changed_ms, read_from
):
    orders = [parse_order(row(second=(one - DAY.timestamp() * 1000) / 1000)) for one in changed_ms]
    # an hour more, since clocks differ
    assert read_from_ms(orders, AT_NIGHT_US) == read_from - HOUR_MS


@given(
    st.lists(st.tuples(st.sampled_from("123"), st.integers(0, 5), st.integers(0, 3)), max_size=12)
)
def test_the_newest_state_of_each_order_is_there_afterwards_once(updates):
    """Whatever sockets brought before: one look writes what is missing, the next one nothing."""
    listed, known = {}, {}
    for number, (order_id, second, filled) in enumerate(updates):
        before = listed.get(order_id)
        at = max(second, before[0] if before else 0)
        raw = row(order_id, at, filled=filled)
        listed[order_id] = at, raw
        if number % 2:
            known[order_id] = written(raw)
    orders = [parse_order(raw) for _, raw in listed.values()]
    found = missing(orders, known, ASKED_US)
    assert [updated(order) for order in found] == sorted(updated(order) for order in found)
    for order in found:
        known[order.order_id] = Written(state_of(order), updated(order), ASKED_US)
    assert {order.order_id: state_of(order) for order in orders} == {
        order_id: one.state for order_id, one in known.items()
    }
    assert missing(orders, known, ASKED_US) == []


OF_ANOTHER_PROGRAM = [
    b"bytes", None, [], {}, {"payload": "{"}, {"payload": "[]", "receive_time_us": 1},
    {"payload": "{}", "receive_time_us": None}, {"payload": 5, "receive_time_us": 1},
    {"payload": "[" * 100_000, "receive_time_us": 1},
]  # fmt: skip


class Kit:
    """A reconciler whose Kite answers what the test says, in turn."""

    def __init__(self, *answers, topic=None, pauses=(0.0,), turn=None):
        self.answers = list(answers)
        self.asked = 0
        self.topic = [] if topic is None else topic
        self.since_ms = None
        self.updates, self.rejected, self.failures = [], [], []
        self.clock = FakeClock()
        self.reconciler = OrderReconciler(
            3, self.fetch, self.settled, self.read,
            write=self.write,
            reject=lambda text, slot, session_id: self.rejected.append((text, slot, session_id)),
            failed=lambda slot, reason: self.failures.append((slot, reason)),
            turn=turn or asyncio.Lock(),
            clock=self.clock, settle_seconds=0, pause_seconds=pauses,
        )  # fmt: skip

    async def fetch(self):
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(self, update):
        self.updates.append(update)
        self.topic.append(update.order.payload)

    async def settled(self):
        pass

    async def read(self, since_ms):
        self.since_ms = since_ms
        for raw in self.topic:
            value = {"payload": json.dumps(raw), "receive_time_us": 0}
            yield SimpleNamespace(key=raw["order_id"], value=value)
        for value in OF_ANOTHER_PROGRAM:
            yield SimpleNamespace(key="1", value=value)
        await asyncio.sleep(0)  # others have a turn between the reading and the writing

    @contextlib.asynccontextmanager
    async def opened(self):
        task = asyncio.create_task(self.reconciler.run())
        self.reconciler.opened(3, 77)
        try:
            yield
        finally:
            await cancelled(task)


async def test_what_no_socket_brought_is_written_in_the_order_of_its_time():
    late, early, known = row("1", 9, "COMPLETE", 10), row("2", 4, "CANCELLED"), row("3", 1)
    kit = Kit([late, early, known], topic=[row("1", 2), known])
    async with kit.opened():
        await until(lambda: len(kit.updates) == 2)
    first, second = kit.updates
    assert (first.order.order_id, second.order.order_id) == ("2", "1")
    assert (first.slot, first.session_id, first.source) == (3, 77, "reconciled")
    assert json.loads(first.raw) == early
    orders = [parse_order(raw) for raw in (late, early, known)]
    assert kit.since_ms == read_from_ms(orders, kit.clock.time_us())


@pytest.mark.parametrize(
    ("opened", "turn", "session_id"),
    [([(3, 1)], 0, 1), ([(5, 1)], 20, 1), ([(5, 1), (4, 2)], 10, 2), ([(4, 1), (5, 2)], 10, 1),
     ([(3, 1), (3, 2)], 0, 2)],
)  # fmt: skip
async def test_whichever_slot_was_opened_asks_and_a_higher_one_later(
    monkeypatch, opened, turn, session_id
):
    slept, sleep = [], asyncio.sleep

    async def note(seconds):
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(order_reconciler.asyncio, "sleep", note)
    kit = Kit([row()])
    for one in opened:
        kit.reconciler.opened(*one)
    task = asyncio.create_task(kit.reconciler.run())
    while not kit.updates:
        await sleep(0)
    await cancelled(task)
    assert slept[:2] == [0, turn]
    assert (kit.updates[0].slot, kit.updates[0].session_id) == (3 + turn // 10, session_id)
    assert kit.asked == 1


async def test_two_api_keys_of_one_user_write_an_order_once():
    turn, topic = asyncio.Lock(), []
    kits = [Kit([row()], topic=topic, turn=turn) for _ in range(2)]
    with capture_logs() as logs:
        async with kits[0].opened(), kits[1].opened():
            await until(lambda: len(logs) == 2)
    assert sorted(one["written"] for one in logs) == [0, 1]
    assert len(topic) == 1


async def test_a_row_that_is_no_order_is_kept_as_a_dead_letter():
    kit = Kit([["no order"], {"status": "OPEN"}, row()])
    async with kit.opened():
        await until(lambda: kit.updates)
    assert kit.rejected == [('["no order"]', 3, 77), ('{"status":"OPEN"}', 3, 77)]


async def test_of_many_rows_that_are_no_orders_some_are_kept_and_all_are_counted():
    count = MAX_REJECTED + 100
    kit = Kit([[number] for number in range(count)] + [row()])
    async with kit.opened():
        await until(lambda: kit.updates)
    assert len(kit.rejected) == MAX_REJECTED
    assert kit.failures == [(3, f"{count} of {count + 1} rows of the list are no orders")]


async def test_a_long_list_lets_others_have_their_turn():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    kit = Kit([row(str(number)) for number in range(2000)])
    beside = asyncio.create_task(others())
    async with kit.opened():
        await until(lambda: kit.updates)
    beside.cancel()
    assert len(kit.updates) == 2000
    assert turns >= 40


async def test_what_is_for_a_time_is_tried_again():
    kit = Kit(FeedUnreachableError("http://x", "refused"), [row()])
    async with kit.opened():
        await until(lambda: kit.updates)
    assert (kit.asked, kit.failures) == (2, [])


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ([FeedUnreachableError("http://x", "refused")] * 2, "refused"),
        ([RestTokenError(403, "TokenException", "Incorrect api_key")], "Incorrect api_key"),
        ([RestError(403, "PermissionException", "Insufficient permission")], "Insufficient"),
    ],
)
async def test_what_lasts_is_told_and_the_next_opening_asks_again(errors, reason):
    kit = Kit(*errors, [row()])
    async with kit.opened():
        await until(lambda: kit.failures)
        ((slot, told),) = kit.failures
        assert slot == 3
        assert reason in told
        kit.reconciler.opened(3, 78)
        await until(lambda: kit.updates)
    assert kit.asked == len(errors) + 1
    assert kit.updates[0].session_id == 78


async def test_a_new_opening_does_not_wait_for_an_old_pause():
    kit = Kit(FeedUnreachableError("http://x", "refused"), [row()], pauses=(3600.0,))
    async with kit.opened():
        await until(lambda: kit.asked == 1)
        kit.reconciler.opened(3, 78)
        await until(lambda: kit.updates)
