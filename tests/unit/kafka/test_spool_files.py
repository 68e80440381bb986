import os
import subprocess
import sys
from pathlib import Path

import pytest

from connector.errors import SpoolError
from connector.kafka.spool_files import MAX_FILE_BYTES, Segment, SpoolFiles
from connector.kafka.spool_format import MAGIC, Record, encode


def segment(directory, records):
    made = Segment.new(directory, 7)
    for number in range(records):
        made.add(encode(Record("t", None, b"", 100 + number)), 20)
    return made


def test_a_closed_name_says_what_waits(tmp_path):
    written = segment(tmp_path, 5)
    read, counted = Segment.named(tmp_path, written.closed_path.name, 108)
    assert counted
    assert (read.number, read.stem, read.seed) == (7, written.stem, written.seed)
    assert (read.begin, read.waiting, read.kept, read.size_bytes) == (0, 5, 5, 108)
    assert (read.first_timestamp_ms, read.last_timestamp_ms) == (100, 104)
    assert read.offset == len(MAGIC)


def test_what_was_handed_over_is_in_the_name_once_kafka_has_it(tmp_path):
    written = segment(tmp_path, 5)
    before = written.closed_path
    written.advance(2, 40)
    assert written.closed_path == before
    written.keep_the_rest()
    read, _ = Segment.named(tmp_path, written.closed_path.name, 108)
    assert (read.begin, read.waiting) == (2, 3)
    assert read.offset is None  # where the third one stands, the name does not say


def test_an_open_name_says_nothing_of_it(tmp_path):
    read, counted = Segment.named(tmp_path, Segment.new(tmp_path, 7).path.name, 8)
    assert (read.number, counted) == (7, False)


@pytest.mark.parametrize(
    "name",
    [
        "notes.spool",
        "0000010000000001.spool",
        "0000010000000001.0badf00d.1.spool",
        "0000010000000001.0badf00d.0.x.1.1.spool",
        "0000010000000001.0badf00d.0.1.1.1.bad",
        "0000000000000000.0badf00d.spool",
        "ffffffffffffffff.0badf00d.0.1.1.1.spool",
        f"0000010000000001.0badf00d.0.{10**30}.1.1.spool",
        "0000010000000001.0badf00d.0.900000000.1.1.spool",
        "0000010000000001.0badf00d.900000000.1.1.1.spool",
        f"0000010000000001.0badf00d.{10**30}.1.1.1.spool",
        f"0000010000000001.0badf00d.0.1.{10**30}.{10**30}.spool",
        "0000010000000001.0badf00d.0.\u0661.1.1.spool",
    ],
)
def test_other_names_are_not_ours(name):
    assert Segment.named(Path(), name, 8) == (None, False)


def test_a_file_that_is_larger_than_any_of_ours_is_none(tmp_path):
    name = segment(tmp_path, 5).closed_path.name
    assert Segment.named(tmp_path, name, MAX_FILE_BYTES)[0] is not None
    assert Segment.named(tmp_path, name, MAX_FILE_BYTES + 1) == (None, False)


def test_what_is_no_file_is_not_there(tmp_path):
    """A pipe, say, whose opening would wait for ever."""
    written = segment(tmp_path, 5)
    os.mkfifo(written.closed_path)
    written.closed_path.with_name("folder.spool").mkdir()
    written.closed_path.with_name("link.spool").symlink_to(written.closed_path)
    (tmp_path / "file").write_bytes(b"abc")
    assert SpoolFiles().sizes(tmp_path) == {"file": 3}


def test_no_two_segments_have_one_name(tmp_path):
    assert Segment.new(tmp_path, 7).path != Segment.new(tmp_path, 7).path


def test_the_lock_is_one_processes_and_ends_with_it(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from connector.kafka.spool_files import SpoolFiles\n"
        f"SpoolFiles().lock(Path({str(tmp_path)!r}))\n"
        "print(flush=True)\n"
        "input()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    with pytest.raises(SpoolError, match=rf"another process uses it \(process {other.pid}\)"):
        SpoolFiles().lock(tmp_path)
    other.communicate(b"\n")
    os.close(SpoolFiles().lock(tmp_path))


def test_a_file_that_is_gone_is_deleted_already(tmp_path):
    SpoolFiles().remove(tmp_path / "none")
    (tmp_path / "file").write_text("")
    SpoolFiles().remove(tmp_path / "file" / "none")
    assert SpoolFiles().identity(tmp_path / "file" / "none") is None
