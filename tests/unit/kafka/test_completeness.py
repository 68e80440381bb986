"""Counts and ticks in, missing ones out; no Kafka here."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import KafkaError
from connector.kafka import completeness
from connector.kafka.completeness import (
    MAX_TICKS_IN_A_PART,
    SILENT_MS,
    Completeness,
    SessionVerdict,
)
from connector.kafka.topics import TopicNames

NAMES = TopicNames("kite")
NSE, NFO = "kite.ticks.nse", "kite.ticks.nfo"
SESSION = 1_767_585_600_000
MINUTE = 60_000
ALL = {(topic, partition): 0 for topic in NAMES.all_ticks().values() for partition in range(3)}


def at(ms):
    return datetime.fromtimestamp(ms / 1000, UTC)


def count(first, last, partitions, *, minute=1, ended=False, slot=0, session=SESSION):
    return {
        "type": "count", "slot": slot, "session_id": session, "time": at(session + minute * MINUTE),
        "reason": "", "gap_from": None, "gap_to": None,
        "count": {
            "first_sequence": first, "last_sequence": last, "session_ended": ended,
            "partitions": [
                {"exchange": exchange, "partition": partition, "ticks": ticks}
                for (exchange, partition), ticks in partitions.items()
            ],
        },
    }  # fmt: skip


def event(kind, *, begin=0.0, end=1.0, slot=0, session=SESSION, reason=""):
    return {
        "type": kind, "slot": slot, "session_id": session, "time": at(SESSION + end * MINUTE),
        "reason": reason, "gap_from": at(SESSION + begin * MINUTE),
        "gap_to": at(SESSION + end * MINUTE), "count": None,
    }  # fmt: skip


def known(*events, kept_from=ALL, whole=True):
    made = Completeness(NAMES, kept_from, whole=whole)
    for one in events:
        made.event(one)
    assert not made.unreadable
    return made


def ticks(made, place, *numbers, slot=0, session=SESSION):
    for number in numbers:
        made.tick(place, slot, session, number)


def only(made, now_ms=SESSION + 2 * MINUTE):
    (found,) = made.report(now_ms)
    return found


ENDED = count(1, 5, {("NSE", 0): 3, ("NFO", 2): 2}, ended=True)


def test_a_session_with_all_its_ticks_is_complete():
    made = known(ENDED)
    ticks(made, (NSE, 0), 1, 3, 5)
    assert made.wanted == 2
    ticks(made, (NFO, 2), 2, 4)
    found = only(made, SESSION + 10**9)
    assert (found.verdict, found.ended, found.ticks, found.repeats) == ("complete", True, 5, 0)
    assert (found.counted_to, found.partitions) == (5, {(NFO, 2): 2, (NSE, 0): 3})
    assert not found.missing


def test_a_tick_that_comes_again_is_no_other_tick():
    made = known(ENDED)
    ticks(made, (NSE, 0), 1, 1, 3, 3)
    ticks(made, (NFO, 2), 2, 4)
    assert only(made).verdict is SessionVerdict.MISSING
    ticks(made, (NSE, 0), 5, 5, 1)
    found = only(made)
    assert (found.verdict, found.ticks, found.repeats) == ("complete", 5, 4)


def test_what_is_missing_is_said_by_partition_and_time():
    made = known(
        count(1, 2, {("NSE", 0): 2}), count(3, 5, {("NSE", 0): 1, ("NFO", 2): 2}, minute=2)
    )
    ticks(made, (NSE, 0), 1, 2, 3)
    ticks(made, (NFO, 2), 5)
    (missing,) = only(made).missing
    assert (missing.topic, missing.partition, missing.ticks, missing.expected) == (NFO, 2, 1, 2)
    assert (missing.first_sequence, missing.last_sequence) == (3, 5)
    assert (missing.from_ms, missing.to_ms) == (SESSION + MINUTE, SESSION + 2 * MINUTE)
    assert missing.explained_by == []


def test_a_loss_that_was_told_explains_what_is_missing_at_that_time():
    lost = event("dropped", begin=0.2, end=0.4, reason="spool_full: 7 records over all slots")
    made = known(lost, event("dropped", begin=5, end=6, session=None, reason="later"), ENDED)
    assert {words for one in only(made).missing for words in one.explained_by} == {
        "dropped: spool_full: 7 records over all slots"
    }


def test_a_dead_letter_explains_what_is_missing_in_its_topic():
    made = known(ENDED)
    ticks(made, (NSE, 0), 1, 3)
    ticks(made, (NFO, 2), 2, 4)
    made.dead_letter(NSE, (0, SESSION, 5), "MSG_SIZE_TOO_LARGE")
    made.dead_letter(NSE, (0, SESSION + 1, 5), "of no session that was counted")
    (missing,) = only(made).missing
    assert missing.explained_by == ["1 dead letters: MSG_SIZE_TOO_LARGE"]


def test_a_killed_process_leaves_a_session_unproven_and_the_gap_says_why():
    after = SESSION + 3 * MINUTE
    made = known(
        count(1, 2, {("NSE", 0): 2}),
        event("gap", begin=1, end=3, session=after),
        count(1, 0, {}, session=after),
    )
    ticks(made, (NSE, 0), 1, 2, 3)
    killed, new = made.report(after + MINUTE)
    assert (killed.verdict, killed.ended, killed.counted_to, killed.ticks) == (
        "unproven", False, 2, 3,
    )  # fmt: skip
    (words,) = killed.explained_by
    assert words.startswith("gap: nothing was received from 2026-01-05 09:31:00.000+05:30 to")
    assert new.verdict is SessionVerdict.COMPLETE


def test_a_session_goes_on_while_there_is_a_count_each_minute():
    made = known(count(1, 1, {("NSE", 0): 1}))
    ticks(made, (NSE, 0), 1)
    counted_ms = SESSION + MINUTE
    assert only(made, counted_ms + SILENT_MS).verdict is SessionVerdict.COMPLETE
    assert only(made, counted_ms + SILENT_MS + 1).verdict is SessionVerdict.UNPROVEN


def test_a_session_goes_on_though_the_owner_before_had_a_clock_that_is_ahead():
    ahead = SESSION + 5 * MINUTE
    made = known(
        count(1, 1, {("NSE", 0): 1}, session=ahead, ended=True),
        count(1, 1, {("NSE", 0): 1}),
    )
    ticks(made, (NSE, 0), 1)
    ticks(made, (NSE, 0), 1, session=ahead)
    verdicts = {one.session_id: one.verdict for one in made.report(SESSION + 2 * MINUTE)}
    assert verdicts == {SESSION: SessionVerdict.COMPLETE, ahead: SessionVerdict.COMPLETE}


def test_a_session_goes_on_though_the_counts_of_the_owner_before_came_out_of_its_spool_later():
    after = SESSION + MINUTE
    made = known(
        count(1, 1, {("NSE", 0): 1}, session=after),
        count(1, 1, {("NSE", 0): 1}, ended=True),
    )
    ticks(made, (NSE, 0), 1)
    ticks(made, (NSE, 0), 1, session=after)
    assert {one.verdict for one in made.report(after + MINUTE)} == {SessionVerdict.COMPLETE}


def test_behind_the_last_count_the_numbers_themselves_tell():
    made = known(count(1, 1, {("NSE", 0): 1}))
    ticks(made, (NSE, 0), 1, 2, 4, 4)
    found = only(made)
    (missing,) = found.missing
    assert (missing.topic, missing.ticks, missing.first_sequence, missing.last_sequence) == (
        None, 1, 2, 4,
    )  # fmt: skip
    assert found.repeats == 1
    ticks(made, (NFO, 1), 3)
    assert only(made).verdict is SessionVerdict.COMPLETE


@pytest.mark.parametrize(("kept_from", "missing"), [(MINUTE, 1), (MINUTE + 1, 0)])
def test_behind_the_last_count_nothing_is_judged_of_what_a_retention_may_have_taken(
    kept_from, missing
):
    kept = {**ALL, (NFO, 1): SESSION + kept_from}
    made = known(count(1, 1, {("NSE", 0): 1}), kept_from=kept)
    ticks(made, (NSE, 0), 1, 2, 4)
    assert sum(one.ticks for one in only(made).missing) == missing


def test_where_a_count_is_lost_the_numbers_tell():
    made = known(count(1, 1, {("NSE", 0): 1}), count(4, 4, {("NSE", 0): 1}, minute=3, ended=True))
    ticks(made, (NSE, 0), 1, 2, 4)
    (missing,) = only(made).missing
    assert (missing.topic, missing.ticks, missing.first_sequence, missing.last_sequence) == (
        None, 1, 2, 3,
    )  # fmt: skip
    ticks(made, (NSE, 1), 3)
    assert only(made).verdict is SessionVerdict.COMPLETE


def test_a_count_that_was_written_twice_is_one():
    made = known(ENDED, ENDED)
    ticks(made, (NSE, 0), 1, 3, 5)
    ticks(made, (NFO, 2), 2, 4)
    assert only(made).verdict is SessionVerdict.COMPLETE


def test_one_partition_is_proven_by_whoever_reads_it_alone():
    made = known(ENDED, kept_from={(NSE, 0): 0}, whole=False)
    ticks(made, (NSE, 0), 1, 5)
    (missing,) = only(made).missing
    assert (missing.topic, missing.ticks) == (NSE, 1)
    ticks(made, (NSE, 0), 3)
    assert only(made).verdict is SessionVerdict.COMPLETE


@pytest.mark.parametrize(("kept_from", "judged"), [(MINUTE, True), (MINUTE + 1, False)])
def test_a_part_that_began_before_what_is_kept_is_not_judged_there(kept_from, judged):
    kept = {**ALL, (NSE, 0): SESSION + kept_from}
    made = known(
        count(1, 2, {("NSE", 0): 2}),
        count(3, 5, {("NSE", 0): 2, ("NFO", 2): 1}, minute=2, ended=True),
        kept_from=kept,
    )
    ticks(made, (NFO, 2), 4)
    missing = only(made).missing
    assert [(one.topic, one.ticks) for one in missing] == ([(NSE, 2)] if judged else [])


def test_a_session_whose_beginning_is_not_read_is_judged_from_its_second_count():
    kept = dict.fromkeys(ALL, SESSION + 1)
    made = known(
        count(101, 110, {("NSE", 0): 10}, minute=5),
        count(111, 112, {("NSE", 0): 2}, minute=6, ended=True),
        kept_from=kept,
    )
    ticks(made, (NSE, 0), 105, 111, 112)
    assert only(made).verdict is SessionVerdict.COMPLETE


def test_of_a_session_whose_first_count_is_lost_the_numbers_prove_what_is_missing():
    made = known(
        count(101, 110, {("NSE", 0): 10}, minute=2),
        event("dropped", end=0.5, reason="spool_write: 20"),
        count(111, 112, {("NSE", 0): 2}, minute=3, ended=True),
    )
    ticks(made, (NSE, 0), *range(1, 41), *range(61, 113))
    report = only(made)
    (missing,) = report.missing
    assert (report.ticks, report.partitions) == (92, {(NSE, 0): 92})
    assert (missing.topic, missing.ticks) == (None, 20)
    assert (missing.first_sequence, missing.last_sequence) == (1, 100)
    assert missing.explained_by == ["dropped: spool_write: 20"]
    ticks(made, (NSE, 0), *range(41, 61))
    assert only(made).verdict is SessionVerdict.COMPLETE


def test_a_topic_that_was_given_more_partitions_misses_nothing():
    made = known(ENDED)
    ticks(made, (NSE, 0), 1)
    ticks(made, (NSE, 5), 3, 5)
    ticks(made, (NFO, 2), 2, 4)
    assert only(made).verdict is SessionVerdict.COMPLETE


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "count"},
        {**ENDED, "count": None},
        {**ENDED, "count": {**ENDED["count"], "last_sequence": 6}},
        {**ENDED, "count": {**ENDED["count"], "first_sequence": 0}},
        count(1, MAX_TICKS_IN_A_PART + 1, {("NSE", 0): MAX_TICKS_IN_A_PART + 1}),
        count(1, 1, {("LSE", 0): 1}),
        {**count(1, 1, {("NSE", 0): 1}), "session_id": None},
        {**count(1, 1, {("NSE", 0): 1}), "session_id": "x"},
        count(1, 1, {("NSE", 0): 1}, slot=None),
        {**event("gap"), "gap_to": None},
        {**event("dropped"), "time": None},
        {**event("gap"), "gap_to": datetime.max.replace(tzinfo=UTC)},  # in India the year 10000
        "no event",
    ],
)
def test_an_event_that_adds_up_to_nothing_is_counted_and_left_out(wrong):
    made = Completeness(NAMES, ALL)
    made.event(wrong)
    assert made.unreadable == 1
    assert not list(made.report(SESSION))
    # nor does it keep a session from being judged
    made.event(ENDED)
    assert [one.session_id for one in made.report(SESSION)] == [SESSION]


def test_a_wild_number_costs_no_memory():
    made = known(ENDED)
    ticks(made, (NSE, 0), 5 + MAX_TICKS_IN_A_PART + 1, 2**62)
    assert made.unreadable == 2


def test_more_reasons_than_are_kept_explain_nothing(monkeypatch):
    monkeypatch.setattr(completeness, "MAX_EXPLANATIONS", 1)
    made = known(event("dropped", reason="first"), event("dropped", reason="second"), ENDED)
    assert {words for one in only(made).missing for words in one.explained_by} == {"dropped: first"}


def test_there_are_not_more_sessions_than_can_be_held(monkeypatch):
    monkeypatch.setattr(completeness, "MAX_SESSIONS", 2)
    made = known(ENDED, count(1, 0, {}, session=SESSION + 1))
    with pytest.raises(KafkaError, match="verify less of the past"):
        made.tick((NSE, 0), 7, SESSION, 1)


@given(
    parts=st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=6),
    data=st.data(),
)
def test_in_whatever_order_ticks_are_read_just_the_missing_ones_are_missing(parts, data):
    made, sent, first = Completeness(NAMES, ALL), [], 1
    for minute, part in enumerate(parts, 1):
        partitions = {("NSE", number): part.count(number) for number in set(part)}
        sent += [(number, sequence) for sequence, number in enumerate(part, first)]
        last = first + len(part) - 1
        made.event(count(first, last, partitions, minute=minute, ended=minute == len(parts)))
        first = last + 1
    written = data.draw(st.lists(st.sampled_from(sent), max_size=40)) if sent else []
    for number, sequence in written:
        ticks(made, (NSE, number), sequence)
    lost = [number for number, sequence in sent if (number, sequence) not in written]
    found = only(made)
    assert (found.verdict is SessionVerdict.COMPLETE) is (not lost)
    assert made.wanted == len(lost) == sum(one.ticks for one in found.missing)
    for number in range(3):
        told = sum(one.ticks for one in found.missing if one.partition == number)
        assert told == lost.count(number)
    assert found.ticks == len(set(written))
    assert found.repeats == len(written) - len(set(written))
