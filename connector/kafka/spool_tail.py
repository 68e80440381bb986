"""The newest records of a spool, in memory until the disk has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

_OVERHEAD_BYTES = 64  # of an object, besides its bytes


class Tail:
    """The bodies of their frames, oldest first, and how much memory they take."""

    def __init__(self) -> None:
        self._bodies: deque[bytes] = deque()
        self.size_bytes = 0
        """What they take of memory."""

    def __len__(self) -> int:
        return len(self._bodies)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._bodies)

    def append(self, body: bytes) -> None:
        """Add the body of the newest record."""
        self._bodies.append(body)
        self.size_bytes += len(body) + _OVERHEAD_BYTES

    def popleft(self) -> bytes:
        """Remove and return the oldest body.

        Raises:
            IndexError: there is none.
        """
        body = self._bodies.popleft()
        self.size_bytes -= len(body) + _OVERHEAD_BYTES
        return body

    def cut(self, most_bytes: int) -> list[bytes]:
        """Remove the oldest ones, until the others take so much or less."""
        removed: list[bytes] = []
        while self.size_bytes > most_bytes:
            removed.append(self.popleft())
        return removed
