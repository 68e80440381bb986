"""What a command does to the subscriptions. Pure: no I/O, no clock, no chance.

`reduce` takes a state and a command and gives the next state, the records that say the difference,
and the reply. A state is never changed in place, so a transaction that fails leaves the one before
it whole. `State.replay` builds the same state from the records alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from connector.control.commands import Command, RefusedInstrument, Reply, ReplyStatus, Status
from connector.control.draft import Answer, Draft
from connector.control.records import LEADER_PARTITION, REPLY_PREFIX, Record, Remembered
from connector.control.state import Names, NoNames, State
from connector.kite.wire.models import ConnectionEvent

REMEMBERED_COMMANDS: Final = 1000
"""Ids that are known again; older ones count as new."""
REMEMBERED_BYTES: Final = 8 * 1024 * 1024
"""Replies kept for them: a new leader has to read these."""


class Outcome(NamedTuple):
    """What a command led to; `state` is the one before where nothing is to be written."""

    state: State
    records: tuple[Record, ...]
    """In order: what is wanted no more, so that no slot is ever too full on the way; what is
    wanted; the tombstones of what moved, so that its new place comes first."""
    reply: bytes
    events: tuple[ConnectionEvent, ...] = ()
    """Instruments that expired or changed their token."""


def reduce(state: State, command: Command, now_ms: int, names: Names) -> Outcome:
    """Apply a command.

    Args:
        state: what was before; left as it is.
        command: what is asked for.
        now_ms: UTC milliseconds, against which `expires_at` counts.
        names: the instrument master; where it knows no answer, the state's own names do.

    Returns:
        The next state with the records that make it, and the reply. A repeated id gets the reply
        of the first time and changes nothing.
    """
    if (known := state.replies.get(command.id)) is not None:
        return Outcome(state, (), known.reply)
    if command.expires_at is not None and now_ms > command.expires_at:
        late = now_ms - command.expires_at
        expired = _reply(
            command, ReplyStatus.EXPIRED, state.revision, Answer(errors=(f"{late} ms too late",))
        )
        return _remember(state, command, expired, ())
    expected = command.expected_revision
    if expected is not None and expected != state.revision:
        answer = Answer(errors=(f"expected_revision: the revision is {state.revision}",))
        rejected = _reply(command, ReplyStatus.REJECTED, state.revision, answer)
        return _remember(state, command, rejected, ())

    draft = Draft(state, names, now_ms)
    answer = draft.apply(command)
    if answer.failed:
        reply = _reply(command, ReplyStatus.REJECTED, state.revision, answer)
        return _remember(state, command, reply, ())
    after, records = draft.finish()
    reply = _reply(command, ReplyStatus.APPLIED, after.revision, answer)
    return _remember(after, command, reply, (*records, *answer.extra), state, answer.events)


def settle(state: State) -> Outcome:
    """Move instruments off slots that the layout no longer has, as far as there is room.

    What finds no room keeps its record and its claims, and is placed when room appears.
    """
    after, records = Draft(state, NoNames(), 0).finish()
    return Outcome(after, records, b"")


def is_internal(command: Command) -> bool:
    """Whether the leader itself made the command: no message can, for its id begins with `@`."""
    return command.id.startswith("@")


def _reply(command: Command, status: ReplyStatus, revision: int, answer: Answer) -> bytes:
    return Reply.model_construct(
        id=command.id,
        status=status,
        revision=revision,
        accepted=0 if status is not ReplyStatus.APPLIED else answer.accepted,
        refused=tuple(
            RefusedInstrument.model_construct(instrument=refusal.instrument, reason=refusal.reason)
            for refusal in answer.refused
        ),
        errors=answer.errors,
        dry_run=command.dry_run,
        payload=answer.payload,
    ).encoded()


def _remember(
    after: State,
    command: Command,
    reply: bytes,
    records: tuple[Record, ...],
    before: State | None = None,
    events: tuple[ConnectionEvent, ...] = (),
) -> Outcome:
    """Keep the reply under the command's id; what has no effect to guard is not kept."""
    if command.dry_run or isinstance(command, Status):
        return Outcome(before or after, (), reply)
    if is_internal(command):
        return Outcome(after, records, reply, events)
    sequence = after.progress.sequence + 1
    kept = dict(after.replies)
    kept[command.id] = entry = Remembered(sequence, reply)
    writes = [*records, Record(LEADER_PARTITION, REPLY_PREFIX + command.id, entry.encoded())]
    size = sum(len(remembered.reply) for remembered in kept.values())
    while len(kept) > REMEMBERED_COMMANDS or (size > REMEMBERED_BYTES and len(kept) > 1):
        oldest = next(iter(kept))
        size -= len(kept.pop(oldest).reply)
        writes.append(Record(LEADER_PARTITION, REPLY_PREFIX + oldest, None))
    state = replace(after, replies=kept, progress=after.progress._replace(sequence=sequence))
    return Outcome(state, tuple(writes), reply, events)
