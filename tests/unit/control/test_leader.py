"""The leader over a log in memory: no Kafka, no threads but where stopping is the question."""

import json
import threading
from concurrent.futures import Future

import pytest
from structlog.testing import capture_logs

from connector.control import work as work_module
from connector.control.leader import ATTEMPTS, Leader
from connector.control.records import LeaderProgress, StateRecord, Subscription
from connector.control.settings_claims import InstrumentGroup
from connector.control.state import Layout
from connector.control.transactions import ControlMessage, TopicIds
from connector.errors import (
    BrokerUnreachableError,
    FencedError,
    InstrumentNotFoundError,
    RecordRefusedError,
    TransactionAbortedError,
)
from connector.kite.feed.events import EventType
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import Mode
from connector.testing import FakeClock
from tests.support.clock import SteppedClock
from tests.support.contracts_list import NIFTY_50, usual
from tests.support.masters import FakeMaster

A, B, C = 257, 513, 769
MASTER = FakeMaster({"NSE:A": A, "NSE:B": B})
NOW_MS = 1_767_585_600_000


class FakeLog:
    """Topics in memory. `failures` are raised by the next writes; None lets one pass."""

    def __init__(self):
        self.stored = []
        self.messages = []
        self.replies = []
        self.dead_letters = []
        self.steps = []
        self.failures = []
        self.opened = self.closed = 0
        self.position = None
        self.slots = 3
        self.idle = None
        self.id = None
        self.subscriptions_id = None
        self.missing = ()
        self.kept = 0
        self.at_end = False

    def open(self):
        self.opened += 1
        if self.opened > 50:
            self.idle()  # a leader that fails at each try must not run for ever

    def close(self):
        self.closed += 1

    def read(self):
        return list(self.stored)

    def partitions(self):
        return self.slots

    def topic_ids(self):
        return TopicIds(self.id, self.subscriptions_id, self.missing)

    def progress_kept(self):
        return self.kept

    def follow(self, offset):
        self.position = offset

    def poll(self, timeout_seconds):
        batch = [message for message in self.messages if message.offset >= self.position]
        self.at_end = not batch
        if not batch:
            self.idle()
            return []
        self.position = batch[-1].offset + 1
        return batch

    def write(self, step):
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.steps.append(step)
        self.stored += [(r.partition, r.key, r.value) for r in step.records]
        self.replies += [(key, json.loads(value)) for key, value in step.replies]
        self.dead_letters += step.dead_letters

    def command(self, **fields):
        if fields.get("type") in ("subscribe", "replace"):
            # most tests use more instruments than their list has
            fields.setdefault("unlisted", True)
        self.message(json.dumps(fields).encode())

    def message(self, value):
        self.messages.append(ControlMessage(len(self.messages), value))

    def applied_offset(self, step=None):
        return LeaderProgress.decode((step or self.steps[-1]).records[-1].value).offset

    def subscriptions(self):
        latest = {}
        for partition, key, value in self.stored:
            latest[partition, key] = value
        return {
            int(key): Subscription.decode(partition, value)
            for (partition, key), value in latest.items()
            if value is not None and not key.startswith("@")
        }


@pytest.fixture
def log():
    return FakeLog()


def lead(
    log, master=MASTER, wanted=None, layout=None, until=None, watch=None, clock=None, **options
):
    """Run a leader until it has read everything; returns it."""
    leader = Leader(
        lambda: log,
        layout or Layout((0, 1, 2), 2),
        lambda: master,
        wanted=wanted or {},
        max_bytes=1_000_000,
        clock=clock or FakeClock(NOW_MS * 1000),
        back_off_seconds=0,
        fenced_seconds=0,
        **options,
    )
    log.idle = until or leader.stop
    if watch is not None:
        watch(leader)
    leader.run()
    assert log.opened == log.closed
    return leader


def done(error=None):
    """A load of the list that has ended."""
    future = Future()
    future.set_exception(error) if error is not None else future.set_result(None)
    return future


