import asyncio

import pytest

from connector.cluster.items import CaughtUp, Halting, ReconnectSlot, SlotRecord
from connector.cluster.slot import LINGER_SECONDS, RECONNECT_SECONDS, Slot, SlotPhase
from connector.control.records import Halt
from connector.kite.feed.events import ConnectionState
from connector.kite.wire.models import Mode
from connector.testing import FakeClock, until
from tests.support.slot_connection import FakeConnection

A, B, C = 257, 513, 769


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def connection():
    return FakeConnection()


@pytest.fixture
def let_go():
    return []


@pytest.fixture
def slot(clock, connection, let_go):
    return Slot(4, lambda: connection, 3, clock, on_event=let_go.append)


def wanted(token, mode=Mode.QUOTE, revision=1, symbol=None):
    return SlotRecord(4, token, mode, symbol, revision=revision)


def gone(token, moved_to=None):
    return SlotRecord(4, token, None, moved_to=moved_to)


END = CaughtUp(4)


def test_nothing_opens_before_the_partition_was_read(slot, connection):
    slot.apply([wanted(A), wanted(B), gone(A)])
    assert (slot.phase, slot.connection) == (SlotPhase.LOADING, None)
    slot.apply([wanted(B, Mode.FULL, revision=7, symbol="NSE:B"), END])
    assert (slot.phase, slot.connection) == (SlotPhase.STREAMING, connection)
    assert connection.wanted == {B: Mode.FULL}
    assert connection.state is ConnectionState.CONNECTED
    assert (slot.revision, slot.symbols) == (7, {B: "NSE:B"})


def test_a_slot_begins_until_its_instruments_have_sent_something(slot, connection):
    connection.stats.silent = 2
    assert slot.begins
    slot.apply([wanted(A), wanted(B), END])
    assert slot.begins
    connection.stats.silent = 0
    assert not slot.begins
    slot.reload()
    assert slot.begins


@pytest.mark.parametrize(
    ("state", "begins"),
    [
        (ConnectionState.IDLE, True),
        (ConnectionState.CONNECTING, True),
        (ConnectionState.WAITING_FOR_TOKEN, False),
        (ConnectionState.WAITING_FOR_SLOT, False),
        (ConnectionState.BACKING_OFF, False),
    ],
)
def test_nobody_waits_for_a_slot_that_the_feed_refuses(slot, connection, state, begins):
    slot.apply([wanted(A), END])
    connection.stats.silent, connection.state = 1, state
    assert slot.begins is begins


def test_nobody_waits_for_instruments_that_answer_nothing(slot, connection):
    slot.apply([wanted(A), wanted(B), END])
    connection.stats.silent, connection.stats.unserved = 2, 1
    assert slot.begins
    connection.stats.unserved = 2
    assert not slot.begins


def test_a_stopped_slot_and_one_without_an_api_key_do_not_begin(slot, clock):
    slot.apply([wanted(A), Halting(4, Halt.STOPPED), END])
    assert not slot.begins
    keyless = Slot(4, None, 3, clock)
    keyless.apply([wanted(A), END])
    assert not keyless.begins


def test_a_batch_is_one_update(slot, connection):
    slot.apply([END])
    slot.apply([wanted(A), wanted(B), wanted(A, Mode.FULL), gone(B), END])
    assert connection.updates[1:] == [{A: Mode.FULL, B: None}]
    assert slot.desired == {A: Mode.FULL}


def test_records_before_and_after_the_end_in_one_batch(slot, connection):
    slot.apply([wanted(A), END, wanted(B)])
    assert connection.wanted == {A: Mode.QUOTE, B: Mode.QUOTE}


async def test_a_moving_instrument_stays_until_the_other_slot_has_it(slot, connection, clock):
    slot.apply([wanted(A), wanted(B), wanted(C), END])
    slot.apply([gone(A, moved_to=0), gone(B)])
    assert connection.wanted.keys() == {A, C}
    assert slot.desired.keys() == {C}
    await clock.advance(LINGER_SECONDS)
    assert connection.wanted.keys() == {C}
    assert connection.updates[-1] == {A: None}


