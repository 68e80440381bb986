"""When the newest ticks are written, and when they are not."""

import pytest

from connector.service.latest import CHUNK, Latest
from connector.testing import FakeClock


class Kept:
    """A transcoder's part."""

    def keep_newest(self, topic):
        self.topic, self.newest = topic, {}

    @property
    def newest_waiting(self):
        return len(self.newest)

    def next_newest(self, limit):
        keys = list(self.newest)[:limit]
        return [(self.topic, key, self.newest.pop(key)) for key in keys]


class Bench:
    def __init__(self):
        self.clock = FakeClock()
        self.batches = []
        self.takes = True
        self.meanwhile = lambda: None
        """Done once, behind the next batch."""
        self.latest = Latest("kite.latest", 1.0, self.produce, lambda: self.takes, clock=self.clock)
        self.slots = [Kept(), Kept()]
        for number, slot in enumerate(self.slots):
            self.latest.add(number, slot)

    def produce(self, records, timestamp_ms):
        assert timestamp_ms == self.clock.time_us() // 1000
        self.batches.append(list(records))
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()

    @property
    def written(self):
        return [record for batch in self.batches for record in batch]


@pytest.fixture
def bench():
    return Bench()


async def test_what_is_newest_is_written_once(bench):
    bench.slots[0].newest[b"257"] = b"old"
    bench.slots[0].newest[b"257"] = b"new"
    bench.slots[1].newest[b"513"] = b"other"
    for _ in range(2):
        await bench.latest.write()
    assert bench.written == [("kite.latest", b"257", b"new"), ("kite.latest", b"513", b"other")]
    assert bench.latest.written == 2


async def test_many_are_written_in_several_turns(bench):
    bench.slots[0].newest.update((b"%d" % number, b"v") for number in range(2 * CHUNK + 1))
    await bench.latest.write()
    assert [len(batch) for batch in bench.batches] == [CHUNK, CHUNK, 1]


async def test_while_kafka_takes_nothing_they_wait_and_newer_ones_replace_them(bench):
    bench.takes = False
    bench.slots[0].newest[b"257"] = b"old"
    await bench.latest.write()
    bench.slots[0].newest[b"257"] = b"new"
    await bench.latest.write()
    assert bench.written == []
    bench.takes = True
    await bench.latest.write()
    assert bench.written == [("kite.latest", b"257", b"new")]


async def test_what_comes_during_the_turns_waits_for_the_next_interval(bench):
    kept = bench.slots[0].newest
    kept.update((b"%d" % number, b"v") for number in range(CHUNK))
    bench.meanwhile = lambda: kept.update({b"0": b"again"})
    await bench.latest.write()
    assert len(bench.written) == CHUNK
    await bench.latest.write()
    assert bench.written[CHUNK:] == [("kite.latest", b"0", b"again")]


async def test_the_rest_waits_when_kafka_takes_nothing_any_more(bench):
    bench.slots[0].newest.update((b"%d" % number, b"v") for number in range(CHUNK + 1))
    bench.meanwhile = lambda: setattr(bench, "takes", False)
    await bench.latest.write()
    assert (len(bench.written), bench.slots[0].newest_waiting) == (CHUNK, 1)


async def test_the_end_of_a_session_is_written_at_once(bench):
    bench.slots[0].newest[b"257"] = b"last"
    bench.slots[1].newest[b"513"] = b"goes on"
    bench.latest.end(0)
    assert bench.written == [("kite.latest", b"257", b"last")]


async def test_the_end_of_a_session_brings_what_a_turn_had_not_reached(bench):
    bench.slots[0].newest.update((b"%d" % number, b"old") for number in range(CHUNK + 1))

    def ends():
        bench.slots[0].newest[b"%d" % CHUNK] = b"new"
        bench.latest.end(0)

    bench.meanwhile = ends
    await bench.latest.write()
    assert [len(batch) for batch in bench.batches] == [CHUNK, 1]
    assert bench.batches[1] == [("kite.latest", b"%d" % CHUNK, b"new")]


@pytest.mark.parametrize(("seconds", "written"), [(2.0, 1), (2.1, 0)])
async def test_what_could_not_be_written_for_long_is_left_to_the_next_owner(
    bench, seconds, written
):
    bench.slots[0].newest[b"257"] = b"frozen"
    await bench.clock.advance(seconds)
    bench.latest.end(0)
    bench.latest.end(0)
    assert len(bench.written) == written


async def test_nothing_is_written_at_the_end_while_kafka_takes_nothing(bench):
    bench.takes = False
    bench.slots[0].newest[b"257"] = b"last"
    bench.latest.end(0)
    bench.takes = True
    await bench.latest.write()
    assert bench.written == []


async def test_an_instrument_that_is_let_go_is_written_no_more(bench):
    bench.slots[0].newest.update((b"%d" % number, b"v") for number in range(CHUNK + 2))
    bench.meanwhile = lambda: bench.slots[0].newest.pop(b"%d" % CHUNK)
    await bench.latest.write()
    assert [key for _, key, _ in bench.batches[1]] == [b"%d" % (CHUNK + 1)]


async def test_a_slot_that_keeps_nothing_has_no_end(bench):
    bench.latest.end(7)
    assert bench.written == []
