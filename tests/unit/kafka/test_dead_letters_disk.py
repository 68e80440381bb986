"""Dead letters that wait for their topic while the disk takes nothing: sent, kept or told."""

import errno
from collections import Counter

import pytest
from confluent_kafka import KafkaError

from tests.support.disk import Disk
from tests.support.producers import balanced
from tests.unit.kafka.test_isolating import DEAD, go_on, new

VALUE = bytes(20_000)
MADE = 600  # 12 MB: more than memory may hold of them


@pytest.fixture(params=[errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def code(request):
    return request.param


class Bench:
    def __init__(self, directory, cluster, clock):
        self.cluster, self.clock = cluster, clock
        self.disk = Disk()
        self.told = Counter()
        self.producer = new(directory, clock, files=self.disk, on_dropped=self.note)

    def note(self, reason, dropped):
        self.told[reason] += dropped.count

    def bad_ones(self, count, first=0):
        """So many records of a topic that are refused for themselves, each alone."""
        for number in range(first, first + count):
            value = b"%06d" % number + VALUE
            self.cluster.poison[value] = KafkaError.INVALID_RECORD
            self.producer.produce("a", value, b"k%d" % number, 1_700_000_000_000)
            if number % 50 == 0:
                go_on(self.producer, self.cluster, self.clock, 2)
        go_on(self.producer, self.cluster, self.clock, 200)


@pytest.fixture
async def bench(tmp_path, cluster, clock):
    bench = Bench(tmp_path, cluster, clock)
    await bench.producer.start()
    yield bench
    bench.disk.mend()
    await bench.producer.close(0)


async def test_what_memory_has_no_room_for_is_told_and_the_rest_is_sent_once_it_can_be(bench, code):
    bench.cluster.faults[DEAD] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    bench.bad_ones(1)
    bench.disk.fail("write", "create", "rename", code=code)
    bench.bad_ones(MADE, first=1)
    counts, dead = balanced(bench.producer), bench.producer.dead_letters
    failed = sum(counts.failed.values())
    lost = sum(counts.dropped.values())
    # of the records themselves, too, memory may have had no room for all
    assert failed + lost + counts.waiting == MADE + 1
    assert dead.produced == failed
    assert dead.dropped.keys() <= {"spool_write"}
    assert lost + sum(dead.dropped.values()) == bench.told.total() > 0
    assert bench.told.keys() == {"spool_write"}
    assert "cannot be written" in bench.producer.spool_problem
    bench.disk.mend()
    bench.cluster.faults.clear()
    go_on(bench.producer, bench.cluster, bench.clock, 400)
    dead = bench.producer.dead_letters
    assert (dead.waiting, bench.producer.counts.waiting) == (0, 0)
    written = {value for name, _, value, *_ in bench.cluster.log if name == DEAD}
    assert len(written) == dead.delivered == dead.produced - sum(dead.dropped.values())
    assert bench.producer.spool_problem is None


async def test_a_stop_meanwhile_loses_what_is_in_memory_and_says_so(bench, code, tmp_path):
    bench.cluster.faults[DEAD] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    bench.bad_ones(5)
    stored = bench.producer.dead_letters.spooled
    assert stored == 5
    bench.disk.fail("write", "create", "rename", code=code)
    bench.bad_ones(20, first=5)
    assert await bench.producer.close(0) is False
    balanced(bench.producer)
    dead = bench.producer.dead_letters
    # the first one was read, to be tried again, and is still in the file that it was read of
    assert dead.dropped == bench.told == {"spool_write": 20}
    assert (dead.spooled, dead.in_flight, dead.produced) == (stored, 0, 25)
    bench.disk.mend()
    after = new(tmp_path, bench.clock)
    await after.start()
    assert after.dead_letters.found == stored
    await after.close(0)
