"""A bounded first-in, first-out of records on disk, for as long as Kafka cannot accept them.

Three parts, oldest first: records that the client gave back and the disk did not store, in memory
(the head); numbered segment files; and what is not written yet, in memory (the tail). `records`
counts what the files hold and nothing else: it grows when a write has succeeded. A disk that fails,
is full or slow costs nothing until the memory is full too; then the oldest of the tail are lost,
never a stored record for one that was not written.

Writing and reading go through the page cache: what was flushed survives the death of the process,
not that of the machine. Reading does not remove: `confirm` does, once Kafka has what was read or it
was put back, so that a process that dies in between leaves the records for the next one, which
sends some of them twice.

One process owns a directory, by a lock. Nothing here is thread-safe.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from connector.kafka.spool_directory import SpoolDirectory
from connector.kafka.spool_files import FULL_DISK, NUMBERS, Segment, SpoolFiles, span_ms
from connector.kafka.spool_format import (
    FRAME_BYTES,
    Dropped,
    Headers,
    Record,
    decode,
    encode,
    frame,
)
from connector.kafka.spool_head import Head, hidden_of, in_part
from connector.kafka.spool_reader import SegmentReader, examples_in, not_read_of, waiting_in
from connector.kafka.spool_tail import Tail
from connector.kafka.spool_trouble import DiskPace, DiskTrouble, problem_of

__all__ = ["Dropped", "Headers", "Record", "Spool"]

MEMORY_BYTES = 8 * 1024 * 1024
"""What the tail may hold while the disk does not store it; beyond it the oldest of it are lost."""
READ_PATIENCE_SECONDS = 10.0
"""So long a file that cannot be read is tried again, before it counts as lost."""

# far from both ends: segments are put before the first one, too
_FIRST_NUMBER = 1 << 40
_BATCH_BYTES = 256 * 1024  # of one write
_PEEK_RECORDS = 2_000  # of memory, at once: what the producer hands over in one poll
_LIST_SECONDS = 10.0  # between lists of the directory, which find single files that are gone


class Spool:
    """The records that wait, oldest first.

    Args:
        directory: where; None takes a temporary one, which `close` deletes with all that is in it.
        max_bytes: of all segments; above it the oldest segment goes.
        on_loss: called with a reason, at the moment at which records are lost: `spool_full`,
            `spool_write` (the disk did not store them) or `spool_unreadable`.
        segment_bytes: of one file; the unit of dropping.
        memory_bytes: of records that are not written yet.
        files: the calls to the system.
        monotonic: seconds, for back-off.
    """

    def __init__(
        self,
        directory: Path | None,
        max_bytes: int,
        on_loss: Callable[[str, Dropped], None] = lambda _reason, _dropped: None,
        *,
        segment_bytes: int = 4 * 1024 * 1024,
        memory_bytes: int = MEMORY_BYTES,
        files: SpoolFiles | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.persistent = directory is not None
        # at least eight segments, so that a full spool loses an eighth of it at once and no more
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 1))
        self._batch_bytes = min(_BATCH_BYTES, self._segment_bytes)
        self._memory_bytes = memory_bytes  # of the tail, what the disk does not store
        self._on_loss = on_loss
        self._files = files or SpoolFiles()
        self._monotonic = monotonic
        self._log = structlog.get_logger("connector.kafka")
        self._writing = DiskTrouble("spool_write_failed", "spool_writable", self._log, monotonic)
        self._pace = DiskPace(monotonic)  # one for reading and writing: the disk is one
        self._reading = DiskTrouble("spool_read_failed", "spool_readable", self._log, monotonic)
        self._directory = SpoolDirectory(directory, max_bytes, self._files, self._log)
        self._reader = SegmentReader(self._files)
        self._head = Head(self._directory, self._segment_bytes)  # older than all files
        self._put_back = False  # some of it: of a file that is read in part Kafka has that part
        self._segments: deque[Segment] = deque()  # not read to their end
        self._confirming: list[Segment] = []  # read to their end, not confirmed
        self._tail = Tail()
        self._writer: int | None = None  # appends to the last of _segments
        self._chunk: list[Record] = []  # read of the first segment, and not advanced past
        self._chunk_sizes: list[int] = []  # of its frames, by which `advance` moves the offset
        self._list_at = 0.0  # monotonic seconds
        self.records = 0
        """Records that wait in files."""

    # -- what it is -----------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the segments are.

        Raises:
            SpoolError: it is not open.
        """
        return self._directory.path

    @property
    def max_bytes(self) -> int:
        """The bound of all files, bytes; may be changed while it is open."""
        return self._directory.max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._directory.max_bytes = max_bytes

    @property
    def size_bytes(self) -> int:
        """The size of all files, including those read and not confirmed."""
        return self._directory.size_bytes

    @property
    def peak_bytes(self) -> int:
        """The largest that `size_bytes` was."""
        return self._directory.peak_bytes

    @property
    def limit_bytes(self) -> int:
        """How large it can become: `max_bytes`, or what the file system has room for."""
        return self._directory.limit_bytes

    @property
    def held(self) -> int:
        """How many records wait in memory."""
        return len(self._head) + len(self._tail)

    @property
    def reads_memory(self) -> bool:
        """Whether what `peek` returns is in no file of those that are read."""
        return bool(self._head) or not self._segments

    @property
    def waiting(self) -> int:
        """How many records wait, on disk or in memory."""
        return self.records + self.held

    @property
    def left(self) -> Dropped:
        """What waits in files, as it would be reported if it were lost."""
        if not self.records:
            return Dropped(0, 0, 0)
        return Dropped(self.records, *span_ms(self._there()))

    def forget(self) -> None:
        """After `close`: what is left was reported as lost. The files stay where they are."""
        self._segments.clear()
        self.records = 0

    @property
    def unconfirmed(self) -> int:
        """How many files were read and await `confirm`."""
        return len(self._confirming)

    @property
    def confirmable(self) -> bool:
        """Whether `confirm` would change anything."""
        return self._put_back or bool(self._confirming)

    @property
    def problem(self) -> str | None:
        """What is wrong with the disk, in words for a person; None when it does as it is told."""
        if self._directory.is_open:
            return problem_of(self.directory, written=self._writing, read=self._reading)
        return None

    # -- life -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Own the directory and count what an earlier process left there, by the files' names.

        Raises:
            SpoolError: the directory cannot be used, or another process uses it.
        """
        if self._directory.is_open:
            return
        self._confirming.clear()
        self._segments = deque(self._directory.open())
        self.records = sum(segment.waiting for segment in self._segments)

    def store_at_last(self) -> list[bytes]:
        """Write what is in memory for the last time; returns, and forgets, what no file holds."""
        with contextlib.suppress(OSError):  # what is gone by now is nobody's to find
            self._reconcile()
        # the head first: its file stands before all others, whatever becomes of the tail
        self._write_head(now=True)
        self._write_tail(now=True)
        self._sync()
        head, hidden = [*map(encode, self._head)], hidden_of(self._segments)
        # what was put back may have come out of a file, which stays while that is in memory alone
        found = [segment for segment in self._there() if not segment.hidden]
        left = not_read_of(self._files, found, head)
        if hidden and not_read_of(self._files, found, waiting_in(self._files, hidden)):
            self._show(now=True)  # out of order, but not lost
        self.records += len(head) - len(left)
        self._head.clear()
        return left + self._tail.cut(0)

    def close(self) -> None:
        """Write what is in memory, and give the directory up; a temporary one is deleted.

        What the disk does not store is lost now.
        """
        if not self._directory.is_open:
            return
        try:
            if left := self.store_at_last():
                self._on_loss("spool_write", Dropped.of_bodies(left))
        finally:
            self._close_writer()
            self._close_reader()
            self._directory.close()

    def check(self) -> None:
        """What is to be done each second: see whether the directory is there and can be written.

        It is made again if it is gone, and files that somebody deleted count as lost. What the
        system did not delete is tried again.
        """
        if not self._directory.is_open:
            return
        now = self._monotonic()
        try:
            if now >= self._list_at or not self._directory.in_place():
                self._list_at = now + _LIST_SECONDS
                self._reconcile()
            self._directory.measure()
            if self._writing.reason is not None and not self.held and self._may(self._writing):
                self._directory.probe()
                self._writing.worked()
        except OSError as exc:
            self._writing.failed(exc)
        if not self.records:
            self._reading.worked()
        self._directory.clear()

    # -- writing --------------------------------------------------------------------------------

    def append(self, record: Record) -> None:
        """Add the newest record; `flush` puts it on disk, or the next ones do."""
        self._tail.append(encode(record))
        if self._tail.size_bytes >= self._batch_bytes:
            self._write_tail()
            if overflow := self._tail.cut(self._memory_bytes):
                self._on_loss("spool_write", Dropped.of_bodies(overflow))

    def flush(self, *, now: bool = False) -> bool:
        """Hand to the system what is in memory, which then survives the process; `now`: at once.

        Returns:
            False when some of it is still in memory, since the disk fails or needs a rest.
        """
        return self._write_head(now=now) and self._write_tail(now=now)

    def prepend(self, records: Sequence[Record]) -> None:
        """Put records that were read, and that Kafka does not have, before all others.

        What the disk does not store stays in memory. The bound does not hold here.
        """
        self._head.put_back(records)
        self._put_back = True
        self._write_head()

    def _write_tail(self, *, now: bool = False) -> bool:
        return self._written(lambda: self._tail, self._write_batch, now=now)

    def _write_head(self, *, now: bool = False) -> bool:
        """Write what was put back, and show it: the next process finds all of it, or none."""
        write = functools.partial(self._store_head, sync=now)
        if not self._written(lambda: self._head, write, now=now):
            return False
        if self._head.handed_over and self._hides():
            return not hidden_of(self._segments)
        return self._show(now=now)

    def _written(self, more: Callable[[], object], write: Callable[[], None], *, now: bool) -> bool:
        """Write while there is more; False where the disk fails or has to rest."""
        while more():
            if not (now or self._may(self._writing)):
                return False
            try:
                with self._pace.timed():
                    write()
            except OSError as exc:
                self._writing.failed(exc)
                return False
            self._writing.worked()
        return True

    def _write_batch(self) -> None:
        """Move the oldest of the tail into the last segment, as many as fit.

        Raises:
            OSError: not all of them were stored. Those that were are counted.
        """
        segment, writer = self._writable(FRAME_BYTES + len(next(iter(self._tail))))
        room = min(self._segment_bytes - segment.size_bytes, self._batch_bytes)
        frames: list[bytes] = []
        ends: list[int] = []
        size = 0
        for body in self._tail:
            if frames and size + FRAME_BYTES + len(body) > room:
                break
            frames.append(frame(segment.seed, segment.end + len(frames), body))
            size += len(frames[-1])
            ends.append(size)
        written, error = self._directory.write(writer, b"".join(frames), segment.size_bytes)
        whole = bisect_right(ends, written)
        for stored in frames[:whole]:  # of a frame that was written in part the body stays
            segment.add(self._tail.popleft(), len(stored))
        if whole:
            self.records += whole
            self._directory.grow(ends[whole - 1])
        if error is not None:
            self._end_after_failure(segment, writer, error)
            raise error
        self._drop_oldest()

    def _writable(self, needed: int) -> tuple[Segment, int]:
        """The segment to append to; a new one when there is none, or the last one is full."""
        if self._writer is not None:
            last = self._segments[-1]
            # looked at before each write: a write to a file that was deleted succeeds, too
            if self._files.identity(last.path) != self._files.identity_of(self._writer):
                self._reconcile()
            elif last.size_bytes + needed <= self._segment_bytes:
                return last, self._writer
        self._close_writer()
        if not self._directory.in_place():
            self._reconcile()
        segment, self._writer = self._directory.new_segment(
            max(self._numbers(), default=_FIRST_NUMBER) + 1
        )
        self._segments.append(segment)
        return segment, self._writer

    def _end_after_failure(self, segment: Segment, writer: int, error: OSError) -> None:
        """Cut off what is no whole record; a file that failed is not written to again.

        A full disk is no fault of the file: it goes on there once there is room, so that a full
        disk does not fill with small files.
        """
        with contextlib.suppress(OSError):
            self._files.truncate(writer, segment.size_bytes)
        if not segment.kept:
            self._directory.close_quietly(writer)
            self._writer = None
            self._segments.pop()
            self._directory.delete(segment)
        elif error.errno not in FULL_DISK:
            self._close_writer()

    def _store_head(self, *, sync: bool) -> None:
        """Write the newest of the head into a file of its own, before all others.

        Raises:
            OSError: it was not stored; nothing changed.
        """
        number = min(self._numbers(), default=_FIRST_NUMBER) - 1
        if number not in NUMBERS:  # it is read first, and gone then
            raise OSError(errno.EEXIST, "a foreign file has the first number of all")
        if not self._directory.in_place():
            self._reconcile()
        segment = self._head.store(number, hidden=self._hides(), sync=sync)
        self._close_reader()  # what was read ahead is no longer of the oldest file
        self._segments.appendleft(segment)
        self.records += segment.waiting

    def _show(self, *, now: bool = False) -> bool:
        """Let the next process find what was put back; False where the disk fails or has to rest.

        The oldest first: what was read may be found too, and comes behind it in order.
        """
        more = functools.partial(hidden_of, self._segments)
        return self._written(more, lambda: self._directory.show(more()[0]), now=now)

    def _drop_oldest(self) -> None:
        """Free the oldest segments until the bound holds, those that Kafka was given first."""
        # where the system deletes nothing, to go on would lose file after file and free no byte
        while self.size_bytes > self.max_bytes and not self._directory.undeleted:
            if self._confirming:
                if not self._show():  # what was read of it too has no other file than these
                    return
                self._delete(self._confirming.pop(0))
            elif len(self._segments) > 1:
                self._lose(self._segments[0], "spool_full")
            else:
                return

    # -- reading --------------------------------------------------------------------------------

    def peek(self) -> Sequence[Record]:
        """The oldest records; `advance` moves past them.

        None of them when the spool is empty, or its oldest file cannot be read at the moment.
        """
        if self._head:
            return self._head.first(_PEEK_RECORDS)
        while not self._chunk and self._segments:
            first = self._segments[0]
            if not first.waiting:
                self._end_first()
            elif self._may(self._reading):
                self._read_first(first)
            else:
                break
        if self._segments:  # nothing where the file cannot be read now: the tail is newer
            return self._chunk
        return [decode(body) for body in itertools.islice(self._tail, _PEEK_RECORDS)]

    def advance(self, count: int) -> None:
        """Count the first `count` records of the last `peek` as read."""
        if not count:
            return
        if self._head:
            self._head.advance(count)
        elif self._segments:
            first = self._segments[0]
            first.advance(count, sum(self._chunk_sizes[:count]))
            self.records -= count
            del self._chunk[:count], self._chunk_sizes[:count]
            if not first.waiting:
                self._end_first()
        else:
            for _ in range(count):
                self._tail.popleft()

    def confirm(self) -> bool:
        """Delete the files that were read: Kafka has all of it, but for what was put back.

        Returns:
            False while some of that is in memory alone: a killed process leaves these files of it.
        """
        self._head.handed_over = False  # Kafka has it
        if not self._write_head():
            return False
        put_back, self._put_back = self._put_back, False
        for segment in self._segments:
            if put_back and segment.begin != segment.kept_begin:
                if self._writer is not None and segment is self._segments[-1]:
                    self._close_writer()
                segment.keep_the_rest()
                self._directory.name(segment)
        while self._confirming:
            self._delete(self._confirming.pop())
        return True

    def _read_first(self, segment: Segment) -> None:
        """Read more of the first segment; what it holds no longer is lost."""
        try:
            with self._pace.timed():
                bodies = self._reader.next_bodies(segment)
                if not bodies:
                    self._salvage(segment)
                    bodies = self._reader.next_bodies(segment)
        except (FileNotFoundError, NotADirectoryError):  # somebody tidied up
            self._lose(segment, "spool_unreadable")
        except OSError as exc:
            self._reading.failed(exc)
            if self._reading.lasting_seconds >= READ_PATIENCE_SECONDS:
                self._give_up(segment)
        else:
            self._reading.worked()
            self._chunk = [decode(body) for body in bodies]
            self._chunk_sizes = [FRAME_BYTES + len(body) for body in bodies]

    def _salvage(self, segment: Segment, *, tolerant: bool = False) -> None:
        if self._writer is not None and segment is self._segments[-1]:
            self._close_writer()  # what were appended later would not be among the salvaged
        lost = self._reader.salvage(segment, tolerant=tolerant)
        if lost:
            self.records -= lost
            name, recovered = segment.path.name, segment.waiting
            self._log.error("spool_file_damaged", file=name, lost=lost, recovered=recovered)
            self._report("spool_unreadable", lost, segment)

    def _give_up(self, segment: Segment) -> None:
        """Keep what can be read of a file that has not been readable for long."""
        try:
            self._salvage(segment, tolerant=True)
        except OSError:
            path = segment.path
            self._lose(segment, "spool_unreadable", delete=False)
            self._directory.set_aside(path)

    def _end_first(self) -> None:
        """Go on to the next segment: the first one was read to its end."""
        if len(self._segments) == 1:
            self._close_writer()
        self._close_reader()
        self._confirming.append(self._segments.popleft())

    # -- segments -------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        """See which files are still there; own the directory again where it is another.

        Raises:
            OSError: it cannot be listed, made or locked.
        """
        names = self._directory.names()
        for segment in [*self._segments, *self._confirming]:
            if segment.path.name not in names:
                self._lose(segment, "spool_unreadable")
        if not self._directory.in_place():
            self._directory.own_again()
            self._writing.try_now()

    def _lose(self, segment: Segment, reason: str, *, delete: bool = True) -> None:
        """Report what waits in a segment as lost: the file is gone, or goes."""
        if segment in self._confirming:
            self._confirming.remove(segment)
        else:
            if segment is self._segments[-1] and self._writer is not None:
                self._directory.close_quietly(self._writer)
                self._writer = None
            if segment is self._segments[0]:
                self._close_reader()
            self._segments.remove(segment)
            self.records -= segment.waiting
            if reason == "spool_unreadable":
                self._log.error("spool_file_lost", file=segment.path.name, lost=segment.waiting)
            self._report(reason, segment.waiting, segment)
        if delete:
            self._delete(segment)
        else:
            self._directory.size_bytes -= segment.size_bytes

    def _report(self, reason: str, count: int, segment: Segment) -> None:
        if count:
            examples = examples_in(self._files, segment) if reason == "spool_full" else None
            self._on_loss(reason, Dropped(count, *span_ms([segment]), examples))

    def _delete(self, segment: Segment) -> None:
        error = self._directory.delete(segment)
        if error is None:
            self._writing.try_now()  # there is room again
        elif len(self._directory.undeleted) == 1:
            self._writing.failed(error)

    def _sync(self) -> None:
        """Wait until the device has what was written last; what it refuses is lost."""
        if self._writer is None:
            return
        try:
            self._files.sync(self._writer)
        except OSError as exc:
            self._writing.failed(exc)
            self._lose(self._segments[-1], "spool_write", delete=False)

    def _there(self) -> list[Segment]:
        """All that the next process would find now."""
        return [*self._directory.undeleted, *self._confirming, *self._segments]

    def _hides(self) -> bool:
        """Whether what was put back may stand in files that were read, too."""
        return bool(self._confirming) or in_part(self._segments)

    def _numbers(self) -> list[int]:
        return [segment.number for segment in self._there()]

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._directory.close_quietly(self._writer)
            self._writer = None
            self._directory.name(self._segments[-1])

    def _close_reader(self) -> None:
        self._reader.close()
        self._chunk, self._chunk_sizes = [], []

    def _may(self, trouble: DiskTrouble) -> bool:
        """Whether the disk may be asked: it does not rest, and has not just failed."""
        return self._pace.may() and trouble.may_try()