async def test_an_instrument_that_moves_back_is_not_let_go(slot, connection, clock):
    slot.apply([wanted(A), END])
    slot.apply([gone(A, moved_to=0)])
    slot.apply([wanted(A, Mode.FULL)])
    await clock.advance(LINGER_SECONDS)
    assert connection.wanted == {A: Mode.FULL}


async def test_an_instrument_that_moves_twice_stays_from_the_second_time(slot, connection, clock):
    slot.apply([wanted(A), END])
    slot.apply([gone(A, moved_to=0)])
    await clock.advance(LINGER_SECONDS / 2)
    slot.apply([wanted(A)])
    slot.apply([gone(A, moved_to=1)])
    await clock.advance(LINGER_SECONDS / 2)
    assert connection.wanted.keys() == {A}
    await clock.advance(LINGER_SECONDS / 2)
    assert connection.wanted == {}


async def test_room_is_worth_more_than_an_overlap(slot, connection, clock):
    slot.apply([wanted(A), wanted(B), END])
    slot.apply([gone(A, moved_to=0), gone(B, moved_to=1)])
    slot.apply([wanted(1), wanted(2)])
    assert connection.wanted.keys() == {1, 2}
    await clock.advance(LINGER_SECONDS)
    assert connection.wanted.keys() == {1, 2}


def test_moves_that_happened_before_are_history(slot, connection):
    slot.apply([wanted(A), gone(A, moved_to=0), END])
    assert connection.wanted == {}


async def test_reconnect_is_done_once_and_not_again_by_the_next_owner(slot, connection):
    slot.apply([ReconnectSlot(4, "old"), END])
    await asyncio.sleep(0)
    assert connection.reconnects == 0
    slot.apply([ReconnectSlot(4, "new")])
    await asyncio.sleep(0)
    assert connection.reconnects == 1
    await slot.close()


async def test_reconnects_in_a_loop_are_few(slot, connection, clock):
    slot.apply([END])
    for number in range(40):
        slot.apply([ReconnectSlot(4, f"{number}")])
        await asyncio.sleep(0)
    assert connection.reconnects == 1
    # the others are one, when its time has come
    await clock.advance(RECONNECT_SECONDS)
    await asyncio.sleep(0)
    assert connection.reconnects == 2
    await clock.advance(RECONNECT_SECONDS)
    await asyncio.sleep(0)
    assert connection.reconnects == 2
    slot.apply([ReconnectSlot(4, "later")])
    await asyncio.sleep(0)
    assert connection.reconnects == 3
    slot.apply([ReconnectSlot(4, "waits")])
    await slot.close()
    await clock.advance(RECONNECT_SECONDS)
    await asyncio.sleep(0)
    assert connection.reconnects == 3


def test_a_slot_without_an_api_key_has_no_connection(clock):
    slot = Slot(4, None, 3, clock)
    slot.apply([wanted(A), END])
    assert (slot.phase, slot.connection) == (SlotPhase.IDLE, None)
    slot.apply([gone(A), ReconnectSlot(4, "x")])
    assert slot.desired == {}


def test_too_many_instruments_are_logged_and_the_rest_streams(slot, connection):
    slot.apply([wanted(n) for n in range(1, 5)] + [END])
    assert connection.wanted.keys() == {1, 2, 3}


def test_a_held_slot_goes_on_and_is_taken_up_again(slot, connection):
    slot.apply([wanted(A), wanted(B), END])
    slot.hold()
    assert slot.phase is SlotPhase.HELD
    slot.reload()
    slot.apply([wanted(B, Mode.FULL), wanted(C)])
    assert connection.wanted == {A: Mode.QUOTE, B: Mode.QUOTE}
    slot.apply([END])
    assert connection.updates[-1] == {A: None, B: Mode.FULL, C: Mode.QUOTE}
    assert slot.phase is SlotPhase.STREAMING


FRESH = CaughtUp(4, never_written=True)


def reassigned(slot, *, topic_gone=True):
    slot.apply([wanted(A), wanted(B), END])
    slot.hold(topic_gone=topic_gone)
    slot.reload()


