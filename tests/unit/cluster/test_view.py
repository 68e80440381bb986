import json
from datetime import date

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.view import (
    MAX_COMMANDS,
    MAX_EVENTS,
    MAX_LOSSES,
    MAX_WATCHLISTS,
    SHOWN_REFUSALS,
    ClusterView,
    Notebook,
    described,
    frame_age_seconds,
    watchlists_of,
)
from connector.control.commands import COMMAND
from connector.control.expansion import StrikeWindow
from connector.control.held_rules import HeldRule
from connector.control.records import (
    HALT_KEY,
    REPLY_PREFIX,
    Halt,
    Halted,
    Remembered,
    Subscription,
)
from connector.control.rules import RULE
from connector.errors import TopicError
from connector.kafka.avro_records import RecordEncoder
from connector.kafka.topics import TopicNames
from connector.kite.feed.events import ConnectionEvent, EventType, TickCount
from connector.kite.wire.models import Mode
from connector.settings.models import Settings
from connector.testing import FakeClock

TOPICS = TopicNames()
SETTINGS = Settings.model_validate(
    {"accounts": [{"name": "main", "api_key": "key", "access_token": "token"}]}
)
ENCODER = RecordEncoder(TOPICS, {TOPICS.orders: 1, TOPICS.events: 2})


@pytest.fixture
def notes():
    return Notebook(SETTINGS, TOPICS, {})


def subscribed(notes, token, slot, revision, **claims):
    value = Subscription(slot, claims, f"NSE:I{token}", revision).encoded(token)
    notes.add(TOPICS.subscriptions, slot, 0, str(token), value)


def command(notes, time_ms=0, **fields):
    written = COMMAND.validate_python(fields).model_dump_json(exclude_none=True).encode()
    notes.add(TOPICS.control, 0, time_ms, fields["id"], written)


def replied(notes, command_id, reply, sequence=1):
    value = Remembered(sequence, "0" * 32, json.dumps(reply).encode()).encoded()
    notes.add(TOPICS.subscriptions, 0, 0, REPLY_PREFIX + command_id, value)


def halted(notes, slot, value):
    notes.add(TOPICS.subscriptions, slot, 0, HALT_KEY, value)


def happened(notes, kind, time_ms, **fields):
    event = ConnectionEvent(kind, fields.pop("slot", 0), time_ms, **fields)
    notes.add(TOPICS.events, 0, time_ms, "0", ENCODER.event(event, account="main"))


class FakeReader:
    """A cluster of six slots, whose owners have left word of each."""

    def __init__(self):
        self.consumer = self
        self.last_frame_us = 5

    def ends(self, topic):
        return [TopicPartition(topic, 0, 7)]

    def every(self, topic, offset):
        return [TopicPartition(topic, number, offset) for number in range(6)]

    def committed(self, places, timeout):
        left = json.dumps({"last_frame_us": self.last_frame_us, "note": {"owner": "pod-1"}})
        return [TopicPartition(one.topic, one.partition, 1, metadata=left) for one in places]


def test_whoever_has_no_accounts_is_told_of_all_slots(notes):
    reader = FakeReader()
    notes.places(reader)
    notes.read_owners(reader, 0.0)
    assert set(notes.seen().slots) == set(range(6))
    assert notes.seen().slots[5] == {"owner": "pod-1", "last_frame_us": 5, "moved_at": None}


@pytest.mark.parametrize("ahead_seconds", [0, 1, 300, -300, 86_400])
def test_a_slot_is_as_old_as_its_frames_are_whatever_its_owners_clock_says(notes, ahead_seconds):
    reader, clock = FakeReader(), FakeClock()
    notes.places(reader)
    for _ in range(4):
        reader.last_frame_us = clock.time_us() + ahead_seconds * 1_000_000
        notes.read_owners(reader, clock.monotonic())
        clock.now += 2
        clock.step(2)
    # it has fallen silent since the last of these looks
    for seconds in (2, 12, 62):
        assert frame_age_seconds(notes.seen().slots[5], clock) == seconds
        clock.now += 10 if seconds == 2 else 50
        clock.step(10 if seconds == 2 else 50)
        notes.read_owners(reader, clock.monotonic())