def test_a_command_is_one_transaction(log):
    log.command(id="1", type="subscribe", instruments=["NSE:A", B], mode="full")
    leader = lead(log)
    (step,) = log.steps
    assert [record.key for record in step.records] == [str(A), str(B), "@reply:1", "@leader"]
    assert LeaderProgress.decode(step.records[-1].value) == LeaderProgress(1, 1, 1)
    assert log.replies == [
        (
            "1",
            {
                "id": "1",
                "status": "APPLIED",
                "type": "subscribe",
                "watchlist": "default",
                "revision": 1,
                "accepted": 2,
                "refused": [],
                "errors": [],
                "dry_run": False,
            },
        )
    ]
    assert leader.commands == 1


def test_messages_that_wait_share_a_transaction(log):
    for token in (A, B, C):
        log.command(id=str(token), type="subscribe", instruments=[token])
    leader = lead(log)
    assert len(log.steps) == 1
    assert [reply["revision"] for _, reply in log.replies] == [1, 2, 3]
    assert leader.applied_offset == 3
    assert log.applied_offset() == 3


def test_a_new_leader_goes_on_where_the_last_one_committed(log):
    log.command(id="1", type="subscribe", instruments=[A])
    lead(log)
    log.command(id="2", type="subscribe", instruments=[B])
    lead(log)
    assert log.subscriptions().keys() == {A, B}
    assert [key for key, _ in log.replies] == ["1", "2"]


def test_bad_messages_are_answered_or_put_aside_and_stop_nothing(log):
    log.message(b"\xff not json")
    log.command(id="1", type="subscribe", instrument=[A])
    log.message(None)
    log.command(id="2", type="subscribe", instruments=[A])
    leader = lead(log)
    assert [(key, reply["status"]) for key, reply in log.replies] == [
        ("1", "REJECTED"),
        ("2", "APPLIED"),
    ]
    assert log.replies[0][1]["errors"] == [
        "instruments: is missing",
        "instrument: is not a field of this command",
    ]
    first, second = log.dead_letters
    assert (first.value, first.reason, first.offset, first.time_ms) == (
        b"\xff not json",
        "invalid_command",
        0,
        NOW_MS,
    )
    assert (second.value, second.errors) == (b"", ("the message has no value",))
    assert (leader.rejected, leader.dead_letters, leader.commands) == (3, 2, 4)


def test_a_bug_in_one_command_stops_no_other(log, monkeypatch):
    log.command(id="1", type="rebalance")
    log.command(id="2", type="subscribe", instruments=[A])
    monkeypatch.setattr("connector.control.draft.allocation.rebalance", None)
    lead(log)
    assert log.replies[0][1]["errors"] == ["internal error; the leader's log has it"]
    assert log.replies[1][1]["status"] == "APPLIED"


def test_a_bug_in_reading_a_message_stops_no_other(log, monkeypatch):
    log.message(b"poison")
    log.command(id="2", type="subscribe", instruments=[A])
    real = work_module.parse

    def parse(value, max_bytes):
        if value == b"poison":
            raise OverflowError
        return real(value, max_bytes)

    monkeypatch.setattr(work_module, "parse", parse)
    lead(log)
    assert [letter.value for letter in log.dead_letters] == [b"poison"]
    assert log.replies[0][1]["status"] == "APPLIED"


def test_an_aborted_transaction_is_tried_again_and_counts_once(log):
    log.command(id="1", type="subscribe", instruments=[A])
    log.failures = [TransactionAbortedError("x"), TransactionAbortedError("x")]
    leader = lead(log)
    assert len(log.steps) == 1
    assert log.subscriptions()[A].revision == 1
    assert (leader.aborted, log.opened) == (2, 1)


def test_after_too_many_aborts_the_state_is_read_anew(log):
    log.command(id="1", type="subscribe", instruments=[A])
    log.failures = [TransactionAbortedError("x")] * ATTEMPTS
    lead(log)
    assert log.subscriptions().keys() == {A}
    assert [key for key, _ in log.replies] == ["1"]
    assert log.opened == 2


def test_a_fenced_leader_reads_everything_anew(log):
    log.command(id="1", type="subscribe", instruments=[A])
    log.command(id="2", type="subscribe", instruments=[B])
    log.failures = [FencedError("another one")]
    leader = lead(log)
    assert leader.fenced == 1
    assert log.opened == 2
    assert [key for key, _ in log.replies] == ["1", "2"]


