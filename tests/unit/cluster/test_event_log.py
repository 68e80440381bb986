"""The newest events, within a bound that no slot and no kind takes for itself."""

from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.event_log import MAX_REASON_CHARS, EventLog, own_event, shared
from connector.kite.feed.events import ConnectionEvent, EventType

REFUSED = "connection refused"


def log(*happened, limit=100):
    """A log of events, each a slot, a kind and perhaps a reason; a millisecond apart."""
    kept = EventLog(limit)
    for number, (slot, kind, *reason) in enumerate(happened):
        kept.add(own_event(ConnectionEvent(kind, slot, number, reason="".join(reason)), "main"))
    return kept


def shown(kept):
    """What is shown of each row, oldest first."""
    return [
        (row["slot"], row["type"], row["times"], row["first_ms"], row["time_ms"])
        for row in reversed(kept.rows())
    ]


def outage(slot, tries, reason=REFUSED):
    begins = [(slot, EventType.DISCONNECTED, "feed gone")]
    one = [(slot, EventType.CONNECTING), (slot, EventType.BACKING_OFF, reason)]
    return begins + one * tries


def test_tries_that_fail_alike_are_one_row_beside_how_it_began():
    kept = log((0, EventType.CONNECTED), *outage(0, 400))
    assert shown(kept) == [
        (0, "connected", 1, 0, 0),
        (0, "disconnected", 1, 1, 1),
        (0, "connecting", 1, 2, 2),
        (0, "backing_off", 400, 3, 801),
    ]
    assert len(kept) == 4


def test_a_try_under_way_is_shown_until_it_has_failed():
    kept = log(*outage(0, 3), (0, EventType.CONNECTING))
    assert shown(kept)[-2:] == [(0, "backing_off", 3, 2, 6), (0, "connecting", 1, 7, 7)]


def test_another_reason_and_a_connection_between_begin_anew():
    again = [(0, EventType.CONNECTING), (0, EventType.CONNECTED)]
    kept = log(*outage(0, 2), (0, EventType.BACKING_OFF, "HTTP 500"), *again, *outage(0, 2))
    assert [row[1:3] for row in shown(kept) if row[1] == "backing_off"] == [
        ("backing_off", 2), ("backing_off", 1), ("backing_off", 2),
    ]  # fmt: skip


def test_runs_of_two_slots_do_not_end_each_other():
    both = [one for pair in zip(outage(0, 9), outage(1, 9), strict=True) for one in pair]
    assert [row[:3] for row in shown(log(*both)) if row[2] > 1] == [
        (0, "backing_off", 9), (1, "backing_off", 9),
    ]  # fmt: skip


def test_a_slot_that_floods_pushes_out_only_its_own():
    flood = [
        one
        for number in range(50)
        for one in [(1, EventType.CONNECTED), (1, EventType.DISCONNECTED, str(number))]
    ]
    others = [(0, EventType.CONNECTED), (1, EventType.GAP), (2, EventType.STALLED)]
    kept = log(*others, *flood, limit=9)
    assert len(kept) == 9
    assert [row[:2] for row in shown(kept)[:3]] == [(0, "connected"), (1, "gap"), (2, "stalled")]
    assert kept.forgotten_ms == shown(kept)[3][4] - 1


def test_a_slot_that_flaps_leaves_room_for_the_news_of_the_others():
    rows = log((0, EventType.GAP), (2, EventType.STALLED), *[(1, EventType.GAP)] * 50).rows()
    chosen = shared(rows, 10)
    assert [row["slot"] for row in chosen] == [1] * 8 + [2, 0]
    assert chosen[:8] == rows[:8]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 20))
def test_room_is_shared_by_those_that_have_most(slots, limit):
    rows = log(*[(slot, EventType.GAP) for slot in slots]).rows()
    chosen = shared(rows, limit)
    assert len(chosen) == min(limit, len(rows))
    assert [row for row in rows if row in chosen] == chosen
    most = max(map([row["slot"] for row in chosen].count, range(4)))
    for slot in range(4):
        own = [row for row in rows if row["slot"] == slot]
        kept = [row for row in chosen if row["slot"] == slot]
        assert kept == own[: len(kept)]
        assert len(kept) == len(own) or len(kept) >= most - 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(
                [EventType.CONNECTING, EventType.CONNECTED, EventType.DISCONNECTED,
                 EventType.BACKING_OFF, EventType.GAP]
            ),
            st.sampled_from(["", REFUSED]),
        ),
        max_size=60,
    ),
    st.integers(1, 8),
)  # fmt: skip
def test_the_bound_holds_whatever_comes_and_the_newest_failure_is_the_newest_row(events, limit):
    kept = log(*events, limit=limit)
    rows = kept.rows()
    assert len(rows) == len(kept) <= limit
    times = [row["time_ms"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert all(row["times"] >= 1 and row["first_ms"] <= row["time_ms"] for row in rows)
    whole = log(*events)
    failures = [one for one in events if one[1] is not EventType.CONNECTING]
    assert sum(row["times"] for row in whole.rows() if row["type"] != "connecting") == len(failures)


def test_a_long_reason_is_cut_and_can_be_looked_at():
    event = ConnectionEvent(EventType.DISCONNECTED, 0, 1, reason="\u202e" + "x" * 1000)
    reason = own_event(event, "main")["reason"]
    assert "\u202e" not in reason
    assert reason.endswith("…")
    assert reason.count("x") < MAX_REASON_CHARS
