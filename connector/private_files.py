"""Files and directories that their owner alone can read, whatever the umask is.

Whatever the connector writes may hold an account's orders or secrets, and a umask is the user's: it
may give too much away, or so much away that the owner has no right either.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def open_private(path: Path, flags: int) -> int:
    """Open a file, made or cut with mode 0600 where the flags say so; returns its descriptor.

    A pipe or a device keeps its mode.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    if flags & (os.O_CREAT | os.O_TRUNC):
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, FILE_MODE)
        except PermissionError:  # somebody else's file that may be written: its owner decides
            pass
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def make_private_directory(path: Path) -> None:
    """Make a directory of mode 0700, and those above it; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_private_directory(path.parent)
    try:
        path.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    path.chmod(DIRECTORY_MODE)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[IO[bytes]]:
    """A new file next to where `path` leads, mode 0600; gone afterwards, unless it was renamed.

    Raises:
        OSError: it cannot be made.
    """
    target = path.resolve()
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), FILE_MODE)
            yield file
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(file.name).unlink()
