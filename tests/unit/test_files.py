import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from connector import files
from connector.files import (
    UnusableFileError,
    beside,
    check_file,
    make_private_directory,
    open_private,
    read_bounded,
)


def fault(path, max_bytes=10, **more):
    with pytest.raises(UnusableFileError) as caught:
        read_bounded(path, max_bytes, **more)
    return str(caught.value)


def test_a_file_is_read_up_to_its_bound(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    assert read_bounded(tmp_path / "link", 10) == b"0123456789"
    assert fault(tmp_path / "file", 9) == "has more than 9 bytes"


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    assert fault(tmp_path / "huge") == "has more than 10 bytes"


def test_whatever_else_stands_there_is_named_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert fault(tmp_path / "socket") == "no such device or address"
    assert fault(tmp_path) == "is a directory, not a file"
    assert fault(tmp_path / "fifo") == "is a pipe, not a file"
    assert fault("/dev/zero") == "is a device, not a file"
    assert fault(tmp_path / "none") == "no such file"
    assert fault(tmp_path / "fifo" / "below") == "not a directory"
    assert fault(tmp_path / "loop") == "too many levels of symbolic links"
    assert fault(tmp_path / ("x" * 300)) == "file name too long"
    assert "null" in fault(tmp_path / "a\0b")


def test_what_somebody_else_opens_is_looked_at_before(tmp_path):
    def refused(path, max_bytes=10):
        with pytest.raises(UnusableFileError) as caught:
            check_file(path, max_bytes)
        return str(caught.value)

    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("fifo", "link"):
        assert refused(tmp_path / name) == refused(tmp_path / name, None) == "is a pipe, not a file"
    assert refused(tmp_path) == "is a directory, not a file"
    assert refused(Path("/dev/zero")) == "is a device, not a file"
    assert refused(tmp_path / "file", 9) == "has more than 9 bytes"
    for path in (tmp_path / "file", tmp_path / "none", tmp_path / ("x" * 300), Path("a\0b")):
        check_file(path, 10)
    check_file(tmp_path / "file")


def test_a_pipe_is_read_where_it_is_asked_for(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    ready = threading.Event()

    def write():
        ready.wait()
        os.write(writer, b"later")
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    ready.set()
    assert read_bounded(path, 10, pipe=True) == b"later"
    thread.join()
    os.close(reader)


def test_a_pipe_whose_writer_comes_later_is_not_an_empty_file(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    # opens when there is a reader
    thread = threading.Thread(target=path.write_bytes, args=(b"later",), daemon=True)
    reading = threading.Thread(target=lambda: read.append(read_bounded(path, 10, pipe=True)))
    read = []
    reading.start()
    thread.start()
    reading.join()
    assert read == [b"later"]
    thread.join()


def test_a_pipe_whose_writer_leaves_without_a_word_is_empty(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(b"",), daemon=True)
    thread.start()
    assert read_bounded(path, 10, pipe=True) == b""
    thread.join()


def test_a_pipe_whose_writer_is_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.01)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert fault(path, pipe=True) == "nothing came for 0.01 s"
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    assert fault(path, pipe=True) == "nothing came for 0.01 s"
    os.close(writer)
    os.close(reader)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_is_for_its_owner_alone(tmp_path, umask):
    os.close(open_private(tmp_path / "file", os.O_WRONLY | os.O_CREAT))
    assert mode(tmp_path / "file") == 0o600


def test_a_file_that_is_replaced_is_for_its_owner_alone_from_now_on(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o644)
    os.close(open_private(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    assert mode(tmp_path / "file") == 0o600
    assert (tmp_path / "file").read_text() == ""


def test_a_file_that_is_only_read_stays_as_it_is(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "file").chmod(0o640)
    os.close(open_private(tmp_path / "file", os.O_RDONLY))
    assert mode(tmp_path / "file") == 0o640


def test_new_directories_are_for_their_owner_alone(tmp_path, umask):
    make_private_directory(tmp_path / "a" / "b")
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_a_directory_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_private_directory(tmp_path / "a" / "b")
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o755, 0o700]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(FileExistsError):
        make_private_directory(tmp_path / "a")


def test_a_file_that_replaces_another_is_for_its_owner_alone(tmp_path, umask):
    path = tmp_path / "file"
    with beside(path) as file:
        file.write(b"new")
        file.flush()
        Path(file.name).replace(path)
    assert mode(path) == 0o600
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_replaces_nothing_is_gone(tmp_path):
    with beside(tmp_path / "file") as file:
        file.write(b"half")
    assert list(tmp_path.iterdir()) == []


def test_only_a_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    before = sorted(tmp_path.iterdir())
    for name, kind in [("pipe", "a pipe"), ("folder", "a directory"), ("link", "a device")]:
        path = tmp_path / name
        with pytest.raises(OSError, match=f"it is {kind}, not a file"), beside(path):
            pytest.fail("it was made")
    assert sorted(tmp_path.iterdir()) == before


def test_a_pipe_keeps_its_mode(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o644)
    (tmp_path / "pipe").chmod(0o644)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.close(open_private(tmp_path / "pipe", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    os.close(reader)
    assert mode(tmp_path / "pipe") == 0o644
