"""Today's instruments: where a new list goes, and how one that is held back is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog

from connector.errors import ConnectorError
from connector.kafka.instruments import POLL_SECONDS, RETRY_SECONDS, InstrumentPublisher
from connector.kafka.isolating import IsolatingProducer
from connector.kite.feed.credentials import Credentials
from connector.kite.feed.events import EventType
from connector.kite.web.instruments import InstrumentMaster
from connector.service.instrument_list import InstrumentListLoader
from connector.service.outside import Outside
from connector.service.pipeline import Pipeline
from connector.service.slot_owner import SlotOwner

_log = structlog.get_logger("connector.service.instruments")


class Instruments:
    """Gives each list to the ticks, to the slots and, where this process leads, to Kafka.

    Args:
        outside: REST API and brokers.
        credentials: of any account: the list is the same for all.
        producer: how much it has to do decides how fast the list is published.
        owner: of the slots.
        pipeline: gives ticks their names, and writes the records.
        on_event: told when a list is held back or accepted, or rows of it are damaged.
    """

    def __init__(
        self,
        outside: Outside,
        credentials: Credentials,
        producer: IsolatingProducer,
        owner: SlotOwner,
        pipeline: Pipeline,
        on_event: Callable[[EventType, str], None],
    ) -> None:
        settings = outside.settings
        self._owner = owner
        self._pipeline = pipeline
        self._on_event = on_event
        # whether this process leads, and its list has been held against what is subscribed
        self._compared = False
        self.list = InstrumentListLoader(
            settings.instrument_master,
            lambda: outside.rest(credentials),
            self._use,
            root=settings.feed.rest,
            claims=owner.claims,
            published=outside.published_instruments,
            on_held_back=self._held_back,
            on_rows_kept=lambda reason: on_event(EventType.INSTRUMENT_ROWS_KEPT, reason),
            announced_seconds=outside.announced_seconds,
        )
        self._publisher = InstrumentPublisher(
            pipeline.encoder.instrument,
            outside.held_instruments,
            pipeline.write_instruments,
            lambda: producer.counts,
            lambda: owner.leads and self._compared,
            room=settings.kafka.queue_max_messages // 4,
        )

    def works(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Return what has to run all the time, each with a name."""
        return [
            ("instruments-topic", self._publisher.run()),
            ("instrument-list", self.list.run()),
            ("instrument-list-compared", self._compare()),
        ]

    @property
    def rows_left(self) -> int:
        """How many rows of the list that is being published have not been looked at."""
        return self._publisher.rows_left

    async def _compare(self) -> NoReturn:
        """Compare the list with what is subscribed, each time that this process begins to lead."""
        reason = ""
        while True:
            pause_seconds = POLL_SECONDS
            if not self._owner.leads:
                self._compared = False
            # a leader that has not read its state knows of no instrument
            elif not self._compared and self._owner.carried(0) is not None:
                try:
                    await self.list.compare_with_claims()
                    self._compared, reason = True, ""
                except ConnectorError as exc:
                    if reason != str(exc):
                        _log.warning("instrument_list_not_compared", reason=str(exc))
                    reason, pause_seconds = str(exc), RETRY_SECONDS
            await asyncio.sleep(pause_seconds)

    def _use(self, master: InstrumentMaster) -> None:
        self._pipeline.set_symbols(master.symbols())
        self._owner.set_master(master)
        self._publisher.set_instruments(master)

    def _held_back(self, reason: str | None) -> None:
        """Write an event for consumers: each replica loads its own list, and reports that one."""
        kind = EventType.INSTRUMENT_LIST_HELD_BACK if reason else EventType.INSTRUMENT_LIST_ACCEPTED
        self._on_event(kind, reason or "")
