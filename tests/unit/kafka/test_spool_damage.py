import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.kafka.spool import Record
from tests.support.damage import flip_a_bit
from tests.support.spooling import MIB, Bench, drained, fill, numbers, record


def written(bench, count, *, closed=True, size=50, segment_bytes=MIB):
    """The files of a spool that holds these records, of a process that ended or was killed."""
    spool = bench(max_bytes=8 * MIB, segment_bytes=segment_bytes)
    fill(spool, range(count), size)
    if closed:
        spool.close()
    else:
        copy = bench.directory.with_name("killed")
        shutil.copytree(bench.directory, copy)
        bench.directory = copy
    return sorted(bench.directory.glob("*.spool"))


@pytest.mark.parametrize("closed", [True, False])
def test_one_flipped_bit_costs_one_record(bench, closed):
    (file,) = written(bench, 5000, closed=closed)
    flip_a_bit(file, file.stat().st_size // 2)
    spool = bench()
    assert spool.records == 5000
    left = numbers(drained(spool))
    assert left == sorted(left)
    assert (len(left), bench.lost) == (4999, {"spool_unreadable": 1})


@pytest.mark.parametrize("closed", [True, False])
def test_a_file_whose_first_bytes_are_damaged_is_read_all_the_same(bench, closed):
    (file,) = written(bench, 100, closed=closed)
    data = file.read_bytes()
    file.write_bytes(bytes(8) + data[8:])
    assert numbers(drained(bench())) == list(range(100))


def test_a_record_cut_short_by_a_kill_is_no_loss(bench):
    (file,) = written(bench, 10, closed=False)
    file.write_bytes(file.read_bytes()[:-7])
    spool = bench()
    fill(spool, [10])
    assert numbers(drained(spool)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert not bench.lost


@pytest.mark.parametrize("cut", [1, 7, 200, 10**9])
def test_a_closed_file_that_was_cut_loses_exactly_what_is_missing(bench, cut):
    (file,) = written(bench, 10)
    data = file.read_bytes()
    file.write_bytes(data[: max(0, len(data) - cut)])
    spool = bench()
    assert spool.records == 10
    left = numbers(drained(spool))
    assert left == list(range(len(left)))
    assert bench.lost["spool_unreadable"] == 10 - len(left) > 0
    assert spool.waiting == 0


def test_zeros_behind_the_records_are_one_loss(bench):
    (file,) = written(bench, 1, closed=False)
    with file.open("ab") as end:
        end.write(bytes(4 * MIB))
    spool = bench(max_bytes=16 * MIB)
    assert numbers(drained(spool)) == [0]
    assert bench.lost == {"spool_unreadable": 1}


def test_bytes_behind_a_closed_file_are_nobodys(bench):
    (file,) = written(bench, 3)
    with file.open("ab") as end:
        end.write(bytes(range(256)) * 20)
    assert numbers(drained(bench())) == [0, 1, 2]
    assert not bench.lost


def test_a_file_that_is_cut_while_it_waits_is_counted(spool, bench):
    fill(spool, range(10))
    (file,) = spool.directory.glob("*.spool")
    os.truncate(file, file.stat().st_size // 2)
    fill(spool, range(10, 20))
    left = numbers(drained(spool))
    assert left == [*range(left.index(10)), *range(10, 20)]
    assert bench.lost == {"spool_unreadable": 20 - len(left)}


def test_a_file_of_something_else_is_set_aside(bench):
    bench.directory.mkdir()
    (bench.directory / "0000010000000001.0badf00d.spool").write_bytes(b"something else" * 9)
    (bench.directory / "my notes.spool").write_bytes(b"something else")
    spool = bench()
    assert spool.records == 0
    bad = {path.name for path in bench.directory.glob("*.bad")}
    assert bad == {"0000010000000001.0badf00d.bad", "my notes.bad"}


def test_a_closed_file_of_another_version_is_counted_and_set_aside(bench):
    spool = bench()
    fill(spool, range(3))
    spool.close()
    (file,) = bench.directory.glob("*.spool")
    content = b"KITESP99" + bytes(reversed(file.read_bytes()[8:]))
    file.write_bytes(content)
    spool = bench()
    assert drained(spool) == []
    spool.confirm()
    assert bench.lost == {"spool_unreadable": 3}
    (bad,) = bench.directory.glob("*.bad")
    assert bad.read_bytes() == content
    assert spool.size_bytes == 0


def test_a_frame_inside_a_record_never_comes_out(bench):
    """Bytes of another spool are what a dead letter might hold."""
    (file,) = written(bench, 3)
    inner = file.read_bytes()
    bench.directory = bench.directory.with_name("second")
    outer = bench()
    outer.append(Record("t", b"7", inner, 5))
    outer.append(Record("t", b"8", b"", 6))
    outer.close()
    (file,) = bench.directory.glob("*.spool")
    flip_a_bit(file, 30)
    assert numbers(drained(bench())) == [8]
    assert bench.lost == {"spool_unreadable": 1}


Damage = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(0, 7)),
    st.tuples(st.just("zero"), st.integers(0, 10**6), st.integers(1, 400)),
    st.tuples(st.just("noise"), st.integers(0, 10**6), st.binary(min_size=1, max_size=200)),
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.binary(min_size=1, max_size=200)),
    st.tuples(st.just("remove"), st.integers(0, 10**6), st.integers(1, 400)),
    st.tuples(st.just("repeat"), st.integers(0, 10**6), st.integers(1, 900)),
    st.tuples(st.just("copy"), st.integers(0, 10**6), st.integers(1, 900)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
)


def damaged(data, damages):
    """The bytes after damage, and of which original bytes a whole copy is left anywhere."""
    cells = list(enumerate(data))  # (where it came from, or -1; the byte)
    for kind, at, how in damages:
        if not cells:
            break
        at %= len(cells)
        if kind == "flip":
            cells[at] = (-1, cells[at][1] ^ 1 << how)
        elif kind == "zero":
            cells[at : at + how] = [(-1, 0)] * len(cells[at : at + how])
        elif kind == "noise":
            cells[at : at + len(how)] = [(-1, byte) for byte in how]
        elif kind == "insert":
            cells[at:at] = [(-1, byte) for byte in how]
        elif kind == "remove":
            del cells[at : at + how]
        elif kind == "repeat":
            cells[at:at] = cells[at : at + how]
        elif kind == "copy":
            to = (at * 7 + 13) % len(cells)
            cells[to : to + how] = cells[at : at + how]
        else:
            del cells[at:]
    return bytes(byte for _, byte in cells), [origin for origin, _ in cells]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 120), min_size=1, max_size=40),
    st.lists(Damage, min_size=1, max_size=4),
    st.booleans(),
)
def test_whatever_the_damage_each_whole_record_comes_back_in_order(sizes, damages, closed):
    root = Path(tempfile.mkdtemp())
    try:
        bench = Bench(root / "spool")
        spool = bench()
        ends = []
        for number, size in enumerate(sizes):
            spool.append(record(number, size))
            spool.flush()
            ends.append(spool.size_bytes)
        if closed:
            spool.close()
        (file,) = bench.directory.glob("*.spool")
        data, origins = damaged(file.read_bytes(), damages)
        bench.directory = root / "damaged"
        bench.directory.mkdir()
        (bench.directory / file.name).write_bytes(data)
        again = bench()
        found = again.records
        left = numbers(drained(again))
        whole = set()
        text = {origin: place for place, origin in enumerate(origins)}  # any copy
        starts = [8, *ends[:-1]]
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            places = [place for place, origin in enumerate(origins) if origin == start]
            if any(origins[p : p + end - start] == list(range(start, end)) for p in places):
                whole.add(number)
        assert text or not whole
        # a byte may have been overwritten with what it was before
        assert whole <= set(left) <= set(range(len(sizes)))
        assert left == sorted(left)
        assert found == len(left) + bench.lost.total()
        if closed:
            assert found == len(sizes) or not data
        again.close()
        spool.close()
    finally:
        shutil.rmtree(root)
