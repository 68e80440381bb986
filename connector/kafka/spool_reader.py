"""Reads what waits in a segment, and of a damaged one whatever is whole."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Sequence

from connector.kafka.spool_files import MAX_FILE_BYTES, Segment, SpoolFiles
from connector.kafka.spool_format import (
    Dropped,
    Record,
    announced_bytes,
    contiguous,
    scan,
)

READ_BYTES = 256 * 1024  # some 800 records: the event loop waits for one read at a time
_SALVAGED_RECORDS = 2_000  # of a damaged file, handed over at once
_BLOCK_BYTES = 4096  # what a bad sector costs: the usual block of file systems


class SegmentReader:
    """Keeps the file open that was read last."""

    def __init__(self, files: SpoolFiles) -> None:
        self._files = files
        self._open: tuple[Segment, int] | None = None  # with its descriptor

    def close(self) -> None:
        """Close the file; harmless when none is open."""
        if self._open is not None:
            _, descriptor = self._open
            self._open = None
            with contextlib.suppress(OSError):
                self._files.close(descriptor)

    def next_bodies(self, segment: Segment) -> list[bytes]:
        """The next that wait, as far as the file is sound; empty: it has to be salvaged.

        Raises:
            OSError: it cannot be read.
        """
        if segment.salvaged is not None:
            return [body for _, body in itertools.islice(segment.salvaged, _SALVAGED_RECORDS)]
        if segment.offset is None:
            return []
        left = max(0, segment.size_bytes - segment.offset)
        data = self._read(segment, min(left, READ_BYTES), segment.offset)
        bodies = list(contiguous(data, segment.seed, segment.begin))
        # one record larger than a read: once more, for all of it
        if not bodies and len(data) < announced_bytes(data, segment.begin) <= left:
            data = self._read(segment, announced_bytes(data, segment.begin), segment.offset)
            bodies = list(contiguous(data, segment.seed, segment.begin))
        # more than were written there are none: what follows is nobody's
        return bodies[: segment.waiting]

    def salvage(self, segment: Segment, *, tolerant: bool = False) -> int:
        """Find every record of a file that waits and is whole, whatever stands between them.

        Args:
            segment: whose `salvaged` and `waiting` are set.
            tolerant: take blocks that cannot be read for damaged.

        Returns:
            How many of those that wait are lost.

        Raises:
            OSError: it cannot be read.
        """
        found, _ = scan(self.whole(segment, tolerant=tolerant), segment.seed)
        segment.foreign = not found
        # what was handed over before it was found to be damaged is not handed over again
        left = [(index, body) for index, body in found.items() if index >= segment.begin]
        segment.salvaged = deque(left[-segment.waiting :])
        lost = segment.waiting - len(segment.salvaged)
        segment.waiting -= lost
        return lost

    def whole(self, segment: Segment, *, tolerant: bool) -> bytes:
        """All of a file; `tolerant` puts zeros where a block cannot be read.

        Raises:
            OSError: it cannot be read, or opened at all.
        """
        size = min(segment.size_bytes, MAX_FILE_BYTES)
        pieces: list[bytes] = []
        at = 0
        while at < size:
            try:
                piece = self._read(segment, min(size - at, READ_BYTES), at)
            except OSError:
                if not tolerant or self._open is None:
                    raise
                blocks = range(at, min(size, at + READ_BYTES), _BLOCK_BYTES)
                piece = b"".join(
                    self._block(segment, min(_BLOCK_BYTES, size - start), start) for start in blocks
                )
            if not piece:  # somebody cut it
                break
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def _block(self, segment: Segment, size: int, offset: int) -> bytes:
        try:
            data = self._read(segment, size, offset)
        except OSError:
            data = b""
        # zeros keep what follows at its place, and are no frame
        return data.ljust(size, b"\0")

    def _read(self, segment: Segment, size: int, offset: int) -> bytes:
        if self._open is None or self._open[0] is not segment:
            self.close()
            self._open = segment, self._files.open(segment.path)
        return self._files.read(self._open[1], size, offset)


def examples_in(files: SpoolFiles, segment: Segment) -> tuple[Record, ...] | None:
    """One record of each topic and key that wait in a file; None where it does not tell."""
    if segment.salvaged is not None:
        return Dropped.of_bodies([body for _, body in segment.salvaged]).examples
    if segment.offset is None:
        return None
    reader = SegmentReader(files)
    try:
        # with a descriptor of its own: the spool's reader may stand in another file
        data = reader.whole(segment, tolerant=False)[segment.offset :]
    except OSError:
        return None
    finally:
        reader.close()
    bodies = list(contiguous(data, segment.seed, segment.begin))[: segment.waiting]
    return Dropped.of_bodies(bodies).examples if len(bodies) == segment.waiting else None


def not_read_of(
    files: SpoolFiles, segments: Sequence[Segment], bodies: Sequence[bytes]
) -> list[bytes]:
    """Those of the bodies that were read of none of these files, as far as these can be read.

    The others are found by the next process, which knows of no reading.
    """
    if not bodies:
        return []
    found: Counter[bytes] = Counter()
    for segment in segments:
        found.update(_read_of(files, segment))
    left: list[bytes] = []
    for body in bodies:
        # each stands for one: there may be several alike, of which Kafka has some
        if found[body] > 0:
            found[body] -= 1
        else:
            left.append(body)
    return left


def waiting_in(files: SpoolFiles, segments: Sequence[Segment]) -> list[bytes]:
    """What these files hold and was not read of them, as far as they can be read."""
    return [
        body
        for segment in segments
        for index, body in _kept_in(files, segment)
        if index >= segment.begin
    ]


def _read_of(files: SpoolFiles, segment: Segment) -> list[bytes]:
    """What was read of a file, and waits in it for the next process."""
    if segment.begin == segment.kept_begin:
        return []
    return [body for index, body in _kept_in(files, segment) if index < segment.begin]


def _kept_in(files: SpoolFiles, segment: Segment) -> list[tuple[int, bytes]]:
    """The (index, body) of all that the next process would find in a file."""
    reader = SegmentReader(files)
    try:
        found, _ = scan(reader.whole(segment, tolerant=True), segment.seed)
    except OSError:
        return []
    finally:
        reader.close()
    kept = [(index, body) for index, body in found.items() if index >= segment.kept_begin]
    return kept[-segment.kept :]
