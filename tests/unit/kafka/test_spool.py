import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import SpoolError
from connector.kafka.spool import Record, Spool
from tests.support.spooling import MIB, STEP, Bench, drained, fill, numbers, record


@pytest.mark.parametrize(
    "kept",
    [
        Record("kite.ticks.nse", b"408065", b"\x00\x01", 1_700_000_000_000),
        Record("kite.subscriptions", b"408065", None, 5),
        Record("no.key", None, b"", 5),
        Record("große-Themen", b"", b"x", -1),
        Record("h", b"k", b"v", 5, [("reason", b"why"), ("empty", b""), ("none", None)]),
    ],
)
def test_a_record_comes_back_as_it_was(spool, kept):
    spool.append(kept)
    assert drained(spool) == [kept]


def test_records_come_back_in_order_over_many_segments(spool):
    fill(spool, range(1000))
    assert (spool.records, spool.held) == (1000, 0)
    assert numbers(drained(spool)) == list(range(1000))
    assert spool.records == 0


def test_what_was_read_stays_until_it_is_confirmed(spool):
    fill(spool, range(100))
    drained(spool)
    assert spool.size_bytes > 0
    assert list(spool.directory.glob("*.spool"))
    spool.confirm()
    assert spool.size_bytes == 0
    assert not list(spool.directory.glob("*.spool"))


def test_a_record_larger_than_the_read_buffer(spool):
    fill(spool, [1], size=600_000)
    fill(spool, [2])
    assert numbers(drained(spool)) == [1, 2]


@pytest.mark.parametrize("flushed", [True, False])
def test_reading_keeps_up_with_writing_in_the_same_segment(spool, flushed):
    seen = []
    for number in range(300):
        spool.append(record(number))
        if flushed:
            spool.flush()
        if number % 3 == 0:
            records = spool.peek()[:2]
            seen += numbers(records)
            spool.advance(len(records))
    assert seen + numbers(drained(spool)) == list(range(300))
    assert spool.waiting == 0


def test_peek_alone_moves_nothing(spool):
    fill(spool, [1])
    assert numbers(spool.peek()) == numbers(spool.peek()) == [1]
    assert spool.records == 1


def test_only_what_is_written_counts_as_on_disk(spool, bench):
    spool.append(record(1))
    assert (spool.records, spool.held, bench.found()) == (0, 1, [])
    assert spool.flush()
    assert (spool.records, spool.held, bench.found()) == (1, 0, [1])


def test_returned_records_go_before_all_others(spool, bench):
    fill(spool, range(10, 200))
    taken = spool.peek()[:5]
    spool.advance(5)
    spool.prepend([record(8), record(9), *taken])
    assert spool.records == 192
    # whoever comes after a kill sends the five twice, and nobody once it is confirmed
    assert bench.found() == [8, 9, *range(10, 15), *range(10, 200)]
    assert spool.confirmable
    assert spool.confirm()
    assert not spool.confirmable
    assert bench.found() == list(range(8, 200))
    assert numbers(drained(spool)) == list(range(8, 200))


def test_returning_nothing_confirms_what_was_read(spool, bench):
    fill(spool, range(30))
    spool.peek()
    spool.advance(3)
    spool.prepend([])
    spool.confirm()
    assert bench.found() == list(range(3, 30))
    assert numbers(drained(spool)) == list(range(3, 30))


def test_many_returned_records_are_files_of_the_usual_size(spool):
    spool.prepend([record(number) for number in range(500)])
    assert max(file.stat().st_size for file in spool.directory.glob("*.spool")) <= 4096
    assert numbers(drained(spool)) == list(range(500))


def test_a_full_spool_drops_the_oldest_and_says_which(bench):
    spool = bench(max_bytes=16_384)
    spans = []
    note, spool._on_loss = spool._on_loss, lambda *what: (note(*what), spans.append(what[1]))
    fill(spool, range(1000))
    lost = bench.lost["spool_full"]
    assert bench.lost.total() == lost
    assert lost + spool.records == 1000
    assert spool.size_bytes <= 16_384
    assert numbers(drained(spool)) == list(range(lost, 1000))
    assert spans[0].first_timestamp_ms == 1_000_000
    assert spans[-1].last_timestamp_ms == 1_000_000 + lost - 1
    named = [int(example.key) for span in spans for example in span.examples]
    assert named == list(range(lost))


@pytest.mark.parametrize("call", ["open", "read"])
def test_what_was_lost_is_not_known_where_the_disk_does_not_tell(bench, call):
    spool = bench(max_bytes=16_384)
    lost = []
    spool._on_loss = lambda _, dropped: lost.append(dropped)
    bench.disk.fail(call)
    fill(spool, range(300))
    assert lost
    assert {dropped.examples for dropped in lost} == {None}


def test_a_full_spool_first_gives_up_what_kafka_was_given(bench):
    spool = bench(max_bytes=16_384)
    fill(spool, range(100))
    assert numbers(drained(spool)) == list(range(100))
    fill(spool, range(100, 200))
    assert not bench.lost
    assert spool.records == 100


def test_the_next_process_finds_the_records(bench):
    first = bench()
    fill(first, range(100))
    first.close()
    second = bench()
    assert second.records == 100
    fill(second, [100])
    assert numbers(drained(second)) == list(range(101))


