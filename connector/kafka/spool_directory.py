"""The directory of a spool: owned by a lock, and made again when somebody removes it."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

from connector.errors import SpoolError
from connector.kafka.spool_files import LOCK, PARTIAL_SUFFIX, SUFFIX, Segment, SpoolFiles
from connector.kafka.spool_format import FRAME_BYTES, MAGIC, cut_short, scan, timestamp_of
from connector.kafka.spool_reader import SegmentReader

_PROBE = f"probe{PARTIAL_SUFFIX}"
_PROBE_BYTES = 4096  # a block: a full disk may still take an empty file


class SpoolDirectory:
    """Its files, and how large they are together.

    Args:
        given: where; None makes a temporary one, which `close` deletes with all that is in it.
        max_bytes: of all files.
        files: the calls to the system.
        log: of the spool.
    """

    def __init__(self, given: Path | None, max_bytes: int, files: SpoolFiles, log: Any) -> None:
        self._given = given
        self.max_bytes = max_bytes
        self._files = files
        self._log = log
        self._path: Path | None = None  # None: not open
        # the descriptor of the lock file; its inode tells this directory from one made anew
        self._lock: int | None = None
        self.undeleted: list[Segment] = []
        """What the system did not delete, and `clear` tries again."""
        self.size_bytes = 0  # of all files, those that were read and are not deleted yet too
        self.peak_bytes = 0
        self.limit_bytes = max_bytes
        """How large it can become: `max_bytes`, or what the file system has room for."""

    @property
    def is_open(self) -> bool:
        """Whether this process owns the directory."""
        return self._path is not None

    @property
    def path(self) -> Path:
        """Where the files are.

        Raises:
            SpoolError: it is not open.
        """
        if self._path is None:
            raise SpoolError(str(self._given or "temporary"), "not open")
        return self._path

    def open(self) -> list[Segment]:
        """Own it, and see what an earlier process left there, by the files' names.

        Returns:
            The files in which something waits, oldest first.

        Raises:
            SpoolError: it cannot be used, or another process uses it.
        """
        self.undeleted.clear()
        self.size_bytes = 0
        try:
            if self._given is None:
                self._path = Path(tempfile.mkdtemp(prefix="kite-connector-spool-"))
            else:
                self._files.make_directory(self._given)
                self._path = self._given
            # before anything is read, deleted or renamed: another process may be writing here
            self._lock = self._files.lock(self._path)
            segments = self._load()
            self.measure()
        except SpoolError:
            self._unlock()
            raise
        except OSError as exc:
            self._unlock()
            # not the temporary one's name: what failed may be that there is no place for any
            raise SpoolError(str(self._given or "(null: temporary)"), str(exc)) from exc
        if self.limit_bytes < self.max_bytes:
            self._log.warning(
                "spool_larger_than_its_file_system",
                directory=str(self._path),
                max_bytes=self.max_bytes,
                room_bytes=self.limit_bytes,
            )
        return segments

    def close(self) -> None:
        """Release the directory; a temporary one is deleted."""
        if self._given is None:
            shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    # -- the directory itself -------------------------------------------------------------------

    def in_place(self) -> bool:
        """Whether it is still the one that was locked.

        Raises:
            OSError: nobody can tell.
        """
        if self._lock is None:
            return False
        there = self._files.identity(self.path / LOCK)
        return there == self._files.identity_of(self._lock)

    def names(self) -> set[str]:
        """The names of the files that are there; none when the directory is not.

        Raises:
            OSError: it cannot be listed.
        """
        try:
            return set(self._files.sizes(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def own_again(self) -> None:
        """Make the directory where it is gone, and lock the one that is there.

        Raises:
            OSError: it cannot be made or locked.
        """
        self._files.make_directory(self.path)
        try:
            # the new one first: where another process has it, `in_place` stays false
            lock = self._files.lock(self.path)
        except SpoolError as exc:
            # a failure of the disk to the spool, which tries again: while it runs this ends nothing
            raise OSError(errno.EBUSY, exc.reason) from exc
        if self._lock is not None:
            self.close_quietly(self._lock)
        self._lock = lock
        self._log.warning("spool_directory_replaced", directory=str(self.path))

    def measure(self) -> None:
        """Renew `limit_bytes`.

        Raises:
            OSError: the file system does not say.
        """
        # what other programs take of the disk is not the spool's to have
        room_bytes = self.size_bytes + self._files.free_bytes(self.path)
        self.limit_bytes = min(self.max_bytes, room_bytes)

    def probe(self) -> None:
        """Write a block, to see whether that works.

        Raises:
            OSError: it does not.
        """
        path = self.path / _PROBE
        try:
            self.write_file(path, bytes(_PROBE_BYTES), sync=False)
        finally:
            with contextlib.suppress(OSError):
                self._files.remove(path)

    # -- its files ------------------------------------------------------------------------------

    def new_segment(self, number: int) -> tuple[Segment, int]:
        """A segment and its open file, which holds the magic word.

        Raises:
            OSError: it cannot be made; there is no file then.
        """
        segment = Segment.new(self.path, number)
        descriptor = self._files.create(segment.path)
        written, error = self.write(descriptor, MAGIC, 0)
        if error is not None:
            self.close_quietly(descriptor)
            with contextlib.suppress(OSError):
                self._files.remove(segment.path)
            raise error
        segment.size_bytes = written
        self.grow(written)
        return segment, descriptor

    def add_closed(self, segment: Segment, data: bytes, *, hidden: bool, sync: bool) -> None:
        """Write a whole segment under its closed name, in one step; or `hidden`, until `show`.

        Raises:
            OSError: it was not stored; nothing changed.
        """
        # under another name until it is whole: its records are still the head's till then
        given, segment.path = segment.path, segment.path.with_suffix(PARTIAL_SUFFIX)
        segment.hidden = True
        try:
            self.write_file(segment.path, data, sync=sync)
            if not hidden:
                self.show(segment)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.remove(segment.path)
            segment.path, segment.hidden = given, False
            raise
        self.grow(segment.size_bytes)

    def show(self, segment: Segment) -> None:
        """Let other processes find a segment that is hidden.

        Raises:
            OSError: it is hidden still.
        """
        path = segment.closed_path
        self._files.rename(segment.path, path)
        segment.path, segment.hidden = path, False

    def write(self, descriptor: int, data: bytes, offset: int) -> tuple[int, OSError | None]:
        """Write; returns how much was written, and what kept the rest from being."""
        view, written = memoryview(data), 0
        while written < len(data):
            try:
                written += self._files.write(descriptor, view[written:], offset + written)
            except OSError as exc:
                return written, exc
        return written, None

    def write_file(self, path: Path, data: bytes, *, sync: bool) -> None:
        """Write a new file.

        Raises:
            OSError: it is not whole.
        """
        descriptor = self._files.create(path)
        try:
            _, error = self.write(descriptor, data, 0)
            if error is not None:
                raise error
            if sync:
                self._files.sync(descriptor)
        finally:
            self.close_quietly(descriptor)

    def name(self, segment: Segment) -> None:
        """Let a file's name say what waits in it; where it does not, the next start counts it."""
        path = segment.closed_path
        with contextlib.suppress(OSError):
            self._files.rename(segment.path, path)
            segment.path = path

    def delete(self, segment: Segment) -> OSError | None:
        """Delete a file, or set aside what is not ours.

        Returns:
            Why it is still there, to be tried again by `clear`.
        """
        try:
            if segment.foreign:
                self.set_aside(segment.path)
            else:
                self._files.remove(segment.path)
        except OSError as exc:  # a read-only disk, say: better sent twice than not at all
            self.undeleted.append(segment)
            return exc
        # a file that is still there counts: the bound is one of the disk's
        self.size_bytes -= segment.size_bytes
        return None

    def clear(self) -> None:
        """Delete what could not be deleted before."""
        undeleted = self.undeleted[:]
        self.undeleted.clear()
        for segment in undeleted:
            self.delete(segment)

    def set_aside(self, path: Path) -> None:
        """Keep a file for whoever wants to look, under a name that is not read again."""
        self._log.error("spool_file_set_aside", file=path.name)
        with contextlib.suppress(OSError):
            self._files.rename(path, path.with_suffix(".bad"))

    def grow(self, size_bytes: int) -> None:
        """Count bytes that were written."""
        self.size_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.size_bytes)

    def close_quietly(self, descriptor: int) -> None:
        """Close a file; what an error there costs shows at reading."""
        with contextlib.suppress(OSError):
            self._files.close(descriptor)

    # -- what is found --------------------------------------------------------------------------

    def _load(self) -> list[Segment]:
        segments = []
        for name, size in self._files.sizes(self.path).items():
            path = self.path / name
            if name.endswith(PARTIAL_SUFFIX):
                # not whole, or a probe: of a process that died while it wrote it
                with contextlib.suppress(OSError):
                    self._files.remove(path)
            elif name.endswith(SUFFIX):
                segment, counted = Segment.named(self.path, name, size)
                # not deleted: it may be of another version, or what somebody put there by mistake
                if segment is None or not (counted or self._count(segment)):
                    self.set_aside(path)
                else:
                    segments.append(segment)
        for segment in segments:
            self.grow(segment.size_bytes)
            # read to its end, and the process died before it was deleted
            if not segment.waiting:
                self.delete(segment)
        return sorted(
            (each for each in segments if each.waiting), key=lambda segment: segment.number
        )

    def _count(self, segment: Segment) -> bool:
        """Count the file that a killed process wrote to; False where nothing of ours is in it."""
        reader = SegmentReader(self._files)
        try:
            data = reader.whole(segment, tolerant=True)
        finally:
            reader.close()
        found, end = scan(data, segment.seed)
        if not found:
            rest = data[len(MAGIC) :]
            return len(rest) < FRAME_BYTES or cut_short(rest, 0)
        last = max(found)
        # the last record of a process that was killed is cut short: that is expected
        damaged = 0 if cut_short(data[end:], last + 1) else 1
        # a damaged end counts as one record: how many were in it nobody knows
        segment.count(
            last + 1 + damaged, timestamp_of(found[min(found)]), timestamp_of(found[last])
        )
        self.name(segment)
        return True

    def _unlock(self) -> None:
        if self._lock is not None:
            self.close_quietly(self._lock)
            self._lock = None
        self._path = None
