import shutil
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
from tests.support.damage import flip_a_bit

MIB = 1024 * 1024


def record(number: int, size: int = 50) -> Record:
    return Record("t", b"%d" % number, bytes(size), 1_000_000 + number)


def numbers(records: list[Record]) -> list[int]:
    return [int(record.key) for record in records]


def drained(spool: Spool) -> list[Record]:
    out = []
    while records := spool.peek():
        out += records
        spool.advance(len(records))
    return out


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path, MIB, segment_bytes=4096)
    spool.open()
    yield spool
    spool.close()


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
    for number in range(1000):
        spool.append(record(number))
    assert spool.records == 1000
    assert numbers(drained(spool)) == list(range(1000))
    assert spool.records == 0


def test_what_was_read_stays_until_it_is_confirmed(spool):
    for number in range(100):
        spool.append(record(number))
    drained(spool)
    assert spool.size_bytes > 0
    assert list(spool.directory.glob("*.spool"))
    spool.confirm()
    assert spool.size_bytes == 0
    assert not list(spool.directory.glob("*.spool"))


def test_a_record_larger_than_the_read_buffer(spool):
    spool.append(record(1, 600_000))
    spool.append(record(2))
    assert numbers(drained(spool)) == [1, 2]


def test_reading_keeps_up_with_writing_in_the_same_segment(spool):
    seen = []
    for number in range(300):
        spool.append(record(number))
        if number % 3 == 0:
            records = spool.peek()[:2]
            seen += numbers(records)
            spool.advance(len(records))
    assert seen + numbers(drained(spool)) == list(range(300))


def test_peek_alone_moves_nothing(spool):
    spool.append(record(1))
    assert numbers(spool.peek()) == numbers(spool.peek()) == [1]
    assert spool.records == 1


def test_returned_records_go_before_all_others(spool):
    for number in range(10, 200):
        spool.append(record(number))
    taken = spool.peek()[:5]
    spool.advance(5)
    assert spool.prepend([record(8), record(9), *taken]) == 7
    assert numbers(drained(spool)) == list(range(8, 200))


def test_returning_nothing_changes_nothing(spool):
    spool.append(record(1))
    assert spool.prepend([]) == 0
    assert numbers(drained(spool)) == [1]


def test_a_full_spool_drops_the_oldest_and_says_which(tmp_path):
    spool = Spool(tmp_path, 16_384)
    spool.open()
    dropped = [d for number in range(1000) if (d := spool.append(record(number)))]
    lost = sum(d.count for d in dropped)
    assert lost + spool.records == 1000
    assert spool.size_bytes <= 16_384
    left = numbers(drained(spool))
    assert left == list(range(lost, 1000))
    assert dropped[0].first_timestamp_ms == 1_000_000
    assert dropped[-1].last_timestamp_ms == 1_000_000 + lost - 1
    spool.close()


def test_a_full_spool_first_gives_up_what_kafka_was_given(tmp_path):
    spool = Spool(tmp_path, 16_384)
    spool.open()
    for number in range(100):
        spool.append(record(number))
    assert numbers(drained(spool)) == list(range(100))
    dropped = [spool.append(record(number)) for number in range(100, 200)]
    assert dropped == [None] * 100
    spool.close()


def test_the_next_process_finds_the_records(tmp_path):
    first = Spool(tmp_path, MIB)
    first.open()
    for number in range(100):
        first.append(record(number))
    first.close()
    second = Spool(tmp_path, MIB)
    second.open()
    assert second.records == 100
    second.append(record(100))
    assert numbers(drained(second)) == list(range(101))
    second.close()


