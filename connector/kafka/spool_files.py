"""The spool's directory: the calls to the system, the names of the files, and the lock.

A file that is written to is called `NUMBER.SALT.spool`. Closed, its name says what waits in it:
`NUMBER.SALT.BEGIN.WAITING.FIRST.LAST.spool`, the index of the first record that waits, how many
wait, and the timestamps of the first and the last. So a start counts a full spool by listing it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connector.errors import SpoolError
from connector.files import make_private_directory, open_private
from connector.kafka.spool_format import FRAME_BYTES, MAGIC, seed_of, timestamp_of

SUFFIX = ".spool"
PARTIAL_SUFFIX = ".tmp"
LOCK = "lock"
_NAME = re.compile(
    # the number in fixed width, so that a listing is in order; signed times: a record may have any
    r"(?P<stem>(?P<number>[0-9a-f]{16})\.[0-9a-f]{8})"
    r"(\.(?P<begin>\d{1,9})\.(?P<waiting>\d{1,9})\.(?P<first>-?\d{1,15})\.(?P<last>-?\d{1,15}))?\.spool",
    re.ASCII,
)
"""No name of ours has more digits: a foreign one would make counts of what was never there."""
NUMBERS = range(1, 1 << 48)
"""Ours begin far from both ends. A foreign one beyond would leave none for the files behind it."""
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Ours have 4 MiB, or one record that is longer: whatever has more is somebody else's."""
MAX_FILE_RECORDS = MAX_FILE_BYTES // FRAME_BYTES
"""More of them have no room: a foreign name that says so would be told as so many lost."""


