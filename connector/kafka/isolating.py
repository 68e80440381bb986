"""A producer whose topics do not suffer for one another.

Where Kafka refuses records of a topic, the topic is held apart: all its records, the refused ones
first, go through a producer of its own, with a client and a spool of its own, until it has taken
them all and has refused nothing for a while. So the others go on meanwhile, however long the
trouble lasts, and the order of a key holds throughout: the topic changes hands only while none of
its records is under way.

Dead letters always have a producer of their own, made with the first of them: so they are counted
apart, when they are acknowledged.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connector.errors import SpoolError
from connector.kafka.producer import POLL_SECONDS, RecordProducer
from connector.kafka.producer_state import FailedRecord, ProducerState, RecordCounts
from connector.kafka.refusals import TopicTrouble
from connector.kafka.spool import Dropped, Record
from connector.kafka.spooling import MIB
from connector.kafka.timestamps import AFTER_MAX_MS
from connector.kafka.topic_producer import DEAD_LETTER_REFUSED, TopicProducer
from connector.settings.models import KafkaSettings, SpoolSettings

# the queue of a topic held apart is an eighth of the main one: there may be many of them
_QUEUE_SHARE = 8
_FOLDER = "held"
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")  # as brokers have it
_AT_REST = (ProducerState.NEW, ProducerState.CLOSED)


class IsolatingProducer(RecordProducer):
    """The producer of a service. Lives on one event loop, and is not thread-safe.

    Args:
        kafka: brokers, queue limits, compression.
        spool: where records wait, and how many; topics held apart have at most half of it.
        client_id: of the clients, for the brokers' logs.
        dead_letter_topic: a record that it refuses is lost, with the reason DEAD_LETTER_REFUSED.
        on_failed: called from `poll` for each record that is at fault itself.
        on_dropped: called from `poll` with a reason when records were lost.
        options: clocks, as for RecordProducer.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        spool: SpoolSettings,
        *,
        client_id: str,
        dead_letter_topic: str,
        on_failed: Callable[[FailedRecord], None] | None = None,
        on_dropped: Callable[[str, Dropped], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kafka, spool, client_id=client_id, on_failed=on_failed, on_dropped=on_dropped, **options
        )
        self._dead_letter_topic = dead_letter_topic
        # a folder for each topic held apart, by its name; None: they have temporary ones
        self._folder = None if spool.directory is None else spool.directory / _FOLDER
        self._max_bytes = spool.max_mib * MIB  # of all spools together
        self._options = options  # clocks, for the producers of topics too
        # topic → the producer that all of its records go through; empty in steady state
        self._held: dict[str, TopicProducer] = {}
        self._dead_letters: TopicProducer | None = None  # made with the first of them, and kept
        self._past = RecordCounts()  # of topics that came back
        self._closing = False  # dead letters are accepted until all other producers are closed
        self.after_max_ms: Mapping[str, int] = {}
        """Topic → its message.timestamp.after.max.ms, where it is known."""
        self._peak_bytes = 0  # of all spools together
        self._unopened: list[str] = []
        """What an earlier process left of topics held apart and this one cannot read, in words."""

    # -- what the service asks -------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int = 0,
        headers: Any = None,
    ) -> None:
        """Accept one record, as RecordProducer does; dead letters go their own way."""
        child = None
        # while closing too: a record may be found at fault at the very end
        if topic == self._dead_letter_topic and (self._closing or self.state not in _AT_REST):
            child = self._for_dead_letters()
            # without one it goes with all others, but over the disk: what it was made of may be
            # read of another spool, and deleted there
            if child is None and self.state is ProducerState.DIRECT:
                self._start_spooling()
        produce = super().produce if child is None else child.produce
        produce(topic, value, key, timestamp_ms, headers)

    @property
    def counts(self) -> RecordCounts:
        """Where all records are at this moment, but dead letters."""
        return sum((child.counts for child in self._held.values()), super().counts + self._past)

    @property
    def dead_letters(self) -> RecordCounts:
        """Where all dead letters are; those that Kafka refuses for good are dropped."""
        return RecordCounts() if self._dead_letters is None else self._dead_letters.counts

    @property
    def troubles(self) -> list[TopicTrouble]:
        """The topics that accept nothing, each refused for what is not a record's fault."""
        apart = (trouble for child in self._apart() for trouble in child.troubles)
        return [*super().troubles, *apart]

    def waiting(self, topic: str) -> int:
        """Return how many records of a topic in trouble are not acknowledged."""
        for name, child in self._named():
            if name == topic:
                counts = child.counts
                return counts.in_flight + counts.spooled
        if any(trouble.topic == topic for trouble in super().troubles):
            counts = super().counts  # of all topics, which wait behind this one
            return counts.in_flight + counts.spooled
        return 0

    @property
    def spool_bytes(self) -> int:
        """The size of all files of records that wait, bytes."""
        return super().spool_bytes + sum(child.spool_bytes for child in self._apart())

    @property
    def spool_limit_bytes(self) -> int:
        """How large all these files can become, by the setting and by the file system."""
        return super().spool_limit_bytes + sum(child.spool_bytes for child in self._apart())

    @property
    def spool_problem(self) -> str | None:
        """Why a spool does not work; None when all do."""
        problems = (super().spool_problem, *(child.spool_problem for child in self._apart()))
        return next(filter(None, problems), None) or "; ".join(self._unopened) or None

    @property
    def spool_peak_bytes(self) -> int:
        """The largest that `spool_bytes` was."""
        return max(self._peak_bytes, super().spool_peak_bytes)

    # -- life ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the client, and the spools that an earlier process left of topics held apart."""
        super().open()
        self._unopened.clear()
        for topic in self._left_apart():
            try:
                self._open_apart(topic)
            except SpoolError as exc:
                self._cannot_open(exc.directory, exc.reason)

    def poll(self) -> None:
        """Poll all producers, and bring topics back that are well again."""
        super().poll()
        for child in list(self._apart()):
            child.poll()
        self._share_the_spool()

    def pause_seconds(self) -> float:
        """Also on account of topics that are held apart."""
        apart = (
            child.pause_seconds() if child.hurries else max(child.pause_seconds(), POLL_SECONDS)
            for child in self._apart()
        )
        return min([super().pause_seconds(), *apart])

    def _move_on(self) -> None:
        super()._move_on()
        # what waits of a topic comes back over this disk
        if self.state is ProducerState.DIRECT and self._spool.problem is None:
            for topic, child in list(self._held.items()):
                if child.may_end(self._monotonic()):
                    self._bring_back(topic, child)

    async def close(self, grace_seconds: float) -> bool:
        """Also the producers of topics held apart, whose records stay in the spool.

        Dead letters are last: each of the others may find a record at fault when it closes.

        Returns:
            True when closing lost nothing.
        """
        self._closing = self.state not in _AT_REST
        try:
            clean = await super().close(grace_seconds)
        finally:
            self._closing = False
        if self._dead_letters is not None:
            clean = await self._dead_letters.close(0) and clean
        return clean

    async def _close_apart(self) -> bool:
        # all of them, whatever became of the one before
        return all([await child.close(0) for child in list(self._held.values())])

    def _adopt_unstored(self, records: list[Record]) -> None:
        self._produced += len(records)
        self._spool.prepend(records)

    def bound_batches(self, max_bytes: int) -> None:
        """Let no batch be larger from now on, unless it is one record."""
        super().bound_batches(max_bytes)
        for child in self._apart():
            child.bound_batches(max_bytes)

    def _empty(self) -> bool:
        return super()._empty() and all(child.idle for child in self._apart())

    def _waits_in_vain(self) -> bool:
        return super()._empty() and all(child.idle or child.waits_safely for child in self._apart())

    # -- between the topics ----------------------------------------------------------------------

    def _hand_over(self, record: Record) -> bool:
        child = self._held.get(record.topic)
        if child is None and record.topic == self._dead_letter_topic:  # left by an older version
            child = self._for_dead_letters()
        if child is None:
            return super()._hand_over(record)
        # it counts where it goes on: the sum of both is what `counts` shows
        self._produced -= 1
        child.accept(record, waited=not self._direct)
        return True

    def _note_failure(self, failure: FailedRecord) -> None:
        record = failure.record
        if record.topic == self._dead_letter_topic:
            # a dead letter of a dead letter would go the same way, for ever
            self._drop(DEAD_LETTER_REFUSED, Dropped.of([record]))
        else:
            super()._note_failure(failure)

    def _sorted_out(self, records: list[Record], refused: Mapping[str, int]) -> list[Record]:
        # of a topic that cannot be held apart just now this producer sends them in groups itself
        mine = {topic: count for topic, count in refused.items() if not self._hold(topic)}
        own: list[Record] = []
        by_topic: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            # all of the topic's, also those that were not refused: newer ones may not pass
            (by_topic[record.topic] if record.topic in self._held else own).append(record)
        for topic, listed in by_topic.items():
            self._produced -= len(listed)
            too_large = topic in self._too_large
            self._held[topic].adopt(listed, refused=refused.get(topic, 0), too_large=too_large)
        # the others' producers make smaller batches for themselves
        self._too_large &= mine.keys()
        return super()._sorted_out(own, mine)

    def _settle(self) -> bool:
        return super()._settle() and self._all_settle(list(self._apart()))

    def _all_settle(self, children: Sequence[TopicProducer]) -> bool:
        # what was read of a spool may now be in the memory of these alone: one whose records come
        # without end is never without some, unless newer ones wait on disk meanwhile
        now = self._monotonic()
        settled = [child.settle(now) for child in children]
        if all(settled):
            for child in children:
                child.go_on()
        return all(settled)

    def _settle_dead_letters(self) -> bool:
        return self._dead_letters is None or self._all_settle([self._dead_letters])

    def _set_state(self, state: ProducerState) -> None:
        super()._set_state(state)
        # a frame's records go straight, in one call, only while no topic is held apart
        self._fast = self._direct and not self._held

    def _hold(self, topic: str) -> bool:
        """Hold a topic apart; False where that cannot be done just now."""
        if topic in self._held:
            return True
        # dead letters are here only while they cannot have a producer of their own
        child = None if topic == self._dead_letter_topic else self._child(topic)
        if child is None:
            return False
        self._log.warning("topic_set_apart", topic=topic)
        self._held[topic] = child
        self._share_the_spool()
        self._fast = False  # each record is looked up from now on
        return True

    def _left_apart(self) -> list[str]:
        """Topics that have a folder; others that may stand there, as lost+found, are nobody's."""
        if self._folder is None:
            return []
        try:
            names = sorted(path.name for path in self._folder.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as exc:
            self._cannot_open(str(self._folder), exc.strerror or str(exc))
            return []
        return [name for name in names if _TOPIC_NAME.fullmatch(name)]

    def _cannot_open(self, folder: str, reason: str) -> None:
        """What waits there cannot be sent before newer records any more: say so until a start."""
        self._log.error("held_records_unreadable", folder=folder, reason=reason)
        self._unopened.append(
            f"what waits in {folder} cannot be read: {reason}. Let this user read and write it, or "
            "delete it, and start the replica again"
        )

    def _open_apart(self, topic: str) -> None:
        child = self._new_child(topic, anywhere=False)
        if topic == self._dead_letter_topic:
            self._dead_letters = child
        elif child.counts.spooled:
            # older than whatever is produced from now on: it goes on where it was
            self._held[topic] = child
            self._fast = False
        else:
            self._end(topic, child)
        self._share_the_spool()

    def _bring_back(self, topic: str, child: TopicProducer) -> None:
        """Once the topic's producer has nothing under way: what waits there goes on from here."""
        if not child.rest(self._monotonic()):
            return
        left = child.leave()
        if left is None:
            return
        # in one turn of the loop from here on: no newer record comes between
        del self._held[topic]
        self._fast = self._direct and not self._held
        if left:
            # on disk here before they are deleted there
            self._start_spooling()
        self._produced += len(left)
        for record in left:
            self._append(record)
        # a slow disk, too, has to take it: else it was read of files that would have to stay
        stored = self._spool.flush(now=True)
        # before its counts are taken over: what its spool loses at the end is among them
        self._end(topic, child, keep_files=not stored)
        self._past += child.counts
        self._share_the_spool()
        self._log.info("topic_brought_back", topic=topic)

    def _new_child(self, topic: str, *, anywhere: bool = True) -> TopicProducer:
        """Open one; in a temporary folder where its own is of no use, if it may be `anywhere`.

        Raises:
            SpoolError: there is no folder for it.
            SettingsError: librdkafka refuses a property.
        """
        dead_letters = topic == self._dead_letter_topic
        small = {"queue_max_messages": max(1000, self._kafka.queue_max_messages // _QUEUE_SHARE)}
        for folder in (self._folder, None) if anywhere else (self._folder,):
            child = TopicProducer(
                topic,
                self._kafka.model_copy(update=small),
                SpoolSettings(
                    directory=folder / topic if folder else None,
                    max_mib=max(1, self._max_bytes // 2 // MIB),
                    ephemeral=self._ephemeral,
                ),
                client_id=f"{self._client_id}-{topic}",
                on_failed=None if dead_letters else self._on_failed,
                on_dropped=self._on_dropped,
                last_resort=dead_letters,
                settle_dead_letters=self._settle_dead_letters,
                leave=self._adopt_unstored,
                after_max_ms=self.after_max_ms.get(topic, AFTER_MAX_MS),
                wake=self._wake,
                **self._options,
            )
            # one counter for all: metrics show topics, not who produces them
            child.refusals = self.refusals
            if self._batch_bytes is not None:
                child.bound_batches(self._batch_bytes)
            try:
                child.open()
            except SpoolError as exc:
                # without its own the order holds all the same; but its files go with the process: a
                # kill loses what waits in them, and a stop what is more than a moment's
                if folder is None or not anywhere:
                    raise
                self._log.error("spool_unusable", topic=topic, reason=str(exc))
            else:
                return child
        raise AssertionError("the loop ends by itself")

    def _child(self, topic: str) -> TopicProducer | None:
        """A new one; None where it cannot be made, so that nothing is lost for want of it."""
        try:
            return self._new_child(topic)
        except Exception as exc:  # noqa: BLE001 - a certificate being replaced, no descriptors left
            self._log.error("topic_not_set_apart", topic=topic, reason=str(exc))
            return None

    def _for_dead_letters(self) -> TopicProducer | None:
        if self._dead_letters is None:
            self._dead_letters = self._child(self._dead_letter_topic)
            self._share_the_spool()
        return self._dead_letters

    def _end(self, topic: str, child: TopicProducer, *, keep_files: bool = False) -> None:
        child.end(keep_files=keep_files)
        if self._folder is not None:
            _remove(self._folder / topic)

    def _share_the_spool(self) -> None:
        """Up to half of it is for topics held apart, as much for each; the rest is all others'."""
        apart = [child for child in self._apart() if child.spool_bytes]
        # a topic without files takes nothing from the others' share
        for child in apart:
            child.limit_spool(self._max_bytes // 2 // len(apart))
        self.limit_spool(self._max_bytes - sum(child.spool_bytes for child in apart))
        self._peak_bytes = max(self._peak_bytes, self.spool_bytes)

    def _apart(self) -> Iterator[TopicProducer]:
        return (child for _, child in self._named())

    def _named(self) -> Iterator[tuple[str, TopicProducer]]:
        yield from self._held.items()
        if self._dead_letters is not None:
            yield self._dead_letter_topic, self._dead_letters


def _remove(folder: Path) -> None:
    """Remove the directory of a spool that is empty; whatever else is in there stays."""
    with contextlib.suppress(OSError):
        (folder / "lock").unlink(missing_ok=True)
        folder.rmdir()  # refuses where anything is left
