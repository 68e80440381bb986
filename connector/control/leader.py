"""The leader: applies the commands of `kite.control`, one at a time in the topic's order.

What messages come to is written in transactions, each with the changed records, the replies, and
the offset from which a next leader goes on; a transaction ends by records and bytes. A state is
kept only once its transaction is committed, so an aborted one is tried again from the state before
it; after anything else that goes wrong the whole state is read anew, as a new leader does.

Whatever a message is, the next one is applied: a bad one is answered or put aside, and what Kafka
can never write because of one is left out, and answered (`connector.control.work`).
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

import structlog

from connector.control.batch import Batch
from connector.control.bounds import ERROR_CHARACTERS, excerpt
from connector.control.commands import Command, RefreshInstruments, Replace
from connector.control.loading import Loading
from connector.control.memory import Memory, all_records
from connector.control.placement import first_waiting, waiting_for_room
from connector.control.records import LeaderProgress, StateRecord
from connector.control.reducer import reduce, settle
from connector.control.reply import Reply
from connector.control.rule_keeper import Prices, RuleKeeper, no_prices
from connector.control.settings_claims import InstrumentGroup, settings_claims
from connector.control.state import Layout, State
from connector.control.transactions import (
    NO_TOPIC_IDS,
    ControlLog,
    TopicIds,
    TransactionStep,
)
from connector.control.work import Applied, Desk, MessageWork, WaitingWork, Work, accepts_list
from connector.errors import (
    ConnectorError,
    FencedError,
    ProducerExpiredError,
    RecordRefusedError,
    TopicError,
    TransactionAbortedError,
)
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.web.instruments import InstrumentMaster

POLL_SECONDS: Final = 0.2
"""A stop, or a request of the leader's own process, waits at most so long."""
# with the pauses between them two seconds, for a broker that is away for a moment
ATTEMPTS: Final = 5
"""One transaction is tried so often before the state is read anew."""
BACK_OFF_SECONDS: Final = 1.0
FENCED_SECONDS: Final = 15.0
"""A fenced leader tries again after so long: by then the group has told a stale one."""
NAMED_WAITING: Final = 10
"""So many of the instruments that wait for room are named in the log."""
LOOK_SECONDS: Final = 5.0
"""It looks so often whether its topics are those that it began with, besides with each batch."""
HANGS_SECONDS: Final = 120.0
"""A leader that comes round no more for so long hangs: its calls have timeouts far below it."""


