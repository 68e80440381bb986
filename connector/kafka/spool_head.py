"""Records that were put back before a spool's files, in memory until the disk has them.

Files that they were read of may still be there. The newest are written first: the next process
would send these, and then those files. So what was written is hidden from it until all is; and
where some was read again meanwhile, until Kafka has that.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from connector.kafka.spool_directory import SpoolDirectory
from connector.kafka.spool_files import Segment
from connector.kafka.spool_format import FRAME_BYTES, MAGIC, Record, encode, frame


class Head:
    """The oldest records of all.

    Args:
        directory: where they are stored.
        segment_bytes: of one file.
    """

    def __init__(self, directory: SpoolDirectory, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._records: deque[Record] = deque()
        self.handed_over = False
        """Whether some of what was put back last was read again: Kafka may not have it yet."""

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def put_back(self, records: Sequence[Record]) -> None:
        """Put records before all others; nothing else that was read is under way any more."""
        self._records.extendleft(reversed(records))
        self.handed_over = False

    def first(self, count: int) -> list[Record]:
        """Return the oldest records, so many at most."""
        return list(itertools.islice(self._records, count))

    def advance(self, count: int) -> None:
        """Count the first of them as read."""
        for _ in range(count):
            self._records.popleft()
        self.handed_over = True

    def clear(self) -> None:
        """Forget them: whoever had use for them has them."""
        self._records.clear()

    def store(self, number: int, *, hidden: bool, sync: bool) -> Segment:
        """Write the newest of them into a file of its own, and forget these.

        Args:
            number: of the file, lower than all others'.
            hidden: no other process finds it before it is shown.
            sync: wait until the device has it.

        Raises:
            OSError: it was not stored; nothing changed.
        """
        segment = Segment.new(self._directory.path, number)
        bodies: deque[bytes] = deque()
        size = segment.size_bytes = len(MAGIC)
        # the newest first: the next file gets a lower number, and so stands before this one
        for record in reversed(self._records):
            body = encode(record)
            size += FRAME_BYTES + len(body)
            if bodies and size > self._segment_bytes:
                break
            bodies.appendleft(body)
        frames = [MAGIC]
        for body in bodies:
            frames.append(frame(segment.seed, segment.end, body))
            segment.add(body, len(frames[-1]))
        self._directory.add_closed(segment, b"".join(frames), hidden=hidden, sync=sync)
        for _ in bodies:
            self._records.pop()
        return segment


def hidden_of(segments: Iterable[Segment]) -> list[Segment]:
    """Those that no other process finds yet, oldest first."""
    return [segment for segment in segments if segment.hidden]


def in_part(segments: Iterable[Segment]) -> bool:
    """Whether some were read, of which Kafka may not have all."""
    return any(segment.begin != segment.kept_begin for segment in segments)
