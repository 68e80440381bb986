"""The part of the service that there is once Kafka and the registry have answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from connector.cluster.layout import slots_by_account
from connector.codec import Transcoder
from connector.kafka.avro_records import RecordEncoder
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.producer_state import all_written
from connector.kite.config import MAX_CONNECTIONS_PER_KEY
from connector.kite.feed.credentials import Credentials
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.feed.handler import Handler
from connector.kite.wire.candles import Candle, Gap
from connector.service.backfill import Backfill
from connector.service.gap_mender import GapCounts, GapMender
from connector.service.instruments import Instruments
from connector.service.latest import Latest
from connector.service.order_deduplicator import OrdersTopic
from connector.service.order_reconciler import OrderReconciler
from connector.service.outside import Outside
from connector.service.pipeline import ORDER_WITHOUT_ID, Pipeline
from connector.service.slot_owner import SlotOwner

DRAIN_POLL_SECONDS = 0.01


class Running:
    """Implements `connector.cluster.intake.Intake` for the owner of the slots.

    Args:
        outside: brokers and REST API.
        producer: takes the records.
        owner: of the slots.
        credentials: by the accounts' names.
        schema_ids: topic → the registry's id of its values' schema.
        partitions: topic → how many it has.
    """

    def __init__(
        self,
        outside: Outside,
        producer: IsolatingProducer,
        owner: SlotOwner,
        credentials: Mapping[str, Credentials],
        schema_ids: Mapping[str, int],
        partitions: Mapping[str, int],
    ) -> None:
        settings, topics = outside.settings, outside.topics
        clustered = settings.cluster.enabled
        self._clock = outside.clock
        self._producer = producer
        self._owner = owner
        self._accounts = {
            slot: settings.accounts[number].name
            for slot, number in slots_by_account(settings.accounts).items()
        }
        latest = None
        # a part of its own for each topic that is not always there: who turns it off pays nothing
        if settings.topics.latest:
            latest = Latest(
                topics.latest,
                settings.topics.latest_interval_seconds,
                producer.produce_all,
                self._kafka_takes,
                clock=outside.clock,
            )
        self.pipeline = Pipeline(
            producer,
            topics,
            RecordEncoder(topics, schema_ids),
            lambda slot: Transcoder(topics.all_ticks(), schema_ids, slot, partitions),
            lambda slot: self._accounts.get(slot, ""),
            # alone, a copy of an order update need not wait for another replica's
            connected=self._connected if clustered else None,
            announced=self._announced,
            opened=self._opened,
            latest=latest,
            clock=outside.clock,
        )
        self.orders = OrdersTopic(
            self.pipeline.order_desk,
            outside.orders,
            lambda: producer.broker_reachable,
            retry_seconds=outside.retry_max_seconds,
        )
        # by the account's first slot, as `connector.cluster.layout` numbers them
        self._reconcilers: dict[int, OrderReconciler] = {}
        self._reconciling = asyncio.Lock()
        if settings.feed.reconcile_orders:
            for number, account in enumerate(settings.accounts):
                slot = number * MAX_CONNECTIONS_PER_KEY
                self._reconcilers[slot] = self._reconciler(outside, slot, credentials[account.name])
        self.backfill: Backfill | None = None
        """None where no candles are fetched for gaps."""
        if settings.topics.backfill:
            self.backfill = self._backfill(outside, credentials)
        self.instruments: Instruments | None = None
        """None where the settings load no list."""
        if settings.instrument_master.load:
            self.instruments = Instruments(
                outside,
                # the list is the same for all accounts
                next(iter(credentials.values())),
                producer,
                owner,
                self.pipeline,
                self.tell,
            )
        self.watches_orders = clustered
        """Whether `orders` is to run, while there is intake: alone nobody else writes updates."""

    def works(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Return what has to run until the intake stops, each with a name."""
        works = self.instruments.works() if self.instruments is not None else []
        if self.pipeline.latest is not None:
            works.append(("latest", self.pipeline.latest.run()))
        works += [(f"orders-{slot}", one.run()) for slot, one in self._reconcilers.items()]
        if self.backfill is not None:
            works.append(("backfill", self.backfill.run()))
        return works

    async def list_tried(self) -> None:
        """Wait until there is a list of instruments, or a first try to load one has failed."""
        if self.instruments is not None:
            await self.instruments.list.tried.wait()

    # Intake

    def handler(self, slot: int) -> Handler:
        """Return the handler of a slot's connection; the same one each time."""
        return self.pipeline.handler(slot)

    def event(self, event: ConnectionEvent) -> None:
        """Write an event that is no connection's own: an instrument that expired, say."""
        self.pipeline.write_event(event, self._accounts.get(event.slot, ""))

    async def drained(self, _slot: int) -> None:
        """Wait until whatever was produced so far is in Kafka, or will never be.

        The producer does not count by slot: this waits for the other slots' records of the same
        moment too, which are on their way as well.
        """
        await all_written(lambda: self._producer.counts, DRAIN_POLL_SECONDS)

    @property
    def can_refresh(self) -> bool:
        """Whether there is a list of instruments that a command may have loaded."""
        return self.instruments is not None

    async def refresh(self, accept_list: bool) -> None:
        """Load today's list, as a command asks for it; `InstrumentListLoader.refresh` raises."""
        if self.instruments is not None:
            await self.instruments.list.refresh(accept=accept_list)

    def _kafka_takes(self) -> bool:
        # while the spool drains, whatever is produced goes to its end
        return self._producer.broker_reachable and not self._producer.counts.spooled

    def tell(self, kind: EventType, reason: str) -> None:
        """Write an event of the whole process, under its lowest slot."""
        # the topic's key is a slot: without one nobody would know whose it is
        self._event_now(kind, min(self._owned(), default=0), reason)

    def _owned(self) -> set[int]:
        return {stats.slot for stats in self._owner.stats()}

    def _connected(self) -> set[int]:
        connected = ConnectionState.CONNECTED
        return {stats.slot for stats in self._owner.stats() if stats.state is connected}

    def _reconciler(self, outside: Outside, slot: int, credentials: Credentials) -> OrderReconciler:
        return OrderReconciler(
            slot,
            lambda: outside.orders_of(credentials),
            lambda: self.drained(slot),
            outside.orders_since,
            write=self.pipeline.write_order,
            reject=partial(self.pipeline.reject_text, ORDER_WITHOUT_ID),
            failed=self._orders_unknown,
            turn=self._reconciling,
            clock=outside.clock,
            settle_seconds=outside.orders_settle_seconds,
            turn_seconds=outside.orders_turn_seconds,
            pause_seconds=outside.orders_pause_seconds,
        )

    def _backfill(self, outside: Outside, credentials: Mapping[str, Credentials]) -> Backfill:
        settings, counts = outside.settings.backfill, GapCounts()
        encoder = self.pipeline.encoder

        def write(gap: Gap, token: int, candles: Sequence[Candle]) -> None:
            symbol, now_us = self.pipeline.symbol(token), self._clock.time_us()
            self.pipeline.write_candles(
                b"%d" % token,
                [encoder.candle(one, gap, token, symbol, now_us) for one in candles],
            )

        def mender(account: str) -> GapMender:
            return GapMender(
                settings,
                lambda: outside.rest(credentials[account]),
                may_write=self._kafka_takes,
                write=write,
                settled=lambda: self.drained(0),
                tell=self.event,
                counts=counts,
                clock=outside.clock,
                pause_seconds=outside.backfill_pause_seconds,
                again_seconds=outside.backfill_again_seconds,
                poll_seconds=outside.backfill_poll_seconds,
            )

        # a mender for each account, with its token, as Kite counts requests by api_key
        slots: dict[str, list[int]] = {}
        for slot, account in self._accounts.items():
            slots.setdefault(account, []).append(slot)
        return Backfill(
            settings,
            [(numbers, mender(account)) for account, numbers in slots.items()],
            read_events=outside.events_since,
            read_candles=outside.candles_since,
            carried=self._owner.carried,
            # it alone knows the instruments of all slots, and there is only one
            leads=lambda: self._owner.leads,
            counts=counts,
            clock=outside.clock,
            poll_seconds=outside.backfill_poll_seconds,
        )

    def _opened(self, slot: int, session_id: int) -> None:
        first = slot - slot % MAX_CONNECTIONS_PER_KEY
        if (reconciler := self._reconcilers.get(first)) is not None:
            reconciler.opened(slot, session_id)

    def _orders_unknown(self, slot: int, reason: str) -> None:
        self._event_now(EventType.ORDERS_NOT_RECONCILED, slot, reason)

    def _announced(self, etag: str) -> None:
        if self.instruments is not None:
            self.instruments.list.announced(etag)

    def _event_now(self, kind: EventType, slot: int, reason: str) -> None:
        self.event(ConnectionEvent(kind, slot, self._clock.time_us() // 1000, reason=reason))