class Leader:
    """Runs in a thread of its own, from the moment its process owns the control partition.

    Args:
        open_log: makes the log of one leadership.
        layout: where instruments may be, by the settings.
        names: the instrument master as it is now; asked for each command.
        wanted: what the settings want always subscribed, by mode and account.
        max_bytes: longest command.
        clock: for times and pauses.
        refresh: begins to load the instrument master anew; the future fails with a ConnectorError
            when that cannot be. True: accept a list that would be held back. None: there is
            nothing to load.
        on_event: told of instruments that expired or changed, and of rules, from the leader's
            thread.
        prices: tells the last prices that rules follow.
        memory: what an earlier leader of this process has left.
    """

    def __init__(
        self,
        open_log: Callable[[], ControlLog],
        layout: Layout,
        names: Callable[[], InstrumentMaster],
        *,
        wanted: Mapping[InstrumentGroup, Sequence[int | str]],
        max_bytes: int,
        clock: Clock = SYSTEM_CLOCK,
        refresh: Callable[[bool], Future[None]] | None = None,
        on_event: Callable[[ConnectionEvent], None] | None = None,
        prices: Prices = no_prices,
        memory: Memory | None = None,
        back_off_seconds: float = BACK_OFF_SECONDS,
        fenced_seconds: float = FENCED_SECONDS,
    ) -> None:
        # one for each leadership: a producer that was fenced or has failed is of no more use
        self._open_log = open_log
        # of the settings; `_take_over` leaves the slots out that the topic has no partition for yet
        self._layout = layout
        # asked for each command, since another list may be loaded meanwhile
        self._names = names
        # what the settings subscribe, claimed anew at each take-over and with each list
        self._wanted = wanted
        self._clock = clock
        # when the thread came round last, monotonic seconds: any other thread tells by it that it
        # hangs
        self._round_at = clock.monotonic()
        # at most one load of the instrument list, whatever number of commands waits for it
        self._loading = Loading(refresh, clock=clock)
        # which rules list, day or price have something new for; asks for prices only while it is
        # led
        self._keeper = RuleKeeper(prices, clock=clock)
        # what pieces of work need, so that they need not know the leader
        self._desk = Desk(
            names,
            max_bytes=max_bytes,
            clock=clock,
            loads=self._loading.possible,
            prices=lambda: self._keeper.prices,
        )
        # called once the transaction is committed: an event of an aborted one would tell what is
        # not so
        self._on_event = on_event
        self._memory = memory or Memory()
        # the topics as this leadership began, and when it looks again whether they are the same
        self._topics = NO_TOPIC_IDS
        self._look_at = 0.0
        self._back_off_seconds = back_off_seconds
        self._fenced_seconds = fenced_seconds
        # set from any thread; looked at between transactions, never within one
        self._stopping = threading.Event()
        # the leader's own commands, from any thread: no message of `kite.control` carries them
        self._own: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._log = structlog.get_logger("connector.control")
        self.state: State | None = None
        """As last committed; None until the topic was read. Any thread may look at it."""
        self.applied_offset: int | None = None
        """The next message of `kite.control` to be applied; None until the topic was read."""
        self.waiting_for_room: dict[str | None, int] = {}
        """How many instruments wait for room on an account's slots; None: on any."""
        self.unresolved: tuple[str, ...] = ()
        """Instruments of the settings that could not be had, each with the reason."""
        self.error: str | None = None
        """Why it hears no command, where that is not simply new; until it has applied one again."""
        self.missing: Collection[str] = ()
        """Its topics that do not exist, as of its last look."""
        self.serving = False
        """Whether it has applied all that was written to `kite.control`, or does at the moment."""
        # counted in the leader's thread, read by the status from the event loop's
        self.commands = 0
        self.rejected = 0
        self.dead_letters = 0
        # transactions that the broker aborted; each was tried again from the state before
        self.aborted = 0
        self.refused = 0
        """Transactions that Kafka can never write; what they held was answered instead."""
        # another leader has begun while this one thought to lead: the group is slower than that
        self.fenced = 0

    @property
    def trouble(self) -> str | None:
        """Why no command is applied at the moment, for a person; None when nothing is wrong."""
        waited_seconds = self._clock.monotonic() - self._round_at
        if self.error is None and waited_seconds > HANGS_SECONDS:
            return f"a call of the Kafka client has not come back for {waited_seconds:.0f} s"
        return self.error

    @property
    def serves(self) -> bool:
        """Whether it applies commands as soon as they come."""
        return self.serving and self.trouble is None

    def stop(self) -> None:
        """End after the present transaction; returns at once, from any thread."""
        self._stopping.set()

    def refreshed(self) -> None:
        """Note that the instrument master was loaded anew: symbols get their tokens of today."""
        self._own.put(RefreshInstruments(id="-", type="refresh-instruments"))

    def run(self) -> None:
        """Lead until `stop`; whatever goes wrong with Kafka is tried again."""
        while not self._stopping.is_set():
            self._comes_round()
            log = self._open_log()
            pause_seconds = self._back_off_seconds
            try:
                # fences whoever led before (KIP-98): nothing of theirs is committed from here on
                log.open()
                # only now: what it reads, no other leader changes any more
                self._take_over(log)
                self._serve(log)
            except ProducerExpiredError as error:
                # nobody has led for so long: there is none whom opening another could fence
                self._log.info("leader_producer_expired", reason=str(error))
                pause_seconds = 0.0
            # this and the one above are ConnectorErrors too, so they stand before it
            except FencedError as error:
                # opening a log again at once would fence the rightful leader in turn
                self.fenced += 1
                self._interrupted(str(error))
                pause_seconds = self._fenced_seconds
                self._desk.lines.write("warning", "leader_fenced", reason=str(error))
            except ConnectorError as error:
                # while it is being stopped that is how a transaction ends that came too late
                level = "debug" if self._stopping.is_set() else "warning"
                self._desk.lines.write(level, "leader_interrupted", reason=str(error))
                self._interrupted(str(error))
            except Exception as error:  # noqa: BLE001 - logged; without a leader nobody steers
                self._desk.lines.write("exception", "leader_failed")
                self._interrupted(excerpt(repr(error), ERROR_CHARACTERS))
            finally:
                # whatever went wrong, what the topic says is true: the next round reads it anew
                self.state = None
                # else somebody would go on reading ticks for prices that nobody asks for
                self._keeper.forget()
                try:
                    log.close()
                except Exception:  # noqa: BLE001 - logged; the next log is another
                    self._desk.lines.write("exception", "leader_log_close_failed")
            self._stopping.wait(pause_seconds)
        self._loading.close()

    def _comes_round(self) -> None:
        self._round_at = self._clock.monotonic()

    def _interrupted(self, reason: str) -> None:
        self.error = reason
        self.serving = False

    def _serves(self) -> None:
        """Note that commands are applied: only that ends an interruption."""
        self.error = None
        self.serving = True

    def _take_over(self, log: ControlLog) -> None:
        """Build the state from its topic and bring it in line with the settings."""
        self._topics = self._look(log)
        partitions = log.partitions()
        # a new api_key's partitions may not be there yet, and a record for one would be refused
        usable = tuple(slot for slot in self._layout.slots if slot < partitions)
        layout = self._layout._replace(slots=usable)
        state, unexpected = State.replay(layout, log.read())
        if self._stopping.is_set():
            return  # the service ends, and would no longer take the events of what is changed here
        if unexpected:
            self._log.warning("unexpected_records_removed", count=len(unexpected))
        # nothing was ever written there, although leaders have applied commands
        forgotten = log.progress_kept() if state.progress == LeaderProgress() else 0
        lost = self._memory.lost_to(self._topics.subscriptions, state)
        if lost is not None:
            state, records = all_records(lost, layout, partitions)
        state = self._of_this_topic(state, self._topics.control)
        log.follow(state.progress.offset)
        if lost is None:
            # slots may have gone with the settings, or come
            settled = settle(state)
            state, records = settled.state, settled.records
        self._keep(self._commit(log, state, [*unexpected, *records]))
        self._memory.topic_id = self._topics.subscriptions
        state = self._present()
        if lost is not None:
            self._tell_restored(state)
        elif forgotten:
            self._tell_lost(forgotten)
        self._log.info(
            "leader_elected",
            revision=state.revision,
            offset=state.progress.offset,
            instruments=len(state.subscriptions),
            slots=len(usable),
        )
        own: list[Command] = []
        # without a list it could only fail; the list's own load asks for it (`refreshed`)
        if len(self._names()):
            own.append(_own(RefreshInstruments(id="-", type="refresh-instruments")))
        self._apply_own(log, own + self._settings_claims())

    def _of_this_topic(self, state: State, topic_id: str | None) -> State:
        """Return the state for a `kite.control` of this id: of another one no offset counts."""
        progress = state.progress
        if topic_id is None or topic_id == progress.topic_id:
            return state
        if progress.topic_id is not None:
            self._log.warning("control_topic_replaced", offset=progress.offset)
            progress = progress._replace(offset=0)
        return replace(state, progress=progress._replace(topic_id=topic_id))

    def _look(self, log: ControlLog) -> TopicIds:
        """Ask which topics there are.

        Raises:
            TopicError: one of them does not exist; the service makes it again, where it may.
        """
        ids = log.topic_ids()
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        self.missing = ids.missing
        if ids.missing:
            raise TopicError(", ".join(sorted(ids.missing)), "does not exist any more")
        return ids

    def _is_made_anew(self, log: ControlLog, *, messages: bool) -> bool:
        """Whether a topic was made anew under this leader: what it knows of the old one is void."""
        if not messages and self._clock.monotonic() < self._look_at:
            return False
        ids, before = self._look(log), self._topics
        return any(
            None not in (known, now) and known != now
            for known, now in (
                (before.control, ids.control),
                (before.subscriptions, ids.subscriptions),
            )
        )

    def _tell_restored(self, state: State) -> None:
        count = len(state.subscriptions)
        self._log.error("subscriptions_restored", instruments=count, revision=state.revision)
        reason = f"the topic was deleted: {count} instruments were written into it again"
        kind = EventType.SUBSCRIPTIONS_RESTORED
        self._publish(
            [ConnectionEvent(kind, 0, self._desk.time_ms(), reason=reason, instruments=count)]
        )

    def _tell_lost(self, applied: int) -> None:
        self._log.error("subscriptions_lost", applied=applied)
        reason = (
            f"the topic was deleted, and no leader that knew it is left: of the {applied} messages "
            "that were applied, those that the control topic still has are applied again"
        )
        self._publish(
            [ConnectionEvent(EventType.SUBSCRIPTIONS_LOST, 0, self._desk.time_ms(), reason=reason)]
        )

    def _serve(self, log: ControlLog) -> None:
        while not self._stopping.is_set():
            self._comes_round()
            if self._present().waiting:
                self._load(log)
            messages = log.poll(POLL_SECONDS)
            if self._is_made_anew(log, messages=bool(messages)):
                # whatever was read may be of either: from here on as a new leader
                return
            if messages:
                self._apply(log, (MessageWork(self._desk, message) for message in messages))
            elif log.at_end:
                self._serves()
            self._desk.lines.turn()
            own: list[Command] = []
            # what commands wait for is theirs to apply and to be told of: they come first
            while not self._own.empty() and not self._loading.running:
                # a new master may know names in the settings that the last one did not
                own += [_own(self._own.get()), *self._settings_claims()]
            if own:
                self._apply_own(log, own)
            self._keep_rules(log)
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Say by its edges for which accounts instruments wait that have no room there."""
        state = self._present()
        waiting = waiting_for_room(state.subscriptions, state.layout)
        before, self.waiting_for_room = self.waiting_for_room, waiting
        if waiting.keys() <= before.keys():
            if before and not waiting:
                self._log.info("no_instrument_waits_for_room")
            return
        self._log.warning(
            "instruments_wait_for_room",
            accounts={account or "any": count for account, count in waiting.items()},
            first=first_waiting(state.subscriptions, state.layout, NAMED_WAITING),
        )

    def _settings_claims(self) -> list[Command]:
        held = self._present().subscriptions.watchlists
        return [*settings_claims(self._wanted, held)]

    def _load(self, log: ControlLog) -> None:
        """Load the list for the commands that wait, and answer them once it is there."""
        waiting = self._present().waiting
        # the oldest decides whether a list may be accepted that would be held back
        self._loading.want(accepts=accepts_list(next(iter(waiting.values()))))
        if not self._loading.ended():
            return
        failure = self._loading.failure()
        self._apply(
            log,
            [
                WaitingWork(self._desk, command_id, value, failure)
                for command_id, value in waiting.items()
                # whoever asks for that waits for a load of this kind; the others are content with
                # either
                if self._loading.accepts or not accepts_list(value)
            ],
        )

    def _apply(self, log: ControlLog, works: Iterable[Work]) -> None:
        """Apply work in as few transactions as their bounds allow."""
        left = deque(works)
        while left and not self._stopping.is_set():
            batch = Batch(self._present())
            while left and not batch.full:
                work = left.popleft()
                batch.add(work, work.apply(batch.state))
            try:
                self._write_batch(log, batch)
            except RecordRefusedError as error:
                self._refused(error)
                # Kafka does not say which message's record it was
                for work in batch.works:
                    self._apply_alone(log, work)

    def _apply_alone(self, log: ControlLog, work: Work) -> None:
        """Do a piece of work in a transaction of its own; answer, or pass, what cannot be written.

        A reply that is too long for its topic is cut before the command is refused: so a command
        has its one reply as long as the topic takes its id.

        Raises:
            RecordRefusedError: not even the progress can be written, so it is not about the work.
        """
        reason = self._write_alone(log, work, work.apply(self._present()))
        if reason is not None:
            reason = self._write_alone(log, work, work.refuse(self._present(), reason))
        if reason is not None:
            batch = Batch(self._present())
            batch.add(work, work.skip(batch.state))
            self._write_batch(log, batch)

    def _write_alone(self, log: ControlLog, work: Work, applied: Applied) -> str | None:
        """Write what a piece of work comes to, else with shorter replies; why not, None: it is."""
        reason = None
        for one in (applied, *applied.shorter()):
            batch = Batch(self._present())
            batch.add(work, one)
            try:
                self._write_batch(log, batch)
            except RecordRefusedError as error:
                # the first says most: what follows is only shorter
                reason = reason or self._refused(error)
            else:
                return None
        return reason

    def _refused(self, error: RecordRefusedError) -> str:
        self.refused += 1
        reason = excerpt(error.reason, ERROR_CHARACTERS)
        self._desk.lines.write("warning", "transaction_refused", reason=reason)
        return reason

    def _write_batch(self, log: ControlLog, batch: Batch) -> None:
        state, step = batch.finish()
        # where this raises, the state of before is still the present one
        self._write(log, step)
        self._keep(state)
        self.commands += batch.messages
        self.rejected += batch.rejected
        self.dead_letters += len(batch.dead_letters)
        if batch.messages:
            self._serves()
        self._publish(batch.events)

    def _apply_own(self, log: ControlLog, commands: Sequence[Command]) -> None:
        """Apply the leader's own commands, a transaction each; there is nobody to reply to."""
        unresolved: list[str] = []
        for command in commands:
            if self._stopping.is_set():
                return  # the next leader applies its own
            outcome = reduce(self._present(), command, self._desk.time_ms(), self._names())
            try:
                self._keep(self._commit(log, outcome.state, outcome.records))
            except RecordRefusedError as error:
                unresolved.append(f"{command.id}: {self._refused(error)}")
                continue
            self._publish(outcome.events)
            # what a Subscribe found no room for, the Replace after it may
            if isinstance(command, Replace) and outcome.reply is not None:
                reply = Reply.model_validate_json(outcome.reply)
                unresolved += [f"{one.instrument}: {one.reason}" for one in reply.refused]
        if unresolved and tuple(unresolved) != self.unresolved:
            self._log.warning(
                "settings_instruments_refused",
                count=len(unresolved),
                first=unresolved[:10],
            )
        self.unresolved = tuple(unresolved)

    def _keep_rules(self, log: ControlLog) -> None:
        """Bring the rules that are due in line with list, day and price, a transaction each."""
        for command in self._keeper.due(self._present(), self._names()):
            outcome = reduce(
                self._present(), command, self._desk.time_ms(), self._names(), self._keeper.prices
            )
            try:
                self._keep(self._commit(log, outcome.state, outcome.records))
            except RecordRefusedError as error:
                self._refused(error)
                continue
            for event in outcome.events:
                level = "warning" if event.type is EventType.RULE_KEPT else "info"
                self._desk.lines.write(level, event.type.value, reason=event.reason)
            self._publish(outcome.events)

    def _commit(self, log: ControlLog, state: State, records: Sequence[StateRecord]) -> State:
        """Write records that no message asked for; without records there is no transaction."""
        if records:
            state, leader = state.applied(state.progress.offset)
            self._write(log, TransactionStep((*records, leader)))
        return state

    def _keep(self, state: State) -> None:
        """Note a state that is committed."""
        self.state = self._memory.state = state
        self.applied_offset = state.progress.offset

    def _write(self, log: ControlLog, step: TransactionStep) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            self._comes_round()
            try:
                log.write(step)
                return
            except TransactionAbortedError as error:
                self.aborted += 1
                # the same records would be refused again
                if isinstance(error, RecordRefusedError):
                    raise
                reason = excerpt(str(error), ERROR_CHARACTERS)
                self._desk.lines.write(
                    "warning", "transaction_aborted", attempt=attempt, reason=reason
                )
                if attempt == ATTEMPTS or self._stopping.wait(self._back_off_seconds * attempt / 5):
                    raise

    def _present(self) -> State:
        assert self.state is not None  # noqa: S101 - set by _take_over, which comes first
        return self.state

    def _publish(self, events: Sequence[ConnectionEvent]) -> None:
        if self._on_event is not None:
            for event in events:
                self._on_event(event)


def _own(command: Command, **changes: object) -> Command:
    """Make a command of the leader's own: no message can have its id or its watchlist."""
    name = changes.get("watchlist", f"@{command.type}")
    return command.model_copy(update={"id": str(name), **changes})
