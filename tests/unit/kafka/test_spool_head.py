"""What is put back before a spool's files: in order and there, whenever the process is killed."""

import errno
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.kafka.spool_trouble import MAX_BACKOFF_SECONDS
from tests.support.spooling import Bench, drained, fill, numbers, record

SMALL = 600  # bytes of a file: some six records


def in_order(read):
    return list(dict.fromkeys(read)) == sorted(set(read))


@pytest.fixture
def read_again(bench):
    """A spool of which all was read, and nothing is confirmed."""
    spool = bench(segment_bytes=SMALL)
    fill(spool, range(40))
    return spool, drained(spool)


def slow(disk):
    disk.takes_seconds = 1.0


def full(disk):
    disk.room = 2 * SMALL


@pytest.mark.parametrize("disk", [slow, full])
def test_a_kill_while_only_the_newest_is_stored_leaves_the_files_that_were_read(
    bench, read_again, disk
):
    spool, records = read_again
    disk(bench.disk)
    spool.prepend(records)
    assert spool.held > 0
    assert spool.records > 0
    assert bench.found() == list(range(40))
    bench.disk.mend()
    bench.disk.takes_seconds = 0.0
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert spool.flush()
    assert in_order(bench.found())
    assert spool.confirm()
    assert bench.found() == list(range(40))
    assert numbers(drained(spool)) == list(range(40))


def test_what_is_read_again_before_all_is_stored_is_sent_first_by_the_next_process(
    bench, read_again
):
    spool, records = read_again
    bench.disk.fail("write")
    spool.prepend(records)
    spool.advance(5)
    bench.disk.mend()
    bench.clock.now += MAX_BACKOFF_SECONDS
    # on disk, but for the next process behind what Kafka may not have
    assert not spool.flush()
    assert (spool.held, spool.records) == (0, 35)
    assert bench.found() == list(range(40))
    assert spool.confirm()
    assert bench.found() == list(range(5, 40))
    assert spool.flush()


def test_what_no_file_holds_is_there_as_soon_as_all_is_stored(bench):
    spool = bench(segment_bytes=SMALL)
    spool.prepend([record(number) for number in range(20)])
    fill(spool, range(20, 25))
    assert bench.found() == list(range(25))


@pytest.mark.parametrize("call", ["rename", "write"])
def test_a_file_that_was_read_stays_while_what_was_put_back_is_not_shown(bench, read_again, call):
    spool, records = read_again
    bench.disk.fail(call, code=errno.EIO)
    spool.prepend(records)
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert not spool.confirm()
    assert bench.found() == list(range(40))
    bench.disk.mend()
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert spool.confirm()
    assert bench.found() == list(range(40))


def test_a_slow_disk_rests_between_the_files_that_are_shown(bench, read_again, monkeypatch):
    """The event loop has sockets to serve; whenever it is killed, what is found is in order."""
    spool, records = read_again
    rename = bench.disk.rename

    def slowly(path, to):
        bench.clock.now += 1.0
        rename(path, to)

    monkeypatch.setattr(bench.disk, "rename", slowly)
    spool.prepend(records)
    times = 1
    while not spool.confirm():
        began = bench.clock.now
        assert not spool.flush()
        assert bench.clock.now - began <= 1.0
        assert in_order(bench.found())
        bench.clock.now += MAX_BACKOFF_SECONDS
        times += 1
    assert times > 3
    assert bench.found() == list(range(40))


@pytest.mark.parametrize("never_on_disk", [0, 3])
def test_a_stop_while_the_disk_fills_up_loses_nothing_that_a_file_has(
    bench, read_again, never_on_disk
):
    spool, records = read_again
    bench.disk.room = 2 * SMALL
    spool.prepend([*records, *(record(number) for number in range(40, 40 + never_on_disk))])
    spool.close()
    found = bench.found()
    assert set(found) == set(range(40 + never_on_disk))
    assert never_on_disk or in_order(found)
    assert not bench.lost
    after = bench(segment_bytes=SMALL)
    assert numbers(drained(after)) == found
    after.close()


STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 30)),
    st.tuples(st.just("read"), st.integers(1, 30)),
    st.tuples(st.just("return"), st.integers(0, 30)),
    st.tuples(st.just("confirm"), st.just(0)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("room"), st.sampled_from([0, 500, 1500, 1 << 20])),
    st.tuples(st.just("slow"), st.sampled_from([0, 1])),
    st.tuples(st.just("wait"), st.just(0)),
    st.tuples(st.just("kill"), st.just(0)),
)


@settings(max_examples=300)
@given(st.lists(STEP, max_size=40))
@example([("append", 30), ("read", 30), ("slow", 1), ("return", 0), ("read", 9), ("slow", 0),
          ("wait", 0), ("flush", 0), ("kill", 0)])  # fmt: skip
def test_the_next_process_sends_everything_in_order_the_first_time(steps):
    """Kafka acknowledges in the order of what it was given; the rest comes back."""
    directory = Path(tempfile.mkdtemp())
    bench = Bench(directory / "spool")
    try:
        spool = bench(segment_bytes=SMALL)
        made, sent, under_way = 0, [], []
        for step, count in steps:
            match step:
                case "append":
                    fill(spool, range(made, made + count))
                    made += count
                case "read":
                    while count > 0 and (given_out := list(spool.peek())[:count]):
                        spool.advance(len(given_out))
                        under_way += given_out
                        count -= len(given_out)
                case "return":  # Kafka has the first of them, in whatever state the disk is
                    sent += numbers(under_way[:count])
                    spool.prepend(under_way[count:])
                    under_way = []
                case "confirm":
                    sent += numbers(under_way)
                    under_way = []
                    spool.confirm()
                case "flush":
                    spool.flush()
                case "room":
                    bench.disk.room = count
                case "slow":
                    bench.disk.takes_seconds = float(count)
                case "wait":
                    bench.clock.now += MAX_BACKOFF_SECONDS
                case "kill":
                    assert in_order([*sent, *bench.found()])
        assert in_order([*sent, *bench.found()])
        bench.disk.mend()
        bench.disk.takes_seconds = 0.0
        bench.clock.now += MAX_BACKOFF_SECONDS
        if not bench.lost:
            spool.prepend(under_way)
            assert in_order([*sent, *numbers(drained(spool))])
    finally:
        for spool in bench.open_spools:
            spool.close()
        shutil.rmtree(directory)
