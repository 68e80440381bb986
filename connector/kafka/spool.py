"""A bounded first-in, first-out of records on disk, for as long as Kafka cannot take them.

A directory of numbered segment files, each a magic word and then records, each with its length and
CRC. Appending and reading go through the page cache: what was flushed survives the death of the
process, not that of the machine. Reading does not remove: `confirm` does, once Kafka has what was
read, so that a process that dies in between leaves the records for the next one, which sends some
of them twice.

One process owns a directory, by a lock. Nothing here is thread-safe.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import structlog

from connector.errors import SpoolError

Headers = Sequence[tuple[str, bytes | None]]

_MAGIC = b"KITESP01"
_FRAME = struct.Struct("<II")  # length of the body, its CRC-32
_BODY = struct.Struct("<qHiiH")  # timestamp, lengths of topic, key, value (-1: none), headers
_ITEM = struct.Struct("<Hi")  # lengths of a header's name and value (-1: none)
_SUFFIX = ".spool"
_NAME = re.compile(r"[0-9a-f]{16}\.spool")
# far from both ends: segments are put before the first one, too
_FIRST_NUMBER = 1 << 40
_CHUNK_BYTES = 256 * 1024


class Record(NamedTuple):
    """What one call of `produce` said. `timestamp_ms` is never 0 in the spool."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Records that gave way to newer ones, and the span of their timestamps."""

    count: int
    first_timestamp_ms: int
    last_timestamp_ms: int

    @classmethod
    def of(cls, records: Sequence[Record]) -> Dropped:
        """These records, lost."""
        times = [record.timestamp_ms for record in records]
        return cls(len(records), min(times, default=0), max(times, default=0))


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size_bytes: int = 0
    unread: int = 0
    first_timestamp_ms: int = 0
    last_timestamp_ms: int = 0

    def note(self, timestamp_ms: int, size_bytes: int) -> None:
        if not self.first_timestamp_ms:
            self.first_timestamp_ms = timestamp_ms
        self.last_timestamp_ms = timestamp_ms
        self.size_bytes += size_bytes
        self.unread += 1


