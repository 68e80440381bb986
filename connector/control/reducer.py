"""What a command does to the subscriptions. Pure: no I/O, no clock, no chance.

`reduce` takes a state and a command and gives the next state, the records that say the difference,
and the reply. A state is never changed in place, so a transaction that fails leaves the one before
it whole. `State.replay` builds the same state from the records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from connector.control.bounds import MAX_REFRESHES, bounded
from connector.control.commands import Command, Status, digest, written
from connector.control.draft import Draft
from connector.control.expansion import NO_PRICES
from connector.control.held_rules import KeepRule
from connector.control.records import (
    LEADER_PARTITION,
    OWN,
    REPLY_PREFIX,
    WAITING_PREFIX,
    Remembered,
    StateRecord,
)
from connector.control.reply import About, Answer, RefusedInstrument, Reply, ReplyStatus
from connector.control.state import State
from connector.kite.feed.events import ConnectionEvent
from connector.kite.web.instruments import InstrumentMaster

_OTHER_COMMAND: Final = (
    "id: another command had this id; nothing was done: each command needs an id of its own"
)
# nobody sends a command that ended so long ago
_DECADES_MS: Final = 10**12
_SECONDS: Final = ": expires_at is in seconds, it seems; epoch milliseconds have 13 digits"

_UNKNOWN: Final = About()


class Outcome(NamedTuple):
    """What a command led to; `state` is the one before where nothing is to be written."""

    state: State
    records: tuple[StateRecord, ...]
    """The records in the order in which they are written: removals, so that no slot is ever too
    full on the way; then what is wanted; then the tombstones of what moved, so that its new place
    comes first."""
    reply: bytes | None
    """The reply as JSON; None for a command that is answered later."""
    events: tuple[ConnectionEvent, ...] = ()
    """The instruments that expired or changed their token."""


def reduce(
    state: State,
    command: Command | KeepRule,
    now_ms: int,
    names: InstrumentMaster,
    prices: Mapping[int, float] = NO_PRICES,
) -> Outcome:
    """Apply a command.

    Args:
        state: what was before; left as it is.
        command: what is asked for.
        now_ms: UTC milliseconds, against which `expires_at` counts.
        names: the instrument master; where it knows no answer, the state's own names do.
        prices: last price by token, rupees, of what rules follow.

    Returns:
        The next state with the records that make it, and the reply. A repeated command gets the
        reply of the first time and changes nothing; another command under a known id is rejected.
    """
    if (early := _early(state, command, now_ms)) is not None:
        return early
    draft = Draft(state, names, now_ms, prices)
    answer = draft.apply(command)
    # remembered too: a repeated id gets the first answer, even where it could be done by now
    if answer.failed:
        reply = _reply(command, ReplyStatus.REJECTED, state.revision, answer)
        return _remember(state, command, reply, ())
    after, records = draft.finish()
    reply = _reply(command, ReplyStatus.APPLIED, after.revision, answer)
    return _remember(after, command, reply, (*records, *answer.extra), state, answer.events)


def wait(state: State, command: Command | KeepRule, now_ms: int) -> Outcome:
    """Put a command aside until the list of instruments is loaded; `reduce` ends its waiting.

    What it is refused for whatever the list says, it is refused for at once.
    """
    if (early := _early(state, command, now_ms)) is not None:
        return early
    # sent once more while it waits: the one answer is for both
    if command.id in state.waiting:
        return Outcome(state, (), None)
    if len(state.waiting) >= MAX_REFRESHES:
        full = f"{MAX_REFRESHES} commands wait for the list of instruments already"
        return Outcome(state, (), rejection(state, command.id, (full,), about=About.of(command)))
    value = written(command)
    record = StateRecord(LEADER_PARTITION, WAITING_PREFIX + command.id, value)
    waiting = {**state.waiting, command.id: value}
    return Outcome(replace(state, waiting=waiting), (record,), None)


def give_up(
    state: State, command_id: str, errors: tuple[str, ...], *, about: About = _UNKNOWN
) -> Outcome:
    """Reject a command that waited; the same id may be tried again."""
    waiting = {one: value for one, value in state.waiting.items() if one != command_id}
    record = StateRecord(LEADER_PARTITION, WAITING_PREFIX + command_id, None)
    after = replace(state, waiting=waiting)
    return Outcome(after, (record,), rejection(state, command_id, errors, about=about))


def rejection(
    state: State,
    command_id: str,
    errors: tuple[str, ...],
    *,
    dry_run: bool = False,
    about: About = _UNKNOWN,
) -> bytes:
    """Return the reply to what changes nothing and is not remembered."""
    return Reply(
        id=command_id,
        status=ReplyStatus.REJECTED,
        **about._asdict(),
        revision=state.revision,
        errors=bounded(errors),
        dry_run=dry_run,
    ).encoded()


def settle(state: State) -> Outcome:
    """Move instruments off slots that the layout no longer has, as far as there is room.

    What finds no room keeps its record and its claims, and is placed when room appears.
    """
    # neither names nor the time have a part in a move
    after, records = Draft(state, InstrumentMaster(), 0).finish()
    return Outcome(after, records, b"")


def is_internal(command: Command | KeepRule) -> bool:
    """Whether the leader itself made the command: no message can, for its id begins with `@`."""
    return command.id.startswith(OWN)


def _early(state: State, command: Command | KeepRule, now_ms: int) -> Outcome | None:
    """Answer a command without a look at what it asks for; None where it is to be applied."""
    known, waiting = state.replies.get(command.id), state.waiting.get(command.id)
    # before all else: what was applied in time is not EXPIRED when it is sent once more
    if known is not None and known.digest == digest(command):
        return Outcome(state, (), known.reply)
    if known is not None or (waiting is not None and waiting != written(command)):
        reply = rejection(
            state,
            command.id,
            (_OTHER_COMMAND,),
            dry_run=command.dry_run,
            about=About.of(command),
        )
        return Outcome(state, (), reply)
    if command.expires_at is not None and now_ms > command.expires_at:
        late = now_ms - command.expires_at
        error = f"{late} ms too late" + (_SECONDS if late > _DECADES_MS else "")
        expired = _reply(command, ReplyStatus.EXPIRED, state.revision, Answer(errors=(error,)))
        return _remember(state, command, expired, ())
    expected = command.expected_revision
    # of the whole cluster, not of a watchlist: any change may have taken the room that was counted
    # on
    if expected is not None and expected != state.revision:
        answer = Answer(errors=(f"expected_revision: the revision is {state.revision}",))
        rejected = _reply(command, ReplyStatus.REJECTED, state.revision, answer)
        return _remember(state, command, rejected, ())
    return None


def _reply(
    command: Command | KeepRule, status: ReplyStatus, revision: int, answer: Answer
) -> bytes:
    # not validated again: its parts were, and `refused` may name 50 000 instruments
    return Reply.model_construct(
        id=command.id,
        status=status,
        **About.of(command)._asdict(),
        revision=revision,
        # what was counted before something failed has no effect
        accepted=0 if status is not ReplyStatus.APPLIED else answer.accepted,
        refused=tuple(
            RefusedInstrument.model_construct(instrument=refusal.instrument, reason=refusal.reason)
            for refusal in answer.refused
        ),
        errors=bounded(answer.errors),
        dry_run=command.dry_run,
        payload=answer.payload,
        displaced=answer.displaced or None,
        waits=answer.waits,
        matched=answer.matched,
    ).encoded()


def _remember(
    after: State,
    command: Command | KeepRule,
    reply: bytes,
    records: tuple[StateRecord, ...],
    before: State | None = None,
    events: tuple[ConnectionEvent, ...] = (),
) -> Outcome:
    """Keep the reply under the command's id; what has no effect to guard is not kept."""
    if command.dry_run or isinstance(command, Status):
        # of a dry run nothing is kept, neither the state nor the id, which may be used in earnest
        return Outcome(before or after, (), reply)
    # nobody sends it twice, so there is nothing to remember
    if is_internal(command):
        return Outcome(after, records, reply, events)
    sequence = after.progress.sequence + 1
    entry = Remembered(sequence, digest(command), reply)
    replies, forgotten = after.replies.remember(command.id, entry)
    writes = [*records, StateRecord(LEADER_PARTITION, REPLY_PREFIX + command.id, entry.encoded())]
    # tombstones: by these alone compaction ends what is not remembered any more
    writes += [StateRecord(LEADER_PARTITION, REPLY_PREFIX + oldest, None) for oldest in forgotten]
    waiting = after.waiting
    if command.id in waiting:
        waiting = {one: value for one, value in waiting.items() if one != command.id}
        writes.append(StateRecord(LEADER_PARTITION, WAITING_PREFIX + command.id, None))
    progress = after.progress._replace(sequence=sequence)
    state = replace(after, replies=replies, progress=progress, waiting=waiting)
    return Outcome(state, tuple(writes), reply, events)
