import os
import stat
from pathlib import Path

import pytest

from connector.private_files import beside, make_private_directory, open_private


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


def test_a_pipe_keeps_its_mode(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o644)
    (tmp_path / "pipe").chmod(0o644)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.close(open_private(tmp_path / "pipe", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    os.close(reader)
    assert mode(tmp_path / "pipe") == 0o644
