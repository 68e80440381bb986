"""Whether Kafka takes records at all: connected brokers are not enough.

With fewer replicas in sync than `min.insync.replicas`, or partitions without a leader, brokers
answer and yet acknowledge nothing. librdkafka goes on trying, rightly, and complains of nothing.
"""

from __future__ import annotations

from typing import Any

from connector.kafka.producer_state import RecordCounts

SILENT_SECONDS = 5.0
"""Leaders that change hold records up for less; a broker that dies holds up all of them until the
others miss it, by default for 9 s, since `acks=all` waits for it too: that is said."""


class Acknowledgements:
    """Looks at the producer's counts now and then; logs when nothing is taken, and the end of it.

    Args:
        log: a structlog logger.
        silent_seconds: without an acknowledgement, from which on it is worth a word.
    """

    def __init__(self, log: Any, silent_seconds: float = SILENT_SECONDS) -> None:
        self._log = log
        self._silent_seconds = silent_seconds
        self._delivered = 0  # as of the last look that saw progress, or nothing to wait for
        self._since: float | None = None  # monotonic seconds of that look; None before the first
        self._told = False  # the edge was logged

    def check(self, now: float, counts: RecordCounts) -> str | None:
        """Look once, about each second; logs the edges, so it is not for whoever only asks.

        Args:
            now: seconds of a monotonic clock.
            counts: of the producer.

        Returns:
            What is wrong, for a human; None where records are taken or there are none.
        """
        waiting = counts.waiting
        if not waiting or counts.delivered > self._delivered or self._since is None:
            self._delivered = counts.delivered
            self._since = now
            if self._told:
                self._told = False
                self._log.info("kafka_acknowledges_again")
            return None
        silent = now - self._since
        if silent < self._silent_seconds:
            return None
        if not self._told:
            self._told = True
            self._log.warning("kafka_acknowledges_nothing", waiting=waiting)
        return (
            f"Kafka has taken no record for {silent:.0f} s, {waiting} wait: have its partitions "
            "leaders, and replicas enough in sync?"
        )
