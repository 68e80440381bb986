"""The judge of `make k8s-test` condemns what it is there for."""

from tests.k8s.judge import Judge

BEGIN_MS = 1_000_000


def session(session_ms, numbers, slot=0, token=7):
    """Ticks of one session, ten milliseconds apart, the first one ten after it was opened."""
    return [[slot, session_ms, n, token, (session_ms + 10 * n) * 1000] for n in numbers]


def gap(session_ms, gap_from, slot=0):
    return {
        "type": "gap",
        "slot": slot,
        "session_id": session_ms,
        "gap_from": gap_from,
        "gap_to": session_ms,
    }


def verdict(ticks, events=(), **options):
    judge = Judge()
    judge.read(ticks, events, {})
    return judge.verdict(**options)


def test_a_session_without_a_gap_is_clean():
    found = verdict(session(BEGIN_MS, range(1, 11)))
    assert (found.faults, found.ticks, found.repeats) == ([], 10, 0)
    assert found.gaps_seconds == {0: 0.01}


def test_the_longest_time_without_a_tick_is_the_gap():
    later = BEGIN_MS + 2_000
    found = verdict(
        [*session(BEGIN_MS, range(1, 11)), *session(later, range(1, 3))],
        [gap(later, BEGIN_MS + 100)],
    )
    assert found.faults == []
    assert found.gaps_seconds == {0: 1.91}
    assert found.sessions == {0: 1}


def test_a_missing_number_is_a_fault_unless_it_was_told():
    ticks = session(BEGIN_MS, [1, 2, 5])
    assert len(verdict(ticks).faults) == 1
    told = {**gap(BEGIN_MS, BEGIN_MS), "gap_to": BEGIN_MS + 60}
    assert verdict(ticks, [told]).faults == []


def test_a_session_that_tells_nothing_or_too_little_of_what_it_missed_is_a_fault():
    later = BEGIN_MS + 5_000
    ticks = [*session(BEGIN_MS, range(1, 11)), *session(later, range(1, 3))]
    for events in ([], [gap(later, None)], [gap(later, later - 500)], [gap(later, BEGIN_MS, 1)]):
        assert len(verdict(ticks, events).faults) == 1, events


def test_a_repeat_is_counted_and_an_older_one_behind_a_newer_is_a_fault():
    ticks = session(BEGIN_MS, [1, 2, 2])
    assert (verdict(ticks).repeats, verdict(ticks).faults) == (1, [])
    swapped = session(BEGIN_MS, [2, 1])
    assert len(verdict(swapped).faults) == 1
    # order is a promise within an instrument alone
    other = [*session(BEGIN_MS, [2]), *session(BEGIN_MS, [1], token=8)]
    assert verdict(other).faults == []


def test_only_the_stretch_that_is_asked_for_is_judged():
    judge = Judge()
    judge.read(session(BEGIN_MS, [1, 2, 5, 6, 7]), [], {})
    assert judge.verdict((BEGIN_MS + 50) * 1000, (BEGIN_MS + 70) * 1000).ticks == 2
    assert judge.verdict((BEGIN_MS + 50) * 1000).faults == []


def test_what_the_slowest_partition_has_reached_is_complete():
    judge = Judge()
    assert judge.complete_us() == 0
    judge.read([], [], {"ticks-0": 7, "ticks-1": 5})
    judge.read([], [], {"ticks-0": 9})
    assert judge.complete_us() == 5
    judge.read([], [], {"ticks-1": 8})
    assert judge.complete_us() == 8


def test_a_killed_process_loses_what_was_not_acknowledged_and_nothing_before():
    later = BEGIN_MS + 9_000
    events = [gap(later, BEGIN_MS + 4_000)]
    after = session(later, range(1, 3))
    tail = [*session(BEGIN_MS, [*range(1, 391), 395, 400]), *after]
    assert len(verdict(tail, events).faults) == 2
    found = verdict(tail, events, killed=True)
    assert (found.faults, found.lost) == ([], 8)
    early = [*session(BEGIN_MS, [*range(1, 100), *range(101, 401)]), *after]
    assert len(verdict(early, events, killed=True).faults) == 1
    # of a session that goes on nothing may lack
    assert len(verdict(session(BEGIN_MS, [1, 3]), killed=True).faults) == 1
