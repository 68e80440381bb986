"""Records on their way to Kafka: librdkafka's queue first, the spool on disk behind it.

`produce` never blocks, raises or loses unseen. While Kafka takes them, records go straight into
librdkafka's queue. When that is full, or its client has to be replaced, every newer record goes to
the spool, and the spool drains back in order before a record goes straight again: so the order of
a key holds throughout.

Counting costs nothing on that path: confluent-kafka calls back for failures alone
(`delivery.report.only.error`), and whatever was produced and is neither in librdkafka's queue nor
spooled, failed or dropped has been acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from confluent_kafka import KafkaException, Message, Producer

from connector.errors import SettingsError
from connector.kafka.broker_health import BrokerHealth
from connector.kafka.delivery import ends_the_client, new_producer
from connector.kafka.producer_state import Counts, FailedRecord, ProducerState
from connector.kafka.purged import PurgedRecords
from connector.kafka.spool import Dropped, Headers, Record, Spool
from connector.kafka.spool_files import SpoolFiles
from connector.settings.models import KafkaSettings, SpoolSettings

_MIB = 1024 * 1024

_POLL_SECONDS = 0.02
# In a flood more often: what was acknowledged keeps its memory until it is polled, and in the
# processor's cache that costs a third less.
_POLL_RECORDS = 1_000
_BUSY_POLL_SECONDS = 0.002  # while the spool drains, or a client is being replaced

_DRAIN_RECORDS = 2_000  # handed over in one poll, about 3 ms: the event loop has sockets to read
_HANDOVER_RECORDS = 5_000  # at most so many leave their files before Kafka has them
_CONFIRM_SEGMENTS = 8  # read and not confirmed; a death then doubles as many at the next start
_BARRIER_SECONDS = 2.0
_CHECK_SECONDS = 1.0  # between looks at the spool's directory

_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 5.0
_PURGE_SECONDS = 5.0


class RecordProducer:
    """One idempotent producer and its spool. Lives on one event loop, and is not thread-safe.

    Args:
        kafka: brokers, queue limits, compression.
        spool: where records wait, and how many.
        client_id: of the client, for the brokers' logs.
        on_failed: called from `poll` for each record that Kafka will never take.
        on_dropped: called from `poll` with a reason when records were lost.
        clock: seconds since 1970, for records without a timestamp.
        monotonic: seconds, for back-off.
        files: the spool's calls to the system.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        spool: SpoolSettings,
        *,
        client_id: str,
        on_failed: Callable[[FailedRecord], None] | None = None,
        on_dropped: Callable[[str, Dropped], None] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        files: SpoolFiles | None = None,
    ) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._spool = Spool(
            spool.directory, spool.max_mib * _MIB, self._drop, files=files, monotonic=monotonic
        )
        self._ephemeral = spool.ephemeral
        self._on_failed = on_failed
        self._on_dropped = on_dropped
        self._clock = clock
        self._monotonic = monotonic
        self._log = structlog.get_logger("connector.kafka").bind(client=client_id)

        self.state = ProducerState.NEW
        self.queue_peak = 0
        """The most records that librdkafka's queue was seen to hold."""
        self.health = BrokerHealth(self._log)
        self._client: Producer | None = None
        self._client_produce: Callable[..., None] = _no_client
        self._direct = False  # state is DIRECT: one look-up less on the tick path
        self._task: asyncio.Task[None] | None = None

        self._produced = 0
        self._found = 0
        self._delivered = 0  # the highest seen: librdkafka's count includes its other events
        self._failed: Counter[str] = Counter()
        self._refusals: set[tuple[str, str]] = set()  # topic and reason, told once each
        self._dropped: Counter[str] = Counter()
        self._sequence = 0
        self._failures: list[FailedRecord] = []  # for on_failed, at the next poll
        self._drops: list[tuple[str, Dropped]] = []  # for on_dropped, at the next poll
        self._returned = PurgedRecords()

        self._unflushed = False
        self._check_at = 0.0
        self._unpolled = 0
        self._handed_over = 0  # from the spool, since the queue was last empty
        self._barrier_since: float | None = None  # nothing is handed over until the queue is empty
        self._low_water = kafka.queue_max_messages // 2
        self._client_failures = 0
        self._stuck = 0  # polls that failed, in a row
        self._stuck_until = 0.0
        self._retry_at = 0.0

    # -- the tick path --------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Take one record. Never blocks or raises: what becomes of it is in `counts`.

        Args:
            topic: where it goes.
            value: its bytes; None is a tombstone.
            key: decides the partition, as Java's clients do.
            timestamp_ms: of the record, UTC; 0 is now.
            headers: of the record.
        """
        self._produced += 1
        self._offer(Record(topic, key, value, timestamp_ms, headers))

    def produce_all(self, records: Iterable[tuple[str, bytes, bytes]], timestamp_ms: int) -> None:
        """Take the (topic, key, value) records of one frame: `produce` for each, but cheaper.

        Should the client have to be replaced, records are put in order again by their calls: use
        no call for more than a frame.
        """
        records = list(records) if not isinstance(records, list) else records
        self._produced += len(records)
        rest = iter(records)
        if self._direct:
            self._sequence += 1
            report = functools.partial(self._report, self._sequence, timestamp_ms, None)
            produce = self._client_produce
            try:
                for topic, key, value in rest:
                    produce(topic, value, key, -1, report, None, timestamp_ms)
            except (BufferError, KafkaException, TypeError, ValueError):
                # once more, where each error has its meaning
                self._offer(Record(topic, key, value, timestamp_ms))
            else:
                self._unpolled += len(records)
                if self._unpolled >= _POLL_RECORDS:
                    self._poll_client()
                return
        for topic, key, value in rest:
            self._offer(Record(topic, key, value, timestamp_ms))

    def _offer(self, record: Record) -> None:
        """One record, by whatever way is open."""
        if self._direct and self._hand_over(record):
            return
        if self._direct:
            # acknowledged records leave the queue only when they are polled
            self._poll_client()
            if self._direct and self._hand_over(record):
                return
            if self._direct:
                self._log.warning("the queue to Kafka is full: records go to the spool")
                self._start_spooling()
        self._append(record)

    def _hand_over(self, record: Record) -> bool:
        """Give a record to librdkafka; False when it has no room or is broken."""
        topic, key, value, timestamp_ms, headers = record
        self._sequence += 1
        report = functools.partial(self._report, self._sequence, timestamp_ms, headers)
        # positional, since keywords cost a tenth: the None is `on_delivery`, a second name of the
        # callback that stands before the timestamp
        try:
            if headers:
                self._client_produce(
                    topic, value, key, -1, report, None, timestamp_ms, list(headers)
                )
            else:
                self._client_produce(topic, value, key, -1, report, None, timestamp_ms)
        except BufferError:
            return False
        except KafkaException as exc:
            error = exc.args[0]
            if ends_the_client(error):
                self._start_recovery(error.str())
                return False
            self._fail(record, error)
        except (TypeError, ValueError) as exc:
            self._log.error("not a record", topic=topic, reason=str(exc))
            self._note_failure(FailedRecord(record, "invalid_record", str(exc)))
        return True

    def _append(self, record: Record) -> None:
        """Put a record into the spool."""
        if self.state in (ProducerState.NEW, ProducerState.CLOSED):
            self._drop("not_running", Dropped(1, record.timestamp_ms, record.timestamp_ms))
            return
        if not record.timestamp_ms:
            record = record._replace(timestamp_ms=self._now_ms())
        self._unflushed = True
        self._spool.append(record)

    # -- callbacks of the client, all from its poll: they only note ------------------------------

    def _report(
        self,
        sequence: int,
        timestamp_ms: int,
        headers: Headers | None,
        error: Any,
        message: Message,
    ) -> None:
        """A record failed; success is never reported."""
        # a failed message has neither timestamp nor headers any more
        record = Record(
            message.topic() or "",
            message.key(),
            message.value(),
            timestamp_ms or self._now_ms(),
            headers,
        )
        if ends_the_client(error):
            queued = error.name() == "_PURGE_QUEUE"
            self._returned.add(record, sequence, message.partition(), queued=queued)
            self._start_recovery(error.str())
        else:
            self._fail(record, error)

    def _on_error(self, error: Any) -> None:
        self.health.error(error)
        if error.fatal():
            self._start_recovery(error.str())

    def _fail(self, record: Record, error: Any) -> None:
        reason = error.name().strip("_").lower()
        self._note_failure(FailedRecord(record, reason, error.str()))

    def _note_failure(self, failure: FailedRecord) -> None:
        refusal = (failure.record.topic, failure.reason)
        if refusal not in self._refusals:
            self._refusals.add(refusal)
            self._log.error(
                "Kafka refuses a record", topic=failure.record.topic, reason=failure.detail
            )
        self._failed[failure.reason] += 1
        self._failures.append(failure)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

    def _drop(self, reason: str, dropped: Dropped) -> None:
        if not self._dropped[reason]:
            self._log.error("records_dropped", reason=reason, first_count=dropped.count)
        self._dropped[reason] += dropped.count
        self._drops.append((reason, dropped))

    # -- counts ----------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """Where all records are at this moment."""
        failed, dropped = sum(self._failed.values()), sum(self._dropped.values())
        here = self._produced - self._spool.records - failed - dropped
        held = len(self._returned) + self._spool.held
        held += 0 if self._client is None else len(self._client)
        self._delivered = max(self._delivered, here - held)
        return Counts(
            produced=self._produced,
            delivered=self._delivered,
            in_flight=here - self._delivered,
            spooled=self._spool.records,
            failed=dict(self._failed),
            dropped=dict(self._dropped),
            found=self._found,
        )

    @property
    def spool_bytes(self) -> int:
        """Of the spool's files."""
        return self._spool.size_bytes

    @property
    def spool_peak_bytes(self) -> int:
        """The most that `spool_bytes` was."""
        return self._spool.peak_bytes

    @property
    def spool_limit_bytes(self) -> int:
        """How large the spool can become, by its setting and by its file system."""
        return self._spool.limit_bytes

    @property
    def spool_problem(self) -> str | None:
        """Why the spool does not work, in words for a person; None when it does."""
        return self._spool.problem

    @property
    def broker_reachable(self) -> bool:
        """A broker is connected, as of the last second."""
        return self.health.reachable

    @property
    def last_error(self) -> str | None:
        """What the client last complained of; None once a broker is connected again."""
        return self.health.last_error

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the spool and poll from now on; what an earlier process left is sent first.

        Raises:
            SpoolError: the directory cannot be used, or another process uses it.
            SettingsError: librdkafka refuses a property.
        """
        await asyncio.to_thread(self._spool.open)
        try:
            self._new_client()
        except SettingsError:
            self._spool.close()
            raise
        # by the files' names: what cannot be read of them is found, too, and lost when it is read
        self._found = self._spool.records
        self._produced += self._found
        if self._spool.records:
            self._log.info("records of an earlier run are sent first", records=self._spool.records)
            self._start_spooling()
        else:
            self._set_state(ProducerState.DIRECT)
        self._task = asyncio.create_task(self.run(), name="producer")

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self.poll()
            direct = self.state is ProducerState.DIRECT
            await asyncio.sleep(_POLL_SECONDS if direct else _BUSY_POLL_SECONDS)

    def poll(self) -> None:
        """Serve the client and move the spool on; never raises, or blocks for more than a few ms.

        Once more than that: a client that failed with a full queue gives 200,000 records back and
        into the spool in about a second. What fails (a disk, a certificate that is being replaced,
        an owner's callback) is logged and tried again: a producer that is polled no more would lose
        everything.
        """
        try:
            self._poll_client()
            if self._unflushed:
                self._unflushed = not self._spool.flush()
            now = self._monotonic()
            if now >= self._check_at:
                self._check_at = now + _CHECK_SECONDS
                self._spool.check()
            if now >= self._stuck_until:
                self._move_on()
                self._stuck = 0
        except Exception as exc:  # noqa: BLE001 - logged, and tried again
            self._stuck += 1
            self._stuck_until = self._monotonic() + _MAX_BACKOFF_SECONDS
            # the first time and each power of two: it may last for hours
            if self._stuck & (self._stuck - 1) == 0:
                self._log.error("the producer is stuck, and tries again", exc_info=exc)

    def _move_on(self) -> None:
        if self.state is ProducerState.RECOVERING:
            self._recover()
        elif self.state is ProducerState.SPOOLING:
            self._drain()
        self._tell()

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until Kafka has everything; False when it has not by then."""
        deadline = self._monotonic() + timeout_seconds
        while True:
            self.poll()
            if self._empty():
                return True
            if self._monotonic() >= deadline:
                return False
            await asyncio.sleep(_BUSY_POLL_SECONDS)

    async def close(self, grace_seconds: float) -> bool:
        """Send what is here within the grace period, and keep the rest on disk.

        Returns:
            True when closing lost nothing: Kafka has it all, or the spool's directory has what is
            missing and the next start sends it.
        """
        if self.state in (ProducerState.NEW, ProducerState.CLOSED):
            self.state = ProducerState.CLOSED
            return True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.flush(grace_seconds)
        dropped_before = sum(self._dropped.values())
        rest = not self._empty()
        if rest:
            await self._give_back()
        self._set_state(ProducerState.CLOSED)
        client, self._client = self._client, None
        self._client_produce = _no_client
        if client is not None:
            await asyncio.to_thread(client.close)
        await asyncio.to_thread(self._close_spool, rest=rest)
        self._tell()
        return sum(self._dropped.values()) == dropped_before

    def _close_spool(self, *, rest: bool) -> None:
        """Put what is left on disk; it is lost where the disk goes with the process."""
        if rest:
            self._take_back()
        else:
            self._spool.confirm()
        try:
            self._spool.close()
        except OSError as exc:
            self._log.error("spool_not_closed", reason=str(exc))
        left = self._spool.left
        if not left.count:
            return
        if not self._spool.persistent or self._ephemeral:
            self._drop("ephemeral_spool" if self._spool.persistent else "no_spool_directory", left)
            self._spool.forget()
        else:
            self._log.warning("records_stay_in_the_spool", records=left.count)

    def _empty(self) -> bool:
        return not (self._spool.waiting or self._returned or (self._client and len(self._client)))

    def _new_client(self) -> None:
        self._client = new_producer(
            self._kafka,
            self._client_id,
            on_error=self._on_error,
            on_statistics=self.health.statistics,
        )
        self._client_produce = self._client.produce

    def _poll_client(self) -> None:
        if self._client is None:
            return
        self._unpolled = 0
        self.queue_peak = max(self.queue_peak, len(self._client))
        try:
            self._client.poll(0)
        except KafkaException as exc:
            # confluent-kafka raises a fatal error here instead of calling error_cb
            self._on_error(exc.args[0])

    def _tell(self) -> None:
        """Call the owner back; from here, so that its own `produce` comes at a safe moment."""
        failures, self._failures = self._failures, []
        drops, self._drops = self._drops, []
        for failure in failures:
            if self._on_failed is not None:
                self._on_failed(failure)
        for reason, dropped in drops:
            if self._on_dropped is not None:
                self._on_dropped(reason, dropped)

    # -- between queue and spool -----------------------------------------------------------------

    def _set_state(self, state: ProducerState) -> None:
        self.state = state
        self._direct = state is ProducerState.DIRECT

    def _start_spooling(self) -> None:
        self._set_state(ProducerState.SPOOLING)
        self._handed_over = 0
        self._barrier_since = None

    def _drain(self) -> None:
        """Move records from the spool into the queue, as far as there is room."""
        now = self._monotonic()
        client = self._client
        if client is None or now < self._retry_at:
            return
        if not len(client):
            self._spool.confirm()
            self._handed_over = 0
            self._barrier_since = None
        elif self._barrier_since is not None:
            if now < self._barrier_since + _BARRIER_SECONDS:
                return
            # one partition without a leader must not hold up all the others
            self._handed_over = 0
            self._barrier_since = None
        room = min(self._low_water - len(client), _DRAIN_RECORDS)
        while room > 0 and (records := self._spool.peek()):
            handed = 0
            for record in records[:room]:
                if not self._hand_over(record):
                    break
                handed += 1
            self._spool.advance(handed)
            self._handed_over += handed
            room -= handed
            if handed == 0 or self.state is not ProducerState.SPOOLING:
                return
        if not self._spool.waiting and self._handed_over <= _HANDOVER_RECORDS:
            self._spool.confirm()
            self._log.info("the spool is empty again: records go straight to Kafka")
            self._client_failures = 0
            self._set_state(ProducerState.DIRECT)
        elif not self._spool.waiting or self._spool.unconfirmed >= _CONFIRM_SEGMENTS:
            self._barrier_since = now

    def _start_recovery(self, reason: str) -> None:
        """The client is of no more use: from here on the spool, until there is a new one."""
        if self.state not in (ProducerState.DIRECT, ProducerState.SPOOLING):
            return
        # an account without the right to write fails each new client: said once
        log = self._log.debug if self._client_failures else self._log.warning
        log("the Kafka client failed and is replaced", reason=reason)
        self.health.last_error = reason
        self._set_state(ProducerState.RECOVERING)
        if self._client is not None:
            self._client.purge(blocking=False)

    def _recover(self) -> None:
        """Once the failed client has given everything back: into the spool, and a new client."""
        if self._client is None or len(self._client):
            return
        self._take_back()
        self._client_failures += 1
        backoff = min(_BACKOFF_SECONDS * 2**self._client_failures, _MAX_BACKOFF_SECONDS)
        self._retry_at = self._monotonic() + backoff
        self._new_client()
        self._start_spooling()

    def _take_back(self) -> None:
        """Put the returned records before those of the spool, in the order they were produced.

        What the disk does not store waits in memory for the next client.
        """
        self._spool.prepend(self._returned.take())

    async def _give_back(self) -> None:
        """Closing: take from librdkafka what Kafka did not acknowledge."""
        client = self._client
        self._set_state(ProducerState.RECOVERING)
        if client is not None:
            client.purge(blocking=False)
            deadline = self._monotonic() + _PURGE_SECONDS
            while len(client) and self._monotonic() < deadline:
                self._poll_client()
                await asyncio.sleep(_BUSY_POLL_SECONDS)
            if len(client):
                self._drop("not_returned", Dropped(len(client), 0, 0))


def _no_client(*_arguments: Any) -> None:
    raise BufferError
