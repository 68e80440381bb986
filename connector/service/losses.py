"""Losses of the producer, reported as events: once a second by reason, however many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from connector.kafka.spool import Dropped, Record
from connector.service.pipeline import Pipeline

_log = structlog.get_logger("connector.service")


class Losses:
    """Adds losses up until they are reported.

    Args:
        send_last: sends records when the producer is closed; False where they did not arrive.
    """

    def __init__(self, send_last: Callable[[Sequence[Record]], Awaitable[bool]]) -> None:
        self._send_last = send_last
        self._losses: dict[str, Dropped] = {}

    def add(self, reason: str, dropped: Dropped) -> None:
        """Count records that were lost: the producer's `on_dropped`."""
        before = self._losses.get(reason)
        if before is not None:
            dropped = Dropped(
                before.count + dropped.count,
                before.first_timestamp_ms,
                max(before.last_timestamp_ms, dropped.last_timestamp_ms),
            )
        self._losses[reason] = dropped

    def report(self, pipeline: Pipeline) -> None:
        """Write an event of each reason; what came before there was a pipeline too."""
        losses, self._losses = self._losses, {}
        for reason, lost in losses.items():
            pipeline.tell_dropped(
                reason, lost.count, lost.first_timestamp_ms, lost.last_timestamp_ms
            )

    async def report_last(self, pipeline: Pipeline, *, reachable: bool) -> None:
        """Report what is left when the producer is closed already, where a broker still answers."""
        losses, self._losses = self._losses, {}
        if not losses or not reachable:
            return
        records = [
            record
            for reason, lost in losses.items()
            for record in pipeline.dropped_records(
                reason, lost.count, lost.first_timestamp_ms, lost.last_timestamp_ms
            )
        ]
        if records and not await self._send_last(records):
            _log.warning("last_losses_not_in_events", reasons=sorted(losses))
