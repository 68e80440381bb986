"""The file of `kite-connector export`: whole, or as it was before. More in tests/loopback."""

import errno
import os
import stat

import pytest

from connector.cli.export import _whole_file
from connector.errors import SettingsError


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "ticks.parquet"
    path.write_bytes(b"before")
    link = tmp_path / "link"
    link.symlink_to(path)
    with _whole_file(link) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "ticks.parquet"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_an_error_there_is_the_file_from_before(tmp_path, error):
    path = tmp_path / "ticks.parquet"
    path.write_bytes(b"before")

    def fail():
        with _whole_file(path) as file:
            file.write(b"after")
            raise error

    with pytest.raises(error):
        fail()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [
        ("ticks.parquet", b"before")
    ]


def test_a_file_that_cannot_be_made_is_a_wrong_option_and_a_full_disk_is_not(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, reason in [
        (tmp_path / "no" / "x", "No such file or directory"),
        (tmp_path / "folder", "it is a directory, not a file"),
    ]:
        with pytest.raises(SettingsError, match=reason) as caught, _whole_file(path):
            pass
        assert caught.value.problems[0].name == "--output"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"), _whole_file(tmp_path / "x"):
        raise full
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
