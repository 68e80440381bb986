import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.refusals import UNCLEAR_SECONDS
from connector.kafka.smaller_groups import (
    ALONE_IN_A_ROW,
    CALM_SECONDS,
    GROUP_RECORDS,
    SmallerGroups,
)


def refused(groups, code, now=0.0):
    groups.sent(1)
    return groups.refused_alone("t", KafkaError(code), now)


def sent_again(records, bad, room=GROUP_RECORDS):
    """What becomes of (partition, number) records that were refused together, and of each group.

    The broker has one batch for each partition of a group, and refuses it for one bad record.
    """
    groups, waiting = SmallerGroups(), list(records)
    groups.begin(0.0)
    written, at_fault, sizes = [], [], []
    while waiting:
        group = waiting[: min(groups.size, room)]
        sizes.append(len(group))
        groups.sent(len(group))
        spoiled = {record[0] for record in group if record in bad}
        written += [record for record in group if record[0] not in spoiled]
        back = [record for record in group if record[0] in spoiled]
        waiting = back + waiting[len(group) :]
        if not back:
            groups.accepted()
        elif len(back) > 1:
            groups.divide(len(back), 0.0)
        else:
            assert groups.refused_alone("t", KafkaError(KafkaError.INVALID_RECORD), 0.0)
            at_fault.append(waiting.pop(0))
    return written, at_fault, sizes


@given(
    partitions=st.lists(st.integers(0, 3), max_size=60),
    bad=st.sets(st.integers(0, 59)),
    room=st.integers(1, 80),
)
def test_the_bad_records_and_no_others_are_at_fault_and_the_rest_keeps_its_order(
    partitions, bad, room
):
    records = [(partition, number) for number, partition in enumerate(partitions)]
    wrong = [record for record in records if record[1] in bad]
    written, at_fault, sizes = sent_again(records, set(wrong), room)
    for partition in range(4):
        in_it = [record for record in records if record[0] == partition]
        assert [r for r in written if r[0] == partition] == [r for r in in_it if r not in wrong]
        assert [r for r in at_fault if r[0] == partition] == [r for r in in_it if r in wrong]
    # all bad: each group of a tree of halves is refused
    assert len(sizes) <= 2 * len(records) + 1


@pytest.mark.parametrize("place", [0, 1, 499, 998, 999])
def test_one_bad_record_costs_as_many_round_trips_as_a_group_can_be_halved(place):
    records = [(0, number) for number in range(100_000)]
    written, at_fault, sizes = sent_again(records, {(0, 50_000 + place)})
    assert at_fault == [(0, 50_000 + place)]
    assert len(written) == 99_999
    # the group itself, and two of each size below it at most
    assert len(sizes) <= 100_000 // GROUP_RECORDS + 2 * GROUP_RECORDS.bit_length()


def test_records_go_in_groups_until_nothing_was_refused_for_a_while():
    groups = SmallerGroups()
    groups.begin(10.0)
    assert not groups.end_if_calm(10.0 + CALM_SECONDS - 0.1, 5)
    assert refused(groups, KafkaError.INVALID_RECORD, 20.0)
    assert not groups.end_if_calm(20.0 + CALM_SECONDS - 0.1, 5)
    assert groups.end_if_calm(20.0 + CALM_SECONDS, 5)
    assert not groups.active


def test_what_was_refused_together_is_looked_through_before_the_end():
    groups = SmallerGroups()
    groups.begin(10.0)
    groups.sent(4)
    groups.divide(4, 10.0)
    assert not groups.end_if_calm(100.0, 5)
    # the spool's files were lost with it
    assert groups.end_if_calm(100.0, 0)


def test_one_whose_fate_decides_goes_alone_and_then_batches_at_once():
    groups = SmallerGroups()
    groups.try_one()
    assert (groups.active, groups.size) == (True, 1)
    groups.sent(1)
    assert groups.accepted() is None
    assert groups.end_if_calm(0.0, 5)