def test_a_slot_that_was_silent_before_anybody_looked_is_as_old_as_its_owner_said(notes):
    reader, clock = FakeReader(), FakeClock()
    notes.places(reader)
    reader.last_frame_us = clock.time_us() - 90_000_000
    for _ in range(2):
        notes.read_owners(reader, clock.monotonic())
        assert frame_age_seconds(notes.seen().slots[5], clock) == 90
    assert frame_age_seconds({}, clock) is None


def test_a_halt_holds_until_its_tombstone(notes):
    halt = Halted(Halt.PAUSED, "asha", 7)
    halted(notes, 0, halt.encoded())
    halted(notes, 1, halt.encoded())
    halted(notes, 1, None)
    halted(notes, 2, b"no halt")
    assert notes.seen().halts == {0: halt}


def test_claims_are_counted_by_watchlist_and_mode(notes):
    subscribed(notes, 257, 0, 1, algo=Mode.FULL, desk=Mode.LTP)
    subscribed(notes, 513, 1, 2, algo=Mode.QUOTE)
    seen = notes.seen()
    assert seen.watchlists == [
        {"name": "algo", "ltp": 0, "quote": 1, "full": 1},
        {"name": "desk", "ltp": 1, "quote": 0, "full": 0},
    ]
    assert (seen.carried, seen.revision) == ({0: 1, 1: 1}, 2)
    assert seen.subscriptions[257].claims == {"algo": Mode.FULL, "desk": Mode.LTP}


# a move is a record in the new slot's partition and a tombstone in the old one's; what partitions
# say comes in any order between them
@given(st.permutations(range(3)))
def test_an_instrument_that_moves_is_in_its_new_slot_in_whatever_order(order):
    notes = Notebook(SETTINGS, TOPICS, {})
    old = [
        lambda: subscribed(notes, 257, 0, 1, algo=Mode.FULL),
        lambda: notes.add(TOPICS.subscriptions, 0, 0, "257", None),
    ]
    for step in order:
        if step == 2:
            subscribed(notes, 257, 1, 2, algo=Mode.FULL)
        else:
            old.pop(0)()
    seen = notes.seen()
    assert seen.subscriptions[257].slot == 1
    assert {slot: count for slot, count in seen.carried.items() if count} == {1: 1}
    assert seen.watchlists == [{"name": "algo", "ltp": 0, "quote": 0, "full": 1}]


def test_what_nobody_claims_any_more_is_gone(notes):
    subscribed(notes, 257, 0, 1, algo=Mode.FULL)
    notes.add(TOPICS.subscriptions, 0, 0, "257", None)
    assert notes.seen().subscriptions == {}
    assert notes.seen().watchlists == []


def test_commands_are_shown_with_their_replies_newest_first(notes):
    command(notes, 1, id="a", type="subscribe", watchlist="algo", instruments=[1, 2, 3, 4, 5])
    command(notes, 2, id="b", type="reconnect", slot=1, dry_run=True)
    command(notes, 3, id="c", type="status")
    replied(notes, "a", {
        "id": "a", "status": "APPLIED", "revision": 9, "accepted": 3,
        "refused": [{"instrument": n, "reason": "no"} for n in range(SHOWN_REFUSALS + 3)],
    })  # fmt: skip
    latest, first = notes.seen().commands
    assert (latest["type"], latest["detail"], latest["dry_run"]) == ("reconnect", "slot 1", True)
    assert latest["reply"] is None
    assert first["detail"] == "algo 1, 2, 3 and 2 more as quote"
    assert first["reply"]["refused"] == SHOWN_REFUSALS + 3
    assert first["reply"]["reasons"] == [f"{n}: no" for n in range(SHOWN_REFUSALS)]


def test_a_reply_that_is_forgotten_is_shown_no_more(notes):
    command(notes, 1, id="a", type="rebalance")
    replied(notes, "a", {"id": "a", "status": "APPLIED", "revision": 1})
    notes.add(TOPICS.subscriptions, 0, 0, REPLY_PREFIX + "a", None)
    assert notes.seen().commands[0]["reply"] is None


