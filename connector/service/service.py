"""The composition root: builds the service, starts it in order, shuts it down.

Order of the start: status server (so that every later wait can be seen), producer, topics and
schemas (a broker or registry that is away is waited for), instrument list, and only then the
connections: whatever they receive can be framed and produced from the first packet on. Order of
the end: connections, producer, status server.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from connector.cluster.cluster import Cluster
from connector.cluster.layout import slots_by_account
from connector.cluster.view import ClusterView
from connector.codec import IMPLEMENTATION
from connector.kafka.acknowledgements import Acknowledgements
from connector.kafka.avro_records import RecordDecoder
from connector.kafka.producer_state import FailedRecord
from connector.kafka.renewals import Renewals, wanted
from connector.kite.clock import IST
from connector.kite.feed.events import EventType
from connector.kite.feed.wait import cancelled, within
from connector.service.backlog import Backlog, backlog
from connector.service.dead_letters import DeadLetters
from connector.service.http import StatusServer
from connector.service.logs import SecretMask
from connector.service.losses import Losses
from connector.service.operator_commands import OperatorCommands
from connector.service.operator_page import OperatorPage
from connector.service.outside import Outside, credentials_of
from connector.service.readiness import Phase, ServiceProgress
from connector.service.running import Running
from connector.service.slot_owner import SlotOwner
from connector.service.static_slots import StaticSlots
from connector.service.status import VERSION, ServiceStatus
from connector.service.status_builder import StatusBuilder
from connector.service.summary import Summary
from connector.service.topic_checks import TopicChecks
from connector.service.topic_troubles import TopicTroubles, heed_limits
from connector.service.trading_calendar import TradingCalendar
from connector.settings.models import HttpSettings, Settings

_log = structlog.get_logger("connector.service.service")

END_SECONDS = 6.0
"""So much of the grace period, though never more than a quarter of it, is for what follows the
flush: the rest goes to disk, and the slots are given up."""


def this_host(url: str) -> str:
    """Name this process for whoever looks at another one: the port, where it is not the usual."""
    port = urlsplit(url).port
    usual = HttpSettings.model_fields["port"].default
    return socket.gethostname() if port == usual else f"{socket.gethostname()}:{port}"


def _hide(mask: SecretMask, account: str, token: SecretStr) -> None:
    mask.hide(token.get_secret_value(), source=account)


def _nobody(_secret: str) -> None:
    """Hide a secret from no log: there is none."""


class Service:
    """The whole connector in this process; `run` it, or open it with `async with`.

    Args:
        settings: all of them.
        owner: decides which slots are open; what the settings say when not given.
        mask: is told the tokens, to keep them out of the log.
        outside: how brokers, registry and REST API are reached; as the settings say when not given.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        owner: SlotOwner | None = None,
        mask: SecretMask | None = None,
        outside: Outside | None = None,
    ) -> None:
        self.settings = settings
        self._outside = outside = outside or Outside(settings)
        # how far this has come: written here alone, read by whoever reports it
        self._progress = ServiceProgress()
        self.credentials = {account.name: credentials_of(account) for account in settings.accounts}
        # before anything can log: a token that a file brings later is hidden the moment it is known
        if mask is not None:
            for name, credentials in self.credentials.items():
                credentials.add_listener(partial(_hide, mask, name))
        kind = Cluster if settings.cluster.enabled else StaticSlots
        self.owner = owner or kind(settings, self.credentials, clock=outside.clock)
        # added up from the first record on, and written as events once there is a pipeline
        self._losses = Losses(outside.send_last, outside.topics)
        self.producer = outside.producer(self._refused, self._losses.add)
        topics = outside.topics
        # dead letters are rare, and of this version's own records: the shipped schemas do
        self._dead_letters = DeadLetters(
            self.producer.produce, topics.deadletter, RecordDecoder(topics)
        )
        make_topics = outside.make_topics if settings.topics.create else None
        self._troubles = TopicTroubles(
            self.producer,
            settings.kafka,
            make_topics,
            others=lambda: {*self.owner.missing_topics(), *self._checks.missing},
            on_made=lambda topics: self._tell(EventType.TOPIC_RECREATED, topics),
        )
        self._checks = TopicChecks(
            outside.look_at_topics,
            lambda: self.running is not None and self.owner.leads,
            self._tell,
            check_seconds=outside.topic_check_seconds,
        )
        self._reporter = StatusBuilder(
            settings,
            self.producer,
            self.owner,
            self._dead_letters,
            self._troubles,
            self._progress,
            self._checks,
            clock=outside.clock,
        )
        self.status: Callable[[], ServiceStatus] = self._reporter.status
        """How everything is at this moment."""
        self._commands = OperatorCommands(settings, topics)
        self.page = OperatorPage(
            settings,
            self.status,
            self._reporter.history.of,
            self.owner,
            self._progress,
            ClusterView(settings, topics, clock=outside.clock),
            socket.gethostname(),
            commands=self._commands,
            clock=outside.clock,
        )
        self.http = StatusServer(settings.http, self.status, self._reporter.readiness, self.page)
        self._calendar = TradingCalendar(settings)
        hide = mask.hide if mask is not None else _nobody
        self._renewals = Renewals(settings.kafka, settings.name, hide)
        # all that runs beside; what one of them raises ends the service
        self._tasks: list[asyncio.Task[None]] = []
        # the one of them that hears what other replicas write of orders; as long as there is intake
        self._orders: asyncio.Task[None] | None = None
        # set by the first signal, or by a failure
        self._stop_requested = asyncio.Event()
        # set by the second signal: nothing more is waited for
        self._hurry = asyncio.Event()
        # the first thing that a task raised; `run` raises it when everything is closed
        self._failure: BaseException | None = None

    @property
    def phase(self) -> Phase:
        """The phase of the service's life."""
        return self._progress.phase

    @property
    def running(self) -> Running | None:
        """The part that receives; None until Kafka and the registry have answered."""
        return self._progress.running

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
            SettingsError: the operator's token or trading_days_file cannot be used.
            PortInUseError: the status server's port is taken.
            SpoolError: the spool's directory cannot be used.
        """
        # before anything is open: a wrong setting leaves nothing behind that has to be closed
        self._commands.check()
        self._calendar.load()
        await self.http.start()
        self.page.host = this_host(self.http.url)
        try:
            await self.producer.start()
        except BaseException:
            self.page.close()
            await self.http.close()
            raise
        _log.info(
            "service_starting",
            version=VERSION,
            codec=IMPLEMENTATION,
            produce=self.producer.way,
            name=self.settings.name,
            status=f"{self.http.url}/status",
            bootstrap_servers=self.settings.kafka.bootstrap_servers,
            slots=len(slots_by_account(self.settings.accounts)),
        )
        self._spawn("event-loop-lag", self._reporter.lag.run())
        self._spawn("each-second", self._each_second())
        if every_seconds := self.settings.logging.summary_seconds:
            self._spawn("summary", self._summarize(every_seconds))
        self._spawn("topics-in-trouble", self._troubles.run())
        self._spawn("topic-checks", self._checks.run())
        if wanted(self.settings.kafka):
            self._spawn("kafka-files", self._renewals.run())
        # waits for Kafka and the registry as long as it takes, which must be seen on the status
        # server
        self._spawn("start", self._begin())

    def backlog(self) -> Backlog | None:
        """Return what takes long just now; None where there is nothing of the kind."""
        running = self.running
        instruments = running.instruments if running is not None else None
        return backlog(
            self.phase,
            self.producer.counts,
            broker_reachable=self.producer.broker_reachable,
            rows_left=instruments.rows_left if instruments is not None else 0,
        )

    async def close(self) -> bool:
        """Stop the intake, flush within the grace period, spool the rest, close.

        Returns:
            True when everything received was delivered or is in the spool on disk.
        """
        if self.phase in (Phase.STOPPING, Phase.STOPPED):
            return True
        self._progress.phase = Phase.STOPPING
        grace_seconds = self.settings.grace_seconds
        deadline = time.monotonic() + grace_seconds
        _log.info("service_stopping", grace_seconds=grace_seconds)
        # first whatever produces by itself: nothing may come behind the flush
        await cancelled(*(task for task in self._tasks if task is not self._orders))
        await self.owner.stop_intake(self._hurry)
        running = self.running
        if running is not None:
            # copies that came until now and were left to other replicas, whose are in the topic in
            # a moment
            if self._orders is not None:
                await within(grace_seconds / 4, running.orders.settle(self._hurry))
                await cancelled(self._orders)
            # nobody hears of any others any more, so these are written
            running.pipeline.order_desk.close()
            # before the flush, which takes these events along
            self._losses.report(running.pipeline, at_last=True)
        flushed = await self._flush(deadline - min(END_SECONDS, grace_seconds / 4))
        # while the producer closes: whoever gets the slots has nothing to wait for
        release = asyncio.create_task(self._release(deadline)) if flushed else None
        clean = await self.producer.close(0)
        if running is not None and not self._hurry.is_set():
            # what the closing itself lost; the producer takes nothing more, so a client of its own
            # sends it
            await self._losses.report_last(
                running.pipeline, reachable=self.producer.broker_reachable
            )
        # last where not all is with Kafka: until then the rest has gone to disk
        await (release or self._release(deadline))
        self._progress.phase = Phase.STOPPED
        accounting = self._reporter.accounting()
        # also of what was lost long before: each loss was an event, and the last word repeats it
        clean = clean and not accounting.total_dropped
        log = _log.info if clean else _log.error
        log("stopped" if clean else "stopped with losses", **asdict(accounting))
        self.page.close()
        await self.http.close()
        return clean

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _begin(self) -> None:
        """Do everything that has to wait for others, in order."""
        outside = self._outside
        report, schema_ids = await outside.answers(self._progress.waiting_for)
        # before the first record: a batch that is too large ends the client
        heed_limits(self.producer, outside.topics, report)
        running = Running(
            outside, self.producer, self.owner, self.credentials, schema_ids, report.partitions
        )
        self._progress.running = running
        for name, work in running.works():
            self._spawn(name, work)
        if running.watches_orders:
            self._orders = self._spawn("orders", running.orders.run())
        await within(outside.list_wait_seconds, running.list_tried())
        # from here on packets come, and everything that they meet is there
        await self.owner.start(running)
        self._spawn("slots-watched", self.owner.watch())
        self._progress.phase = Phase.RUNNING

    def _refused(self, failed: FailedRecord) -> None:
        self._dead_letters.keep(failed)

    def _tell(self, kind: EventType, reason: str) -> None:
        """Write an event of the whole process, once there is somebody to write it."""
        if self.running is not None:
            self.running.tell(kind, reason)

    async def _each_second(self) -> None:
        acknowledgements = Acknowledgements(_log, self._outside.silent_seconds)
        while True:
            # here alone: whoever asks how the service is must change nothing and log nothing
            self._calendar.warn_of_its_end(datetime.now(IST))
            self._progress.silence = acknowledgements.check(time.monotonic(), self.producer.counts)
            self._progress.files_refused = self._renewals.refused
            if self.running is not None:
                self._reporter.sample(self.running.pipeline)
                self.owner.note(self._reporter.notes(self.running.pipeline, self.page.host))
                self._losses.report(self.running.pipeline)
                self.running.pipeline.count_ticks()
            await asyncio.sleep(1.0)

    async def _summarize(self, every_seconds: float) -> None:
        summary = Summary()
        while True:
            await asyncio.sleep(every_seconds)
            _log.info("traffic_summary", **summary.line(self.status()))

    async def _flush(self, deadline: float) -> bool:
        """Flush until the deadline or the second signal; whether Kafka has everything.

        If so, the slots can be given up at once: whoever gets them waits for nothing else.
        """
        flush = asyncio.ensure_future(self.producer.flush(max(0.0, deadline - time.monotonic())))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait([flush, hurry], return_when=asyncio.FIRST_COMPLETED)
        flushed, _ = await cancelled(flush, hurry)
        return flushed is True

    async def _release(self, deadline: float) -> None:
        """Give the slots up; brokers that are away must not keep the process for longer."""
        seconds = max(self._outside.release_min_seconds, deadline - time.monotonic())
        if not await within(seconds, self.owner.release()):
            _log.warning("slots_not_released", seconds=round(seconds, 1))

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as exc:  # noqa: BLE001 - handed to `run`, which raises it
                self._failure = self._failure or exc
                self._stop_requested.set()

        task = asyncio.create_task(guarded(), name=name)
        # where it is cancelled before it has begun, Python would complain on stderr
        task.add_done_callback(lambda _: work.close())
        self._tasks.append(task)
        return task
