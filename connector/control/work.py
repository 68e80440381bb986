"""What a message of `kite.control`, or a command that waited, comes to: always something writable.

Each piece of work has three outcomes, of which the next is used when Kafka can never write the one
before: what was asked for; a short answer that it cannot be written; nothing but the progress. So
whatever a message is, the next one is applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Final, NamedTuple, Protocol

import structlog

from connector.control.bounds import (
    INTERNAL_ERROR,
    MAX_RECORD_BYTES,
    bounded,
    excerpt,
    oversize,
)
from connector.control.commands import COMMAND, Command, RefreshInstruments
from connector.control.expansion import NO_PRICES
from connector.control.line_limit import LineLimit
from connector.control.parsing import Rejected, parse
from connector.control.records import StateRecord
from connector.control.reducer import Outcome, give_up, reduce, rejection, wait
from connector.control.reply import About
from connector.control.state import State
from connector.control.transactions import ControlMessage, DeadLetter
from connector.kite.clock import Clock
from connector.kite.feed.events import ConnectionEvent
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.wire.messages import json_object

_LOGGED_ERRORS: Final = 3
_LEFT_OUT: Final = "the rest is left out: Kafka refuses a longer reply"


class Applied(NamedTuple):
    """What is to be written for a piece of work, and the state after it."""

    state: State
    records: tuple[StateRecord, ...] = ()
    reply: tuple[str, bytes] | None = None
    """The reply as (command id, JSON); None where nobody can be answered."""
    dead_letter: DeadLetter | None = None
    events: tuple[ConnectionEvent, ...] = ()
    rejected: bool = False
    """Whether the message was no command."""

    @property
    def size(self) -> int:
        """The size in bytes of all that is written, roughly."""
        reply = len(self.reply[1]) if self.reply is not None else 0
        return reply + sum(len(record.key) + len(record.value or b"") for record in self.records)

    def shorter(self) -> Iterator[Applied]:
        """Yield the same with ever shorter replies, at last of id, status and revision alone.

        None where the reply is what was asked for: a status, or the instruments of a rule.
        """
        if self.reply is None:
            return
        command_id, text = self.reply
        whole = json.loads(text)
        if whole.get("payload") is not None or whole.get("matched") is not None:
            return
        bare = {name: whole[name] for name in ("id", "status", "revision")}
        # else it would read as if it had been done in earnest
        bare |= {"dry_run": True} if whole["dry_run"] else {}
        for kept in ({**bare, "accepted": whole["accepted"], "errors": [_LEFT_OUT]}, bare):
            reply = json.dumps(kept, separators=(",", ":")).encode()
            if len(reply) < len(text):
                yield self._replace(reply=(command_id, reply))


class Work(Protocol):
    """One piece of work of the leader; no method raises, whatever it is about."""

    @property
    def next_offset(self) -> int | None:
        """The offset of `kite.control` behind this work; None where it was passed before."""

    def apply(self, state: State) -> Applied:
        """Do what was asked for."""

    def refuse(self, state: State, reason: str) -> Applied:
        """Write a short answer in place of what Kafka does not write."""

    def skip(self, state: State) -> Applied:
        """Write nothing but the progress."""


class Desk:
    """The collaborators of all work of one leader.

    Args:
        names: the list of instruments as it is now.
        max_bytes: longest command.
        clock: for the time of replies and dead letters.
        loads: whether `refresh-instruments` waits for a list to be loaded.
        prices: last prices of what rules follow.
    """

    def __init__(
        self,
        names: Callable[[], InstrumentMaster],
        *,
        max_bytes: int,
        clock: Clock,
        loads: bool,
        prices: Callable[[], Mapping[int, float]] = lambda: NO_PRICES,
    ) -> None:
        self.names = names
        self.prices = prices
        self.max_bytes = max_bytes
        self._clock = clock
        self.loads = loads
        self.log = structlog.get_logger("connector.control")
        self.lines = LineLimit(self.log, clock=clock)

    def time_ms(self) -> int:
        """Return UTC milliseconds since 1970."""
        return self._clock.time_us() // 1000

    def do(self, state: State, command: Command, *, waited: bool = False) -> Applied:
        """Reduce one command; what nobody foresaw, or what no message can hold, is a rejection."""
        try:
            outcome = self._outcome(state, command, waited=waited)
            # found here it costs this command alone; found by Kafka, the transaction of all with it
            too_big = oversize(outcome.records, outcome.reply)
        except Exception:  # noqa: BLE001 - logged; whatever a command is, the next one is applied
            self.lines.write(
                "exception", "command_failed", id=excerpt(command.id), type=command.type
            )
            return self.rejected(state, command, INTERNAL_ERROR)
        if too_big is not None:
            reason = f"{too_big}, a message holds {MAX_RECORD_BYTES}: nothing was changed"
            return self.rejected(state, command, reason)
        self.lines.write(
            "info",
            "command_waits" if outcome.reply is None else "command_applied",
            id=excerpt(command.id),
            **{
                name: told for name, told in About.of(command)._asdict().items() if told is not None
            },
            dry_run=command.dry_run,
            revision=outcome.state.revision,
            records=len(outcome.records),
        )
        reply = None if outcome.reply is None else (command.id, outcome.reply)
        return Applied(outcome.state, outcome.records, reply, events=outcome.events)

    def rejected(self, state: State, command: Command | str, reason: str) -> Applied:
        """Answer that a command was not done; where it waited, it waits no more.

        Args:
            state: the state before.
            command: the command, or its id where nothing else is known of it.
            reason: why it was not done.
        """
        if isinstance(command, str):
            command_id, dry_run, about = command, False, About()
        else:
            command_id, dry_run, about = command.id, command.dry_run, About.of(command)
        if command_id in state.waiting and not dry_run:
            # else it would be answered, and wait on
            outcome = give_up(state, command_id, (reason,), about=about)
            assert outcome.reply is not None  # noqa: S101 - giving up is an answer
            return Applied(outcome.state, outcome.records, (command_id, outcome.reply))
        reply = rejection(state, command_id, (reason,), dry_run=dry_run, about=about)
        # not remembered: the same id may be sent again when what stood against it is gone
        return Applied(state, reply=(command_id, reply))

    def _outcome(self, state: State, command: Command, *, waited: bool) -> Outcome:
        now_ms = self.time_ms()
        loads = self.loads and isinstance(command, RefreshInstruments) and not command.dry_run
        # a dry run is answered at once, by the list that there is
        if loads and not waited:
            return wait(state, command, now_ms)
        return reduce(state, command, now_ms, self.names(), self.prices())


class MessageWork:
    """The work of one message of `kite.control`."""

    def __init__(self, desk: Desk, message: ControlMessage) -> None:
        self._desk = desk
        self._message = message
        # a message that cannot be written is applied, then refused: it is one line in the log all
        # the same
        self._told = False

    @property
    def next_offset(self) -> int:
        """The offset behind the message."""
        return self._message.offset + 1

    def apply(self, state: State) -> Applied:
        """Do what the command asks for; answer or put aside what is none."""
        if isinstance(self._command, Rejected):
            return self._put_aside(state, self._command.errors)
        return self._desk.do(state, self._command)

    def refuse(self, state: State, reason: str) -> Applied:
        """Answer that the outcome cannot be written, or dead-letter nothing but a description."""
        if isinstance(self._command, Rejected):
            # what Kafka refused may be the message's own bytes: this time none of them is kept
            return self._put_aside(state, (*self._command.errors[:1], reason), kept=False)
        reason = f"Kafka refuses what it leads to: {reason}"
        return self._desk.rejected(state, self._command, reason)

    def skip(self, state: State) -> Applied:
        """Pass the message: not even an answer can be written."""
        self._desk.lines.write("error", "control_message_passed", offset=self._message.offset)
        return Applied(state)

    def _put_aside(self, state: State, errors: tuple[str, ...], *, kept: bool = True) -> Applied:
        rejected = self._command
        assert isinstance(rejected, Rejected)  # noqa: S101 - the callers looked
        if not self._told:
            self._told = True
            self._desk.lines.write(
                "warning",
                "control_message_rejected",
                id=None if rejected.id is None else excerpt(rejected.id),
                offset=self._message.offset,
                errors=bounded(errors)[:_LOGGED_ERRORS],
            )
        if rejected.id is not None:
            reply = rejection(state, rejected.id, errors)
            return Applied(state, reply=(rejected.id, reply), rejected=True)
        letter = DeadLetter.of(self._message, errors, self._desk.time_ms(), kept=kept)
        return Applied(state, dead_letter=letter, rejected=True)

    # once for all of apply, refuse and skip
    @cached_property
    def _command(self) -> Command | Rejected:
        try:
            return parse(self._message.value, self._desk.max_bytes)
        except Exception:  # noqa: BLE001 - logged; the next message is applied
            self._desk.lines.write(
                "exception", "control_message_failed", offset=self._message.offset
            )
            return Rejected(None, (INTERNAL_ERROR,))


def accepts_list(value: bytes) -> bool:
    """Whether a command that waits accepts a list that would be held back."""
    return json_object(value).get("accept_list") is True


class WaitingWork:
    """A command that waited for the list of instruments, which has been loaded, or cannot be.

    Args:
        failure: why the list was not loaded; None where it was.
    """

    def __init__(self, desk: Desk, command_id: str, value: bytes, failure: str | None) -> None:
        self._desk = desk
        self._command_id = command_id
        self._value = value
        self._failure = failure

    @property
    def next_offset(self) -> None:
        """None: the message was passed when it began to wait."""
        return

    def apply(self, state: State) -> Applied:
        """Apply the command with the list that there is now, or answer why there is none."""
        if self._failure is not None:
            return self.refuse(state, self._failure)
        try:
            command = COMMAND.validate_json(self._value)
        except ValueError:
            # of another version of the connector
            self._desk.lines.write("exception", "command_failed", id=excerpt(self._command_id))
            return self.refuse(state, INTERNAL_ERROR)
        return self._desk.do(state, command, waited=True)

    def refuse(self, state: State, reason: str) -> Applied:
        """Answer that the command was not applied."""
        return self._desk.rejected(state, self._command_id, reason)

    def skip(self, state: State) -> Applied:
        """End the waiting without an answer."""
        self._desk.lines.write("error", "waiting_command_passed", id=excerpt(self._command_id))
        outcome = give_up(state, self._command_id, ())
        return Applied(outcome.state, outcome.records)
