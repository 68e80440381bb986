import errno
import os
import shutil

import pytest
from structlog.testing import capture_logs

from connector.errors import SpoolError
from connector.kafka.spool import Spool
from connector.kafka.spool_trouble import CALM_SECONDS, MAX_BACKOFF_SECONDS
from tests.support.spooling import MIB, drained, fill, numbers, wait_for


def test_a_disk_that_cannot_be_read_for_a_while_loses_nothing(spool, bench):
    fill(spool, range(300))
    bench.disk.fail("read")
    for _ in range(3):
        assert spool.peek() == []
        bench.clock.now += 1
    assert "cannot be read: Input/output error" in (spool.problem or "")
    bench.disk.mend()
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert numbers(drained(spool)) == list(range(300))
    bench.clock.now += CALM_SECONDS
    spool.check()
    assert spool.problem is None
    assert not bench.lost


def test_a_file_that_cannot_be_read_for_long_is_given_up_and_the_others_go_on(spool, bench):
    fill(spool, range(300))
    first = min(spool.directory.glob("*.spool"))
    open_file = bench.disk.open

    def refuse(path):
        if path == first:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(path)

    bench.disk.open = refuse
    left = wait_for(spool, bench)
    assert left == list(range(300 - len(left), 300))
    assert bench.lost == {"spool_unreadable": 300 - len(left)}
    assert first.with_suffix(".bad").exists()
    assert spool.waiting == 0


def test_a_bad_block_costs_what_is_on_it(bench):
    spool = bench()
    fill(spool, range(2000))
    read = bench.disk.read

    def bad_block(descriptor, size, offset):
        if offset <= 50_000 < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size, offset)

    bench.disk.read = bad_block
    left = wait_for(spool, bench)
    assert left == sorted(left)
    # a block of 4096 bytes, and the records on its edges
    assert 2000 - len(left) == bench.lost["spool_unreadable"] <= 4096 // 70 + 2
    assert bench.lost["spool_unreadable"] > 0


def test_a_directory_that_is_removed_is_made_again(spool, bench):
    fill(spool, range(300))
    shutil.rmtree(bench.directory)
    with capture_logs() as lines:
        spool.check()
    assert "spool_directory_replaced" in [line["event"] for line in lines]
    assert (spool.records, spool.size_bytes) == (0, 0)
    assert bench.lost == {"spool_unreadable": 300}
    fill(spool, range(300, 310))
    assert (spool.records, bench.found()) == (10, list(range(300, 310)))
    # still one process to a directory
    with pytest.raises(SpoolError, match="another process uses it"):
        Spool(bench.directory, MIB).open()


def test_a_directory_that_is_removed_between_two_writes(spool, bench):
    fill(spool, range(10))
    shutil.rmtree(bench.directory)
    fill(spool, range(10, 20))
    assert bench.lost == {"spool_unreadable": 10}
    assert (spool.records, bench.found()) == (10, list(range(10, 20)))
    assert numbers(drained(spool)) == list(range(10, 20))


def test_a_directory_that_is_replaced_by_another(spool, bench):
    fill(spool, range(10))
    bench.directory.rename(bench.directory.with_name("away"))
    bench.directory.mkdir()
    fill(spool, range(10, 20))
    assert bench.lost == {"spool_unreadable": 10}
    assert bench.found() == list(range(10, 20))


def test_a_directory_that_cannot_be_made_again_is_told(spool, bench):
    shutil.rmtree(bench.directory)
    bench.directory.write_text("in the way")
    with capture_logs() as lines:
        for number in range(200):
            fill(spool, [number])
            spool.check()
            bench.clock.now += 0.1
    assert spool.problem is not None
    assert str(bench.directory) in spool.problem
    assert [line["event"] for line in lines] == ["spool_write_failed"]
    bench.directory.unlink()
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert spool.flush()
    assert bench.found() == list(range(200))


def test_a_directory_that_may_not_be_listed_is_told(spool, bench):
    fill(spool, range(10))
    bench.disk.fail_all(code=errno.EACCES)
    for _ in range(20):
        spool.check()
        bench.clock.now += 1
    assert "Permission denied" in (spool.problem or "")
    assert (spool.records, bench.lost) == (10, {})
    bench.disk.mend()
    bench.clock.now += MAX_BACKOFF_SECONDS
    assert numbers(drained(spool)) == list(range(10))


def test_files_that_somebody_deleted_are_counted_and_stop_nothing(spool, bench):
    fill(spool, range(300))
    first, *rest = sorted(spool.directory.glob("*.spool"))
    first.unlink()
    read = numbers(drained(spool))
    assert read == list(range(300))[-len(read) :]
    assert rest
    assert 0 < len(read) < 300
    assert bench.lost == {"spool_unreadable": 300 - len(read)}
    assert spool.records == 0


def test_files_that_somebody_deleted_are_missed_before_they_are_read(spool, bench):
    fill(spool, range(300))
    for file in sorted(spool.directory.glob("*.spool"))[:2]:
        file.unlink()
    bench.clock.now += 60
    spool.check()
    assert spool.records == len(bench.found()) < 300
    assert bench.lost == {"spool_unreadable": 300 - spool.records}


def test_files_that_cannot_be_deleted_stop_nothing_and_go_later(spool, bench):
    fill(spool, range(300))
    size = spool.size_bytes
    bench.disk.fail("remove", code=errno.EROFS)
    with capture_logs() as lines:
        assert numbers(drained(spool)) == list(range(300))
        spool.confirm()
    assert (spool.records, spool.unconfirmed) == (0, 0)
    # they are still there, and the log says it once
    assert spool.size_bytes == size
    assert [line["event"] for line in lines] == ["spool_write_failed"]
    bench.disk.mend()
    spool.check()
    assert spool.size_bytes == 0
    assert not list(spool.directory.glob("*.spool"))
