import os
import socket
import threading

import pytest

from connector import files
from connector.files import UnusableFileError, read_bounded


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


def test_a_pipe_is_read_where_it_is_asked_for(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert read_bounded(path, 10, pipe=True) == b"", "nobody writes"
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


def test_a_pipe_whose_writer_is_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.01)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    assert fault(path, pipe=True) == "nothing came for 0.01 s"
    os.close(writer)
    os.close(reader)