def test_what_is_no_command_is_shown_as_that(notes):
    notes.add(TOPICS.control, 0, 5, "", b'{"id": "x", "type": "buy"}')
    (shown,) = notes.seen().commands
    assert (shown["id"], shown["type"]) == ("x", "no command")
    assert "must be one of" in shown["detail"]


def test_counts_of_ticks_push_no_event_out(notes):
    happened(notes, EventType.CONNECTED, 1)
    for time_ms in range(2, MAX_EVENTS + 5):
        happened(notes, EventType.COUNT, time_ms)
    assert [event["type"] for event in notes.seen().events] == ["connected"]


def test_gaps_and_drops_are_kept_beside_the_events(notes):
    happened(notes, EventType.GAP, 7000, gap_from_ms=2000, gap_to_ms=7000, slot=2)
    for number in range(MAX_EVENTS):
        happened(notes, EventType.CONNECTED, 8000 + number)
    seen = notes.seen()
    assert len(seen.events) == MAX_EVENTS
    assert seen.events[0]["time_ms"] == 8000 + MAX_EVENTS - 1
    (loss,) = seen.losses
    assert (loss["type"], loss["slot"], loss["from_ms"], loss["to_ms"]) == ("gap", 2, 2000, 7000)
    assert loss["account"] == "main"


def test_an_outage_pushes_out_neither_its_beginning_nor_other_slots(notes):
    happened(notes, EventType.CONNECTED, 1)
    happened(notes, EventType.DISCONNECTED, 2, slot=1, reason="feed gone")
    for time_ms in range(3, MAX_EVENTS * 2, 2):
        happened(notes, EventType.CONNECTING, time_ms, slot=1)
        happened(notes, EventType.BACKING_OFF, time_ms + 1, slot=1, reason="refused")
    assert [(row["slot"], row["type"], row["times"]) for row in notes.seen().events] == [
        (1, "backing_off", MAX_EVENTS - 1), (1, "connecting", 1), (1, "disconnected", 1),
        (0, "connected", 1),
    ]  # fmt: skip


def test_gaps_of_one_slot_push_out_only_its_own(notes):
    happened(notes, EventType.GAP, 1, gap_from_ms=0, gap_to_ms=1, slot=2)
    for number in range(MAX_LOSSES + 1):
        happened(notes, EventType.GAP, number + 2, gap_from_ms=0, gap_to_ms=1)
    seen = notes.seen()
    assert len(seen.losses) == MAX_LOSSES
    assert seen.losses[-1]["slot"] == 2
    # what is said to be known is so of all slots
    assert seen.losses_since_ms == 4


def test_losses_are_known_since_the_oldest_event(notes):
    assert notes.seen().losses_since_ms is None
    happened(notes, EventType.CONNECTED, 5)
    assert notes.seen().losses_since_ms == 5


def test_counts_of_ticks_are_no_news(notes):
    count = TickCount(1, 2, False, {})
    happened(notes, EventType.COUNT, 7000, session_id=1, count=count)
    assert notes.seen().events == []


def test_a_sequence_is_told_by_its_steps():
    step = {"type": "delete", "watchlist": "a"}
    command = {"id": "x", "type": "sequence", "steps": [step] * 5, "by": "desk"}
    sequence = COMMAND.validate_python(command)
    assert described(sequence) == "delete a, delete a, delete a and 2 more"
    assert watchlists_of(sequence) == ["a"]


def test_everything_has_a_bound(notes):
    for number in range(MAX_LOSSES + 1):
        happened(notes, EventType.DROPPED, number + 1, reason="spool_full: 1 record")
    for number in range(MAX_COMMANDS + 1):
        command(notes, number, id=f"c{number}", type="rebalance")
    for number in range(MAX_WATCHLISTS + 1):
        subscribed(notes, (number + 1) << 8 | 1, 0, 1, **{f"w{number:03}": Mode.LTP})
    seen = notes.seen()
    assert (len(seen.losses), len(seen.commands)) == (MAX_LOSSES, MAX_COMMANDS)
    assert seen.losses_since_ms == 2, "what is older was forgotten"
    assert (len(seen.watchlists), seen.watchlist_count) == (MAX_WATCHLISTS, MAX_WATCHLISTS + 1)


