import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connector.kafka.spool_format import decode
from connector.kafka.spool_trouble import CALM_SECONDS, MAX_BACKOFF_SECONDS
from tests.support.mounts import small_file_system
from tests.support.spooling import MIB, STEP, Bench, drained, fill, numbers, record, wait_for


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG])
def test_a_failed_write_costs_nothing_while_there_is_memory(spool, bench, code):
    fill(spool, range(10))
    bench.disk.fail("write", code=code)
    fill(spool, range(10, 20))
    assert (spool.records, spool.held, bench.found()) == (10, 10, list(range(10)))
    assert spool.problem == (
        f"spool.directory {bench.directory} cannot be written: {os.strerror(code)}. While Kafka is "
        "away, records are lost"
    )
    bench.disk.mend()
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert spool.flush()
    assert (spool.records, spool.held) == (20, 0)
    assert bench.found() == list(range(20))
    assert not bench.lost


def test_a_disk_that_fills_up_keeps_every_whole_record(bench):
    spool = bench(segment_bytes=4096)
    bench.disk.room = 10_000
    fill(spool, range(1000))
    assert spool.records + spool.held == 1000
    assert spool.records > 90
    assert bench.found() == list(range(spool.records))
    assert spool.size_bytes == sum(f.stat().st_size for f in spool.directory.glob("*.spool"))
    # what was written is read, and makes room for the others
    read = numbers(spool.peek())
    spool.advance(len(read))
    spool.confirm()
    assert read + numbers(drained(spool)) == list(range(1000))
    assert not bench.lost


def test_what_does_not_fit_into_memory_is_lost_and_nothing_that_is_stored(bench):
    spool = bench(segment_bytes=4096, memory_bytes=20_000)
    fill(spool, range(100))
    bench.disk.fail("write", code=errno.ENOSPC)
    fill(spool, range(100, 1100))
    lost = bench.lost["spool_write"]
    assert bench.lost == {"spool_write": lost}
    assert (spool.records, spool.held) == (100, 1000 - lost)
    assert 0 < spool.held < 200
    # of the new ones the newest are kept
    assert numbers(drained(spool)) == [*range(100), *range(1100 - (1000 - lost), 1100)]


def test_a_failing_disk_is_asked_seldom_and_told_of_once(bench):
    spool = bench(segment_bytes=4096)
    bench.disk.fail("write", "create", code=errno.EIO)
    with capture_logs() as lines:
        for number in range(6000):
            spool.append(record(number))
            spool.flush()
            bench.clock.now += 0.01
    assert bench.disk.calls["create"] < 25
    assert [line["event"] for line in lines] == ["spool_write_failed"]
    assert not list(bench.directory.glob("*.spool"))


def test_a_disk_that_works_now_and_then_does_not_flap(bench):
    spool = bench(segment_bytes=4096)
    with capture_logs() as lines:
        for number in range(100):
            if number % 2:
                bench.disk.fail("write")
            else:
                bench.disk.mend()
            fill(spool, [number])
            bench.clock.now += CALM_SECONDS / 2
            if number > 1:
                assert spool.problem
        bench.disk.mend()
        for number in range(100, 104):
            fill(spool, [number])
            bench.clock.now += CALM_SECONDS / 2
    assert spool.problem is None
    assert [line["event"] for line in lines] == ["spool_write_failed", "spool_writable"]
    assert numbers(drained(spool)) == list(range(104))


def test_a_disk_is_found_to_work_again_though_nothing_waits(spool, bench):
    bench.disk.fail("write")
    fill(spool, [1])
    drained(spool)
    bench.disk.mend()
    for _ in range(4):
        bench.clock.now += CALM_SECONDS
        spool.check()
    assert spool.problem is None


def test_a_slow_disk_rests_and_nothing_is_lost(bench):
    spool = bench(segment_bytes=4096)
    bench.disk.takes_seconds = 0.5
    began = bench.clock.now
    busy = 0
    for number in range(300):
        before = bench.clock.now
        spool.append(record(number))
        spool.flush()
        busy += bench.clock.now - before
        bench.clock.now += 0.1
    assert busy < 0.35 * (bench.clock.now - began)
    bench.disk.takes_seconds = 0
    bench.clock.now += 100
    assert numbers(drained(spool)) == list(range(300))
    assert not bench.lost


