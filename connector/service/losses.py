"""Losses of the producer, said in the events: once a second by reason, however many."""

from __future__ import annotations

import asyncio

import structlog

from connector.kafka.last_words import send_last
from connector.kafka.spool import Dropped
from connector.service.pipeline import Pipeline
from connector.settings.models import Settings

LAST_SECONDS = 2.0
"""How long what the end itself loses may take to be said."""

_log = structlog.get_logger("connector.service")


class Losses:
    """Adds losses up until they are reported.

    Args:
        settings: the brokers, and the name of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._losses: dict[str, Dropped] = {}

    def add(self, reason: str, dropped: Dropped) -> None:
        """Records were lost: the producer's `on_dropped`."""
        before = self._losses.get(reason)
        if before is not None:
            dropped = Dropped(
                before.count + dropped.count,
                before.first_timestamp_ms,
                max(before.last_timestamp_ms, dropped.last_timestamp_ms),
            )
        self._losses[reason] = dropped

    def report(self, pipeline: Pipeline | None) -> None:
        """Write an event of each reason; what comes before there is a pipeline waits for it."""
        if pipeline is None:
            return
        losses, self._losses = self._losses, {}
        for reason, lost in losses.items():
            pipeline.tell_dropped(
                reason, lost.count, lost.first_timestamp_ms, lost.last_timestamp_ms
            )

    async def report_last(self, pipeline: Pipeline | None, *, reachable: bool) -> None:
        """The same when the producer is closed already, where a broker still answers."""
        losses, self._losses = self._losses, {}
        if pipeline is None or not losses or not reachable:
            return
        records = [
            record
            for reason, lost in losses.items()
            for record in pipeline.dropped_records(
                reason, lost.count, lost.first_timestamp_ms, lost.last_timestamp_ms
            )
        ]
        if records and not await asyncio.to_thread(
            send_last, self._settings.kafka, self._settings.name, records, LAST_SECONDS
        ):
            _log.warning("last_losses_not_in_events", reasons=sorted(losses))