def test_a_topic_made_anew_says_nothing_until_it_is_written(slot, connection):
    reassigned(slot)
    slot.apply([FRESH])
    assert (slot.phase, slot.unwritten) == (SlotPhase.LOADING, True)
    assert len(connection.updates) == 1
    slot.apply([Halting(4, None), wanted(A), wanted(B), END])
    assert (slot.phase, slot.unwritten, slot.kept) == (SlotPhase.STREAMING, False, set())
    assert connection.wanted == {A: Mode.QUOTE, B: Mode.QUOTE}


def test_a_slot_without_instruments_opens_on_a_new_topic(slot, connection):
    slot.apply([FRESH])
    assert (slot.phase, slot.unwritten, connection.state) == (
        SlotPhase.STREAMING,
        False,
        ConnectionState.CONNECTED,
    )


def test_a_topic_made_anew_that_lacks_instruments_ends_none(slot, connection):
    reassigned(slot)
    slot.apply([wanted(A, Mode.FULL), END])
    assert connection.wanted == {A: Mode.FULL, B: Mode.QUOTE}
    assert slot.kept == {B}
    # they are claimed again, or let go, by records as any other
    slot.apply([wanted(B, Mode.FULL)])
    assert (slot.kept, connection.wanted[B]) == (set(), Mode.FULL)


def test_what_is_unsubscribed_before_a_topic_made_anew_is_read_ends(slot, connection):
    reassigned(slot)
    slot.apply([wanted(A), wanted(B), gone(B), END])
    assert (connection.wanted.keys(), slot.kept) == ({A}, set())


def test_what_no_claim_is_known_of_gives_its_room_to_what_is_claimed(slot, connection, let_go):
    reassigned(slot)
    slot.apply([wanted(A), END])
    slot.apply([wanted(C), wanted(1025)])
    assert connection.wanted.keys() == {A, C, 1025}
    assert slot.kept == set()
    assert [(one.tokens, one.reason) for one in let_go] == [
        ((B,), "others need their room; subscribe them again")
    ]


async def test_a_reconnect_lets_go_of_what_no_claim_is_known_of(slot, connection):
    reassigned(slot)
    slot.apply([wanted(A), END])
    slot.apply([ReconnectSlot(4, "r")])
    await until(lambda: connection.reconnects == 1)
    assert (slot.kept, connection.wanted.keys()) == (set(), {A})
    await slot.close()


@pytest.mark.parametrize("halt", list(Halt))
async def test_a_halt_in_a_topic_made_anew_holds_for_all(slot, connection, let_go, halt):
    reassigned(slot)
    slot.apply([Halting(4, halt), wanted(A), END])
    assert slot.kept == set()
    assert slot.connection is None or connection.wanted == {}
    await slot.close()
    assert [(one.tokens, one.reason) for one in let_go] == [
        ((B,), f"the slot was {halt}; subscribe them again")
    ]


@pytest.mark.parametrize("written", [[wanted(A)], [wanted(A), wanted(B)]])
async def test_what_is_kept_does_not_end_unsaid_when_the_slot_is_given_up(slot, let_go, written):
    """The next owner reads the topic, which has nothing of it."""
    reassigned(slot)
    slot.apply([*written, END])
    await slot.close()
    assert [one.tokens for one in let_go] == ([(B,)] if len(written) == 1 else [])


async def test_close_ends_the_connection_and_what_lingers(slot, connection, clock):
    slot.apply([wanted(A), END])
    slot.apply([gone(A, moved_to=0)])
    await slot.close()
    assert (slot.phase, connection.state) == (SlotPhase.CLOSED, ConnectionState.CLOSED)
    assert clock.pending == []


class SlowToClose(FakeConnection):
    def __init__(self):
        super().__init__()
        self.may_close = asyncio.Event()

    async def close(self):
        await self.may_close.wait()
        await super().close()


