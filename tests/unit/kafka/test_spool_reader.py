import errno
import os

import pytest

from connector.kafka.spool_files import Segment
from connector.kafka.spool_format import MAGIC, Record, decode, encode, frame
from connector.kafka.spool_reader import READ_BYTES, SegmentReader, examples_in
from tests.support.disk import Disk


def bodies(count, size=50):
    return [encode(Record("t", b"%d" % number, bytes(size), number)) for number in range(count)]


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def reader(disk):
    reader = SegmentReader(disk)
    yield reader
    reader.close()


def segment(directory, made):
    segment = Segment.new(directory, 1)
    segment.size_bytes = len(MAGIC)
    data = [MAGIC]
    for index, body in enumerate(made):
        data.append(frame(segment.seed, index, body))
        segment.add(body, len(data[-1]))
    segment.path.write_bytes(b"".join(data))
    return segment


def test_a_sound_file_is_read_piece_by_piece(tmp_path, reader):
    made = bodies(5000, 100)
    whole = segment(tmp_path, made)
    read = []
    while whole.waiting:
        piece = reader.next_bodies(whole)
        read += piece
        whole.advance(len(piece), sum(16 + len(body) for body in piece))
    assert read == made
    assert whole.salvaged is None


def test_a_record_larger_than_a_piece(tmp_path, reader):
    made = bodies(1, READ_BYTES * 2)
    assert reader.next_bodies(segment(tmp_path, made)) == made


def test_a_damaged_file_is_scanned_and_its_losses_are_exact(tmp_path, reader):
    made = bodies(10)
    damaged = segment(tmp_path, made)
    data = bytearray(damaged.path.read_bytes())
    sizes = [16 + len(body) for body in made]
    data[len(MAGIC) + sum(sizes[:5]) + 20] ^= 1  # in the sixth
    damaged.path.write_bytes(bytes(data))
    assert reader.next_bodies(damaged) == made[:5]
    damaged.advance(5, sum(sizes[:5]))
    assert reader.next_bodies(damaged) == []
    assert reader.salvage(damaged) == 1
    assert damaged.waiting == 4
    assert reader.next_bodies(damaged) == made[6:]


def test_what_was_handed_over_before_is_not_read_again(tmp_path, reader):
    made = bodies(10)
    segment(tmp_path, made)
    (path,) = tmp_path.iterdir()
    begun, _ = Segment.named(tmp_path, path.name, path.stat().st_size)
    begun.begin, begun.waiting, begun.offset = 4, 6, None
    assert reader.next_bodies(begun) == []
    assert reader.salvage(begun) == 0
    assert reader.next_bodies(begun) == made[4:]


def test_blocks_that_cannot_be_read_are_zeros_when_there_is_no_other_way(tmp_path, reader, disk):
    whole = segment(tmp_path, bodies(1000))
    read = disk.read

    def bad_block(descriptor, size, offset):
        if offset <= 5000 < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size, offset)

    disk.read = bad_block
    with pytest.raises(OSError, match="Input/output"):
        reader.whole(whole, tolerant=False)
    data = whole.path.read_bytes()
    assert reader.whole(whole, tolerant=True) == data[:4096] + bytes(4096) + data[8192:]


def test_a_file_that_cannot_be_opened_is_no_file_of_zeros(tmp_path, reader, disk):
    whole = segment(tmp_path, bodies(3))
    disk.fail("open", code=errno.EACCES)
    with pytest.raises(PermissionError):
        reader.whole(whole, tolerant=True)


def test_one_record_of_each_key_that_waits_in_a_file(tmp_path, disk):
    made = bodies(3000, 100)
    whole = segment(tmp_path, [*made, made[5]])
    whole.advance(2, sum(16 + len(body) for body in made[:2]))
    assert sorted(int(one.key) for one in examples_in(disk, whole)) == list(range(2, 3000))


@pytest.mark.parametrize("of_the_last", [0, 4, 24, 36, -1])
def test_a_damaged_file_does_not_tell_what_waits(tmp_path, disk, of_the_last):
    made = bodies(10)
    damaged = segment(tmp_path, made)
    data = bytearray(damaged.path.read_bytes())
    last = data[-len(made[-1]) - 16 :]
    last[of_the_last] = 0xFF
    data[-len(last) :] = last
    damaged.path.write_bytes(bytes(data))
    assert examples_in(disk, damaged) is None


def test_what_waits_in_a_file_that_was_scanned(tmp_path, disk, reader):
    made = bodies(10)
    scanned = segment(tmp_path, made)
    reader.salvage(scanned)
    assert examples_in(disk, scanned) == tuple(map(decode, made))
    scanned.salvaged, scanned.offset = None, None
    assert examples_in(disk, scanned) is None


def test_a_file_that_cannot_be_read_does_not_tell(tmp_path, disk):
    whole = segment(tmp_path, bodies(3))
    disk.fail("read")
    assert examples_in(disk, whole) is None
