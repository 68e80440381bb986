"""Losses of the producer, reported as events: seldom by reason, however many.

An event waits in the spool like any record, and a full one drops the oldest. So what was told is
remembered until Kafka has it, and told again where the event itself was among what was lost.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
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
MAX_TOLD: Final = 16
"""So much that was told is remembered for each reason: of more, the oldest two are one."""


@dataclass(slots=True)
class _Told:
    """What events told of, and when they were written: UTC milliseconds."""

    lost: Lost
    first_ms: int
    last_ms: int
    produced: int
    """How many records were produced until then."""


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
        self._told: dict[str, list[_Told]] = {}

    def add(self, reason: str, dropped: Dropped) -> None:
        """Count records that were lost: the producer's `on_dropped`."""
        lost = self._losses.setdefault(reason, Lost())
        lost.add(dropped, self._topics, self._tick_topics)
        examples = dropped.examples
        if examples is None or any(one.topic == self._topics.events for one in examples):
            self._tell_again(dropped.first_timestamp_ms, dropped.last_timestamp_ms)

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
                self._tell(pipeline, reason, self._losses.pop(reason))

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

    def _tell(self, pipeline: Pipeline, reason: str, lost: Lost) -> None:
        counts = pipeline.producer.counts
        told = [
            one
            for one in self._told.get(reason, ())
            if one.produced > counts.produced - counts.waiting
        ]
        now_ms = pipeline.time_us() // 1000
        # before it is written: what a full spool drops for it may be another event
        self._told[reason] = [*told, this := _Told(lost, now_ms, now_ms, counts.produced)]
        pipeline.write_dropped(reason, lost)
        this.last_ms, this.produced = pipeline.time_us() // 1000, pipeline.producer.counts.produced
        if len(told := self._told[reason]) > MAX_TOLD:
            oldest = told.pop(0)
            told[0].lost.merge(oldest.lost)
            told[0].first_ms = oldest.first_ms

    def _tell_again(self, first_ms: int, last_ms: int) -> None:
        """Count anew what events told of that were written within this time, and are lost."""
        for reason, told in self._told.items():
            for one in [one for one in told if first_ms <= one.last_ms and one.first_ms <= last_ms]:
                told.remove(one)
                self._losses.setdefault(reason, Lost()).merge(one.lost)
