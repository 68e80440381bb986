"""`kite-connector top --kafka`: how the slots are, as their owners have written it into Kafka.

For where no status server can be reached. Each owner writes how its slots are once a second; that
stays where it was when a replica is gone, so its age counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from connector.cli.ctl_shown import client
from connector.cli.moments import in_india
from connector.cli.top import Look, live
from connector.cluster.view import ClusterView, Seen, frame_age_seconds
from connector.errors import SettingsError
from connector.kafka.topics import TopicNames
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.wait import within
from connector.redaction import printable
from connector.settings.models import Settings

FIRST_SECONDS: Final = 15.0
"""The first look waits so long until everything that there is has been read."""
LATE_SECONDS: Final = 10.0
"""A connected slot receives something each second: one without a frame for longer is behind."""
SHOWN_EVENTS: Final = 5
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot, as its owner wrote it last."""

    slot: int
    owner: str
    state: str
    desired: int
    confirmed: int
    ticks_per_second: float
    age_seconds: float | None
    wrong: str

    @property
    def streams(self) -> bool:
        """Whether it is connected, as far as anybody has told of late."""
        return self.state == "connected" and not self.stale

    @property
    def stale(self) -> bool:
        """Whether its last frame is so old that its owner may be gone."""
        return self.age_seconds is None or self.age_seconds > LATE_SECONDS


def rows_of(seen: Seen, clock: Clock = SYSTEM_CLOCK) -> list[SlotRow]:
    """Return a row for each slot of which anything is known."""
    return [
        _row(slot, seen.slots.get(slot, {}), seen, clock)
        for slot in sorted({*seen.slots, *seen.halts, *(s for s, n in seen.carried.items() if n)})
    ]


def _row(slot: int, note: Mapping[str, Any], seen: Seen, clock: Clock) -> SlotRow:
    age = frame_age_seconds(note, clock)
    halted = seen.halts.get(slot)
    state = halted.halt.value if halted is not None else str(note.get("state") or "not told")
    wrong = str(note.get("trouble") or "")
    if halted is not None:
        wrong = f"by {halted.by or 'somebody'}, until the command resume"
    elif state == "connected" and age is not None and age > LATE_SECONDS:
        wrong = f"no frame for {age:.0f} s: is its owner alive?"
    elif not note:
        wrong = "nobody has told of it: no owner?"
    return SlotRow(
        slot,
        printable(str(note.get("owner") or "")),
        printable(state),
        int(seen.carried.get(slot, note.get("desired") or 0)),
        int(note.get("confirmed") or 0),
        float(note.get("rate") or 0),
        age,
        printable(wrong),
    )


def line_of(rows: Sequence[SlotRow], seen: Seen) -> str:
    """Return one line that says what flows, for what is no terminal."""
    streaming = [row for row in rows if row.streams]
    owners = {row.owner for row in streaming}
    rate = sum(row.ticks_per_second for row in streaming)
    carried = sum(row.desired for row in rows)
    replicas = "replica" if len(owners) == 1 else "replicas"
    words = (
        f"{len(streaming)} of {len(rows)} slots stream, of {len(owners)} {replicas}, "
        f"{carried:,} instruments, {rate:,.0f} ticks/s"
    )
    return "; ".join([words if rows else "no slot is known", *_problems(seen)])


def view_of(name: str, rows: Sequence[SlotRow], seen: Seen) -> RenderableType:
    """Return what a terminal shows."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
    for column in ("slot", "owner", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("instr.", "ticks/s", "last frame"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("what is wrong", ratio=1, overflow="fold")
    for row in rows:
        good = row.streams and row.confirmed >= row.desired
        table.add_row(
            str(row.slot),
            row.owner,
            Text(row.state.replace("_", " "), style="green" if good else "yellow"),
            f"{row.confirmed:,}/{row.desired:,}",
            f"{row.ticks_per_second:,.0f}",
            "" if row.age_seconds is None else f"{row.age_seconds:.1f} s",
            Text(row.wrong, style="yellow"),
        )
    parts: list[RenderableType] = [
        Text.assemble((name, "bold"), ("  as written into Kafka", "dim")),
        table,
    ]
    parts += [Text(problem, style="yellow") for problem in _problems(seen)]
    parts += [Text(_event(event), style="dim") for event in seen.events[:SHOWN_EVENTS]]
    return Group(*parts)


def _event(event: Mapping[str, Any]) -> str:
    time = in_india(event["time_ms"])
    kind = printable(event["type"]).replace("_", " ")
    times = event.get("times", 1)
    more = f"  {times} times" if times > 1 else ""
    clock = "--:--:--" if time is None else f"{time:%H:%M:%S}"
    return f"{clock}  slot {event['slot']}  {kind}  {event['reason']}".rstrip() + more


def _problems(seen: Seen) -> list[str]:
    return [f"{printable(where)}: {reason}" for where, reason in seen.problems.items()]


async def watch(
    settings: Settings, every_seconds: float, count: int | None, stop: asyncio.Event
) -> bool:
    """Show the slots until `stop`, or so many times; returns whether Kafka answered at last.

    Raises:
        SettingsError: without a cluster nobody writes how it is.
    """
    if not settings.cluster.enabled:
        raise SettingsError.of("cluster.enabled", "without a cluster Kafka tells of no slot")
    # blocks as long as brokers take to answer
    name, _ = await asyncio.to_thread(client(settings).found, settings.name)
    settings = settings.model_copy(update={"name": name})
    view = ClusterView(settings, TopicNames(settings.topics.prefix))
    # of the first look alone: later ones show what has come by then
    end = SYSTEM_CLOCK.monotonic() + FIRST_SECONDS

    async def look() -> Look:
        seen = view.look()
        while not (seen.loaded or seen.problems) and SYSTEM_CLOCK.monotonic() < end:
            if await within(_LOOK_SECONDS, stop.wait()):
                break
            seen = view.look()
        rows = rows_of(seen)
        return Look(view_of(settings.name, rows, seen), line_of(rows, seen), seen.loaded)

    try:
        return await live(look, every_seconds, count, stop)
    finally:
        view.close()