def test_why_it_hears_nothing_is_known_until_it_hears_again(log):
    seen = []
    log.command(id="1", type="subscribe", instruments=[A])
    log.failures = [BrokerUnreachableError("k:9092", "topic authorization failed")]

    def look(leader):
        opened = log.open

        def again():
            seen.append(leader.error)
            opened()

        log.open = again

    leader = lead(log, watch=look)
    assert seen[0] is None
    assert "topic authorization failed" in seen[1]
    assert leader.error is None


def test_a_log_that_does_not_close_ends_no_leadership(log):
    closed = []

    def close():
        closed.append(True)
        log.closed += 1
        if len(closed) == 1:
            raise RuntimeError("the client is gone")

    log.close = close
    log.failures = [FencedError("another")]
    log.command(id="1", type="subscribe", instruments=[A])
    lead(log)
    assert len(closed) == 2
    assert [key for key, _ in log.replies] == ["1"]


def test_a_fenced_leader_that_is_stopped_does_not_come_back(log):
    log.command(id="1", type="subscribe", instruments=[A])
    stopped = threading.Event()
    log.failures = [FencedError("another one")]
    leader = Leader(
        lambda: log,
        Layout((0,), 2),
        InstrumentMaster,
        wanted={},
        max_bytes=1000,
        clock=FakeClock(NOW_MS * 1000),
        fenced_seconds=3600,
    )
    thread = threading.Thread(target=lambda: (leader.run(), stopped.set()))
    thread.start()
    leader.stop()
    assert stopped.wait(30)
    thread.join()
    assert log.replies == []


@pytest.mark.parametrize("at", ["read", "write"])
def test_a_leader_that_is_stopped_while_it_takes_over_changes_nothing_more(log, at):
    """The events of what it would change find a producer that is closed."""
    log.command(id="1", type="subscribe", instruments=["NSE:A"])
    lead(log)
    before, events = len(log.steps), []

    def stops(leader):
        does = getattr(log, at)

        def stopping(*given):
            leader.stop()
            return does(*given)

        setattr(log, at, stopping)

    # of slots that went there is something to write before the list is looked at
    layout = Layout((1, 2), 2) if at == "write" else None
    renamed = FakeMaster({"NSE:A": C})
    lead(log, master=renamed, layout=layout, watch=stops, on_event=events.append)
    assert len(log.steps) == before + (at == "write")
    assert events == []
    assert {one.symbol for one in log.subscriptions().values()} == {"NSE:A"}
    assert list(log.subscriptions()) == [A]


def test_the_settings_instruments_are_watchlists_of_their_own(log):
    wanted = {InstrumentGroup(Mode.QUOTE): ["NSE:A", C], InstrumentGroup(Mode.FULL): [C]}
    lead(log, wanted=wanted)
    assert {token: s.claims for token, s in log.subscriptions().items()} == {
        A: {"@settings:quote": Mode.QUOTE},
        C: {"@settings:quote": Mode.QUOTE, "@settings:full": Mode.FULL},
    }
    steps = len(log.steps)
    lead(log, wanted=wanted)
    assert len(log.steps) == steps  # the same again is no transaction


def test_an_instrument_that_changes_its_group_in_the_settings_stays_in_place(log):
    lead(log, wanted={InstrumentGroup(Mode.QUOTE): [A, B, C]})
    before = {token: s.slot for token, s in log.subscriptions().items()}
    lead(log, wanted={InstrumentGroup(Mode.FULL): [C, B, A]})
    assert {token: s.slot for token, s in log.subscriptions().items()} == before
    assert {s.mode for s in log.subscriptions().values()} == {Mode.FULL}
    lead(log)
    assert log.subscriptions() == {}


def test_settings_that_cannot_be_had_are_named(log):
    leader = lead(
        log, wanted={InstrumentGroup(Mode.QUOTE): ["NSE:X", *range(257, 257 + 7 * 256, 256)]}
    )
    assert leader.unresolved == (
        "NSE:X: not in the instrument master",
        "1793: no room: 3 slots carry 2 each",
    )


