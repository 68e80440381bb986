"""Files: reads what others write within bounds, and writes what its owner alone may read.

What stands at a path may be a folder, a pipe that nobody fills, a device without an end, or a file
of a terabyte. Each is an error with a reason, at once.

Whatever the connector writes may hold an account's orders or secrets, and a umask is the user's: it
may give too much away, or so much away that the owner has no right either. So files have mode 0600
and directories 0700, whatever the umask is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

# the modes are set once more behind the making: a umask takes rights away, the owner's too
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
MAX_PEM_BYTES = 4 * 2**20
"""A file of certificates or a key may have so many bytes: all public authorities have 256 KiB."""
PIPE_SECONDS = 10.0
"""How long whoever writes into a pipe may take; only pipes that are asked for are read."""


class UnusableFileError(OSError):
    """A file that cannot be read as what it should be; its text is the reason alone."""


def read_bounded(path: Path, max_bytes: int, *, pipe: bool = False) -> bytes:
    """The content of a regular file.

    Args:
        path: symbolic links are followed, as those of a mounted Kubernetes Secret.
        max_bytes: a longer one is refused.
        pipe: whether a pipe may stand in its place, as `<(command)` of a shell makes one.

    Raises:
        UnusableFileError: it is not there, not readable, too long or something else than a file.
    """
    try:
        # not blocking: opening a pipe without a writer would wait for one
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise UnusableFileError("no such file") from None
    except (OSError, ValueError) as exc:
        raise UnusableFileError(_said(exc)) from None
    try:
        # one byte more tells a file that is just as long as allowed from a longer one
        content = _read(descriptor, max_bytes + 1, pipe=pipe)
    except UnusableFileError:
        raise
    except OSError as exc:
        raise UnusableFileError(_said(exc)) from None
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise UnusableFileError(f"has more than {max_bytes} bytes")
    return content


def check_file(path: Path, max_bytes: int | None = None) -> None:
    """Before somebody else opens a file, who would wait for a pipe or read without end.

    What is not there, or not readable, is for whoever opens it to tell.

    Args:
        path: symbolic links are followed.
        max_bytes: a longer one is refused; None where it is read in parts.

    Raises:
        UnusableFileError: it is something else than a file, or too long.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(status.st_mode):
        raise UnusableFileError(f"is {_kind(status.st_mode)}, not a file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise UnusableFileError(f"has more than {max_bytes} bytes")


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
        # each by itself: mkdir's `parents` gives those above the umask's mode
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
        OSError: it cannot be made, or what stands at `path` is no file that it could replace.
    """
    with contextlib.suppress(FileNotFoundError):
        # root may rename a file over /dev/null, and the machine has none from then on
        if not stat.S_ISREG(mode := path.stat().st_mode):
            raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a file", str(path))
    # beside where a symbolic link leads: a rename works within one file system alone, and must
    # replace the file and not the link
    target = path.resolve()
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), FILE_MODE)
            yield file
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(file.name).unlink()


def _read(descriptor: int, max_bytes: int, *, pipe: bool) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode))):
        raise UnusableFileError(f"is {_kind(mode)}, not a file")
    parts: list[bytes] = []
    # in parts, as a pipe gives what it has, and a file may be shorter than it says
    missing = max_bytes
    deadline = time.monotonic() + PIPE_SECONDS
    while missing:
        # before a read: a pipe that nobody has opened yet to write into reads as an empty file
        if stat.S_ISFIFO(mode) and not _something_comes(descriptor, deadline):
            raise UnusableFileError(f"nothing came for {PIPE_SECONDS:g} s")
        part = os.read(descriptor, min(missing, 2**20))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _something_comes(descriptor: int, deadline: float) -> bool:
    """Wait until a pipe has something, or its writer has left."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _said(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _kind(mode: int) -> str:
    for is_one, name in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if is_one(mode):
            return name
    return "something else"
