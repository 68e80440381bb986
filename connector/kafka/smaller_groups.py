"""What was refused in a batch, sent again in ever smaller groups: decides what goes together next.

A group is some of the first records of the spool, sent with nothing else under way, as one batch
for each partition: so its refused records can be sent again before all that follow. A refusal of
more than one record says little of each: they are halved. A record that is refused alone is refused
for itself. So one bad record costs about as many round trips as the group can be halved. Brokers
may name it in their answer (KIP-467), but librdkafka 2.16 tells of that only where there are two.

Where one after the other is refused alone, each goes alone from then on, several at a time: each a
batch of its own, and no two of one key, whose order holds so whatever is refused.

No I/O, no clock: the producer sends the groups, and says what became of each.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from connector.kafka.refusals import UNCLEAR_SECONDS, Fault, TopicTrouble, fault_of

GROUP_RECORDS: Final = 1_000
"""The most records of a group."""
CALM_SECONDS: Final = 5.0
"""So long after the last refusal records go in groups. A client for batches ends at each refusal,
and the next one needs half a second to begin: a bad record in a thousand would leave no time."""
ALONE_IN_A_ROW: Final = 4
"""So many records refused for themselves, and none accepted between: the topic's all are, maybe."""
_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 5.0


class SmallerGroups:
    """Divides what was refused, and remembers why the first record waits."""

    def __init__(self) -> None:
        self.active = False
        """Records go in groups, until it has been calm."""
        self.one_by_one = False
        """Each record of a group is a batch of its own, until all of a group were accepted."""
        self._alone_in_a_row = 0  # refused for themselves
        self.trouble: TopicTrouble | None = None
        """Why records wait, where it is not a record's fault."""
        self.retry_at = 0.0
        """Seconds of the monotonic clock; nothing is sent before."""
        self._sizes: deque[int] = deque()  # of the next groups, of what was refused together
        self._refused_at = float("-inf")  # monotonic seconds
        self._tries = 0  # of the first record, each refused alone
        self._first_refused_at = 0.0  # monotonic seconds; UNCLEAR_SECONDS count from it

    @property
    def size(self) -> int:
        """How many records the next group has at most."""
        return self._sizes[0] if self._sizes else GROUP_RECORDS

    def begin(self, now: float) -> None:
        """Begin: a batch was refused.

        Args:
            now: seconds of the monotonic clock.
        """
        self.active = True
        self._refused_at = now
        self._sizes.clear()  # what came back with the batch may stand between

    def try_one(self) -> None:
        """Begin with one record, whose fate decides about all that follow."""
        self.active = True
        self._sizes.appendleft(1)

    def end_if_calm(self, now: float, waiting: int) -> bool:
        """End when nothing was refused for long enough; returns whether it has ended.

        Args:
            now: seconds of the monotonic clock.
            waiting: so many records wait.
        """
        if not waiting:
            self._sizes.clear()  # the files with what was refused were lost
        if self.trouble is None and not self._sizes:
            self.active = now < self._refused_at + CALM_SECONDS
        return not self.active

    def sent(self, records: int) -> None:
        """So many are under way: as many as `size` or fewer, where there was no room for more."""
        if self._sizes:
            self._sizes[0] -= records
            if self._sizes[0] <= 0:
                self._sizes.popleft()

    def accepted(self) -> TopicTrouble | None:
        """All that was under way is written; returns the trouble that ended."""
        self.one_by_one = False
        self._alone_in_a_row = 0
        trouble, self.trouble = self.trouble, None
        self._first_is_gone()
        return trouble

    def divide(self, records: int, now: float) -> None:
        """More than one record of what was under way was refused.

        Args:
            records: so many, which are the first ones again.
            now: seconds of the monotonic clock.
        """
        self._refused_at = now
        self._sizes.extendleft([records - records // 2, records // 2])

    def again_at_once(self, trouble: TopicTrouble) -> None:
        """The one under way was refused for what its next try changes.

        Args:
            trouble: what is told meanwhile.
        """
        self.trouble = self.trouble or trouble
        self._sizes.appendleft(1)

    def taken_away(self) -> None:
        """What was under way came back, and is no longer this producer's to send."""
        self.trouble = None
        self._first_is_gone()

    def refused_alone(self, topic: str, error: Any, now: float) -> bool:
        """The one under way was refused, for itself.

        Args:
            topic: of the record.
            error: a `KafkaError` that does not end the client.
            now: seconds of the monotonic clock.

        Returns:
            True when the record is at fault and the next one's turn has come; False when it is to
            be tried again from `retry_at` on.
        """
        self._refused_at = now
        if not self._tries:
            self._first_refused_at = now
        fault = fault_of(error)
        waited = now - self._first_refused_at
        if fault is Fault.RECORD or (fault is Fault.UNCLEAR and waited >= UNCLEAR_SECONDS):
            self.trouble = None
            self._first_is_gone()
            self._alone_in_a_row += 1
            if self._alone_in_a_row >= ALONE_IN_A_ROW:
                self.one_by_one = True
                self._sizes.clear()
            return True
        # the time of the first one stays: how long a topic has been held back is told by it
        if self.trouble is None or self.trouble.code != error.name():
            self.trouble = TopicTrouble(topic, error.name(), error.str(), now)
        self.retry_at = now + min(_BACKOFF_SECONDS * 2**self._tries, _MAX_BACKOFF_SECONDS)
        self._tries = min(self._tries + 1, 16)  # 2**16 is long beyond the greatest pause
        self._sizes.appendleft(1)
        return False

    def _first_is_gone(self) -> None:
        self._tries = 0
        self.retry_at = 0.0
