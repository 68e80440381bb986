"""The producer of one topic that is held apart, or of the dead letters; `isolating` has several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from connector.kafka.producer import RecordProducer
from connector.kafka.producer_state import FailedRecord, ProducerState
from connector.kafka.refusals import CLOCK, TopicTrouble
from connector.kafka.spool import Dropped, Record
from connector.kafka.spool_format import decode

APART_SECONDS: Final = 60.0
"""A topic stays apart for so long after its last refusal: what refuses one record a minute may not
end the client of all the other topics each time."""
_REST_SECONDS = 5.0  # for the last records of a topic to be acknowledged before it comes back
_LEFT_BYTES = 32 * 1024 * 1024
"""So much of a temporary folder is left to the other producer at a stop: it is in memory then."""
DEAD_LETTER_REFUSED: Final = "dead_letter_refused"


class TopicProducer(RecordProducer):
    """The producer of one topic, polled by another one.

    Args:
        topic: whose records it is given.
        arguments: of RecordProducer.
        after_max_ms: the topic's message.timestamp.after.max.ms.
        last_resort: it has the dead letters: what is refused here is lost.
        settle_dead_letters: see that none of them is in memory alone; False while one is.
        leave: called at a stop with records that the disk did not store, older than all that the
            other producer has of the topic.
        options: of RecordProducer.
    """

    def __init__(
        self,
        topic: str,
        *arguments: Any,
        after_max_ms: int,
        last_resort: bool,
        settle_dead_letters: Callable[[], bool],
        leave: Callable[[list[Record]], None],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._topic = topic
        self._settle_dead_letters = settle_dead_letters
        self._leave = leave
        self._restamping.after_max_ms = after_max_ms
        self._last_resort = last_resort
        self._refused_at = self._monotonic()  # the last time; APART_SECONDS count from it
        # newer records wait on disk since then, until none is under way; None: it goes on
        self._resting_since: float | None = None
        self._small_batches = False  # the topic's limit was felt for, and is below the others'

    @property
    def idle(self) -> bool:
        """Whether everything is acknowledged."""
        return self._empty()

    @property
    def hurries(self) -> bool:
        """Whether it looks for what is refused, and not for a topic to be well again."""
        return self._groups.active and self._groups.trouble is None

    @property
    def waits_safely(self) -> bool:
        """Kafka refuses its first record for what is not that record's fault; the disk has all."""
        durable = self._spool.persistent and not self._ephemeral and self._spool.problem is None
        return durable and self._groups.trouble is not None

    @property
    def troubles(self) -> list[TopicTrouble]:
        """The topic's trouble; also a wrong clock, although records have another one's time."""
        ahead_ms = self._restamping.ahead_ms
        if ahead_ms is None or self._groups.trouble is not None:
            return super().troubles
        return [TopicTrouble(self._topic, CLOCK, "", self._refused_at, ahead_ms)]

    def accept(self, record: Record, *, waited: bool = False) -> None:
        """Accept a record that another producer was given.

        Args:
            record: any.
            waited: it was read of a file, and goes to disk here too: should the process be killed,
                newer ones of this disk would be sent before that file is read again.
        """
        self._produced += 1
        if waited and self._direct and self._spool.problem is None:
            self._start_spooling()
        self._offer(record)

    def adopt(self, records: list[Record], *, refused: int, too_large: bool) -> None:
        """Accept records that another producer's client gave back, older than all that follow.

        Args:
            records: in their order.
            refused: so many of them were refused, with others.
            too_large: since there were too many in a batch.
        """
        if too_large:
            self._make_smaller_batches()
        if refused:
            self._groups.begin(self._monotonic())
            self._renew = True  # by a client for groups
            if self._direct:
                self._start_spooling()
        if self._spool.waiting or self._direct:
            # made before, so what it has of the topic is older still: these go behind it
            for record in records:
                self.accept(record, waited=True)
        else:
            self._produced += len(records)
            self._spool.prepend(records)

    def may_end(self, now: float) -> bool:
        """Whether all that was refused is long past."""
        well = self.state is ProducerState.DIRECT or self._resting_since is not None
        # batches as small as this topic wants them would be dear for all the others, and times that
        # it does not accept would end their client again and again
        alike = not self._small_batches and self._restamping.ahead_ms is None
        return well and alike and now >= self._refused_at + APART_SECONDS

    def rest(self, now: float) -> bool:
        """Let newer records wait in the spool; True once nothing is under way any more."""
        if self._resting_since is None:
            self._resting_since = now
            self._start_spooling()
        elif now >= self._resting_since + _REST_SECONDS:
            self._resting_since = None  # another time: Kafka acknowledges too slowly just now
            return False
        return self.state is ProducerState.SPOOLING and self._nothing_is_under_way()

    def settle(self, now: float) -> bool:
        """Whether no record is in memory alone; until then, or `go_on`, newer ones wait on disk.

        Not for longer than a topic rests before it comes back. What a disk in trouble does not
        take is no reason for anybody to wait.
        """
        stored = self._spool.flush() or self._spool.problem is not None
        under_way = self._volatile and not self._nothing_is_under_way()
        if stored and not under_way and not self._failures:
            return True
        if self.state in (ProducerState.DIRECT, ProducerState.SPOOLING):
            self.rest(now)
        return False

    def go_on(self) -> None:
        """Go on producing after `settle`."""
        self._resting_since = None

    def leave(self) -> list[Record] | None:
        """Everything that still waits, oldest first, and no longer this producer's.

        None where not all of it can be read just now: then it stays.
        """
        return self._read_all() if self._settle() else None

    def _read_all(self) -> list[Record] | None:
        left: list[Record] = []
        while records := list(self._spool.peek()):
            self._spool.advance(len(records))
            left += records
        if self._spool.waiting:
            self._spool.prepend(left)
            return None
        # produced by whoever takes them, as they were before they came here
        self._produced -= len(left)
        return left

    def end(self, *, keep_files: bool = False) -> None:
        """Close, with nothing left to send; what was lost meanwhile is reported.

        Args:
            keep_files: what was read of them is in memory alone.
        """
        self._set_state(ProducerState.CLOSED)
        self._client = None  # with it librdkafka's threads end; its queue is empty
        with contextlib.suppress(OSError):
            if not keep_files:
                self._spool.confirm()
            self._spool.close()
        self._tell()

    def _drain(self) -> None:
        resting_since = self._resting_since
        if resting_since is not None and self._monotonic() >= resting_since + _REST_SECONDS:
            self._resting_since = None  # whoever asked for it has other troubles
        if self._resting_since is None:
            super()._drain()
        else:
            self._group_is_under_way(self._monotonic())

    def _leave_unstored(self) -> None:
        if self._last_resort:
            return
        # a temporary folder goes with the process: the other producer may have one that stays
        goes = not self._spool.persistent and self._spool.size_bytes <= _LEFT_BYTES
        if goes and (records := self._read_all()):
            self._leave(records)
        # whoever gave them may still have the files that it read them of
        elif bodies := self._spool.store_at_last():
            self._produced -= len(bodies)
            self._leave([*map(decode, bodies)])

    def _make_smaller_batches(self) -> None:
        super()._make_smaller_batches()
        self._small_batches = True

    def _settle(self) -> bool:
        return super()._settle() and (self._last_resort or self._settle_dead_letters())

    def _note_refusal(self, topic: str, error: Any) -> None:
        super()._note_refusal(topic, error)
        self._refused_at = self._monotonic()
        self._resting_since = None

    def _note_failure(self, failure: FailedRecord) -> None:
        if self._last_resort:
            self._drop(DEAD_LETTER_REFUSED, Dropped.of([failure.record]))
        else:
            super()._note_failure(failure)
