"""Losses of the producer, reported as events: seldom by reason, however many."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from connector.kafka.spool import Dropped, Record
from connector.kafka.topics import TopicNames
from connector.service.lost import Lost
from connector.service.pipeline import Pipeline

_log = structlog.get_logger("connector.service")

TELL_SECONDS: Final = 10.0
"""A loss that goes on is told again so long later: an event may name all of a slot's instruments.
"""


class Losses:
    """Adds losses up until they are reported.

    Args:
        send_last: sends records when the producer is closed; False where they did not arrive.
        topics: where the records were to go.
        monotonic: seconds.
    """

    def __init__(
        self,
        send_last: Callable[[Sequence[Record]], Awaitable[bool]],
        topics: TopicNames,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send_last = send_last
        self._topics = topics
        self._tick_topics = frozenset(topics.all_ticks().values())
        self._monotonic = monotonic
        # by reason; filled from the start on, when there is no pipeline yet that could write events
        self._losses: dict[str, Lost] = {}
        # when each reason was told of last, monotonic seconds
        self._told_at: dict[str, float] = {}

    def add(self, reason: str, dropped: Dropped) -> None:
        """Count records that were lost: the producer's `on_dropped`."""
        lost = self._losses.setdefault(reason, Lost())
        lost.add(dropped, self._topics, self._tick_topics)

    def report(self, pipeline: Pipeline, *, at_last: bool = False) -> None:
        """Write events of each reason; what came before there was a pipeline too.

        Args:
            pipeline: writes them.
            at_last: of those too that were told of a moment ago.
        """
        now = self._monotonic()
        for reason in list(self._losses):
            told_at = self._told_at.get(reason)
            if at_last or told_at is None or now >= told_at + TELL_SECONDS:
                self._told_at[reason] = now
                pipeline.write_dropped(reason, self._losses.pop(reason))

    async def report_last(self, pipeline: Pipeline, *, reachable: bool) -> None:
        """Report what is left when the producer is closed already, where a broker still answers."""
        losses, self._losses = self._losses, {}
        if not losses or not reachable:
            return
        records = [
            record
            for reason, lost in losses.items()
            for record in pipeline.dropped_records(reason, lost)
        ]
        if records and not await self._send_last(records):
            _log.warning("last_losses_not_in_events", reasons=sorted(losses))