def test_a_claim_of_the_settings_whose_account_is_full_is_told_of_until_there_is_room(log):
    layout = Layout((0, 3), 2, None, (("a", (0,)), ("b", (3,))))
    log.command(id="1", type="subscribe", watchlist="w", instruments=[A], account="a")
    log.command(id="2", type="subscribe", watchlist="x", instruments=[B, C], account="b")
    log.slots = 4
    lead(log, layout=layout)
    wanted = {InstrumentGroup(Mode.FULL, "b"): [A]}
    with capture_logs() as lines:
        leader = lead(log, layout=layout, wanted=wanted)  # it waits for its turn: a came first
        assert leader.waiting_for_room == {}
        log.command(id="3", type="delete", watchlist="w")
        leader = lead(log, layout=layout, wanted=wanted)
        assert leader.waiting_for_room == {"b": 1}
        log.command(id="4", type="unsubscribe", watchlist="x", instruments=[B])
        leader = lead(log, layout=layout, wanted=wanted)
    assert leader.waiting_for_room == {}
    assert log.subscriptions()[A].slot == 3
    told = [line for line in lines if "wait" in line["event"]]
    assert [(line["event"], line["log_level"]) for line in told] == [
        ("instruments_wait_for_room", "warning")
    ]
    assert (told[0]["accounts"], told[0]["first"]) == ({"b": 1}, [A])


def test_that_room_was_found_is_told_by_who_told_of_the_lack(log):
    layout = Layout((0, 3), 1, None, (("a", (0,)), ("b", (3,))))
    log.slots = 4
    for number, (watchlist, token, account) in enumerate([("w", A, "a"), ("x", B, "b")]):
        log.command(
            id=str(number), type="subscribe", watchlist=watchlist, instruments=[token],
            account=account,
        )  # fmt: skip
    lead(log, layout=layout)
    wanted = {InstrumentGroup(Mode.FULL, "b"): [A]}
    lead(log, layout=layout, wanted=wanted)
    log.command(id="3", type="delete", watchlist="w")

    def then():
        log.command(id="4", type="delete", watchlist="x")
        log.idle = leaders[0].stop

    leaders = []
    with capture_logs() as lines:
        lead(log, layout=layout, wanted=wanted, until=then, watch=leaders.append)
    assert [line["event"] for line in lines if "wait" in line["event"]] == [
        "instruments_wait_for_room", "no_instrument_waits_for_room",
    ]  # fmt: skip


def test_names_that_a_later_master_knows(log):
    master = FakeMaster()
    leader = Leader(
        lambda: log,
        Layout((0, 1, 2), 2),
        lambda: master,
        wanted={InstrumentGroup(Mode.QUOTE): ["NSE:A"]},
        max_bytes=1000,
        clock=FakeClock(NOW_MS * 1000),
    )
    seen = []

    def idle():
        seen.append(leader.unresolved)
        if master.tokens:
            leader.stop()
        else:
            master.tokens["NSE:A"] = A
            leader.refreshed()

    log.idle = idle
    leader.run()
    assert seen == [("NSE:A: not in the instrument master",), ()]
    assert log.subscriptions().keys() == {A}
    assert leader.unresolved == ()


def test_a_new_leader_gives_symbols_their_tokens_of_today(log):
    log.command(id="1", type="subscribe", instruments=["NSE:A", "NSE:B"])
    lead(log)
    events = []
    lead(log, master=FakeMaster({"NSE:A": C}), on_event=events.append)
    assert {token: s.symbol for token, s in log.subscriptions().items()} == {
        C: "NSE:A",
        B: "NSE:B",
    }
    assert [event.type for event in events] == [EventType.INSTRUMENT_CHANGED]


def test_refresh_instruments_loads_the_master_first(log):
    master = FakeMaster({"NSE:A": A})
    log.command(id="1", type="subscribe", instruments=["NSE:A"])
    log.command(id="2", type="refresh-instruments", dry_run=True)
    log.command(id="3", type="refresh-instruments")
    log.command(id="3", type="refresh-instruments")
    log.command(id="4", type="refresh-instruments", accept_list=True)
    loads = []

    def refresh(accept_list):
        loads.append(accept_list)
        master.tokens = {"NSE:A": B}
        return done()

    leaders = []

    def until():
        if len(log.replies) == 4:
            leaders[0].stop()

    lead(log, master=master, refresh=refresh, watch=leaders.append, until=until)
    assert loads == [False, True]
    assert log.subscriptions().keys() == {B}