def test_returned_records_that_the_disk_does_not_store_wait_in_memory(spool, bench):
    fill(spool, range(10, 20))
    taken = spool.peek()[:3]
    spool.advance(3)
    bench.disk.fail("write", "create", code=errno.ENOSPC)
    spool.prepend([record(8), record(9), *taken])
    assert (spool.held, spool.records) == (5, 7)
    # the file that they were read of stays meanwhile
    assert not spool.confirm()
    assert bench.found() == list(range(10, 20))
    assert numbers(drained(spool)) == list(range(8, 20))
    assert not bench.lost


def test_returned_records_are_stored_once_the_disk_works(spool, bench):
    fill(spool, range(200, 210))
    bench.disk.room = 6000
    spool.prepend([record(number) for number in range(200)])
    assert spool.held > 0
    bench.disk.mend()
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert spool.flush()
    assert (spool.held, spool.records, bench.found()) == (0, 210, list(range(210)))
    assert numbers(drained(spool)) == list(range(210))


def test_what_cannot_be_written_at_the_end_is_lost_and_counted(bench):
    spool = bench()
    fill(spool, range(10))
    bench.disk.fail("write", code=errno.ENOSPC)
    fill(spool, range(10, 15))
    spool.prepend([record(7)])
    spool.close()
    assert bench.lost == {"spool_write": 6}
    assert (spool.records, spool.held, bench.found()) == (10, 0, list(range(10)))


def test_what_was_put_back_is_not_lost_at_the_end_while_its_file_is_there(bench):
    spool = bench(segment_bytes=1000)
    fill(spool, range(20))
    out = numbers(drained(spool))
    spool.confirm()
    fill(spool, range(20, 60))
    while len(out) < 45:
        taken = numbers(spool.peek())[: 45 - len(out)]
        spool.advance(len(taken))
        out += taken
    bench.disk.fail("write", code=errno.ENOSPC)
    # of these the first two never were in a file, and those between are with Kafka
    spool.prepend([record(number) for number in (18, 19, *range(30, 45))])
    assert not spool.confirm()
    fill(spool, [60, 61])
    left = [*range(30, 60)]
    spool.close()
    assert bench.lost == {"spool_write": 4}
    assert spool.records == len(left)
    assert (spool.left.count, spool.left.last_timestamp_ms) == (len(left), 1_000_059)
    assert set(left) < set(bench.found())


@pytest.mark.parametrize("call", ["read", "open"])
def test_what_was_put_back_counts_as_lost_at_the_end_where_its_file_cannot_be_read(bench, call):
    spool = bench()
    fill(spool, range(10))
    spool.advance(len(spool.peek()))
    bench.disk.fail("write", call)
    spool.prepend([record(number) for number in range(10)])
    spool.close()
    assert bench.lost == {"spool_write": 10}


def test_what_the_device_refuses_at_the_end_is_lost_and_counted(bench):
    spool = bench()
    fill(spool, range(10))
    bench.disk.fail("sync")
    spool.close()
    assert bench.lost == {"spool_write": 10}


def test_a_name_that_cannot_be_changed_costs_a_count_at_the_start_alone(bench):
    bench.disk.fail("rename")
    spool = bench(segment_bytes=4096)
    fill(spool, range(300))
    spool.close()
    assert bench.found() == list(range(300))


def test_a_file_system_that_is_smaller_than_the_spool_is_told(bench, monkeypatch):
    monkeypatch.setattr(bench.disk, "free_bytes", lambda _: 12 * MIB)
    with capture_logs() as lines:
        spool = bench(max_bytes=64 * MIB)
    assert [line["event"] for line in lines] == ["spool_larger_than_its_file_system"]
    assert spool.limit_bytes == 12 * MIB


def test_a_file_system_that_is_smaller_than_the_spool(tmp_path):
    with small_file_system(tmp_path, "1m"):
        bench = Bench(tmp_path / "spool")
        spool = bench(max_bytes=64 * MIB, memory_bytes=100_000)
        fill(spool, range(20_000), size=100)
        lost = bench.lost["spool_write"]
        assert spool.problem is not None
        assert "No space left" in spool.problem
        assert spool.records > 5000
        assert spool.waiting + lost == 20_000
        assert bench.found() == list(range(spool.records))
        assert len(drained(spool)) == 20_000 - lost
        spool.close()