async def test_a_slot_that_comes_back_waits_for_its_old_socket(clock, connection):
    old = SlowToClose()
    before = Slot(4, lambda: old, 3, clock)
    before.apply([wanted(A), END])
    closing = asyncio.create_task(before.close())
    await asyncio.sleep(0)
    after = Slot(4, lambda: connection, 3, clock, after=before.closed)
    after.apply([wanted(A), END])
    await asyncio.sleep(0)
    assert (old.state, connection.state) == (ConnectionState.CONNECTED, ConnectionState.IDLE)
    old.may_close.set()
    await closing
    await asyncio.sleep(0)
    assert (old.state, connection.state) == (ConnectionState.CLOSED, ConnectionState.CONNECTED)
    await after.close()


async def test_a_slot_that_goes_again_never_opens(clock, connection):
    closed = asyncio.Event()
    slot = Slot(4, lambda: connection, 3, clock, after=closed)
    slot.apply([wanted(A), END])
    closing = asyncio.create_task(slot.close())
    await asyncio.sleep(0)
    closed.set()
    await closing
    assert connection.state is ConnectionState.CLOSED


async def test_close_before_it_was_read(slot):
    await slot.close()
    assert slot.phase is SlotPhase.CLOSED


def test_what_found_no_room_is_taken_up_when_there_is_some(slot, connection):
    slot.apply([wanted(A), wanted(B), wanted(C), END])
    slot.apply([wanted(1025), wanted(1281)])
    assert connection.wanted.keys() == {A, B, C}
    slot.apply([gone(B)])
    slot.apply([gone(C), gone(1281)])
    assert connection.wanted.keys() == {A, 1025}


def halting(halt):
    return Halting(4, halt)


async def test_a_paused_slot_keeps_its_socket_and_asks_for_nothing(slot, connection, clock):
    slot.apply([wanted(A), wanted(B), END])
    slot.apply([gone(B, moved_to=0)])
    slot.apply([halting(Halt.PAUSED), wanted(C)])
    assert (connection.wanted, connection.state) == ({}, ConnectionState.CONNECTED)
    slot.apply([gone(A), wanted(B, Mode.FULL)])
    await clock.advance(LINGER_SECONDS)
    assert connection.wanted == {}
    slot.apply([halting(None)])
    assert connection.wanted == {B: Mode.FULL, C: Mode.QUOTE}


@pytest.fixture
def connections():
    return []


@pytest.fixture
def opening(clock, connections):
    def connect():
        connections.append(FakeConnection())
        return connections[-1]

    return Slot(4, connect, 3, clock, last_frame_us=5)


async def test_a_stopped_slot_has_no_socket_and_a_resumed_one_tells_the_gap(opening, connections):
    opening.apply([wanted(A), END])
    connections[0].last_frame_us, connections[0].gap_from_us = 8, 7
    opening.apply([halting(Halt.STOPPED), wanted(B)])
    assert (opening.connection, opening.phase) == (None, SlotPhase.STREAMING)
    opening.apply([halting(None)])
    assert connections[1].state is ConnectionState.IDLE, "the old socket is still closing"
    await until(lambda: connections[1].state is ConnectionState.CONNECTED)
    assert connections[0].state is ConnectionState.CLOSED
    assert connections[1].wanted == {A: Mode.QUOTE, B: Mode.QUOTE}
    assert connections[1].continues_from == 7
    assert opening.last_frame_us == 7
    await opening.close()
    assert connections[1].state is ConnectionState.CLOSED


async def test_what_was_stopped_before_this_process_owned_it_stays_so(opening, connections, clock):
    opening.apply([wanted(A), halting(Halt.STOPPED), END])
    assert connections == []
    opening.apply([halting(Halt.PAUSED)])
    assert connections[0].state is ConnectionState.CONNECTED
    assert connections[0].wanted == {}
    opening.apply([halting(None)])
    await clock.advance(RECONNECT_SECONDS)
    assert connections[0].wanted == {A: Mode.QUOTE}


