"""The leader: takes commands from `kite.control`, one at a time in the topic's order.

Each batch of messages is one transaction: the changed records, the replies, and the offset from
which a next leader goes on. A state is kept only once its transaction is committed, so an aborted
one is tried again from the state before it; after anything else that goes wrong the whole state
is read anew, as a new leader does. A bad message is answered or put aside, and never stops it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from connector.control.commands import (
    Command,
    RefreshInstruments,
    Rejected,
    Replace,
    Reply,
    ReplyStatus,
    parse,
)
from connector.control.records import Record
from connector.control.reducer import Outcome, reduce, settle
from connector.control.settings_claims import settings_claims
from connector.control.state import Layout, Names, State
from connector.control.transactions import ControlMessage, DeadLetter, Step
from connector.errors import ConnectorError, FencedError, TransactionAbortedError
from connector.kite.wire.models import ConnectionEvent, Mode

POLL_SECONDS: Final = 0.1
"""How long a stop, or a wish of the leader's own process, may wait."""
ATTEMPTS: Final = 5
"""Tries at one transaction before the state is read anew."""
BACK_OFF_SECONDS: Final = 1.0
FENCED_SECONDS: Final = 15.0
"""Until a fenced leader tries again: by then the group has told a stale one that it is none."""
INTERNAL_ERROR: Final = "internal error; the leader's log has it"


class Log(Protocol):
    """The leader's side of Kafka: `connector.control.transactions.ControlLog`."""

    def open(self) -> None:
        """Fence any leader before this one."""

    def close(self) -> None:
        """Let go."""

    def read(self) -> list[tuple[int, str, bytes | None]]:
        """All records of the state."""

    def partitions(self) -> int:
        """Slots that can be written to."""

    def follow(self, offset: int) -> None:
        """Go on at an offset."""

    def poll(self, timeout_seconds: float) -> list[ControlMessage]:
        """The next messages."""

    def write(self, step: Step) -> None:
        """One transaction."""