class Spool:
    """The records that wait, oldest first.

    Args:
        directory: where; None takes a temporary one, which `close` deletes with all that is in it.
        max_bytes: of all segments; above it the oldest segment goes.
        segment_bytes: of one file; the unit of dropping.
    """

    def __init__(
        self, directory: Path | None, max_bytes: int, *, segment_bytes: int = 4 * 1024 * 1024
    ) -> None:
        self.persistent = directory is not None
        self._given = directory
        self._directory: Path | None = None
        self._max_bytes = max_bytes
        # at least eight segments, so that a full spool loses an eighth of it at once and no more
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, 1))
        self._lock: IO[str] | None = None
        self._segments: deque[_Segment] = deque()  # not read to their end
        self._confirming: list[_Segment] = []  # read to their end, not confirmed
        self._writer: IO[bytes] | None = None  # appends to the last of _segments
        self._reader: IO[bytes] | None = None  # reads the first of _segments
        self._remainder = b""  # bytes read of a record that the chunk cut off
        self._chunk: list[Record] = []
        self._chunk_at = 0
        self.records = 0
        """Records that wait, not counting those read."""
        self.size_bytes = 0
        """Of all files, including those read and not confirmed."""
        self.lost = 0
        """Records that could not be read back; where nobody can tell how many, one."""
        self.peak_bytes = 0
        """The highest that `size_bytes` was."""
        self._log = structlog.get_logger("connector.kafka")

    @property
    def directory(self) -> Path:
        """Where the segments are.

        Raises:
            SpoolError: it is not open.
        """
        if self._directory is None:
            raise SpoolError(str(self._given or "temporary"), "not open")
        return self._directory

    def open(self) -> None:
        """Take the directory and count what an earlier process left there.

        Raises:
            SpoolError: the directory cannot be used, or another process uses it.
        """
        if self._directory is not None:
            return
        self._segments.clear()
        self._confirming.clear()
        self.records = self.size_bytes = self.lost = 0
        try:
            if self._given is None:
                directory = Path(tempfile.mkdtemp(prefix="kite-connector-spool-"))
            else:
                directory = self._given
                directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(directory)
            self._directory = directory
            self._load()
        except OSError as exc:
            self._unlock()
            raise SpoolError(str(self._given or tempfile.gettempdir()), str(exc)) from exc

    def append(self, record: Record) -> Dropped | None:
        """Add the newest record.

        Returns:
            What gave way to it, if the spool was full.

        Raises:
            OSError: the disk did not take it.
        """
        data = _encoded(record)
        dropped = self._make_room(len(data))
        segment = self._tail(len(data))
        assert self._writer is not None  # noqa: S101 - _tail saw to it
        try:
            self._writer.write(data)
        except OSError:
            # perhaps half of it is in the file: nothing may follow there
            self._drop_writer()
            raise
        segment.note(record.timestamp_ms, len(data))
        self.records += 1
        self._grow(len(data))
        return dropped

    def prepend(self, records: Iterable[Record]) -> int:
        """Put records before all others, in their order, and confirm all that was read.

        They are those of the read ones that Kafka does not have: so that nothing is lost by a
        death halfway, the read files are deleted after the new one is on disk. The bound does not
        hold here: these records were taken out before.

        Returns:
            How many.

        Raises:
            OSError: the disk did not take them; nothing changed.
        """
        numbers = [segment.number for segment in (*self._confirming, *self._segments)]
        segment = self._segment(min(numbers, default=_FIRST_NUMBER) - 1)
        partial = segment.path.with_suffix(".tmp")
        rest = self._rest_of_first()
        with partial.open("wb") as file:
            file.write(_MAGIC)
            segment.size_bytes = len(_MAGIC)
            for record in (*records, *rest):
                data = _encoded(record)
                file.write(data)
                segment.note(record.timestamp_ms, len(data))
            file.flush()
            os.fsync(file.fileno())
        added = segment.unread - len(rest)
        if segment.unread:
            partial.rename(segment.path)
        else:
            partial.unlink()
        if self._reader is not None:
            # what was left of it is in the new file
            self.records -= self._forget_first()
        self.confirm()
        if segment.unread:
            self._segments.appendleft(segment)
            self.records += segment.unread
            self._grow(segment.size_bytes)
        return added

    def peek(self) -> list[Record]:
        """The oldest records, at least one unless the spool is empty; `advance` moves past them."""
        while self._chunk_at >= len(self._chunk) and self._segments:
            self._read_chunk()
        if self._chunk_at:
            del self._chunk[: self._chunk_at]
            self._chunk_at = 0
        return self._chunk

    def advance(self, count: int) -> None:
        """Count the first `count` records of the last `peek` as read."""
        if not count:
            return
        self._chunk_at += count
        self.records -= count
        self._segments[0].unread -= count
        if self._chunk_at >= len(self._chunk) and not self._segments[0].unread:
            self._end_first()

    def confirm(self) -> None:
        """Kafka has all that was read: delete the files that hold nothing else."""
        for segment in self._confirming:
            self._delete(segment)
        self._confirming.clear()

    @property
    def unconfirmed(self) -> int:
        """Files that were read and await `confirm`."""
        return len(self._confirming)

    def flush(self) -> None:
        """Hand to the system what is buffered: from here on it survives the process.

        Raises:
            OSError: the disk did not take it.
        """
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write everything to the disk and give the directory up; a temporary one is deleted."""
        if self._directory is None:
            return
        try:
            if self._writer is not None:
                self._writer.flush()
                os.fsync(self._writer.fileno())
        finally:
            self._drop_writer()
            self._close_reader()
            if not self.persistent:
                shutil.rmtree(self._directory, ignore_errors=True)
            self._unlock()

    def _load(self) -> None:
        for leftover in self.directory.glob("*.tmp"):
            leftover.unlink()
        paths = sorted(self.directory.glob(f"*{_SUFFIX}"))
        for path in paths:
            ours = _NAME.fullmatch(path.name) and path.read_bytes().startswith(_MAGIC)
            segment = _Segment(int(path.stem, 16) if ours else 0, path)
            good = len(_MAGIC) if ours else 0
            for record, size in _scan(path) if good else ():
                segment.note(record.timestamp_ms, size)
                good += size
            bad = path.stat().st_size - good
            if bad and not ours:
                self._log.error("not a spool file, set aside", file=path.name, bytes=bad)
                path.rename(path.with_suffix(".bad"))
                continue
            if bad:
                with path.open("rb") as file:
                    file.seek(good)
                    end = file.read()
                # the last record of a process that was killed is cut short: that is expected
                if path is not paths[-1] or not _cut_short(end):
                    lost = _count(end)
                    self.lost += lost
                    self._log.error("the end of a spool file is damaged", file=path.name, lost=lost)
                    # for whoever wants to look; a full disk must not stop the start
                    with contextlib.suppress(OSError):
                        path.with_suffix(".bad").write_bytes(_MAGIC + end)
                os.truncate(path, good)
            segment.size_bytes = good
            if segment.unread:
                self._segments.append(segment)
                self.records += segment.unread
                self._grow(good)
            else:
                path.unlink()

    def _make_room(self, needed: int) -> Dropped | None:
        """Free the oldest segments until `needed` bytes fit, those that Kafka was given first."""
        count = first = last = 0
        while self.size_bytes + needed > self._max_bytes:
            if self._confirming:
                self._delete(self._confirming.pop(0))
                continue
            if not self._segments:
                break
            oldest = self._segments[0]
            first = first or oldest.first_timestamp_ms
            last = oldest.last_timestamp_ms
            lost = self._forget_first()
            count += lost
            self.records -= lost
        return Dropped(count, first, last) if count else None

    def _tail(self, needed: int) -> _Segment:
        """The segment to append to; a new one when there is none, or the last one is full."""
        if self._writer is not None:
            last = self._segments[-1]
            if last.size_bytes + needed <= self._segment_bytes:
                return last
            self._drop_writer()
        numbers = [segment.number for segment in (*self._confirming, *self._segments)]
        segment = self._segment(max(numbers, default=_FIRST_NUMBER) + 1)
        writer = segment.path.open("wb", buffering=_CHUNK_BYTES)
        writer.write(_MAGIC)
        self._writer = writer
        segment.size_bytes = len(_MAGIC)
        self._grow(len(_MAGIC))
        self._segments.append(segment)
        return segment

    def _segment(self, number: int) -> _Segment:
        return _Segment(number, self.directory / f"{number:016x}{_SUFFIX}")

    def _read_chunk(self) -> None:
        segment = self._segments[0]
        if len(self._segments) == 1:
            self.flush()
        if self._reader is None:
            self._reader = self._opened(segment.path)
            self._reader.seek(len(_MAGIC))
        more = self._reader.read(_CHUNK_BYTES)
        data = self._remainder + more
        self._chunk, self._chunk_at, used = [], 0, 0
        for record, size in _decoded(data):
            self._chunk.append(record)
            used += size
        self._remainder = data[used:]
        if not self._chunk and not more:
            # counted when written or loaded, and now not readable: the disk is at fault
            self._log.error("spool file lost records", file=segment.path.name, lost=segment.unread)
            self.lost += segment.unread
            self.records -= segment.unread
            segment.unread = 0
            self._end_first()

    @staticmethod
    def _opened(path: Path) -> IO[bytes]:
        try:
            return path.open("rb")
        except FileNotFoundError:  # somebody tidied up: what was in it is counted as lost
            return io.BytesIO()

    def _end_first(self) -> None:
        """The first segment was read to its end: on to the next."""
        if len(self._segments) == 1:
            self._drop_writer()
        self._close_reader()
        self._confirming.append(self._segments.popleft())

    def _rest_of_first(self) -> list[Record]:
        """What is left of the first segment, if it was begun; the position stays."""
        if self._reader is None:
            return []
        if len(self._segments) == 1:
            self.flush()
        everything = [record for record, _ in _scan(self._segments[0].path)]
        return everything[len(everything) - self._segments[0].unread :]

    def _forget_first(self) -> int:
        """Delete the first segment, read or not; returns how many records it still had."""
        if len(self._segments) == 1:
            self._drop_writer()
        self._close_reader()
        segment = self._segments.popleft()
        self._delete(segment)
        return segment.unread

    def _drop_writer(self) -> None:
        if self._writer is not None:
            # a full disk is told by `append` and `flush`; what it costs shows at reading
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._remainder = b""
        self._chunk, self._chunk_at = [], 0

    def _delete(self, segment: _Segment) -> None:
        self.size_bytes -= segment.size_bytes
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as exc:  # a read-only disk, say: better sent twice than not at all
            self._log.error(
                "a spool file stays, and is sent again at the next start",
                file=segment.path.name,
                reason=str(exc),
            )

    def _grow(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.size_bytes)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._directory = None


def _locked(directory: Path) -> IO[str]:
    file = (directory / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise SpoolError(
            str(directory),
            f"another process uses it (process {owner}): give each replica a directory of its own",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _encoded(record: Record) -> bytes:
    topic, key, value, timestamp_ms, headers = record
    name = topic.encode()
    parts = [
        _BODY.pack(
            timestamp_ms,
            len(name),
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            len(headers) if headers else 0,
        ),
        name,
        key or b"",
        value or b"",
    ]
    for header, content in headers or ():
        label = header.encode()
        parts += (
            _ITEM.pack(len(label), -1 if content is None else len(content)),
            label,
            content or b"",
        )
    body = b"".join(parts)
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _decoded(data: bytes) -> Iterator[tuple[Record, int]]:
    """(record, size) of each whole and sound record at the start of `data`."""
    at, end = 0, len(data)
    while at + _FRAME.size <= end:
        length, crc = _FRAME.unpack_from(data, at)
        start = at + _FRAME.size
        body = data[start : start + length]
        if len(body) < length or length < _BODY.size or zlib.crc32(body) != crc:
            return
        yield _record(body), _FRAME.size + length
        at = start + length


def _record(body: bytes) -> Record:
    timestamp_ms, topic_size, key_size, value_size, header_count = _BODY.unpack_from(body)
    at = _BODY.size + topic_size
    topic = body[_BODY.size : at].decode()
    key, at = _field(body, at, key_size)
    value, at = _field(body, at, value_size)
    if not header_count:
        return Record(topic, key, value, timestamp_ms)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(header_count):
        name_size, content_size = _ITEM.unpack_from(body, at)
        at += _ITEM.size
        name = body[at : at + name_size].decode()
        content, at = _field(body, at + name_size, content_size)
        headers.append((name, content))
    return Record(topic, key, value, timestamp_ms, headers)


def _field(body: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    return (None, at) if size < 0 else (body[at : at + size], at + size)


def _cut_short(end: bytes) -> bool:
    """Whether it is the beginning of one record."""
    return len(end) < _FRAME.size or len(end) < _FRAME.size + _FRAME.unpack_from(end)[0]


def _count(end: bytes) -> int:
    """How many records it holds by their lengths, sound or not; one where those are damaged."""
    at = count = 0
    while at + _FRAME.size <= len(end):
        length, _ = _FRAME.unpack_from(end, at)
        if length < _BODY.size:  # zeros, say, that a machine without power left
            return 1
        at += _FRAME.size + length
        count += 1
    return count if at == len(end) else 1


def _scan(path: Path) -> Iterator[tuple[Record, int]]:
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        data = b""
        while more := file.read(_CHUNK_BYTES):
            data += more
            used = 0
            for record, size in _decoded(data):
                yield record, size
                used += size
            data = data[used:]
