"""The replies that are remembered, so that a repeated command has one effect. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from connector.control.records import Remembered

REMEMBERED_COMMANDS: Final = 1000
"""So many ids are known again; older ones count as new."""
REMEMBERED_BYTES: Final = 8 * 1024 * 1024
"""The replies kept have at most so many bytes: a new leader has to read them."""


class Replies(Mapping[str, Remembered]):
    """Replies by command id, oldest first; immutable.

    Args:
        entries: what is remembered, in any order.
    """

    def __init__(self, entries: Mapping[str, Remembered] | None = None) -> None:
        ordered = sorted((entries or {}).items(), key=lambda item: item[1].sequence)
        self._entries = dict(ordered)
        # of the replies alone, without ids and digests
        self._bytes = sum(len(entry.reply) for entry in self._entries.values())

    def __getitem__(self, command_id: str) -> Remembered:
        return self._entries[command_id]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def remember(self, command_id: str, entry: Remembered) -> tuple[Replies, list[str]]:
        """Remember one more reply under a new id; returns the ids that are forgotten for it too."""
        after = Replies()
        entries = after._entries = {**self._entries, command_id: entry}
        size = self._bytes + len(entry.reply)
        forgotten: list[str] = []
        # never the new one, whatever its size
        for oldest in self._entries:
            if len(entries) <= REMEMBERED_COMMANDS and size <= REMEMBERED_BYTES:
                break
            size -= len(entries.pop(oldest).reply)
            forgotten.append(oldest)
        after._bytes = size
        return after, forgotten
