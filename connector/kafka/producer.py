"""Records on their way to Kafka: librdkafka's queue first, the spool on disk behind it.

`produce` never blocks, raises or loses unseen. While Kafka takes them, records go straight into
librdkafka's queue. When that is full, its client has to be replaced, or nothing was acknowledged
for some seconds, every newer record goes to the spool, and the spool drains back in order before a
record goes straight again: so the order of a key holds throughout.

What Kafka refuses (see `refusals`) ends the client, since librdkafka would send what follows. All
its records come back, and are sent again in ever smaller groups, with nothing else under way: a
record that is refused alone is at fault itself and given to `on_failed`, or its topic is, and
nothing goes on until that is mended. `IsolatingProducer` keeps this from stopping other topics.

Counting costs nothing on that path: librdkafka reports failures alone, and whatever was produced
and is neither in its queue nor spooled, failed or dropped has been acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaException

from connector.kafka.producer_state import FailedRecord, ProducerState, RecordCounts
from connector.kafka.refusals import Fault, TopicTrouble, fault_of, reason_of
from connector.kafka.spool import Dropped, Headers, Record
from connector.kafka.spool_files import SpoolFiles
from connector.kafka.spooling import BUSY_POLL_SECONDS, SpoolingClient
from connector.kafka.wake import Wake
from connector.kite.feed.log import worth_a_line
from connector.settings.models import KafkaSettings, SpoolSettings

POLL_SECONDS = 0.02
"""The pause between polls of a client that does not say when there is something to poll."""
_WATCH_SECONDS = 0.1  # between looks whether anything is acknowledged, of what is under way
_IDLE_SECONDS = 0.5  # until it is seen that something is under way
_CHECK_SECONDS = 1.0  # between looks at the spool's directory
_STUCK_SECONDS = 5.0  # until a poll that failed is tried again


class RecordProducer(SpoolingClient):
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
        wake: of whoever polls this producer, where that is another one.
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
        wake: Wake | None = None,
    ) -> None:
        super().__init__(kafka, spool, client_id, clock, monotonic, files, wake or Wake())
        self._polled_by_itself = wake is None
        self._on_failed = on_failed
        self._on_dropped = on_dropped
        self.refusals: Counter[tuple[str, str]] = Counter()
        """Records by topic and reason, each time that Kafka refused them, in a batch or alone."""
        # polls, from `start` on; a topic held apart has none, since another producer polls it
        self._task: asyncio.Task[None] | None = None
        # records of an earlier process in the spool; they count as produced by this one
        self._found = 0
        # records that Kafka will never accept, by reason
        self._failed: Counter[str] = Counter()
        self._failures: deque[FailedRecord] = deque()  # for on_failed, at the next poll
        # when to look next at the spool's disk and at the clocks, monotonic seconds
        self._check_at = 0.0
        self._stuck = 0  # polls that failed, in a row
        # no work but polling until then: what failed is not asked again at once
        self._stuck_until = 0.0

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

    def produce_all(self, records: Sequence[tuple[str, bytes, bytes]], timestamp_ms: int) -> None:
        """Take the (topic, key, value) records of one frame: `produce` for each, but cheaper.

        Should the client have to be replaced, records are put in order again by their calls: use
        no call for more than a frame.
        """
        count = len(records)
        self._produced += count
        accepted = 0
        # one number for the frame, by which records that the client gives back are put in order
        if self._fast:
            self._sequence += 1
            accepted = self._client.produce_all(records, timestamp_ms, self._sequence)  # type: ignore[union-attr]
            if accepted == count:
                return
        # once more the one that was not accepted: there each error has its meaning
        for topic, key, value in itertools.islice(records, accepted, None):
            self._offer(Record(topic, key, value, timestamp_ms))

    def _offer(self, record: Record) -> None:
        """Offer a record to whatever way is open."""
        if self._direct and self._hand_over(record):
            return
        if self._direct:
            # acknowledged records leave the queue only when they are polled
            self._poll_client()
            if self._direct and self._hand_over(record):
                return
            if self._direct:  # still: so for want of room, not since the client has ended
                self._log.warning("producer_queue_full")
                self._start_spooling()
        self._append(record)

    def _hand_over(self, record: Record) -> bool:
        """Give a record to librdkafka; False when it has no room or is broken."""
        topic, key, value, timestamp_ms, headers = record
        # on the way out, and not into the spool: the clocks may be mended while it waits
        if self._restamping.shift_ms is not None:
            timestamp_ms = self._restamping.of(timestamp_ms, self._now_ms())
        if self._client is None:
            return False
        self._sequence += 1
        try:
            self._client.produce(topic, key, value, timestamp_ms, headers, self._sequence)
        except BufferError:
            return False
        except KafkaException as exc:
            return self._refused_at_once(record, exc.args[0])
        except (TypeError, ValueError) as exc:
            # it never can be encoded, so that it would stand at the head of the spool for ever
            self._log.error("record_invalid", topic=topic, reason=str(exc))
            self._note_failure(FailedRecord(record, "invalid_record", str(exc)))
        return True

    # -- handlers of the client, all from its poll: they only note -------------------------------

    def _report(self, record: Record, sequence: int, partition: int, error: Any) -> None:
        # 0 means now, and confluent-kafka does not tell what it became; what waits needs a time
        if not record.timestamp_ms:
            record = record._replace(timestamp_ms=self._now_ms())
        fault = fault_of(error)
        if fault is not Fault.CLIENT:
            self._note_refusal(record.topic, error)
            self._refused[record.topic] = self._refused.get(record.topic, 0) + 1
        if self._group:
            # as it was, and not with the time that it was sent with
            record = self._group[sequence - self._group_sequence]
        # all others were under way, and are older: see PurgedRecords
        queued = error.name() == "_PURGE_QUEUE"
        self._returned.add(record, sequence, partition, queued=queued)
        if self._group and fault is not Fault.CLIENT:
            self._refusals[sequence] = error  # the others go on: see `_group_is_under_way`
            return
        # of a batch it says nothing of the size of each record
        if error.name() == "MSG_SIZE_TOO_LARGE":
            self._too_large.add(record.topic)
        self._start_recovery(error.str())

    def _on_error(self, error: Any) -> None:
        if error.name() == "_GAPLESS_GUARANTEE":
            # librdkafka has ended the client after a refusal; the reports tell of that themselves
            self._start_recovery(error.str(), refused=True)
            return
        self.health.error(error)
        if error.fatal():
            self._start_recovery(error.str())

    def _fail(self, record: Record, error: Any) -> None:
        self._note_failure(FailedRecord(record, reason_of(error), error.str()))

    def _leave_unstored(self) -> None:
        """Nobody else may have it: it is lost."""

    def _settle(self) -> bool:
        # of a record at fault there is no dead letter before `_tell`; of one that the client kept
        # nobody knows whether Kafka has it
        return not self._failures and not self._kept_back

    def _note_failure(self, failure: FailedRecord) -> None:
        self._failures.append(failure)
        self._wake.set()

    def _note_refusal(self, topic: str, error: Any) -> None:
        refusal = (topic, reason_of(error))
        if refusal not in self.refusals:
            # the first time since the start; the count of all is a metric
            self._log.error("record_refused", topic=topic, reason=error.str())
        self.refusals[refusal] += 1

    def _refused_at_once(self, record: Record, error: Any) -> bool:
        """`produce` itself failed: what librdkafka knows of the topic or the record is enough."""
        fault = fault_of(error)
        if fault is not Fault.CLIENT:
            self._note_refusal(record.topic, error)
            if self._groups.active:
                # as one that came back
                self._refused.setdefault(record.topic, 1)
                self._refusals[self._sequence] = error
                self._returned.add(record, self._sequence, None, queued=False)
                return True
        if fault is Fault.RECORD:
            self._fail(record, error)
            return True
        if fault is not Fault.CLIENT:
            # nothing has come back: at least this one is to be sent again for itself
            self._refused.setdefault(record.topic, 1)
        self._start_recovery(error.str())
        return False

    # -- counts ----------------------------------------------------------------------------------

    @property
    def counts(self) -> RecordCounts:
        """Where all records are at this moment."""
        self._count_delivered()
        return RecordCounts(
            produced=self._produced,
            delivered=self._delivered,
            in_flight=self._gone() - self._delivered,
            spooled=self._spool.records,
            failed=dict(self._failed),
            dropped=dict(self._dropped),
            found=self._found,
        )

    def _gone(self) -> int:
        """Records that were handed over, or wait for a callback: not known to be elsewhere."""
        elsewhere = sum(self._failed.values()) + sum(self._dropped.values())
        return self._produced - self._spool.records - elsewhere

    def _count_delivered(self) -> None:
        # in memory: given back, at fault and not told yet, not on disk yet, with librdkafka
        held = len(self._returned) + len(self._failures) + self._spool.held
        held += 0 if self._client is None else len(self._client)
        # never less than before, although librdkafka's count has its other events too
        self._delivered = max(self._delivered, self._gone() - held)

    @property
    def troubles(self) -> list[TopicTrouble]:
        """The topics that accept nothing, each refused for what is not a record's fault."""
        trouble = self._groups.trouble
        return [] if trouble is None else [trouble]

    @property
    def way(self) -> str:
        """How records go to librdkafka: `native`, `confluent` and why, or empty: no client."""
        return "" if self._client is None else self._client.way

    @property
    def spool_bytes(self) -> int:
        """The size of the spool's files, bytes."""
        return self._spool.size_bytes

    @property
    def spool_limit_bytes(self) -> int:
        """How large the spool can become, by its setting and by its file system."""
        return self._spool.limit_bytes

    @property
    def spool_problem(self) -> str | None:
        """Why the spool does not work, in words for a person; None when it does."""
        return self._spool.problem

    @property
    def spool_peak_bytes(self) -> int:
        """The largest that `spool_bytes` was."""
        return self._spool.peak_bytes

    @property
    def broker_reachable(self) -> bool:
        """Whether a broker is connected, as of the last second."""
        return self.health.reachable

    @property
    def last_error(self) -> str | None:
        """The last error of the client; None once a broker is connected again."""
        return self.health.last_error

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the spool and poll from now on; what an earlier process left is sent first.

        Raises:
            SpoolError: the directory cannot be used, or another process uses it.
            SettingsError: librdkafka refuses a property.
        """
        await asyncio.to_thread(self.open)
        self._task = asyncio.create_task(self.run(), name="producer")

    def open(self) -> None:
        """What `start` does, for somebody else who calls `poll`; blocks while files are read.

        Raises:
            SpoolError: the directory cannot be used, or another process uses it.
            SettingsError: librdkafka refuses a property.
        """
        # the lock comes first: two processes on one directory would send each other's records
        self._spool.open()
        if self._polled_by_itself:
            self._wake.open()
        try:
            self._new_client()
        except BaseException:
            # who tries again in this process must not find the directory locked
            self._spool.close()
            self._close_wake()
            raise
        # by the files' names: what cannot be read of them is found, too, and lost when it is read
        self._found = self._spool.records
        self._produced += self._found
        self._acknowledged_at = self._monotonic()
        if self._spool.records:
            self._log.info("spooled_records_found", records=self._spool.records)
            self._start_spooling()
        else:
            self._set_state(ProducerState.DIRECT)

    async def run(self) -> None:
        """Poll until cancelled: on need, and now and then."""
        with self._wake.listening():
            while True:
                self.poll()
                await self._wake.pause(self.pause_seconds())

    def pause_seconds(self) -> float:
        """How long nobody has to poll, unless a client says that there is something to poll."""
        if self.state is not ProducerState.DIRECT:
            return BUSY_POLL_SECONDS
        busy = self._client is not None and len(self._client) > 0
        # nobody ends a pause of these: of confluent-kafka's client, and where there is no pipe
        if self._wake.descriptor < 0 or self._client is None or not self._client.wakes:
            return POLL_SECONDS if busy else _WATCH_SECONDS
        return _WATCH_SECONDS if busy else _IDLE_SECONDS

    def poll(self) -> None:
        """Serve the client and move the spool on; never raises, or blocks for more than a few ms.

        Once more than that: a client that failed with a full queue gives 200,000 records back and
        into the spool in about a second. What fails (a disk, a certificate that is being replaced,
        an owner's callback) is logged and tried again: a producer that is polled no more would lose
        everything.
        """
        try:
            # first: what is reported now makes room, or changes what is to be done below
            self._poll_client()
            # what is in memory alone a kill would lose
            if self._unflushed:
                self._unflushed = not self._spool.flush()
            now = self._monotonic()
            if now >= self._check_at:
                self._check_at = now + _CHECK_SECONDS
                self._spool.check()
                self._look_at_clocks()
                self._look_at_files()
            self._watch_acknowledgements()
            if now >= self._stuck_until:
                self._move_on()
                self._stuck = 0
        except Exception as exc:  # noqa: BLE001 - logged, and tried again
            self._stuck += 1
            self._stuck_until = self._monotonic() + _STUCK_SECONDS
            if worth_a_line(self._stuck):  # it may last for hours
                self._log.error("producer_stuck", exc_info=exc)

    def _move_on(self) -> None:
        if self.state is ProducerState.RECOVERING:
            self._recover()
        elif self.state is ProducerState.SPOOLING:
            self._drain()
        elif self.state is ProducerState.DIRECT:
            self._confirm_in_time()
        self._tell()

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until Kafka has everything.

        Returns:
            False when it has not by then, or what is left waits on disk for something that no
            waiting here brings.
        """
        deadline = self._monotonic() + timeout_seconds
        while True:
            self.poll()
            if self._empty():
                return True
            if self._monotonic() >= deadline or self._waits_in_vain():
                return False
            await asyncio.sleep(BUSY_POLL_SECONDS)

    async def close(self, grace_seconds: float) -> bool:
        """Send what is here within the grace period, and keep the rest on disk.

        Returns:
            True when closing lost nothing: Kafka has it all, or the spool's directory has what is
            missing and the next start sends it.
        """
        if self.state in (ProducerState.NEW, ProducerState.CLOSED):
            self.state = ProducerState.CLOSED
            return True
        # it would touch the spool while a thread closes it
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
        # what is produced from here on is counted as dropped: nothing would send it
        self._set_state(ProducerState.CLOSED)
        client, self._client = self._client, None
        if client is not None:
            # it joins librdkafka's threads
            await asyncio.to_thread(client.close)
        self._close_wake()
        if rest:
            await asyncio.to_thread(self._take_back)
        clean = await self._close_apart()
        # and this waits for the device (fsync): the loop goes on with the other parts of a stop
        await asyncio.to_thread(self._close_spool)
        self._tell()
        return clean and sum(self._dropped.values()) == dropped_before

    async def _close_apart(self) -> bool:
        """Close what other producers have of this one's records; True when that lost nothing."""
        return True

    def _close_wake(self) -> None:
        if self._polled_by_itself:
            self._wake.close()

    def _empty(self) -> bool:
        return not self._spool.waiting and self._nothing_is_under_way()

    def _waits_in_vain(self) -> bool:
        """Whether what is left is safe on disk, and is refused for as long as nobody mends it."""
        return False

    def _tell(self) -> None:
        """Call the owner back; from here, so that its own `produce` comes at a safe moment."""
        while self._failures:
            failure = self._failures.popleft()
            self._failed[failure.reason] += 1
            if self._on_failed is not None:
                self._on_failed(failure)
        # one by one: should the owner fail, the rest is told at the next poll
        for _ in range(len(self._drops)):
            reason, dropped = self._drops.popleft()
            if self._on_dropped is not None:
                self._on_dropped(reason, dropped)