def test_records_survive_a_kill(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from connector.kafka.spool import Record, Spool\n"
        f"spool = Spool(Path({str(tmp_path)!r}), {MIB}, segment_bytes=4096)\n"
        "spool.open()\n"
        "for n in range(500): spool.append(Record('t', b'%d' % n, bytes(50), 1 + n))\n"
        "spool.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    spool = Spool(tmp_path, MIB)
    spool.open()
    assert numbers(drained(spool)) == list(range(500))
    spool.close()


def test_a_record_cut_short_is_left_out(tmp_path):
    spool = Spool(tmp_path, MIB)
    spool.open()
    for number in range(10):
        spool.append(record(number))
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    file.write_bytes(file.read_bytes()[:-7])
    spool.open()
    spool.append(record(10))
    assert numbers(drained(spool)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
    spool.close()


@pytest.mark.parametrize("at", [30, -1])
def test_a_damaged_record_ends_its_file_only(tmp_path, at):
    spool = Spool(tmp_path, MIB, segment_bytes=1024)
    spool.open()
    for number in range(30):
        spool.append(record(number))
    spool.close()
    first, *_ = sorted(tmp_path.glob("*.spool"))
    flip_a_bit(first, at)
    spool.open()
    left = numbers(drained(spool))
    lost = [number for number in range(30) if number not in left]
    # as many as the file held behind the damage, or just the one
    assert left == sorted(left)
    assert spool.lost == len(lost) > 0
    assert (at > 0) == (len(lost) > 1)
    (aside,) = tmp_path.glob("*.bad")
    assert len(aside.read_bytes()) > 60 * len(lost)
    spool.close()


def test_a_damaged_length_is_one_record_at_least(tmp_path):
    spool = Spool(tmp_path, MIB)
    spool.open()
    for number in range(5):
        spool.append(record(number))
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    flip_a_bit(file, 8)
    spool.open()
    assert (spool.records, spool.lost) == (0, 1)
    spool.close()


def test_zeros_behind_the_records_are_one_loss(tmp_path):
    spool = Spool(tmp_path, 16 * MIB)
    spool.open()
    spool.append(record(0))
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    with file.open("ab") as end:
        end.write(bytes(4 * MIB))
    spool.open()
    assert numbers(drained(spool)) == [0]
    assert spool.lost == 1
    spool.close()


def test_a_file_of_something_else_is_set_aside(tmp_path):
    (tmp_path / "0000010000000001.spool").write_bytes(b"something else")
    (tmp_path / "my notes.spool").write_bytes(b"something else")
    spool = Spool(tmp_path, MIB)
    spool.open()
    assert spool.records == 0
    bad = {path.name for path in tmp_path.glob("*.bad")}
    assert bad == {"0000010000000001.bad", "my notes.bad"}
    spool.close()


def test_records_that_the_disk_lost_are_counted(spool):
    for number in range(10):
        spool.append(record(number))
    spool.flush()
    (file,) = spool.directory.glob("*.spool")
    flip_a_bit(file, -3)
    assert numbers(drained(spool)) == list(range(9))
    assert (spool.lost, spool.records) == (1, 0)


def test_files_that_somebody_deleted_are_counted_and_stop_nothing(spool):
    for number in range(300):
        spool.append(record(number))
    spool.flush()
    first, *rest = sorted(spool.directory.glob("*.spool"))
    first.unlink()
    read = numbers(drained(spool))
    assert read == list(range(300))[-len(read) :]
    assert rest
    assert 0 < len(read) < 300
    assert (spool.lost, spool.records) == (300 - len(read), 0)


def test_files_that_cannot_be_deleted_stop_nothing(spool, monkeypatch):
    for number in range(300):
        spool.append(record(number))

    def refuse(path, missing_ok=False):
        raise PermissionError(30, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuse)
        assert numbers(drained(spool)) == list(range(300))
        spool.confirm()
    assert (spool.records, spool.unconfirmed, spool.size_bytes) == (0, 0, 0)


def test_one_process_to_a_directory(tmp_path, spool):
    other = Spool(tmp_path, MIB)
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
    assert not directory.exists()


def test_a_disk_that_takes_nothing_breaks_no_other_record(spool, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def flush(self):
            pass

        def close(self):
            pass

    spool.append(record(1))
    real, spool._writer = spool._writer, Full()
    with pytest.raises(OSError, match="No space"):
        spool.append(record(2))
    real.close()
    spool.append(record(3))
    assert numbers(drained(spool)) == [1, 3]


Step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 40), st.integers(0, 400)),
    st.tuples(st.just("read"), st.integers(1, 60), st.just(0)),
    st.tuples(st.just("return"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("confirm"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
    st.tuples(st.just("kill"), st.just(0), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(Step, max_size=40), st.sampled_from([700, 2000, 100_000]))
def test_against_a_plain_queue(steps, segment_bytes):
    """Whatever happens, records come out in order, and none is lost that was not confirmed."""
    root = Path(tempfile.mkdtemp())
    waiting: deque[int] = deque()
    taken: list[int] = []  # read, newest last, and not confirmed
    made = 0
    spool = Spool(root / "0", 8 * MIB, segment_bytes=segment_bytes)
    spool.open()
    try:
        for number, (step, count, size) in enumerate(steps, 1):
            if step == "append":
                for _ in range(count):
                    assert spool.append(record(made, size)) is None
                    waiting.append(made)
                    made += 1
            elif step == "read":
                records = spool.peek()[:count]
                assert numbers(records) == [waiting[i] for i in range(len(records))]
                assert records or not waiting
                spool.advance(len(records))
                taken += [waiting.popleft() for _ in records]
            elif step == "return":
                back = taken[len(taken) - min(count, len(taken)) :]
                spool.prepend([record(n) for n in back])
                waiting.extendleft(reversed(back))
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
                spool = Spool(directory, 8 * MIB, segment_bytes=segment_bytes)
                spool.open()
                # some that were read may come again, before the others; none is missing
                again = spool.records - len(waiting)
                assert 0 <= again <= made
                waiting.extendleft(
                    reversed(range(waiting[0] - again, waiting[0]))
                    if waiting
                    else reversed(range(made - again, made))
                )
                taken.clear()
            assert spool.records == len(waiting)
        assert numbers(drained(spool)) == list(waiting)
    finally:
        spool.close()
        shutil.rmtree(root)
