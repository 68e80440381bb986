"""Pausing, stopping and resuming slots, as the leader keeps it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from connector.control.commands import Pause, Resume, Stop
from connector.control.records import HALT_KEY, Halt, Halted, StateRecord
from connector.control.state import Layout
from connector.kite.feed.events import ConnectionEvent, EventType

_EVENTS: Final = {
    None: EventType.SLOT_RESUMED,
    Halt.PAUSED: EventType.SLOT_PAUSED,
    Halt.STOPPED: EventType.SLOT_STOPPED,
}


class HaltChange(NamedTuple):
    """What a command makes of the slots; with errors, nothing."""

    halted: Mapping[int, Halted]
    slots: tuple[int, ...] = ()
    """The slots for which the command holds now, whether or not it changed them."""
    events: tuple[ConnectionEvent, ...] = ()
    """One for each slot that it changed."""
    errors: tuple[str, ...] = ()


def apply_halt(
    layout: Layout, halted: Mapping[int, Halted], command: Pause | Stop | Resume, now_ms: int
) -> HaltChange:
    """Pause, stop or resume what a command names.

    Args:
        layout: the slots and accounts that there are.
        halted: what is paused or stopped before; left as it is.
        command: what is asked for.
        now_ms: UTC milliseconds.
    """
    slots = _named(layout, command)
    if isinstance(slots, str):
        return HaltChange(halted, errors=(slots,))
    halt = {"pause": Halt.PAUSED, "stop": Halt.STOPPED, "resume": None}[command.type]
    after = dict(halted)
    events = []
    for slot in slots:
        before = halted[slot].halt if slot in halted else None
        if before is halt:
            continue
        if halt is None:
            del after[slot]
        else:
            after[slot] = Halted(halt, command.by, now_ms)
        reason = f"by {command.by}" if command.by is not None else ""
        events.append(ConnectionEvent(_EVENTS[halt], slot, now_ms, reason=reason))
    return HaltChange(after, slots, tuple(events))


def halt_records(
    before: Mapping[int, Halted], after: Mapping[int, Halted]
) -> tuple[StateRecord, ...]:
    """Return the records that say the difference, each in its slot's partition."""
    return tuple(
        StateRecord(slot, HALT_KEY, after[slot].encoded() if slot in after else None)
        for slot in sorted(before.keys() | after.keys())
        if before.get(slot) != after.get(slot)
    )


def _named(layout: Layout, command: Pause | Stop | Resume) -> tuple[int, ...] | str:
    """Return the slots that a command means; else why there are none."""
    if command.slot is not None:
        if command.slot in layout.slots:
            return (command.slot,)
        slots = ", ".join(map(str, layout.slots))
        return f"slot: there is no slot {command.slot}; there are {slots}"
    if command.account is None:
        return layout.slots
    return layout.no_account(command.account) or layout.slots_of(command.account)