class Leader:
    """Runs in a thread of its own, from the moment its process owns the control partition.

    Args:
        open_log: makes the log of one leadership.
        layout: where instruments may be, by the settings.
        names: the instrument master as it is now; asked for each command.
        wanted: what the settings want always subscribed, by mode.
        max_bytes: longest command.
        time_ms: the clock, UTC milliseconds.
        refresh: loads the instrument master anew and blocks until that is done; raises a
            ConnectorError when it cannot. True: accept a list that would be held back. None: there
            is nothing to load.
        on_event: told of instruments that expired or changed, from the leader's thread.
    """

    def __init__(
        self,
        open_log: Callable[[], Log],
        layout: Layout,
        names: Callable[[], Names],
        *,
        wanted: Mapping[Mode, Sequence[int | str]],
        max_bytes: int,
        time_ms: Callable[[], int],
        refresh: Callable[[bool], None] | None = None,
        on_event: Callable[[ConnectionEvent], None] | None = None,
        back_off_seconds: float = BACK_OFF_SECONDS,
        fenced_seconds: float = FENCED_SECONDS,
    ) -> None:
        self._open_log = open_log
        self._layout = layout
        self._names = names
        self._wanted = wanted
        self._max_bytes = max_bytes
        self._time_ms = time_ms
        self._refresh = refresh
        self._on_event = on_event
        self._back_off_seconds = back_off_seconds
        self._fenced_seconds = fenced_seconds
        self._stopping = threading.Event()
        self._own: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._log = structlog.get_logger("connector.control")
        self.state: State | None = None
        """As last committed; None until the topic was read. Any thread may look at it."""
        self.unresolved: tuple[str, ...] = ()
        """Instruments of the settings that could not be had, each with the reason."""
        self.error: str | None = None
        """Why it hears no command at the moment, where that is not simply new."""
        self.commands = 0
        self.rejected = 0
        self.dead_letters = 0
        self.aborted = 0
        self.fenced = 0

    def stop(self) -> None:
        """End after the present transaction; returns at once, from any thread."""
        self._stopping.set()

    def refreshed(self) -> None:
        """Say that the instrument master was loaded anew: symbols get their tokens of today."""
        self._own.put(RefreshInstruments(id="-", type="refresh-instruments"))

    def run(self) -> None:
        """Lead until `stop`; whatever goes wrong with Kafka is tried again."""
        while not self._stopping.is_set():
            log = self._open_log()
            pause_seconds = self._back_off_seconds
            try:
                log.open()
                self._take_over(log)
                self._serve(log)
            except FencedError as error:
                # opening a log again at once would fence the rightful leader in turn
                self.fenced += 1
                self.error = str(error)
                pause_seconds = self._fenced_seconds
                self._log.warning("leader fenced", reason=str(error))
            except ConnectorError as error:
                # while it is being stopped that is how a transaction ends that came too late
                log_it = self._log.debug if self._stopping.is_set() else self._log.warning
                log_it("leader interrupted", reason=str(error))
                self.error = str(error)
            except Exception as error:  # noqa: BLE001 - logged; without a leader nobody steers
                self._log.exception("leader failed")
                self.error = repr(error)
            finally:
                self.state = None
                try:
                    log.close()
                except Exception:  # noqa: BLE001 - logged; the next log is another
                    self._log.exception("the leader's log did not close")
            self._stopping.wait(pause_seconds)

    def _take_over(self, log: Log) -> None:
        """Build the state from its topic and bring it in line with the settings."""
        usable = tuple(slot for slot in self._layout.slots if slot < log.partitions())
        state, strays = State.replay(self._layout._replace(slots=usable), log.read())
        if strays:
            self._log.warning("records that do not belong are taken away", count=len(strays))
        log.follow(state.progress.offset)
        settled = settle(state)
        state = self._commit(log, settled.state, [*strays, *settled.records])
        self._log.info(
            "leader",
            revision=state.revision,
            offset=state.progress.offset,
            instruments=len(state.subscriptions),
            slots=len(usable),
        )
        self.state = state
        own: list[Command] = []
        if len(self._names()):
            own.append(_own(RefreshInstruments(id="-", type="refresh-instruments")))
        self._apply_own(log, own + settings_claims(self._wanted))
        self.error = None

    def _serve(self, log: Log) -> None:
        while not self._stopping.is_set():
            messages = log.poll(POLL_SECONDS)
            if messages:
                self._apply(log, messages)
            own: list[Command] = []
            while not self._own.empty():
                # a new master may know names in the settings that the last one did not
                own += [_own(self._own.get()), *settings_claims(self._wanted)]
            if own:
                self._apply_own(log, own)

    def _apply(self, log: Log, messages: Sequence[ControlMessage]) -> None:
        """Apply messages in one transaction."""
        state = self._present()
        records: list[Record] = []
        replies: list[tuple[str, bytes]] = []
        dead_letters: list[DeadLetter] = []
        events: list[ConnectionEvent] = []
        for message in messages:
            now_ms = self._time_ms()
            command = self._parse(message)
            if isinstance(command, Rejected):
                self.rejected += 1
                self._log.warning(
                    "command rejected",
                    id=command.id,
                    offset=message.offset,
                    errors=list(command.errors),
                )
                if command.id is None:
                    dead_letters.append(
                        DeadLetter(
                            message.value or b"",
                            "invalid_command",
                            command.errors,
                            message.offset,
                            now_ms,
                        )
                    )
                else:
                    replies.append((command.id, _rejection(state, command.id, command.errors)))
                continue
            outcome = self._reduce(state, command, now_ms)
            state = outcome.state
            records += outcome.records
            replies.append((command.id, outcome.reply))
            events += outcome.events
        next_offset = messages[-1].offset + 1
        state, leader = state.applied(next_offset)
        self._write(log, Step((*records, leader), replies, dead_letters, next_offset))
        self.state = state
        self.commands += len(messages)
        self.dead_letters += len(dead_letters)
        self._tell(events)

    def _parse(self, message: ControlMessage) -> Command | Rejected:
        try:
            return parse(message.value, self._max_bytes)
        except Exception:  # noqa: BLE001 - logged; one message must not stop all others
            self._log.exception("message failed", offset=message.offset)
            return Rejected(None, (INTERNAL_ERROR,))

    def _reduce(self, state: State, command: Command, now_ms: int) -> Outcome:
        """Reduce one command; nothing in it may stop the leader."""
        try:
            if (
                isinstance(command, RefreshInstruments)
                and not command.dry_run
                and self._refresh is not None
                and command.id not in state.replies
            ):
                self._refresh(command.accept_list)
            outcome = reduce(state, command, now_ms, self._names())
        except ConnectorError as error:
            reply = _rejection(state, command.id, (str(error),), dry_run=command.dry_run)
            outcome = Outcome(state, (), reply)
        except Exception:  # noqa: BLE001 - logged; one command must not stop all others
            self._log.exception("command failed", id=command.id, type=command.type)
            outcome = Outcome(state, (), _rejection(state, command.id, (INTERNAL_ERROR,)))
        self._log.info(
            "command",
            id=command.id,
            type=command.type,
            revision=outcome.state.revision,
            records=len(outcome.records),
        )
        return outcome

    def _apply_own(self, log: Log, commands: Sequence[Command]) -> None:
        """Apply what the leader itself wants, a transaction each; there is nobody to reply to."""
        unresolved: list[str] = []
        for command in commands:
            outcome = reduce(self._present(), command, self._time_ms(), self._names())
            self.state = self._commit(log, outcome.state, outcome.records)
            self._tell(outcome.events)
            # what a Subscribe found no room for, the Replace after it may
            if isinstance(command, Replace):
                reply = Reply.model_validate_json(outcome.reply)
                unresolved += [f"{one.instrument}: {one.reason}" for one in reply.refused]
        if unresolved and tuple(unresolved) != self.unresolved:
            self._log.warning(
                "instruments of the settings cannot be had",
                count=len(unresolved),
                first=unresolved[:10],
            )
        self.unresolved = tuple(unresolved)

    def _commit(self, log: Log, state: State, records: Sequence[Record]) -> State:
        """Write records that no message asked for; none is no transaction."""
        if records:
            state, leader = state.applied(state.progress.offset)
            self._write(log, Step((*records, leader)))
        return state

    def _write(self, log: Log, step: Step) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                log.write(step)
                return
            except TransactionAbortedError as error:
                self.aborted += 1
                self._log.warning("transaction aborted", attempt=attempt, reason=str(error))
                if attempt == ATTEMPTS or self._stopping.wait(self._back_off_seconds * attempt / 5):
                    raise

    def _present(self) -> State:
        assert self.state is not None  # noqa: S101 - set by _take_over, which comes first
        return self.state

    def _tell(self, events: Sequence[ConnectionEvent]) -> None:
        if self._on_event is not None:
            for event in events:
                self._on_event(event)


def _own(command: Command, **changes: object) -> Command:
    """A command of the leader's own: its id, as its watchlist, is one that no message can have."""
    name = changes.get("watchlist", f"@{command.type}")
    return command.model_copy(update={"id": str(name), **changes})


def _rejection(
    state: State, command_id: str, errors: tuple[str, ...], *, dry_run: bool = False
) -> bytes:
    return Reply(
        id=command_id,
        status=ReplyStatus.REJECTED,
        revision=state.revision,
        errors=errors,
        dry_run=dry_run,
    ).encoded()
