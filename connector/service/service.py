"""The composition root: builds the service, starts it in order, says how it is, shuts it down.

Order of the start: status server (so that every later wait can be seen), producer, topics and
schemas (a broker or registry that is away is waited for), instrument master, and only then the
connections: whatever they receive can be framed and produced from the first packet on. Order of
the end: connections, producer, status server.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum
from typing import Any, TypeVar

import structlog
import uvloop

from connector.cluster.cluster import Cluster
from connector.cluster.layout import partitions, slots_by_account
from connector.codec import IMPLEMENTATION, Transcoder
from connector.errors import ConnectorError
from connector.kafka.acknowledgements import Acknowledgements
from connector.kafka.instruments import InstrumentPublisher, read_held, read_latest
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.producer_state import FailedRecord
from connector.kafka.records import (
    InstrumentDecoder,
    InstrumentEncoder,
    RecordDecoder,
    RecordEncoder,
)
from connector.kafka.registry import register_schemas
from connector.kafka.tail import tail
from connector.kafka.topics import TopicNames, TopicsReport, ensure_topics
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.models import ConnectionEvent, EventType
from connector.service.dead_letters import DeadLetters
from connector.service.http import StatusServer
from connector.service.instrument_list import InstrumentListLoader
from connector.service.logs import SecretMask
from connector.service.losses import Losses
from connector.service.order_deduplicator import HOLD_SECONDS, OrderDeduplicator
from connector.service.pipeline import Pipeline
from connector.service.slots import SlotOwner, StaticSlots, credentials_of
from connector.service.status import VERSION, ServiceStatus
from connector.service.status_builder import Reporter
from connector.service.topic_troubles import TopicTroubles
from connector.settings.models import Settings

_T = TypeVar("_T")
_log = structlog.get_logger("connector.service.service")

EXIT_CLEAN = 0
EXIT_LOSSY = 3
END_SECONDS = 6.0
"""Of the grace period, though never more than a quarter of it, for what follows the flush: the rest
goes to disk, and the slots are given up."""
RELEASE_MIN_SECONDS = 1.0
TRY_SECONDS = 5.0
"""How long one try to reach the brokers or the registry may take."""
RETRY_MIN_SECONDS = 0.5
RETRY_MAX_SECONDS = 15.0
MASTER_WAIT_SECONDS = 20.0
"""How long the connections wait for the instrument master, so that the first ticks have names."""
SMALL_BATCH_BYTES = 64 * 1024
"""Batches below cost CPU: a topic that wants them is named in the log."""
GC_THRESHOLD = 50_000
"""Objects more than before, until Python looks for cycles. Ticks make none, but in a flood their
records wait by the hundred thousand: at the usual 700 the looking costs up to a tenth of the CPU,
and stops everything for up to 90 ms when it goes over the instrument master."""


class Phase(StrEnum):
    """What the service is doing."""

    STARTING = "starting"
    """Waiting for what it needs; nothing is received yet."""
    RUNNING = "running"
    """Connections are open, or try to be."""
    STOPPING = "stopping"
    """Nothing is received any more; the rest is flushed."""
    STOPPED = "stopped"
    """Everything is closed."""


class Service:
    """The whole connector in this process; `run` it, or open it with `async with`.

    Args:
        settings: all of them.
        owner: decides which slots are open; what the settings say when not given.
        mask: is told the tokens, to keep them out of the log.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        owner: SlotOwner | None = None,
        mask: SecretMask | None = None,
    ) -> None:
        self.settings = settings
        self.topics = TopicNames(settings.topics.prefix)
        self.phase = Phase.STARTING
        self.http = StatusServer(settings.http, self.status, self._readiness)
        self.credentials = {account.name: credentials_of(account) for account in settings.accounts}
        if mask is not None:
            for credentials in self.credentials.values():
                credentials.tell(lambda token: mask.hide(token.get_secret_value()))
        self.owner = owner or self._own_slots()
        self._losses = Losses(settings)
        self.producer = IsolatingProducer(
            settings.kafka,
            settings.spool,
            client_id=settings.name,
            dead_letter_topic=self.topics.deadletter,
            on_failed=self._refused,
            on_dropped=self._losses.add,
        )
        self._accounts = {
            slot: settings.accounts[number].name
            for slot, number in slots_by_account(settings.accounts).items()
        }
        self._dead_letters = DeadLetters(
            self.producer.produce,
            self.topics.deadletter,
            # they are rare, and this version's own: the shipped schemas do
            RecordDecoder(self.topics),
        )
        self._reporter = Reporter(settings, self.producer, self.owner, self._dead_letters)
        self._acknowledgements = Acknowledgements(_log)
        # what the last look at them came to, for readiness
        self._silence: str | None = None
        self._troubles = TopicTroubles(
            self.producer, settings.kafka, self._make_topics if settings.topics.create else None
        )
        self._master: InstrumentListLoader | None = None
        self._publisher: InstrumentPublisher | None = None
        self._orders_readable = True
        self._waiting_for: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_requested = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: BaseException | None = None

    def _own_slots(self) -> SlotOwner:
        if not self.settings.cluster.enabled:
            return StaticSlots(self.settings, self.credentials)
        return Cluster(
            self.settings,
            self.credentials,
            refresh=self._refresh if self.settings.instrument_master.load else None,
            on_event=self._take_event,
            drained=self._drained,
        )

    async def run(self) -> bool:
        """Run until `stop`, or until something fails that waiting cannot mend.

        Returns:
            True when everything received was delivered or is in the spool on disk; one record
            lost at any time makes it False.

        Raises:
            ConnectorError: what failed; everything is closed.
        """
        await self.start()
        await self._stop_requested.wait()
        clean = await self.close()
        if self._failure is not None:
            raise self._failure
        return clean

    def stop(self) -> None:
        """End: stop the intake and flush; called once more, end now and spool the rest."""
        if self._stop_requested.is_set():
            self._hurry.set()
        self._stop_requested.set()

    async def start(self) -> None:
        """Open the status server and begin everything else; returns without waiting for it.

        Raises:
            PortInUseError: the status server's port is taken.
            SpoolError: the spool's directory cannot be used.
        """
        await self.http.start()
        try:
            await self.producer.start()
        except BaseException:
            await self.http.close()
            raise
        _log.info(
            "starting",
            version=VERSION,
            codec=IMPLEMENTATION,
            name=self.settings.name,
            status=f"{self.http.url}/status",
            bootstrap_servers=self.settings.kafka.bootstrap_servers,
            slots=len(self._accounts),
        )
        for name, work in [
            ("event-loop-lag", self._reporter.lag.run()),
            ("each-second", self._tick()),
            ("topics-in-trouble", self._troubles.run()),
            ("start", self._begin()),
        ]:
            self._spawn(name, work)

    async def close(self) -> bool:
        """Stop the intake, flush within the grace period, spool the rest, close.

        Returns:
            True when everything received was delivered or is in the spool on disk.
        """
        if self.phase in (Phase.STOPPING, Phase.STOPPED):
            return True
        self.phase = Phase.STOPPING
        grace_seconds = self.settings.grace_seconds
        deadline = time.monotonic() + grace_seconds
        _log.info("stopping", grace_seconds=self.settings.grace_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.owner.stop_intake()
        if self._reporter.pipeline is not None:
            self._reporter.pipeline.order_desk.close()
        self._losses.report(self._reporter.pipeline)
        clean = await self._close_producer(deadline - min(END_SECONDS, grace_seconds / 4))
        if not self._hurry.is_set():
            await self._losses.report_last(
                self._reporter.pipeline, reachable=self.producer.broker_reachable
            )
        await self._release(deadline)
        self.phase = Phase.STOPPED
        accounting = self._reporter.accounting()
        # also of what was lost long before: each loss was an event, and the last word repeats it
        clean = clean and not accounting.total_dropped
        log = _log.info if clean else _log.error
        log(
            "stopped" if clean else "stopped with losses",
            received=accounting.received,
            delivered=accounting.delivered,
            spooled=accounting.spooled,
            dead_lettered=accounting.dead_lettered,
            dropped=dict(accounting.dropped),
        )
        await self.http.close()
        return clean

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def status(self) -> ServiceStatus:
        """How everything is at this moment."""
        return self._reporter.status(self.phase.value, self._not_ready())

    async def _begin(self) -> None:
        """Everything that has to wait for others, in order."""
        settings = self.settings
        report, schema_ids = await _together(
            self._until_done("Kafka", self._make_topics),
            self._until_done(
                "schema registry",
                lambda: register_schemas(
                    settings.registry, self.topics, timeout_seconds=TRY_SECONDS
                ),
            ),
        )
        self._note_limits(report)
        pipeline = Pipeline(
            self.producer,
            self.topics,
            RecordEncoder(self.topics, schema_ids),
            lambda slot: Transcoder(self.topics.all_ticks(), schema_ids, slot),
            self._accounts.__getitem__,
            owned=self._owned if settings.cluster.enabled else None,
            announced=self._announced,
        )
        self._reporter.pipeline = pipeline
        if settings.cluster.enabled:
            self._spawn("orders", self._watch_orders(pipeline.order_desk))
        if settings.instrument_master.load:
            self._publisher = InstrumentPublisher(
                InstrumentEncoder(self.topics, schema_ids).encode,
                lambda stop: read_held(
                    settings.kafka, self.topics.instruments, stop, name=settings.name
                ),
                pipeline.take_instruments,
                lambda: self.producer.counts,
                lambda: self.owner.leads,
                room=settings.kafka.queue_max_messages // 4,
            )
            self._spawn("instruments-topic", self._publisher.run())
            self._master = InstrumentListLoader(
                settings.instrument_master,
                settings.feed.rest,
                next(iter(self.credentials.values())),
                self._take_master,
                claims=self.owner.claims,
                published=self._published_instruments,
                on_held_back=self._list_held_back,
            )
            self._reporter.instrument_list = self._master
            self._spawn("instrument-master", self._master.run())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._master.tried.wait(), MASTER_WAIT_SECONDS)
        await self.owner.start(pipeline.handler)
        self.phase = Phase.RUNNING

    async def _make_topics(self, only: Collection[str] | None = None) -> TopicsReport:
        return await ensure_topics(
            self.settings.kafka,
            self.settings.topics,
            slots=partitions(self.settings.accounts),
            timeout_seconds=TRY_SECONDS,
            only=only,
        )

    def _note_limits(self, report: TopicsReport) -> None:
        """What brokers refuse: times far ahead, batches larger than max.message.bytes."""
        self.producer.after_max_ms = report.timestamp_after_max_ms
        topics = self.topics
        written = {*topics.all_ticks().values(), topics.orders, topics.events, topics.deadletter}
        limits = {
            topic: limit
            for topic, limit in report.max_message_bytes.items()
            if topic in {*written, topics.instruments}
        }
        if not limits:
            return
        topic, limit = min(limits.items(), key=lambda item: item[1])
        if limit < SMALL_BATCH_BYTES:
            _log.warning("small_batches", topic=topic, max_message_bytes=limit)
        self.producer.bound_batches(limit)

    def _owned(self) -> set[int]:
        return {stats.slot for stats in self.owner.stats()}

    async def _watch_orders(self, desk: OrderDeduplicator) -> None:
        """Let the desk know what is in the topic, and how time passes."""
        reading = asyncio.create_task(self._read_orders(desk), name="orders-topic")
        try:
            while True:
                desk.pass_time(topic_seen=self.producer.broker_reachable and self._orders_readable)
                await asyncio.sleep(HOLD_SECONDS / 4)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_orders(self, desk: OrderDeduplicator) -> None:
        while True:
            try:
                async for record in tail(
                    self.settings.kafka,
                    None,
                    self.topics,
                    [self.topics.orders],
                    # in a thread, which a stop has to wait for
                    timeout_seconds=TRY_SECONDS,
                    name=self.settings.name,
                ):
                    self._orders_readable = True
                    if isinstance(record.value, dict):
                        desk.written(record.value["payload"])
            except Exception as exc:  # noqa: BLE001 - whatever it was: what nobody reads is doubled
                reason = str(exc) if isinstance(exc, ConnectorError) else repr(exc)
                _log.warning("cannot read the orders of other replicas", reason=reason)
                self._orders_readable = False
                await asyncio.sleep(RETRY_MAX_SECONDS)
                self._orders_readable = True

    def _announced(self, etag: str) -> None:
        if self._master is not None:
            self._master.announced(etag)

    async def _published_instruments(self) -> InstrumentMaster | None:
        """The list that `kite.instruments` holds; None where it holds none."""
        decoder, stop = InstrumentDecoder(self.topics), threading.Event()
        try:
            held = await asyncio.to_thread(
                read_latest,
                self.settings.kafka,
                self.topics.instruments,
                stop,
                decoder.decode,
                timeout_seconds=TRY_SECONDS,
                name=self.settings.name,
            )
        finally:
            stop.set()  # cancelled: the thread must not outlive the service
        rows = [row for row in held.values() if row is not None]
        return InstrumentMaster(rows) if rows else None

    def _list_held_back(self, reason: str | None) -> None:
        """Tell the consumers, too; each replica loads its own list, and tells of that."""
        kind = EventType.INSTRUMENT_LIST_HELD_BACK if reason else EventType.INSTRUMENT_LIST_ACCEPTED
        slot = min(self._owned(), default=0)
        self._take_event(
            ConnectionEvent(kind, slot, time.time_ns() // 1_000_000, reason=reason or "")
        )

    async def _refresh(self, accept_list: bool) -> None:
        """A command asks for today's list."""
        if self._master is not None:
            await self._master.refresh(accept=accept_list)

    def _take_event(self, event: ConnectionEvent) -> None:
        """An event that is no connection's own: an instrument that expired, say."""
        if self._reporter.pipeline is not None:
            self._reporter.pipeline.take_event(event, self._accounts.get(event.slot, ""))

    async def _drained(self, _slot: int) -> None:
        """Wait until whatever was produced so far has been settled.

        The producer does not count by slot: this waits for the other slots' records of the same
        moment too, which are on their way as well.
        """
        produced = self.producer.counts.produced
        while True:
            counts = self.producer.counts
            settled = counts.produced - counts.in_flight - counts.spooled
            if settled >= produced:
                return
            await asyncio.sleep(0.01)

    def _take_master(self, master: InstrumentMaster) -> None:
        if self._reporter.pipeline is not None:
            self._reporter.pipeline.set_symbols(master.symbols())
        self.owner.set_master(master)
        if self._publisher is not None:
            self._publisher.set_instruments(master)

    async def _until_done(self, what: str, step: Callable[[], Awaitable[_T]]) -> _T:
        """Try until it works; what cannot work by waiting is raised.

        The log has a line when it begins to fail, when the reason changes and when it works.
        """
        delay = RETRY_MIN_SECONDS
        while True:
            try:
                result = await step()
            except ConnectorError as exc:
                if not exc.retryable:
                    raise
                reason = str(exc)
                if self._waiting_for.get(what) != reason:
                    _log.warning("waiting", what=what, reason=reason)
                self._waiting_for[what] = reason
                # half of it is chance: replicas that start together must not ask together
                await asyncio.sleep(delay * (0.5 + random.random() / 2))
                delay = min(delay * 2, RETRY_MAX_SECONDS)
            else:
                if self._waiting_for.pop(what, None) is not None:
                    _log.info("there", what=what)
                return result

    def _not_ready(self) -> list[str]:
        if self.phase in (Phase.STOPPING, Phase.STOPPED):
            return [self.phase.value]
        reasons = [f"waiting for {what}: {why}" for what, why in self._waiting_for.items()]
        if self.phase is Phase.STARTING:
            return reasons or ["starting"]
        if not self.producer.broker_reachable:
            cause = self.producer.last_error
            reasons.append("no Kafka broker is connected" + (f": {cause}" if cause else ""))
        elif troubles := self._troubles.reasons():
            reasons += troubles
        elif self._silence:
            reasons.append(self._silence)
        if problem := self.producer.spool_problem:
            reasons.append(problem)
        if self._master is not None and self._master.held_back is not None:
            reasons.append(self._master.held_back)
        return [*reasons, *self.owner.not_ready()]

    def _readiness(self) -> tuple[str, list[str]]:
        return self.phase.value, self._not_ready()

    async def _tick(self) -> None:
        """What is done each second."""
        while True:
            self._reporter.sample()
            # here alone: whoever asks how the service is must change nothing and log nothing
            self._silence = self._acknowledgements.check(time.monotonic(), self.producer.counts)
            self._losses.report(self._reporter.pipeline)
            await asyncio.sleep(1.0)

    def _refused(self, failed: FailedRecord) -> None:
        self._dead_letters.keep(failed)

    async def _close_producer(self, deadline: float) -> bool:
        """Flush until the deadline or the second signal; the rest goes to the spool."""
        flush = asyncio.ensure_future(self.producer.flush(max(0.0, deadline - time.monotonic())))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait([flush, hurry], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (flush, hurry):
            waiting.cancel()
        await asyncio.gather(flush, hurry, return_exceptions=True)
        return await self.producer.close(0)

    async def _release(self, deadline: float) -> None:
        """Give the slots up; brokers that are away must not keep the process for longer."""
        seconds = max(RELEASE_MIN_SECONDS, deadline - time.monotonic())
        try:
            await asyncio.wait_for(self.owner.release(), seconds)
        except TimeoutError:
            _log.warning("slots_not_released", seconds=round(seconds, 1))

    def _spawn(self, name: str, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as exc:  # noqa: BLE001 - handed to `run`, which raises it
                self._failure = self._failure or exc
                self._stop_requested.set()

        self._tasks.append(asyncio.create_task(guarded(), name=name))


def run_service(settings: Settings, mask: SecretMask) -> int:
    """Run the service in an event loop of its own until a signal; returns the exit code."""

    async def serve() -> bool:
        service = Service(settings, mask=mask)
        loop = asyncio.get_running_loop()
        # not the loop's handlers: those leave a moment in which the signal would kill
        ends = (signal.SIGTERM, signal.SIGINT)
        for number in ends:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(service.stop))
        try:
            return await service.run()
        finally:
            # all is settled: who asks once more must not change what the exit code says
            for number in ends:
                signal.signal(number, signal.SIG_IGN)

    gc.set_threshold(GC_THRESHOLD)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return EXIT_CLEAN if runner.run(serve()) else EXIT_LOSSY


async def _together(*steps: Awaitable[Any]) -> list[Any]:
    """Results of all; the first failure ends the others."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