@given(
    st.sampled_from([TOPICS.subscriptions, TOPICS.control, TOPICS.events]),
    st.sampled_from(["257", "@leader", REPLY_PREFIX + "a", "junk", ""]),
    st.none() | st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b"1", b'{"id":1}']),
)
def test_whatever_others_write_stops_nothing(topic, key, value):
    notes = Notebook(SETTINGS, TOPICS, {})
    notes.add(topic, 0, 0, key, value)
    json.dumps(notes.seen().commands)


def test_a_command_of_one_instrument_or_none():
    for fields, words in [
        ({"type": "unsubscribe", "instruments": ["NSE:INFY"]}, "default NSE:INFY"),
        ({"type": "replace", "watchlist": "a", "instruments": []}, "a no instruments as quote"),
        ({"type": "refresh-instruments"}, ""),
    ]:
        assert described(COMMAND.validate_python({"id": "x", **fields})) == words


def test_a_rule_is_shown_with_what_it_claims_and_what_is_wrong(notes):
    claims = RULE.validate_python({"type": "option-chain", "underlying": "NIFTY"})
    held = HeldRule(claims, Mode.FULL, window=StrikeWindow(date(2026, 12, 1), 25_000.0, None, None))
    subscribed(notes, 257, 0, 1, **{"w": Mode.LTP, "w#chain": Mode.FULL})
    notes.add(TOPICS.subscriptions, 0, 0, "@rule:w#chain", held.encoded())
    waits = HeldRule(claims, Mode.FULL, problem="no price")
    notes.add(TOPICS.subscriptions, 0, 0, "@rule:v#waits", waits.encoded())
    notes.add(TOPICS.subscriptions, 0, 0, "@rule:v#none", b"{")
    seen = notes.seen()
    what = "options of NIFTY nearest, 10 strikes each way"
    none = {"ltp": 0, "quote": 0, "full": 0}
    assert list(seen.watchlists) == [
        {"name": "v#waits", **none, "rule": what, "problem": "no price"},
        {"name": "w", **none, "ltp": 1},
        {"name": "w#chain", **none, "full": 1, "rule": f"{what}, now 25000 of 2026-12-01",
         "problem": ""},
    ]  # fmt: skip
    assert seen.watchlist_count == 2
    notes.add(TOPICS.subscriptions, 0, 0, "@rule:v#waits", None)
    assert [one["name"] for one in notes.seen().watchlists] == ["w", "w#chain"]
    command(notes, id="1", type="set-rule", watchlist="w", rule="chain", claims=claims)
    assert notes.seen().commands[0]["detail"] == f"w rule chain: {what} as quote"
    command(notes, id="2", type="delete-rule", watchlist="w", rule="chain")
    assert notes.seen().commands[0]["detail"] == "w rule chain"
    command(notes, id="3", type="set-limits", watchlist="w", priority=-3)
    assert notes.seen().commands[0]["detail"] == "w quota none, priority -3"


class LongReading(FakeReader):
    """A reader in whose hands ten seconds pass at each look."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.unfinished = set()
        self.looked_for_more = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def tail_from(self, places):
        self.places = places

    def topics(self):
        return ["away", "there"]

    def follow_added(self, topic):
        self.looked_for_more.append((topic, self.clock.now))
        if topic == "away":
            raise TopicError(topic, "Broker: Unknown topic or partition")

    def next(self, timeout_seconds=0.0):
        self.clock.now += 10


def test_while_somebody_looks_partitions_that_are_added_are_read_too(monkeypatch):
    clock = FakeClock()
    reader = LongReading(clock)
    monkeypatch.setattr(ClusterView, "_reader", lambda _: reader)
    began = clock.now
    view = ClusterView(SETTINGS, TOPICS, clock=clock)
    view.look()
    view._thread.join(20)
    looks = [(topic, round(at - began)) for topic, at in reader.looked_for_more]
    assert looks == [("away", 30), ("there", 30), ("away", 60), ("there", 60)]
