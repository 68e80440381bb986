import errno
import shutil

import pytest
import structlog
from structlog.testing import capture_logs

from connector.errors import SpoolError
from connector.kafka.spool_directory import SpoolDirectory
from connector.kafka.spool_format import MAGIC, Record, encode, frame
from tests.support.disk import Disk


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def directory(tmp_path, disk):
    directory = SpoolDirectory(tmp_path / "spool", 1 << 20, disk, structlog.get_logger())
    directory.open()
    yield directory
    disk.mend()
    if directory.is_open:
        directory.close()


def closed_segment(directory, number):
    segment, descriptor = directory.new_segment(number)
    body = encode(Record("t", None, b"v", number))
    data = frame(segment.seed, 0, body)
    assert directory.write(descriptor, data, len(MAGIC)) == (len(data), None)
    segment.add(body, len(data))
    directory.grow(len(data))
    directory.close_quietly(descriptor)
    directory.name(segment)
    return segment


def reopened(directory):
    directory.close()
    return directory.open()


def test_files_are_found_in_their_order(directory):
    for number in (9, 3, 5):
        closed_segment(directory, number)
    assert [segment.number for segment in reopened(directory)] == [3, 5, 9]


def test_what_was_not_finished_is_cleared_away(directory):
    (directory.path / "0000000000000001.0badf00d.tmp").write_bytes(b"half")
    (directory.path / "probe.tmp").write_bytes(b"half")
    assert reopened(directory) == []
    assert {path.name for path in directory.path.iterdir()} == {"lock"}


def test_a_file_that_cannot_be_deleted_keeps_its_size_until_it_is(directory, disk):
    segment = closed_segment(directory, 1)
    size = directory.size_bytes
    disk.fail("remove", code=errno.EROFS)
    assert directory.delete(segment).errno == errno.EROFS
    directory.clear()
    assert (directory.size_bytes, directory.undeleted) == (size, [segment])
    disk.mend()
    directory.clear()
    assert (directory.size_bytes, directory.undeleted) == (0, [])
    assert not segment.path.exists()


def test_a_segment_that_cannot_be_begun_leaves_no_file(directory, disk):
    disk.fail("write", code=errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        directory.new_segment(1)
    assert directory.names() == {"lock"}
    assert directory.size_bytes == 0


def test_a_whole_segment_is_there_or_not(directory, disk):
    segment, descriptor = directory.new_segment(1)
    directory.close_quietly(descriptor)
    disk.remove(segment.path)
    disk.room = 10
    with pytest.raises(OSError, match="No space"):
        directory.add_closed(segment, bytes(20), hidden=False, sync=True)
    assert directory.names() == {"lock"}


def test_it_is_owned_again_where_it_was_removed(directory, tmp_path):
    shutil.rmtree(directory.path)
    assert not directory.in_place()
    assert directory.names() == set()
    directory.own_again()
    assert directory.in_place()
    assert directory.names() == {"lock"}


def test_it_is_not_owned_again_where_another_process_has_it(directory, tmp_path, disk):
    shutil.rmtree(directory.path)
    other = SpoolDirectory(directory.path, 1 << 20, disk, structlog.get_logger())
    other.open()
    with pytest.raises(OSError, match="another process uses it"):
        directory.own_again()
    other.close()


def test_a_probe_leaves_nothing(directory, disk):
    directory.probe()
    disk.room = 100
    with pytest.raises(OSError, match="No space"):
        directory.probe()
    assert directory.names() == {"lock"}


@pytest.mark.parametrize("call", ["make_directory", "lock", "sizes", "free_bytes"])
def test_a_directory_that_does_not_work_stops_the_start_with_its_name(tmp_path, disk, call):
    disk.fail(call, code=errno.EACCES)
    directory = SpoolDirectory(tmp_path / "spool", 1 << 20, disk, structlog.get_logger())
    with pytest.raises(SpoolError, match=r"spool\.directory .*/spool: .*Permission denied"):
        directory.open()
    assert not directory.is_open
    disk.mend()
    directory.open()
    directory.close()


def test_no_place_for_a_temporary_one_stops_the_start_with_the_settings_name(disk, monkeypatch):
    """A container whose file systems are all read-only."""

    def nowhere(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.mkdtemp", nowhere)
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    directory = SpoolDirectory(None, 1 << 20, disk, structlog.get_logger())
    with pytest.raises(SpoolError, match=r"spool\.directory .*No usable temporary directory"):
        directory.open()
    assert not directory.is_open


def test_a_file_without_a_record_of_ours_is_set_aside(directory):
    (directory.path / "0000000000000001.0badf00d.spool").write_bytes(bytes(1000))
    with capture_logs() as lines:
        assert reopened(directory) == []
    assert [line["event"] for line in lines] == ["spool_file_set_aside"]
    assert "0000000000000001.0badf00d.bad" in directory.names()


def test_a_file_that_was_just_begun_is_deleted(directory):
    directory.new_segment(1)
    assert reopened(directory) == []
    assert directory.names() == {"lock"}
