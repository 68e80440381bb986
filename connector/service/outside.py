"""What the service reaches outside of its process: brokers, registry, Kite's REST API, and time.

A test gives the service another one. Only the slots' sockets do not go through here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

import structlog

from connector.cluster.layout import partitions
from connector.kafka.acknowledgements import SILENT_SECONDS
from connector.kafka.avro_records import InstrumentDecoder
from connector.kafka.instruments import Published, read_latest
from connector.kafka.isolating import IsolatingProducer
from connector.kafka.last_words import send_last
from connector.kafka.producer_state import FailedRecord
from connector.kafka.reader import in_thread
from connector.kafka.registry import register_schemas, unused_topics
from connector.kafka.retry import retry_forever
from connector.kafka.spool import Dropped, Record
from connector.kafka.spool_files import SpoolFiles
from connector.kafka.tail import Since, TailRecord, tail
from connector.kafka.topics import TopicNames, TopicsReport, ensure_topics, look_at_topics
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.credentials import Credentials, FileCredentials, StaticCredentials
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.pace import INTERVAL_SECONDS, Pace
from connector.kite.web.rest import KiteRest
from connector.service.backfill import POLL_SECONDS
from connector.service.gap_mender import AGAIN_SECONDS
from connector.service.gap_mender import PAUSE_SECONDS as PAUSES_FOR_CANDLES
from connector.service.order_reconciler import PAUSE_SECONDS, SETTLE_SECONDS, TURN_SECONDS
from connector.service.topic_checks import CHECK_SECONDS
from connector.settings.models import AccountSettings, Settings

_T = TypeVar("_T")
_log = structlog.get_logger("connector.service.outside")


class Outside:
    """The world as the settings describe it, and how long the service waits for it.

    Args:
        settings: of the service.
        files: the spool's calls to the system; None: this machine's.
    """

    try_seconds = 5.0
    """One try to reach the brokers or the registry takes at most so long."""
    retry_min_seconds = 0.5
    """The first two tries are so far apart; later ones are farther."""
    # of the class, so that one of a test's own may have others, as all below
    retry_max_seconds = 15.0
    list_wait_seconds = 20.0
    """Connections wait so long for the list of instruments, so that the first ticks have names."""
    announced_seconds = 300.0
    """After a try to load the list none is loaded for so long because the feed announces one."""
    silent_seconds = SILENT_SECONDS
    orders_settle_seconds = SETTLE_SECONDS
    orders_turn_seconds = TURN_SECONDS
    orders_pause_seconds = PAUSE_SECONDS
    rest_interval_seconds = INTERVAL_SECONDS
    backfill_poll_seconds = POLL_SECONDS
    backfill_pause_seconds = PAUSES_FOR_CANDLES
    backfill_again_seconds = AGAIN_SECONDS
    topic_check_seconds = CHECK_SECONDS
    last_words_seconds = 2.0
    """What the end itself loses has so long to be reported."""
    release_min_seconds = 1.0
    """Slots have at least so long to be given up."""
    clock: Clock = SYSTEM_CLOCK

    def __init__(self, settings: Settings, files: SpoolFiles | None = None) -> None:
        self.settings = settings
        self._files = files
        self.topics = TopicNames(settings.topics.prefix)
        # one for each account: Kite counts requests by api_key, whatever they are for
        self._paces: dict[str, Pace] = {}

    def producer(
        self,
        on_failed: Callable[[FailedRecord], None],
        on_dropped: Callable[[str, Dropped], None],
    ) -> IsolatingProducer:
        """Make the producer of everything that is received."""
        return IsolatingProducer(
            self.settings.kafka,
            self.settings.spool,
            client_id=self.settings.name,
            dead_letter_topic=self.topics.deadletter,
            on_failed=on_failed,
            on_dropped=on_dropped,
            files=self._files,
        )

    async def make_topics(self, only: Collection[str] | None = None) -> TopicsReport:
        """Make missing topics and check the others; `ensure_topics` has the errors."""
        return await ensure_topics(
            self.settings.kafka,
            self.settings.topics,
            slots=partitions(self.settings.accounts),
            timeout_seconds=self.try_seconds,
            only=only,
        )

    async def look_at_topics(self) -> TopicsReport:
        """Look whether the topics are as they have to be; `look_at_topics` has the errors."""
        return await look_at_topics(
            self.settings.kafka,
            self.settings.topics,
            slots=partitions(self.settings.accounts),
            timeout_seconds=self.try_seconds,
        )

    async def register_schemas(self) -> dict[str, int]:
        """Register the values' schemas: topic → id; `register_schemas` has the errors."""
        return await register_schemas(
            self.settings.registry,
            self.topics,
            without=unused_topics(self.topics, self.settings.topics),
            timeout_seconds=self.try_seconds,
        )

    async def answers(self, waiting_for: dict[str, str]) -> tuple[TopicsReport, dict[str, int]]:
        """Wait until both Kafka and the registry have answered; the first failure ends it.

        Args:
            waiting_for: has, meanwhile, what has not answered and why.

        Raises:
            ConnectorError: what waiting cannot mend.
        """
        topics = asyncio.create_task(self._tried("Kafka", self.make_topics, waiting_for))
        schemas = asyncio.create_task(
            self._tried("schema registry", self.register_schemas, waiting_for)
        )
        try:
            return await asyncio.gather(topics, schemas)
        finally:
            topics.cancel()
            schemas.cancel()

    async def _tried(
        self, what: str, step: Callable[[], Awaitable[_T]], waiting_for: dict[str, str]
    ) -> _T:
        """Try until it works; the log has a line for each new reason, and when it works."""

        def failed(reason: str) -> None:
            if waiting_for.get(what) != reason:
                _log.warning("dependency_awaited", what=what, reason=reason)
            waiting_for[what] = reason

        result = await retry_forever(
            step, failed, min_seconds=self.retry_min_seconds, max_seconds=self.retry_max_seconds
        )
        if waiting_for.pop(what, None) is not None:
            _log.info("dependency_available", what=what)
        return result

    def orders(self) -> AsyncIterator[TailRecord]:
        """Read what replicas write to the topic of order updates, from now on."""
        # by the shipped schema: whatever a newer replica adds to it is of no use here
        return self._tail(self.topics.orders, registry=None)

    def orders_since(self, time_ms: int) -> AsyncIterator[TailRecord]:
        """Read what the topic of order updates has of a time on, UTC milliseconds, to its end."""
        return self._tail(self.topics.orders, start=Since(time_ms=time_ms), follow=False)

    def events_since(
        self, time_ms: int, caught_up: Callable[[], None]
    ) -> AsyncIterator[TailRecord]:
        """Read the topic of events on from a time, UTC milliseconds.

        Args:
            time_ms: where it begins.
            caught_up: called when all that was there is read.
        """
        return self._tail(self.topics.events, start=Since(time_ms=time_ms), caught_up=caught_up)

    def candles_since(self, time_ms: int) -> AsyncIterator[TailRecord]:
        """Read what the topic of candles has of a time on, UTC milliseconds, to its end."""
        return self._tail(self.topics.backfill, start=Since(time_ms=time_ms), follow=False)

    def _tail(self, topic: str, **how: Any) -> AsyncIterator[TailRecord]:
        """Read a topic with the settings' registry, if `how` names no other."""
        how = {"registry": self.settings.registry, "name": self.settings.name, **how}
        # the time of a call in a thread, which a stop has to wait for
        how["timeout_seconds"] = self.try_seconds
        return tail(self.settings.kafka, names=self.topics, topics=[topic], **how)

    async def orders_of(self, credentials: Credentials) -> list[Any]:
        """Ask for an account's orders of the day; `KiteRest.orders` has the errors."""
        async with self.rest(credentials) as rest:
            return await rest.orders()

    def held_instruments(self, stop: threading.Event) -> Published[int]:
        """Read what `kite.instruments` holds, for `differences`; blocks, until `stop` is set."""
        return read_latest(
            # of 117 000 rows only whether each differs is asked, so a hash of it is all that is
            # kept
            self.settings.kafka,
            self.topics.instruments,
            stop,
            hash,
            name=self.settings.name,
        )

    async def published_instruments(self) -> InstrumentMaster | None:
        """Read the list that `kite.instruments` holds; None where it holds none, or a part."""
        held = await in_thread(
            lambda stop: read_latest(
                self.settings.kafka,
                self.topics.instruments,
                stop,
                InstrumentDecoder(self.topics).decode,
                timeout_seconds=self.try_seconds,
                name=self.settings.name,
            )
        )
        rows = [row for row in held.rows.values() if row is not None]
        if rows and not held.whole:
            _log.warning("instruments_topic_incomplete", rows=len(rows))
            return None
        return InstrumentMaster(rows) if rows else None

    def rest(self, credentials: Credentials) -> KiteRest:
        """Open Kite's REST API with an account's present token; to be entered.

        All calls of an account keep one pace, whatever they are for.
        """
        return KiteRest(
            self.settings.feed.rest,
            api_key=credentials.api_key,
            access_token=credentials.access_token(),
            pace=self._paces.setdefault(credentials.name, Pace(self.rest_interval_seconds)),
        )

    async def send_last(self, records: Sequence[Record]) -> bool:
        """Send records when the producer is closed already; False where they did not arrive."""
        settings, seconds = self.settings, self.last_words_seconds
        return await asyncio.to_thread(send_last, settings.kafka, settings.name, records, seconds)


def credentials_of(account: AccountSettings) -> Credentials:
    """Return an account's credentials, from wherever the settings say."""
    if account.access_token_file is not None:
        return FileCredentials(
            account.api_key,
            account.access_token_file,
            account.name,
            api_key_file=account.api_key_file,
        )
    return StaticCredentials(account.api_key, account.access_token, account.name)