@pytest.mark.parametrize("halts", [[Halt.STOPPED, None], [Halt.STOPPED, Halt.PAUSED, None]])
async def test_stopped_and_resumed_in_a_loop_it_opens_few_sockets(
    opening, connections, clock, halts
):
    opening.apply([wanted(A), END])
    for _ in range(50):
        for halt in halts:
            opening.apply([halting(halt)])
    await until(lambda: {one.state for one in connections} == {ConnectionState.CLOSED})
    assert len(connections) == 2, "the first, and that of the first resumption"
    await clock.advance(RECONNECT_SECONDS)
    await until(lambda: connections[-1].state is ConnectionState.CONNECTED)
    assert (len(connections), connections[-1].wanted) == (3, {A: Mode.QUOTE})
    assert opening.halt is None
    await opening.close()


async def test_a_resumption_that_waits_ends_with_another_halt_a_reload_or_the_slot(
    opening, connections, clock
):
    opening.apply([wanted(A), END])
    again = [halting(None), halting(Halt.STOPPED), halting(None)]
    opening.apply([halting(Halt.STOPPED), *again, halting(Halt.STOPPED)])
    assert not clock.pending
    opening.apply([halting(None)])
    opening.reload()
    assert not clock.pending
    opening.apply([wanted(A), halting(Halt.STOPPED), END, halting(None)])
    assert clock.pending
    await opening.close()
    assert not clock.pending
    assert len(connections) == 2


async def test_a_reload_follows_what_the_partition_says_then(slot, connection):
    slot.apply([wanted(A), END, halting(Halt.PAUSED)])
    slot.reload()
    slot.apply([wanted(A), END])
    assert connection.wanted == {A: Mode.QUOTE}
    slot.reload()
    slot.apply([wanted(A), halting(Halt.PAUSED), END])
    assert connection.wanted == {}


class Before:
    """The owner before, as the next one sees it."""

    def __init__(self, last_frame_us=None):
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()
        self._last_frame_us = last_frame_us

    async def __call__(self):
        self.asked.set()
        await self.closed.wait()
        return self._last_frame_us


@pytest.mark.parametrize(("said", "known"), [(17, 17), (None, 5), (3, 3)])
async def test_a_slot_opens_its_socket_when_the_owner_before_has_closed_its_own(
    clock, connection, said, known
):
    before = Before(said)
    slot = Slot(4, lambda: connection, 3, clock, last_frame_us=5, ready=before)
    await asyncio.sleep(0)
    assert not before.asked.is_set()
    slot.apply([wanted(A), END])
    await before.asked.wait()
    assert connection.wanted == {A: Mode.QUOTE}
    assert connection.state == ConnectionState.IDLE
    before.closed.set()
    await until(lambda: connection.state == ConnectionState.CONNECTED)
    assert connection.continues_from == known


async def test_a_slot_that_is_taken_away_while_it_waits_opens_nothing(clock, connection):
    before = Before()
    slot = Slot(4, lambda: connection, 3, clock, ready=before)
    slot.apply([wanted(A), END])
    await before.asked.wait()
    await slot.close()
    assert slot.closed.is_set()
    assert connection.continues_from == "nothing"


async def test_a_slot_without_an_api_key_asks_for_its_turn_all_the_same(clock):
    before = Before()
    slot = Slot(4, None, 3, clock, ready=before)
    slot.apply([END])
    await before.asked.wait()
    before.closed.set()
    await slot.close()


async def test_a_slot_that_comes_back_asks_nobody_a_second_time(clock, connection):
    asked = []

    async def ready():
        asked.append(1)

    slot = Slot(4, lambda: connection, 3, clock, ready=ready)
    slot.apply([wanted(A), END])
    await until(lambda: connection.state == ConnectionState.CONNECTED)
    slot.leave()
    slot.reload()
    slot.apply([wanted(A), END])
    assert slot.phase is SlotPhase.STREAMING
    assert asked == [1]


async def test_a_slot_that_was_given_up_streams_on_and_keeps_its_socket(slot, clock, connection):
    slot.apply([wanted(A), END])
    slot.apply([ReconnectSlot(4, "c1")])
    slot.apply([ReconnectSlot(4, "c2")])
    slot.leave()
    await clock.advance(RECONNECT_SECONDS)
    assert connection.reconnects <= 1
    assert connection.state == ConnectionState.CONNECTED
    await slot.close()
    assert connection.state == ConnectionState.CLOSED