def test_a_master_that_cannot_be_loaded_is_a_rejection(log):
    log.command(id="1", type="refresh-instruments")

    lead(log, refresh=lambda accept_list: done(InstrumentNotFoundError("NSE:A")))
    (reply,) = [reply for _, reply in log.replies]
    assert reply["status"] == "REJECTED"
    assert reply["errors"][0].startswith("NSE:A is not in the instrument master")


def test_slots_that_went_are_drained_and_slots_without_a_partition_are_not_used(log):
    log.command(id="1", type="subscribe", instruments=[A, B, C])
    lead(log)
    lead(log, layout=Layout((0,), 2))
    assert {s.slot for s in log.subscriptions().values()} == {0, 2}
    lead(log, layout=Layout((0, 3), 2))
    assert {s.slot for s in log.subscriptions().values()} == {0, 2}
    log.slots = 6
    lead(log, layout=Layout((0, 3), 2))
    assert {s.slot for s in log.subscriptions().values()} == {0, 3}


def test_what_does_not_belong_is_taken_away(log):
    value = Subscription(0, {"a": Mode.LTP}, None, 1).encoded(A)
    log.stored = [(0, str(A), value), (1, str(B), b"garbage")]
    lead(log)
    assert log.steps[0].records[0] == StateRecord(1, str(B), None)
    assert log.subscriptions().keys() == {A}


def test_a_broken_log_is_opened_again(log):
    broken = iter([RuntimeError("unforeseen"), None])
    opened = log.open

    def open_():
        opened()
        if (error := next(broken)) is not None:
            raise error

    log.open = open_
    log.command(id="1", type="status")
    lead(log)
    assert log.opened == 2
    assert log.replies[0][1]["payload"]["instruments"] == 0


def test_rules_follow_the_price_and_a_new_leader_goes_on_with_them(log):
    master, price, events = usual().master(), {}, []
    chain = {"type": "option-chain", "underlying": "NIFTY", "strikes": 1, "expiry": "2026-12-29"}
    log.command(id="1", type="set-rule", watchlist="w", rule="chain", claims=chain)
    layout = Layout((0, 1, 2), 10)
    clock = SteppedClock(NOW_MS / 1000)
    windows = []

    def later(leader):
        windows.append(leader.state.rules["w#chain"].window)
        price.update({NIFTY_50: 25_000.0 + 100 * len(windows)})
        clock.seconds += 20
        if len(windows) == 4:
            leader.stop()

    def leads():
        return Leader(
            lambda: log, layout, lambda: master, wanted={}, max_bytes=10**6, clock=clock,
            back_off_seconds=0, fenced_seconds=0, prices=lambda wanted: {
                token: price[token] for token in wanted if token in price
            }, on_event=events.append,
        )  # fmt: skip

    first = leads()
    log.idle = lambda: later(first)
    first.run()
    assert [window and window.middle for window in windows] == [None, 25_100, 25_200, 25_300]
    assert [event.type for event in events] == [EventType.RULE_CHANGED] * 5
    assert len(log.subscriptions()) == 7
    price.clear()
    second = leads()
    log.idle = second.stop
    steps = len(log.steps)
    second.run()
    assert (len(log.steps), len(events)) == (steps, 5)


def test_what_kafka_refuses_of_a_rule_leaves_it_as_it_was(log):
    master = usual().master()
    futures = {"type": "futures", "exchange": "NFO"}
    log.command(id="1", type="set-rule", watchlist="w", rule="near", claims=futures)
    lead(log, master)
    fewer = InstrumentMaster(one for one in master if one.exchange == "NSE")
    log.failures = [RecordRefusedError("too large")]
    leader = lead(log, fewer)
    assert (leader.refused, len(log.subscriptions())) == (1, 2)
