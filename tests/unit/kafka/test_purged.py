import random

from connector.kafka.purged import PurgedRecords
from connector.kafka.spool import Record


def record(number):
    return Record("t", b"k", b"%d" % number, 5)


def taken(returned):
    return [int(record.value) for record in returned.drain()]


def test_by_the_calls_that_produced_them():
    returned = PurgedRecords()
    for number in (3, 1, 2):
        returned.add(record(number), number, 0, queued=True)
    assert len(returned) == 3
    assert taken(returned) == [1, 2, 3]
    assert len(returned) == 0


def test_what_was_under_way_is_older_than_the_rest_of_its_frame():
    returned = PurgedRecords()
    returned.add(record(2), 7, 0, queued=True)
    returned.add(record(1), 7, 0, queued=False)
    assert taken(returned) == [1, 2]


def test_a_frame_cut_between_two_queues():
    returned = PurgedRecords()
    # the newer part of the queue, then the older: frame 5 is in both
    for number, sequence in [(4, 5), (5, 6), (1, 3), (2, 4), (3, 5)]:
        returned.add(record(number), sequence, 0, queued=True)
    assert taken(returned) == [1, 2, 3, 4, 5]


def test_partitions_have_runs_of_their_own():
    returned = PurgedRecords()
    # that 9 comes after 3 is no step back: it is of another partition
    for number, sequence, partition in [(2, 5, 0), (3, 6, 0), (9, 1, 1), (4, 6, 0)]:
        returned.add(record(number), sequence, partition, queued=True)
    assert taken(returned) == [9, 2, 3, 4]


def test_frames_however_they_are_cut():
    source = random.Random(5)
    for _ in range(300):
        frames = [number // source.choice([1, 2, 3]) for number in range(30)]
        frames.sort()
        under_way, older = sorted(source.sample(range(4, 27), 2))
        returned = PurgedRecords()
        for number in range(older, 30):
            returned.add(record(number), frames[number], 0, queued=True)
        for number in range(under_way):
            returned.add(record(number), frames[number], 0, queued=False)
        for number in range(under_way, older):
            returned.add(record(number), frames[number], 0, queued=True)
        order = taken(returned)
        # a queue that holds nothing but one frame has no step to be seen
        if frames[under_way] < frames[29]:
            assert order == list(range(30))