def test_records_survive_a_kill(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from connector.kafka.spool import Record, Spool\n"
        f"spool = Spool(Path({str(tmp_path)!r}), {MIB}, segment_bytes=4096)\n"
        "spool.open()\n"
        "for n in range(500): spool.append(Record('t', b'%d' % n, bytes(50), 1 + n))\n"
        "while not spool.flush(): pass\n"  # a disk that is slow gets its rest
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    spool = Spool(tmp_path, MIB)
    spool.open()
    assert spool.records == 500
    assert numbers(drained(spool)) == list(range(500))
    spool.close()


def test_files_of_others_take_no_number_from_the_next_process(bench):
    bench.directory.mkdir(exist_ok=True)
    for number in (0, 2**64 - 1):
        name = f"{number:016x}.0badf00d.0.1.1.1.spool"
        (bench.directory / name).write_bytes(b"KITESP02")
    first = bench()
    fill(first, range(10))
    first.close()
    assert numbers(drained(bench())) == list(range(10))
    assert not bench.lost


def test_what_finds_no_number_before_a_foreign_file_waits_until_that_was_read(bench):
    bench.directory.mkdir(exist_ok=True)
    (bench.directory / f"{1:016x}.0badf00d.0.1.1.1.spool").write_bytes(b"KITESP02")
    spool = bench()
    spool.prepend([record(number) for number in range(10)])
    assert "cannot be written" in spool.problem
    assert (spool.records, spool.held) == (1, 10)
    assert numbers(drained(spool)) == list(range(10))
    assert bench.lost == {"spool_unreadable": 1}


def test_what_is_gone_when_it_closes_is_told_and_not_left_to_the_next_process(bench):
    spool = bench()
    fill(spool, range(10))
    for path in bench.directory.glob("*.spool"):
        path.unlink()
    spool.close()
    assert spool.records == 0
    assert bench.lost == {"spool_unreadable": 10}


def test_a_start_reads_no_file_that_was_closed(bench):
    first = bench(segment_bytes=4096)
    fill(first, range(5000))
    first.close()
    bench.disk.fail("read", "open")
    assert bench().records == 5000


def test_a_start_reads_one_file_after_a_kill(bench, tmp_path):
    fill(bench(segment_bytes=4096), range(5000))
    copy = shutil.copytree(bench.directory, tmp_path / "copy")
    before = bench.disk.calls["open"]
    again = bench(copy, segment_bytes=4096)
    assert again.records == 5000
    assert bench.disk.calls["open"] - before == 1


def test_one_process_to_a_directory(bench, spool):
    other = Spool(bench.directory, MIB)
    with pytest.raises(SpoolError, match="another process uses it"):
        other.open()
    spool.close()
    other.open()
    other.close()


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"spool\.directory .*file/inside"):
        Spool(tmp_path / "file" / "inside", MIB).open()


def test_without_a_directory_it_is_a_temporary_one():
    spool = Spool(None, MIB)
    assert not spool.persistent
    spool.open()
    directory = spool.directory
    spool.append(record(1))
    assert directory.is_dir()
    spool.close()
    assert spool.records == 1
    assert not directory.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_its_files_are_for_its_owner_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        bench = Bench(tmp_path / "above" / "spool")
        spool = bench(segment_bytes=4096)
        fill(spool, range(300))
        spool.prepend([record(400)])
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len(modes) > 4
    spool.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=40), st.sampled_from([700, 2000, 100_000]))
def test_against_a_plain_queue(steps, segment_bytes):
    """Whatever happens, records come out in order, and none is lost that was not confirmed."""
    root = Path(tempfile.mkdtemp())
    waiting: deque[int] = deque()
    taken: list[int] = []  # read, newest last, and not confirmed
    in_memory: set[int] = set()  # read before they were written: no file has them
    made = 0
    bench = Bench(root / "0")
    spool = bench(max_bytes=8 * MIB, segment_bytes=segment_bytes)
    try:
        for number, (step, count, size) in enumerate(steps, 1):
            if step == "append":
                for _ in range(count):
                    spool.append(record(made, size))
                    waiting.append(made)
                    made += 1
            elif step == "flush":
                assert spool.flush()
                assert spool.records == spool.waiting
            elif step == "read":
                records = spool.peek()[:count]
                if not spool.records:
                    in_memory.update(numbers(records))
                assert numbers(records) == [waiting[i] for i in range(len(records))]
                assert records or not waiting
                spool.advance(len(records))
                taken += [waiting.popleft() for _ in records]
            elif step == "return":
                back = taken[len(taken) - min(count, len(taken)) :]
                spool.prepend([record(n) for n in back])
                assert spool.confirm()
                waiting.extendleft(reversed(back))
                in_memory.difference_update(back)
                taken.clear()
            elif step == "confirm":
                spool.confirm()
                taken.clear()
            else:
                if step == "restart":
                    directory = spool.directory
                    spool.close()
                else:
                    spool.flush()
                    directory = root / f"after-{number}"
                    shutil.copytree(spool.directory, directory)
                    spool.close()
                spool = bench(directory, 8 * MIB, segment_bytes=segment_bytes)
                # some that were read may come again, before the others; none is missing
                again = spool.records - len(waiting)
                before = range(waiting[0] if waiting else made)
                stored = [one for one in before if one not in in_memory]
                assert 0 <= again <= len(stored)
                waiting.extendleft(reversed(stored[len(stored) - again :]))
                taken.clear()
            assert spool.waiting == len(waiting)
            assert not bench.lost
        assert numbers(drained(spool)) == list(waiting)
    finally:
        spool.close()
        shutil.rmtree(root)