class SpoolFiles:
    """The calls to the system, each as small as the system's own; a test gives others, that fail.

    All raise OSError.
    """

    def make_directory(self, path: Path) -> None:
        """Make a directory where there is none, for its owner alone."""
        make_private_directory(path)

    def sizes(self, directory: Path) -> dict[str, int]:
        """Name → size of all files; whatever else stands there is nobody's to read."""
        sizes = {}
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    if entry.is_file(follow_symlinks=False):
                        sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # gone since it was listed
                    continue
        return sizes

    def identity(self, path: Path) -> tuple[int, int] | None:
        """What tells a file or directory from another of that name; None when it is not there."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino

    def identity_of(self, descriptor: int) -> tuple[int, int]:
        """Return the identity of an open file, as `identity` does."""
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino

    def free_bytes(self, directory: Path) -> int:
        """Return what the file system has left for this user, bytes."""
        # f_bavail, not f_bfree: what is kept back for root a service cannot have
        status = os.statvfs(directory)
        return status.f_bavail * status.f_frsize

    def create(self, path: Path) -> int:
        """Create a new file, for its owner alone."""
        # O_EXCL: a file of that name would be another one's, with records in it
        return open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def open(self, path: Path) -> int:
        """Open an existing file for reading."""
        return open_private(path, os.O_RDONLY)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset; returns how many bytes the system accepted, maybe not all."""
        return os.pwrite(descriptor, data, offset)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read up to `size` bytes from an offset."""
        return os.pread(descriptor, size, offset)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to a size in bytes."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Wait until the device has it."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file that is open."""
        os.close(descriptor)

    def rename(self, path: Path, to: Path) -> None:
        """Give a file another name."""
        path.rename(to)

    def remove(self, path: Path) -> None:
        """Delete a file; harmless when it is gone."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def lock(self, directory: Path) -> int:
        """Take the directory's lock.

        Raises:
            SpoolError: another process has it.
        """
        descriptor = open_private(directory / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            # flock ends with its process, however that ends: a killed one leaves no lock behind
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise SpoolError(
                str(directory),
                f"another process uses it (process {owner}): "
                "give each replica a directory of its own",
            ) from None
        except OSError as exc:
            # a full disk has no room for the process id, which is only there to be told
            if exc.errno not in FULL_DISK:
                os.close(descriptor)
                raise
        return descriptor


FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class Segment:
    """One file: what is known of it, and what of it waits."""

    number: int
    stem: str
    """Number and salt, the part of the name that never changes: the CRCs begin with it."""
    path: Path
    """The file as it is called now: a name tells what waits, and so changes."""
    begin: int = 0
    """The index of the first record that waits."""
    end: int = 0
    """The index of the next record to be written; only of a file that is written to."""
    waiting: int = 0
    """How many records this process has to hand over."""
    kept_begin: int = 0
    kept: int = 0
    """`begin` and `waiting` as the next process would find them: what Kafka may not have."""
    size_bytes: int = 0
    first_timestamp_ms: int = 0
    last_timestamp_ms: int = 0
    offset: int | None = len(MAGIC)
    """Where the first record that waits stands; None where the file has to be scanned for it."""
    salvaged: deque[tuple[int, bytes]] | None = field(default=None, repr=False)
    """The (index, body) of all that wait, of a file that had to be scanned."""
    hidden: bool = False
    """It is whole, but the next process would delete it unread."""
    foreign: bool = False
    """Nothing of ours was found in it: of another version, say. It is kept for whoever looks."""
    seed: int = 0

    def __post_init__(self) -> None:
        self.seed = seed_of(self.stem)

    @classmethod
    def new(cls, directory: Path, number: int) -> Segment:
        """Return a segment without a file yet; the salt makes its records its own."""
        stem = f"{number:016x}.{secrets.token_hex(4)}"
        return cls(number, stem, directory / f"{stem}{SUFFIX}")

    @classmethod
    def named(cls, directory: Path, name: str, size_bytes: int) -> tuple[Segment | None, bool]:
        """What a file's name says, None where it is not ours; and whether it says what waits."""
        match = _NAME.fullmatch(name)
        if match is None or size_bytes > MAX_FILE_BYTES:
            return None, False
        if int(match["number"], 16) not in NUMBERS:
            return None, False
        if int(match["begin"] or 0) + int(match["waiting"] or 0) > MAX_FILE_RECORDS:
            return None, False
        segment = cls(int(match["number"], 16), match["stem"], directory / name)
        segment.size_bytes = size_bytes
        if match["begin"] is None:
            return segment, False
        segment.begin = segment.kept_begin = int(match["begin"])
        segment.waiting = segment.kept = int(match["waiting"])
        segment.first_timestamp_ms, segment.last_timestamp_ms = (
            int(match["first"]),
            int(match["last"]),
        )
        # the name has no offset: from the middle on a scan finds the place
        segment.offset = None if segment.begin else len(MAGIC)
        return segment, True

    @property
    def closed_path(self) -> Path:
        """The file's name once it is closed, or has been read from."""
        return self.path.with_name(
            f"{self.stem}.{self.kept_begin}.{self.kept}"
            f".{self.first_timestamp_ms}.{self.last_timestamp_ms}{SUFFIX}"
        )

    def add(self, body: bytes, size_bytes: int) -> None:
        """Count a record that was written behind the others."""
        timestamp_ms = timestamp_of(body)
        if not self.kept:
            self.first_timestamp_ms = timestamp_ms
        self.last_timestamp_ms = timestamp_ms
        self.size_bytes += size_bytes
        self.end += 1
        self.waiting += 1
        self.kept += 1

    def count(self, records: int, first_timestamp_ms: int, last_timestamp_ms: int) -> None:
        """Note what a file was found to hold."""
        self.waiting = self.kept = records
        self.first_timestamp_ms, self.last_timestamp_ms = first_timestamp_ms, last_timestamp_ms

    def advance(self, records: int, size_bytes: int) -> None:
        """Count the first records that wait as handed over."""
        self.waiting -= records
        if self.salvaged is None:
            self.begin += records
            if self.offset is not None:
                self.offset += size_bytes
            return
        for _ in range(records):
            index, _ = self.salvaged.popleft()
            self.begin = index + 1

    def keep_the_rest(self) -> None:
        """Forget what was handed over, which Kafka has: the next process finds the rest alone."""
        self.kept_begin, self.kept = self.begin, self.waiting


def span_ms(segments: Sequence[Segment]) -> tuple[int, int]:
    """The first and the last timestamp in these files, UTC milliseconds."""
    first_ms = min(segment.first_timestamp_ms for segment in segments)
    return first_ms, max(segment.last_timestamp_ms for segment in segments)
