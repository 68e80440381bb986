"""What the commands of `kite-connector ctl` have in common: client, input, and what is printed."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from connector.cli.options import with_settings
from connector.files import UnusableFileError
from connector.redaction import printable, printable_json

if TYPE_CHECKING:
    from connector.control.client import ControlClient
    from connector.control.reply import RuleStatus, StatusPayload
    from connector.settings.models import Settings

EXIT_REJECTED: Final = 4
EXIT_PARTLY: Final = 5
MAX_INPUT_BYTES: Final = 16 * 2**20
"""A file of instruments or standard input may have so many bytes: the whole market has 3 MiB."""
_BY_CHARACTERS: Final = 64
MAX_SECONDS: Final = 86_400.0
"""The longest wait that an option takes."""
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", min=0.1, max=MAX_SECONDS, help="Wait so many seconds for a reply."),
]
connected = with_settings("bootstrap", "prefix", "name")
"""What every command that talks to the control topic has to know."""
MOST_MATCHED: Final = 20
"""So many instruments of a rule that is tried are named; JSON has all."""


def client(settings: Settings) -> ControlClient:
    """Return the client of the settings' cluster, to be opened."""
    from connector.control.client import ControlClient
    from connector.kafka.topics import TopicNames

    return ControlClient(settings.kafka, TopicNames(settings.topics.prefix), name=settings.name)


def standard_input() -> bytes:
    """Read standard input to its end; whoever types ends it with Ctrl-D.

    Raises:
        UnusableFileError: it does not end.
    """
    if sys.stdin is None:
        return b""
    data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(data) > MAX_INPUT_BYTES:
        raise UnusableFileError(f"has more than {MAX_INPUT_BYTES} bytes")
    return data


def os_user() -> str:
    """Return who runs this, by the operating system: the sender of commands that name none."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as containers have
        name = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return printable(name)[:_BY_CHARACTERS] or "unknown"


def print_reply(
    reply: Any,
    owners: Mapping[int | None, str] = MappingProxyType({}),
    *,
    most_refused: int | None = None,
) -> None:
    """Print a reply for a person.

    Args:
        reply: of the leader.
        owners: who has each slot, and the leader, where it answers a `status`.
        most_refused: how many refused instruments are named; None: all.
    """
    dry = " (dry run: nothing was changed)" if reply.dry_run else ""
    about = " ".join(filter(None, (reply.type, reply.watchlist)))
    by = f" by {reply.by}" if reply.by else ""
    typer.echo(
        printable(
            f"{reply.status}  {about}{by}: "
            f"revision {reply.revision}, {reply.accepted} accepted{dry}"
        )
    )
    for error in reply.errors:
        typer.echo(f"  {printable(error)}")
    if reply.refused:
        typer.echo(f"refused: {len(reply.refused)}")
        shown = reply.refused[:most_refused]
        table(("instrument", "reason"), [(one.instrument, one.reason) for one in shown])
        if more := len(reply.refused) - len(shown):
            typer.echo(f"and {more} more")
    for lost in reply.displaced or ():
        typer.echo(
            printable(f"{lost.watchlist} loses {lost.instruments} instruments: no room for all")
        )
    if reply.waits is not None:
        typer.echo(printable(reply.waits))
    if reply.matched is not None:
        typer.echo(f"it comes to {len(reply.matched)} instruments now:")
        for instrument in reply.matched[:MOST_MATCHED]:
            typer.echo(f"  {printable(str(instrument))}")
        if len(reply.matched) > MOST_MATCHED:
            typer.echo(f"  and {len(reply.matched) - MOST_MATCHED} more (--json has all)")
    if reply.payload is not None:
        _print_status(reply.payload, owners)


def _print_status(payload: StatusPayload, owners: Mapping[int | None, str]) -> None:
    halted = any(slot.halt for slot in payload.slots)
    typer.echo(f"{payload.instruments} of {payload.capacity} instruments")
    if payload.unplaced:
        typer.echo(f"{payload.unplaced} wait for room")
    if None in owners:
        typer.echo(f"leader: {printable(owners[None])}")
    table(
        ("slot", "instruments", "capacity", "owner", *(["halt"] if halted else [])),
        [
            (
                slot.slot,
                slot.instruments,
                slot.capacity,
                owners.get(slot.slot, "-"),
                *([_halt(slot)] if halted else []),
            )
            for slot in payload.slots
        ],
    )
    _print_watchlists(payload)
    _print_rules(payload.rules)


def _print_watchlists(payload: StatusPayload) -> None:
    limits = payload.limits
    if not limits:
        table(("watchlist", "instruments"), list(payload.watchlists.items()))
        return
    rows = []
    for name, count in payload.watchlists.items():
        own = limits.get(name)
        quota = "-" if own is None or own.quota is None else own.quota
        rows.append((name, count, quota, 0 if own is None else own.priority))
    table(("watchlist", "instruments", "quota", "priority"), rows)


def _print_rules(rules: Sequence[RuleStatus]) -> None:
    from connector.control.rules import told

    table(
        ("watchlist", "rule", "what it claims", "mode", "instruments", "around"),
        [
            (
                one.watchlist,
                one.rule,
                told(one.claims),
                one.mode.value,
                one.instruments,
                "-" if one.middle is None else f"{one.middle:g} of {one.expiry}",
            )
            for one in rules
        ],
    )
    for one in rules:
        if one.problem is not None:
            typer.echo(printable(f"{one.watchlist}#{one.rule}: {one.problem}"))


def _halt(slot: Any) -> str:
    by = f" by {slot.halted_by}" if slot.halted_by else ""
    return f"{slot.halt}{by}" if slot.halt else "-"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header, in columns; nothing where there is no row."""
    if not rows:
        return
    text = [[printable(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[n]) for row in text) for n in range(len(header))]
    for row in text:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    typer.echo(printable_json(value, indent=2))
