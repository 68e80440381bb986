"""librdkafka's client and the spool behind it: which of them records wait in, and how they get out.

The lower half of `RecordProducer`. Once the queue of the client is full, the client has to be
replaced, or nothing was acknowledged for some seconds, newer records go to the spool. It drains
into the queue in order, what was refused in ever smaller groups, and is empty before a record goes
straight again.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from connector.kafka.broker_health import BrokerHealth
from connector.kafka.clients import Client, ClientCallbacks
from connector.kafka.config import ClientLog
from connector.kafka.delivery import BATCH_BYTES, bytes_in_a_batch, largest_group, new_producer
from connector.kafka.producer_state import ProducerState
from connector.kafka.purged import PurgedRecords
from connector.kafka.refusals import CLOCK, TopicTrouble
from connector.kafka.renewals import standing
from connector.kafka.smaller_groups import SmallerGroups
from connector.kafka.spool import Dropped, Record, Spool
from connector.kafka.spool_files import SpoolFiles
from connector.kafka.timestamps import Restamping
from connector.kafka.wake import Wake
from connector.kite.clock import ClockWatch
from connector.settings.models import KafkaSettings, SpoolSettings

MIB = 1024 * 1024

BUSY_POLL_SECONDS = 0.002  # while the spool drains, or a client is being replaced

_DRAIN_RECORDS = 2_000  # handed over in one poll, about 3 ms: the event loop has sockets to read
_HANDOVER_RECORDS = 5_000  # at most so many leave their files before Kafka has them
_CONFIRM_SEGMENTS = 8  # read and not confirmed; a death then doubles as many at the next start
_BARRIER_SECONDS = 2.0  # that the queue is given to run empty, so that files can be deleted

_BACKOFF_SECONDS = 0.1  # before a new client hands over, doubled for each that has failed in a row
_MAX_BACKOFF_SECONDS = 5.0
_PURGE_SECONDS = 5.0  # for librdkafka to give all back at a stop: a full queue takes about one
_DROP_LOG_SECONDS = 60.0  # between lines that tell of losses of one reason
_ANSWER_SECONDS = 2.0  # for what is under way when a client ends: it is not sent twice then

_LEAST_BATCH_BYTES = 1_000  # a batch of one record may be larger all the same

# Files whose last records went straight into a queue that never empties are kept so long after the
# spool has drained, longer than brokers take to replace one another: a killed process loses none.
_KEPT_SECONDS = 30.0

# Brokers that die are replaced sooner. What is taken back after it was sent may be written twice.
TAKE_BACK_SECONDS = 20.0


class SpoolingClient(ABC):
    """A client, its spool, and the way between them; RecordProducer has the arguments."""

    def __init__(
        self,
        kafka: KafkaSettings,
        spool: SpoolSettings,
        client_id: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        files: SpoolFiles | None,
        wake: Wake,
    ) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._spool = Spool(
            spool.directory, spool.max_mib * MIB, self._drop, files=files, monotonic=monotonic
        )
        self._ephemeral = spool.ephemeral  # what waits at a stop goes with the pod: it is lost
        self._clock = clock
        self._monotonic = monotonic
        self._watch = ClockWatch(clock, monotonic)
        self._log = structlog.get_logger("connector.kafka").bind(client=client_id)

        self.state = ProducerState.NEW
        self.queue_peak = 0
        """The most records that librdkafka's queue was seen to hold."""
        self.health = BrokerHealth(self._log, monotonic)
        self._handlers = ClientCallbacks(
            failed=self._report,
            error=self._on_error,
            statistics=self.health.statistics,
            throttle=self.health.throttled,
            log=ClientLog(client_id),
        )
        self._wake = wake  # ends the pause of whoever polls
        # replaced after a fatal error, and when it holds records that nobody acknowledges
        self._client: Client | None = None
        self._standing = standing(kafka)  # of the files that the client was made with
        self._direct = False  # state is DIRECT
        self._fast = False  # so too, and no topic is held back: one look-up on the tick path

        self._produced = 0  # with what was found in the spool; less what another producer adopted
        self._delivered = 0  # the highest seen: librdkafka's count includes its other events
        self._dropped: Counter[str] = Counter()  # records lost, by reason
        self._drop_logged: dict[str, float] = {}  # when, by reason
        self._sequence = 0  # of calls of the client; PurgedRecords sorts by it
        self._drops: deque[tuple[str, Dropped]] = deque()  # for on_dropped, at the next poll
        # what a client gave back at its end, to be put before all that waits
        self._returned = PurgedRecords()
        self._refused: dict[str, int] = {}  # topic → so many of the returned were refused
        self._too_large: set[str] = set()  # of these, a batch was
        # refused records are sent again in these, with nothing else under way
        self._groups = SmallerGroups()
        self._group: list[Record] = []  # under way; nobody knows yet what became of them
        self._group_sequence = 0  # of the first of them; the others' follow
        self._refusals: dict[int, Any] = {}  # of them: the error by the record's sequence
        self._one_by_one = False  # so the client sends them
        # topics whose partitions the client knows: of others it might send a group in parts
        self._written_to: set[str] = set()
        # another time for records, while brokers refuse this machine's clock
        self._restamping = Restamping()
        # the least max.message.bytes of the topics; None until it is known
        self._batch_bytes: int | None = None

        # the delivered ones and the time, monotonic seconds, as of the last look that saw progress
        self._acknowledged = 0
        self._acknowledged_at = 0.0
        self._waited = False  # when it was looked at last, something was under way
        self._silent = False  # nothing is handed over until something is acknowledged
        self._volatile = False  # some of the queue is nowhere else

        self._unflushed = False  # the spool has records in memory: `poll` writes them
        self._handed_over = 0  # from the spool, since the queue was last empty
        self._barrier_since: float | None = None  # nothing is handed over until the queue is empty
        self._confirm_at: float | None = None  # files that drained are kept until then
        # the spool fills no more of the queue: once it has drained, a flood finds room
        self._low_water = kafka.queue_max_messages // 2
        self._client_failures = 0  # clients that failed since the spool last drained
        self._renew = False  # the next record is tried with a new client
        self._retry_at = 0.0  # monotonic seconds; nothing is handed over before
        self._kept_back = 0  # records that the client did not give back at the end
        self._recovering_since = 0.0  # monotonic seconds; when the failed client was purged

    def limit_spool(self, max_bytes: int) -> None:
        """Let the spool's files have so many bytes from now on."""
        self._spool.max_bytes = max_bytes

    def bound_batches(self, max_bytes: int) -> None:
        """No batch is larger from now on, unless it is one record.

        Args:
            max_bytes: the least `max.message.bytes` of all topics.
        """
        # never larger again: what was felt for counts more than what a topic's settings tell
        if self._batch_bytes is not None and self._batch_bytes <= max_bytes:
            return
        self._batch_bytes = max_bytes
        # librdkafka takes batch.size only when a client is made
        self._start_recovery("its batches would be too large for a topic", planned=True)

    # -- what RecordProducer adds ----------------------------------------------------------------

    @abstractmethod
    def _hand_over(self, record: Record) -> bool:
        """Give a record to librdkafka; False when it has no room or is broken."""

    @abstractmethod
    def _report(self, record: Record, sequence: int, partition: int, error: Any) -> None:
        """A record failed; success is never reported."""

    @abstractmethod
    def _on_error(self, error: Any) -> None:
        """What is wrong with the client or the brokers."""

    @abstractmethod
    def _count_delivered(self) -> None:
        """Bring `_delivered` up to date."""

    @abstractmethod
    def _leave_unstored(self) -> None:
        """Give away at a stop what no file of this spool holds, where somebody else may have it."""

    @abstractmethod
    def _fail(self, record: Record, error: Any) -> None:
        """Report a record that is at fault itself."""

    def _drop(self, reason: str, dropped: Dropped) -> None:
        self._dropped[reason] += dropped.count
        now = self._monotonic()
        # a full spool drops a file at a time, for hours: the count is a metric
        if now >= self._drop_logged.get(reason, float("-inf")) + _DROP_LOG_SECONDS:
            self._drop_logged[reason] = now
            self._log.error("records_dropped", reason=reason, total=self._dropped[reason])
        # the owner is told by `_tell`, when nothing is halfway: it may produce an event of it
        self._drops.append((reason, dropped))
        self._wake.set()

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

    # -- the client ------------------------------------------------------------------------------

    def _new_client(self) -> None:
        # before the files are read: of two that change, each is seen
        made = standing(self._kafka)
        self._client = new_producer(
            self._kafka,
            self._client_id,
            self._handlers,
            wake=self._wake.descriptor,
            batch_bytes=self._batch_bytes,
            in_groups=self._groups.active,
            one_by_one=self._groups.one_by_one,
        )
        self._one_by_one = self._groups.one_by_one
        self._written_to.clear()
        # it knows nothing of its predecessor's topics, and holds no record yet
        self._renew = self._volatile = False
        self._standing = made

    def _look_at_files(self) -> None:
        if self._standing.outdated:
            self._start_recovery("its certificate or secret was renewed", planned=True)

    def _poll_client(self) -> None:
        if self._client is None:
            return
        self.queue_peak = max(self.queue_peak, len(self._client))
        self._client.poll()

    # -- between queue and spool -----------------------------------------------------------------

    def _append(self, record: Record) -> None:
        """Put a record into the spool."""
        if self.state in (ProducerState.NEW, ProducerState.CLOSED):
            self._drop("not_running", Dropped.of([record]))
            return
        if not record.timestamp_ms:
            record = record._replace(timestamp_ms=self._now_ms())
        self._unflushed = True
        self._spool.append(record)

    def _nothing_is_under_way(self) -> bool:
        """Whether no record is with librdkafka, or has come back from it."""
        return not self._returned and not (self._client and len(self._client))

    def _set_state(self, state: ProducerState) -> None:
        self.state = state
        self._direct = self._fast = state is ProducerState.DIRECT
        self._volatile = self._volatile or self._direct
        self._wake.set()

    def _start_spooling(self) -> None:
        self._set_state(ProducerState.SPOOLING)
        self._confirm_at = None  # once the queue is empty, while the spool drains
        self._handed_over = 0
        self._barrier_since = None

    def _watch_acknowledgements(self) -> None:
        """Let records wait on disk, not in memory, once nothing is acknowledged for seconds."""
        now = self._monotonic()
        self._count_delivered()
        # looks are up to half a second apart: silence counts from the second one that finds
        # something under way, so that a record produced just now has not waited
        waited, self._waited = self._waited, self._client is not None and len(self._client) > 0
        if not (waited and self._waited) or self._delivered > self._acknowledged:
            self._acknowledged, self._acknowledged_at = self._delivered, now
            self._silent = False
            return
        silent = now - self._acknowledged_at
        self._silent = silent >= self._kafka.spool_after_seconds
        if self._silent and self._direct:
            self._log.warning(
                "spooling_started", reason="Kafka acknowledges nothing", seconds=silent
            )
            self._start_spooling()
        # what the disk has may wait in the queue; what it has not, a kill would lose
        if self._volatile and silent >= TAKE_BACK_SECONDS:
            self._start_recovery("Kafka acknowledges nothing", under_way=True)

    def _drain(self) -> None:
        """Move records from the spool into the queue, as far as there is room."""
        now = self._monotonic()
        # while Kafka is silent the queue is no better place than the disk
        if self._group_is_under_way(now) or now < self._retry_at or self._silent:
            return
        client = self._client
        if client is None or self.state is not ProducerState.SPOOLING:
            return
        if not len(client):
            # the only proof there is: success is not reported, but an empty queue has all of it
            self._confirm()
            self._volatile = False
        elif self._barrier_since is not None and now < self._barrier_since + _BARRIER_SECONDS:
            return
        if not len(client) or self._barrier_since is not None:
            # not for ever: one partition without a leader must not hold up all the others
            self._handed_over = 0
            self._barrier_since = None
        if self._groups.active:
            self._drain_in_groups(now)
            return
        # a peek gives what one read of a file gave, so that this may go round several times
        room = min(self._low_water - len(client), _DRAIN_RECORDS)
        while room > 0 and (records := self._spool.peek()):
            self._volatile = self._volatile or self._spool.reads_memory
            handed = 0
            for record in records[:room]:
                if not self._hand_over(record):
                    break
                handed += 1
            self._spool.advance(handed)
            self._handed_over += handed
            room -= handed
            # the queue is full, or the client has ended: what was not handed over stays the first
            if handed == 0 or self.state is not ProducerState.SPOOLING:
                return
        # no more under way than these: in a steady stream their files may have to go before the
        # queue was ever empty
        if not self._spool.waiting and self._handed_over <= _HANDOVER_RECORDS and self._settle():
            self._log.info("spool_drained")
            self._client_failures = 0
            self._confirm_at = now + _KEPT_SECONDS
            self._set_state(ProducerState.DIRECT)
            self._confirm_in_time()
        # let the queue run empty once, so that the files read so far can be deleted
        elif not self._spool.waiting or self._spool.unconfirmed >= _CONFIRM_SEGMENTS:
            self._barrier_since = now

    def _drain_in_groups(self, now: float) -> None:
        """Send the spool's first records with nothing else under way."""
        groups, client = self._groups, self._client
        if client is None or len(client):
            return
        if not self._restamping.searching and groups.end_if_calm(now, self._spool.waiting):
            # with idempotence, larger batches and the guarantee of no gap
            try:
                self._new_client()
            except Exception:
                groups.active = True  # as long as the client is one for groups
                raise
        elif now >= groups.retry_at and (records := self._spool.peek()):
            if self._renew or self._one_by_one != groups.one_by_one:
                self._new_client()
            self._volatile = self._volatile or self._spool.reads_memory
            self._group_sequence = self._sequence + 1
            for record in self._group_of(records):
                if not self._hand_over(record):
                    break
                self._group.append(record)
                # refused within the call: what follows might not be
                if self._returned:
                    break
            groups.sent(len(self._group))
            self._spool.advance(len(self._group))
            client = self._client  # another one by now, perhaps
            if client is not None and not self._one_by_one:
                client.flush()

    def _group_of(self, records: Sequence[Record]) -> Iterator[Record]:
        """The first of these that may go together.

        Each partition's have to fit into one batch, or each of them is a batch and no two have one
        key: so the order of a key holds, whichever of them is refused.
        """
        topic = records[0].topic
        one = topic not in self._written_to and not self._one_by_one
        # what becomes of the first decides about the time of all that follow
        one = one or self._restamping.searching
        room = largest_group(self._kafka, self._batch_bytes)
        keys: set[bytes] = set()
        for record in itertools.islice(records, 1 if one else self._groups.size):
            room -= bytes_in_a_batch(record)
            if record.topic != topic or (room < 0 and record is not records[0]):
                return
            if self._one_by_one and record.key is not None:
                if record.key in keys:
                    return
                keys.add(record.key)
            yield record

    def _group_is_under_way(self, now: float) -> bool:
        """See what became of the group, as soon as nothing of it is under way any more."""
        if not self._group or self._client is None:
            return False
        if len(self._client):
            if not self._one_by_one:
                self._client.flush()
            return True
        group, self._group = self._group, []
        refused, self._refused = self._refused, {}
        errors = [error for _, error in sorted(self._refusals.items())]
        self._refusals.clear()
        returned = self._returned.drain()
        records = self._sorted_out(returned, refused)
        if len(returned) < len(group):
            self._written_to.add(group[0].topic)
        if not returned:
            self._restamping.accepted(self._clock() * 1000, now * 1000)
            if trouble := self._groups.accepted():
                self._log.info("topic_accepted_again", topic=trouble.topic)
        elif not records:
            self._groups.taken_away()
        # of its partition there was no other, or more had come back
        elif len(returned) == 1 or self._one_by_one:
            self._each_refused_alone(records, errors, now)
        else:
            self._groups.divide(len(records), now)
            self._put_back(records)
        return False

    def _look_at_clocks(self) -> None:
        """See whether records may have their own times again; the next one is tried alone."""
        if self._watch.was_set_back():
            # its threads may wait for a time of day that comes hours later; a new one's do not
            self._start_recovery("the clock was set back", planned=True)
        now_ms = self._monotonic() * 1000
        self._restamping.look(self._clock() * 1000, now_ms)
        if not self._spool.waiting:
            self._restamping.nothing_to_try(now_ms)
        # alone, since a batch that is refused for its times would end the client of all topics
        if self._direct and self._restamping.is_due(now_ms):
            self._restamping.try_own()
            self._groups.try_one()
            self._renew = True
            self._start_spooling()

    def _each_refused_alone(self, records: Sequence[Record], errors: list[Any], now: float) -> None:
        """Records are refused for themselves: at fault, or they wait from the first that is not."""
        for at, (record, error) in enumerate(zip(records, errors, strict=True)):
            if not self._is_at_fault(record, error, now):
                self._put_back(records[at:])
                return
            self._fail(record, error)

    def _is_at_fault(self, record: Record, error: Any, now: float) -> bool:
        """Whose fault it is that a record is refused for itself; not its own: it waits."""
        groups, trouble = self._groups, self._groups.trouble
        if error.name() == CLOCK and self._restamping.refused():
            groups.again_at_once(TopicTrouble(record.topic, CLOCK, error.str(), now))
            return False
        if groups.refused_alone(record.topic, error, now):
            return True
        # what librdkafka remembers of the topic, it would say again without asking
        self._renew = True
        if groups.trouble is not trouble:
            self._log.error("topic_held_back", topic=record.topic, reason=error.str())
        return False

    def _confirm_in_time(self) -> None:
        """Once the spool has drained: delete what was read of it when Kafka has that for sure."""
        if self._confirm_at is None or self._client is None:
            return
        in_time = self._monotonic() >= self._confirm_at
        if (in_time or not len(self._client)) and self._confirm():
            self._confirm_at = None

    @abstractmethod
    def _settle(self) -> bool:
        """See that nothing that was read of the spool has gone on into another memory alone."""

    def _confirm(self) -> bool:
        """Delete what was read of the spool; False where some of it is nowhere else yet.

        Kafka has what was read, or it was put back: nothing of it is with the client. The rest has
        gone elsewhere, to the producer of a topic held apart or to the dead letters.
        """
        if not self._spool.confirmable:
            return True
        return self._settle() and self._spool.confirm()

    def _put_back(self, records: Sequence[Record]) -> None:
        """Put records that came back before those of the spool: nothing is under way any more."""
        self._spool.prepend(records)
        self._unflushed = True  # a disk that rests or fails has not taken all of it
        self._confirm()

    def _start_recovery(
        self,
        reason: str,
        *,
        under_way: bool = False,
        refused: bool = False,
        planned: bool = False,
    ) -> None:
        """The client is of no more use: from here on the spool, until there is a new one.

        Args:
            reason: for the log.
            under_way: take back at once what was sent and not acknowledged: it may be there twice.
            refused: records were; that is logged for itself.
            planned: nothing is wrong with it.
        """
        if self.state not in (ProducerState.DIRECT, ProducerState.SPOOLING):
            return
        refused = refused or bool(self._refused)
        # an account without the right to write fails each new client: said once
        log = self._log.debug if self._client_failures or refused else self._log.warning
        log = self._log.info if planned else log
        log("kafka_client_replaced", reason=reason)
        if not (refused or planned):
            self.health.last_error = reason
        # from here on newer records go to the spool, behind what comes back
        self._set_state(ProducerState.RECOVERING)
        self._recovering_since = self._monotonic()
        if self._client is not None:
            # what was sent may be written: it has _ANSWER_SECONDS to be acknowledged, not doubled
            self._client.purge(in_flight=under_way)

    def _recover(self) -> None:
        """Once the failed client has given everything back: into the spool, and a new client."""
        if self._client is None:
            return
        if len(self._client):
            if self._monotonic() >= self._recovering_since + _ANSWER_SECONDS:
                self._client.purge(in_flight=True)
            return
        refused = bool(self._refused)
        self._take_back()
        # after a refusal the brokers are there: no pause, what was refused has its own
        if not refused:
            self._client_failures += 1
            backoff = min(_BACKOFF_SECONDS * 2**self._client_failures, _MAX_BACKOFF_SECONDS)
            self._retry_at = self._monotonic() + backoff
        # may fail (a certificate that is being replaced): the records are in the spool by now, and
        # the next poll comes here again
        self._new_client()
        self._start_spooling()

    def _take_back(self) -> None:
        """Put the returned records before those of the spool, in the order they were produced.

        What the disk does not store waits in memory for the next client.
        """
        refused, self._refused = self._refused, {}
        self._group.clear()
        self._refusals.clear()
        self._put_back(self._sorted_out(self._returned.drain(), refused))

    def _sorted_out(self, records: list[Record], refused: Mapping[str, int]) -> list[Record]:
        """Return those of the records that came back that this producer has to send again."""
        if refused:
            self._groups.begin(self._monotonic())
        if self._too_large:
            self._make_smaller_batches()
        return records

    def _make_smaller_batches(self) -> None:
        """The topic's limit became less than it was, or nobody may read it: feel for it."""
        self._too_large.clear()
        # a quarter each time: from librdkafka's 1 MB to 1 kB in five refusals
        self._batch_bytes = max(_LEAST_BATCH_BYTES, (self._batch_bytes or BATCH_BYTES) // 4)

    async def _give_back(self) -> None:
        """Take from librdkafka, at the end, what Kafka did not acknowledge."""
        client = self._client
        self._set_state(ProducerState.RECOVERING)
        if client is not None:
            client.purge(in_flight=True)
            deadline = self._monotonic() + _PURGE_SECONDS
            while len(client) and self._monotonic() < deadline:
                self._poll_client()
                await asyncio.sleep(BUSY_POLL_SECONDS)
            self._kept_back = len(client)
            if self._kept_back:
                self._drop("not_returned", Dropped(self._kept_back, 0, 0))

    def _close_spool(self) -> None:
        """Put what is left on disk; it is lost where the disk goes with the process."""
        self._confirm()
        try:
            self._leave_unstored()
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
