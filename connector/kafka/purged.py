"""Records that librdkafka gave back unsent, put in the order in which they were produced.

Of one partition they come back in runs. Those under way, the oldest, are told apart by their error.
Of the queued ones librdkafka's main thread gives back its part at once, the newest; its broker
threads follow with theirs. Each run is in order, so a new run begins where a partition's sequence
numbers step back.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from connector.kafka.spool import Record

# before every run of queued ones: what was sent is older than what was not
_UNDER_WAY = -sys.maxsize


@dataclass(slots=True)
class _Returned:
    sequence: int
    run: int
    record: Record = field(repr=False)


class PurgedRecords:
    """Collects until it is emptied by `take`."""

    def __init__(self) -> None:
        self._returned: list[_Returned] = []
        # (topic, partition) → the last sequence that came back queued, and the number of its run
        self._runs: dict[tuple[str, int | None], tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._returned)

    def add(self, record: Record, sequence: int, partition: int | None, *, queued: bool) -> None:
        """Take one record, in the order in which librdkafka gives them back.

        Args:
            record: what to send again.
            sequence: of the call that produced it; the same for all records of a frame.
            partition: that it was meant for.
            queued: it was not under way.
        """
        run = _UNDER_WAY
        if queued:
            key = (record.topic, partition)
            last, run = self._runs.get(key, (0, 0))
            # a step back begins an older run, so that runs count downwards
            if sequence < last:
                run -= 1
            self._runs[key] = (sequence, run)
        self._returned.append(_Returned(sequence, run, record))

    def drain(self) -> list[Record]:
        """All records, oldest first.

        The records of one frame have the same sequence number: those under way come first, then
        those of later runs, which hold the older part of a queue.
        """
        returned, self._returned = self._returned, []
        self._runs.clear()
        # Python's sort is stable: within a run records stay as librdkafka gave them back
        returned.sort(key=lambda item: (item.sequence, item.run))
        return [item.record for item in returned]
