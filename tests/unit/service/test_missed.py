"""What was missed and lost, as events tell it."""

from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.event_log import own_event
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.wire.candles import MINUTE_MS, Gap
from connector.service.missed import SHOWN_DROPS, SHOWN_GAPS, Backfilled, missed


def event(kind, time_ms, slot=0, **fields):
    return own_event(ConnectionEvent(kind, slot, time_ms, **fields), "main")


def test_losses_are_counted_once_and_since_a_time():
    told = missed(
        [
            event(EventType.DROPPED, 9000, slot=0, reason="spool_full: 7", gap_from_ms=1),
            event(EventType.DROPPED, 9000, slot=1, reason="spool_full: 7", gap_from_ms=1),
            event(EventType.GAP, 8000, slot=1, gap_from_ms=6000, gap_to_ms=8000),
            event(EventType.GAP, 7000, slot=2, gap_from_ms=6500, gap_to_ms=7000),
            event(EventType.GAP, 6000, gap_to_ms=6000),
            event(EventType.CONNECTED, 6000),
            event(EventType.GAP, 500, gap_from_ms=0, gap_to_ms=500),
        ],
        since_ms=1000,
        complete_from_ms=5000,
    )
    assert (told["gaps"], told["gap_seconds"], told["gaps_without_beginning"]) == (2, 2.5, 1)
    assert told["longest"] == {"slot": 1, "from_ms": 6000, "to_ms": 8000, "seconds": 2.0}
    assert [(gap["slot"], gap["to_ms"]) for gap in told["newest_gaps"]] == [(1, 8000), (2, 7000)]
    assert [drop["reason"] for drop in told["drops"]] == ["spool_full: 7"]
    assert told["since_ms"] == 5000


def test_each_slot_has_its_own_and_what_was_fetched_of_it():
    minute = MINUTE_MS
    told = missed(
        [
            event(EventType.DROPPED, 9 * minute, slot=2, reason="spool_full: 7",
                  gap_from_ms=8 * minute, gap_to_ms=9 * minute),
            event(EventType.GAP_BACKFILLED, 8 * minute, gap_from_ms=3 * minute + 5,
                  gap_to_ms=4 * minute),
            event(EventType.GAP, 7 * minute, gap_from_ms=6 * minute, gap_to_ms=7 * minute),
            # the candles of a minute are those of all that was missed in it
            event(EventType.GAP, 4 * minute, gap_from_ms=3 * minute, gap_to_ms=4 * minute - 1),
        ],
        0,
        None,
    )  # fmt: skip
    assert told["slots"] == [
        {"slot": 0, "gaps": 2, "gap_seconds": 120.0, "last_ms": 7 * minute, "times": 2,
         "backfilled": 1},
        {"slot": 2, "gaps": 0, "gap_seconds": 0.0, "last_ms": 9 * minute, "times": 1,
         "backfilled": 0},
    ]  # fmt: skip


def test_a_few_losses_are_named():
    many = [event(EventType.DROPPED, number, reason=str(number)) for number in range(100)]
    assert len(missed(many, 0, None)["drops"]) == SHOWN_DROPS


def test_the_newest_gaps_are_named_and_all_are_counted():
    many = [event(EventType.GAP, 100 - ms, gap_from_ms=ms, gap_to_ms=100) for ms in range(100)]
    told = missed(many, 0, 0)
    assert told["newest_gaps"] == [
        {"slot": 0, "from_ms": ms, "to_ms": 100, "seconds": (100 - ms) / 1000}
        for ms in range(SHOWN_GAPS)
    ]
    assert told["gaps"] == 100


def test_where_nothing_was_read_nothing_is_promised():
    assert missed([], 1000, None)["since_ms"] is None
    assert missed([], 1000, 500)["since_ms"] == 1000


TIMES = st.tuples(st.integers(0, 40), st.integers(0, 20)).map(
    lambda one: (one[0] * 15_000, (one[0] + one[1]) * 15_000)
)


@given(st.lists(TIMES, max_size=8), TIMES)
def test_what_was_fetched_is_what_the_backfill_leaves_nothing_of(fetched, gap):
    """As `Gap.without`, by which the backfill itself goes."""
    left = [Gap(1, None, *gap, "gap")]
    for from_ms, to_ms in fetched:
        done = Gap(1, None, from_ms, to_ms, "gap_backfilled")
        left = [part for one in left for part in one.without(done)]
    done = Backfilled(
        [
            event(EventType.GAP_BACKFILLED, 1, slot=1, gap_from_ms=from_ms, gap_to_ms=to_ms)
            for from_ms, to_ms in fetched
        ]
    )
    assert done.holds(1, *gap) == (not left)
    assert not done.holds(2, *gap)