def test_files_that_may_not_grow(bench):
    """RLIMIT_FSIZE, as some supervisors set it."""
    spool = bench()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        for number in range(300):
            fill(spool, [number])
            bench.clock.now += MAX_BACKOFF_SECONDS
        assert spool.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spool.records == 300
    assert bench.found() == list(range(300))
    assert not bench.lost


Fault = st.one_of(
    st.tuples(
        st.just("fail"),
        st.sampled_from(
            ["write", "read", "create", "open", "rename", "remove", "truncate", "sizes", "identity"]
        ),
        st.sampled_from([errno.EIO, errno.ENOSPC, errno.EROFS]),
    ),
    st.tuples(st.just("room"), st.integers(0, 5000), st.just(0)),
    st.tuples(st.just("mend"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 6), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP | Fault, max_size=50), st.sampled_from([700, 2000, 100_000]))
@example(  # found by chance: a disk without room, and nothing left to return
    [
        *[("append", 1, 0)] * 2,
        ("read", 2, 0),
        ("room", 0, 0),
        *[("return", 2, 0), ("return", 1, 0)],
        ("read", 2, 0),
    ],
    700,
)
def test_whatever_fails_the_counts_are_what_the_disk_has(steps, segment_bytes):
    """Writes, reads, names and deletions fail as they like: each record is sent, kept or counted.

    `records` is what a process finds that starts when this one is killed, but for what was read
    and not confirmed.
    """
    root = Path(tempfile.mkdtemp())
    bench = Bench(root / "spool")
    made = sent = 0
    out: list[int] = []
    taken: list[int] = []  # since the last confirmation, and not returned
    unconfirmed = False

    def new():
        return bench(max_bytes=20_000, segment_bytes=segment_bytes, memory_bytes=6000)

    spool = new()
    try:
        for step, count, size in steps:
            if step == "append":
                for _ in range(count):
                    spool.append(record(made, size % 100))
                    made += 1
            elif step == "flush":
                spool.flush()
                spool.check()
            elif step == "read":
                records = numbers(spool.peek()[:count])
                spool.advance(len(records))
                assert records == sorted(records)
                out += records
                taken += records
                unconfirmed |= bool(records)
                sent += len(records)
            elif step in ("return", "confirm"):
                if step == "return":
                    kept = len(taken) - min(count, len(taken))
                    spool.prepend([record(n) for n in taken[kept:]])
                    sent -= len(taken) - kept
                    del taken[kept:]
                if spool.confirm():
                    taken.clear()
                    unconfirmed = False
            elif step == "fail":
                bench.disk.fail(count, code=size)
            elif step == "room":
                bench.disk.room = count
            elif step == "mend":
                bench.disk.mend()
            elif step == "wait":
                bench.clock.now += count
            elif step == "restart":
                kept = len(taken) - min(count, len(taken))
                spool.prepend([record(n) for n in taken[kept:]])
                sent -= len(taken) - kept
                spool.confirm()
                taken.clear()
                unconfirmed = False
                lost = bench.lost.total()
                left = spool.waiting
                memory = {*numbers(spool._head), *numbers(map(decode, spool._tail))}
                readable = bench.disk.broken.keys().isdisjoint({"read", "open"})
                spool.close()
                lost = bench.lost.total() - lost
                assert spool.records == left - lost
                assert lost >= len(memory.difference(bench.found()))
                assert lost == len(memory.difference(bench.found())) or not readable
                unread = spool.records
                bench.disk.mend()
                spool = new()
                assert spool.records >= unread
                sent -= spool.records - unread  # those that could not be deleted come again
            assert min(spool.records, spool.held) >= 0
            assert made == sent + spool.waiting + bench.lost.total()
            undeleted = len(spool._directory.undeleted)
            if not undeleted and not unconfirmed and "sizes" not in bench.disk.broken:
                assert len(bench.found()) >= spool.records
                assert out or len(bench.found()) == spool.records
        bench.disk.mend()
        sent += len(wait_for(spool, bench))
        assert spool.waiting == 0
        assert made == sent + bench.lost.total()
    finally:
        bench.disk.mend()
        spool.close()
        shutil.rmtree(root)
