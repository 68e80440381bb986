"""What was lost for one reason, and whose it was. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from connector.codec import identity_of
from connector.kafka.spool import Dropped
from connector.kafka.topics import TopicNames


@dataclass(slots=True)
class Lost:
    """Records that were lost, as they add up until they are told of."""

    count: int = 0
    from_ms: int = 0
    to_ms: int = 0
    """The span of their times, UTC milliseconds; 0 where nobody knows it."""
    tokens: dict[int, set[int]] = field(default_factory=dict)
    """Slot to the instruments of its lost ticks; none where all that it lost were others."""
    all_known: bool = True
    """Whether nothing else was lost than what `tokens` tells, and what is of no slot."""

    def add(self, dropped: Dropped, topics: TopicNames, tick_topics: Collection[str]) -> None:
        """Add records; `tick_topics` are those of `topics` whose values are ticks."""
        self.count += dropped.count
        self.from_ms = self.from_ms or dropped.first_timestamp_ms
        self.to_ms = max(self.to_ms, dropped.last_timestamp_ms)
        if dropped.examples is None:
            self.all_known = False
            return
        for record in dropped.examples:
            try:
                if record.topic in tick_topics:
                    slot, _, _ = identity_of(record.value or b"")
                    self.tokens.setdefault(slot, set()).add(int(record.key or b""))
                elif record.topic == topics.events:
                    self.tokens.setdefault(int(record.key or b""), set())
            except ValueError:  # another version's, or another program's
                self.all_known = False

    def merge(self, other: Lost) -> None:
        """Add what was lost for the same reason at another time."""
        self.count += other.count
        self.from_ms = min(self.from_ms or other.from_ms, other.from_ms or self.from_ms)
        self.to_ms = max(self.to_ms, other.to_ms)
        for slot, tokens in other.tokens.items():
            self.tokens.setdefault(slot, set()).update(tokens)
        self.all_known = self.all_known and other.all_known
