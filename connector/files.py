"""Reads small files that somebody else writes: never more than a bound, and never waiting.

What stands at a path may be a folder, a pipe that nobody fills, a device without an end, or a file
of a terabyte. Each is an error with a reason, at once.
"""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

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


def _read(descriptor: int, max_bytes: int, *, pipe: bool) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode))):
        raise UnusableFileError(f"is {_kind(mode)}, not a file")
    parts: list[bytes] = []
    missing = max_bytes
    deadline = time.monotonic() + PIPE_SECONDS
    while missing:
        try:
            part = os.read(descriptor, min(missing, 2**20))
        except BlockingIOError:  # a pipe, and its writer is slow
            readable, _, _ = select.select(
                [descriptor], [], [], max(0.0, deadline - time.monotonic())
            )
            if not readable:
                raise UnusableFileError(f"nothing came for {PIPE_SECONDS:g} s") from None
            continue
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


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