def test_a_group_that_found_no_room_is_continued():
    groups = SmallerGroups()
    groups.begin(0.0)
    groups.sent(9)
    groups.divide(9, 0.0)
    assert groups.size == 4
    groups.sent(3)
    groups.accepted()
    assert groups.size == 1
    groups.sent(1)
    groups.accepted()
    assert groups.size == 5


def test_a_record_at_fault_is_passed_and_the_next_one_follows_at_once():
    groups = SmallerGroups()
    groups.begin(7.0)
    assert refused(groups, KafkaError.INVALID_RECORD, 7.0)
    assert (groups.size, groups.retry_at, groups.trouble) == (GROUP_RECORDS, 0.0, None)


def test_another_fault_is_waited_for_with_growing_pauses():
    groups = SmallerGroups()
    groups.begin(0.0)
    pauses = []
    for now in range(0, 100, 10):
        assert not refused(groups, KafkaError.TOPIC_AUTHORIZATION_FAILED, float(now))
        assert groups.size == 1
        pauses.append(groups.retry_at - now)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, 5.0)
    assert (groups.trouble.topic, groups.trouble.since) == ("t", 0.0)
    assert not groups.end_if_calm(1e9, 5)
    # those behind it need not go alone once this one is written
    groups.sent(1)
    assert groups.accepted().code == "TOPIC_AUTHORIZATION_FAILED"
    assert (groups.size, groups.trouble, groups.retry_at) == (GROUP_RECORDS, None, 0.0)


def test_a_trouble_that_changes_is_another_trouble():
    groups = SmallerGroups()
    groups.begin(0.0)
    refused(groups, KafkaError.UNKNOWN_TOPIC_OR_PART, 1.0)
    refused(groups, KafkaError.TOPIC_AUTHORIZATION_FAILED, 2.0)
    assert (groups.trouble.code, groups.trouble.since) == ("TOPIC_AUTHORIZATION_FAILED", 2.0)


def test_a_trouble_goes_with_the_record_that_another_producer_took_over():
    groups = SmallerGroups()
    groups.begin(0.0)
    refused(groups, KafkaError.TOPIC_AUTHORIZATION_FAILED, 1.0)
    groups.sent(1)
    groups.taken_away()
    assert (groups.size, groups.trouble, groups.retry_at) == (GROUP_RECORDS, None, 0.0)


def test_a_code_that_tells_nothing_is_waited_for_within_a_bound():
    groups = SmallerGroups()
    groups.begin(0.0)
    now = 50.0
    while not refused(groups, KafkaError.UNKNOWN, now):
        now = groups.retry_at
    assert 50.0 + UNCLEAR_SECONDS <= now <= 60.0 + UNCLEAR_SECONDS
    assert groups.trouble is None


def test_a_fault_of_the_topic_is_waited_for_without_a_bound():
    groups = SmallerGroups()
    groups.begin(0.0)
    assert not refused(groups, KafkaError.INVALID_TIMESTAMP, 0.0)
    assert not refused(groups, KafkaError.INVALID_TIMESTAMP, 1e9)


def test_one_after_another_at_fault_go_one_by_one_until_a_group_is_accepted():
    groups = SmallerGroups()
    groups.begin(0.0)
    groups.divide(100, 0.0)
    for _ in range(ALONE_IN_A_ROW - 1):
        groups.try_one()
        assert refused(groups, KafkaError.INVALID_RECORD)
    assert not groups.one_by_one
    groups.try_one()
    assert refused(groups, KafkaError.INVALID_RECORD)
    # nobody halves any more: as many as there are go at once
    assert groups.one_by_one
    assert groups.size == GROUP_RECORDS
    groups.sent(100)
    groups.accepted()
    assert not groups.one_by_one


def test_what_was_accepted_between_is_no_row():
    groups = SmallerGroups()
    groups.begin(0.0)
    for _ in range(3 * ALONE_IN_A_ROW):
        groups.try_one()
        assert refused(groups, KafkaError.INVALID_RECORD)
        groups.sent(1)
        groups.accepted()
    assert not groups.one_by_one
