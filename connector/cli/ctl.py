"""`kite-connector ctl`: steers a running cluster over its control topic.

Each type of command is a command here, made of its model in `connector.control.commands`: what has
a default there is an option, what has none an argument.

Exit codes: 0 done; 1 no reply, or no broker; 2 wrong usage; 4 rejected or expired; 5 done in part,
some instruments were refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from connector.cli import interrupt
from connector.cli.ctl_shown import (
    EXIT_PARTLY,
    EXIT_REJECTED,
    MAX_INPUT_BYTES,
    MAX_SECONDS,
    TimeoutOption,
    client,
    connected,
    os_user,
    print_json,
    print_reply,
    standard_input,
    table,
)
from connector.cli.group import CommandGroup, group
from connector.cli.options import JsonOption, with_options
from connector.cli.verdict import ends_with
from connector.errors import SettingsError
from connector.files import read_bounded
from connector.redaction import printable, printable_json

if TYPE_CHECKING:
    from connector.control.client import Change
    from connector.control.commands import Command, CommandBase
    from connector.settings.models import Settings

NOBODY: Final = "nobody is joined under the name "
_NUMBER_DIGITS: Final = 20
_REPLY_SECONDS: Final = {"refresh-instruments": 90.0}
"""How long a reply may take where that is not 30 s: the list is loaded first."""

InstrumentsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INSTRUMENT",
        help="Tokens or EXCHANGE:TRADINGSYMBOL; - reads them from standard input, one a line.",
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", "-f", help="Read instruments from a file, one a line; # begins a comment."
    ),
]


def _sender(kind: str, model: type[CommandBase]) -> Callable[..., None]:
    """Make the command of one type of message: write it, show its reply, end with its exit code."""
    seconds = _REPLY_SECONDS.get(kind, 30.0)

    def send(
        *,
        settings: Settings,
        timeout: TimeoutOption = seconds,
        as_json: JsonOption = False,
        **given: Any,
    ) -> None:
        send_fields(settings, timeout, as_json, {"type": kind, **given})

    def send_instruments(
        *,
        settings: Settings,
        instruments: InstrumentsArgument = None,
        file: FileOption = None,
        timeout: TimeoutOption = 30.0,
        as_json: JsonOption = False,
        **given: Any,
    ) -> None:
        if instruments or file is not None or model.model_fields["instruments"].is_required():
            given["instruments"] = _instruments(instruments, file)
        send_fields(settings, timeout, as_json, {"type": kind, **given})

    command = send_instruments if "instruments" in model.model_fields else send
    command.__doc__ = model.__doc__
    options = with_options(
        model,
        leave_out=("type", "instruments"),
        optional=("id",),
        short={"watchlist": "-w", "mode": "-m"},
    )
    return connected(options(command))


@connected
def status(
    *, settings: Settings, timeout: TimeoutOption = 30.0, as_json: JsonOption = False
) -> None:
    """Show slots and their owners, watchlists and the revision.

    The leader knows all but the owners, which the broker knows.
    """
    with client(settings) as control:
        reply = control.status(timeout)
        name, owners = control.found(settings.name)
    if as_json:
        document = reply.model_dump(mode="json", exclude_none=True)
        if owners is not None:
            document["cluster"] = name
            document["leader"] = owners.get(None)
            document["owners"] = {slot: who for slot, who in owners.items() if slot is not None}
        print_json(document)
        return
    if owners is not None:
        other = "" if name == settings.name else f", not {settings.name}"
        typer.echo(printable(f"cluster: {name}{other}" if owners else f"cluster: {NOBODY}{name}"))
    print_reply(reply, owners or {})


@connected
def list_subscriptions(
    *,
    settings: Settings,
    watchlist: Annotated[
        str | None,
        typer.Option(
            "--watchlist",
            "-w",
            help="Only what this watchlist claims; WATCHLIST#RULE: what this rule has.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what is subscribed, from the topic itself: no leader is needed."""
    from connector.control.rules import watchlist_of

    with client(settings) as control:
        carried = control.subscribed().carried
    rows = [
        {"slot": slot, **record.model_dump(mode="json")}
        for slot, record in carried.values()
        if watchlist is None
        or any(watchlist in (claimant, watchlist_of(claimant)) for claimant in record.claims)
    ]
    rows.sort(key=lambda row: (row["symbol"] or "", row["token"]))
    if as_json:
        print_json(rows)
        return
    table(
        ("token", "symbol", "mode", "slot", "account", "claimed by"),
        [
            (
                row["token"],
                row["symbol"] or "-",
                row["mode"],
                row["slot"],
                row["account"] or "any",
                ", ".join(f"{name} ({mode})" for name, mode in row["claims"].items()),
            )
            for row in rows
        ],
    )
    typer.echo(f"{len(rows)} instruments")


@connected
def watch(
    *,
    settings: Settings,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.1, max=MAX_SECONDS, help="End after so many seconds."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show replies and changed subscriptions as they are written, until Ctrl-C."""
    interrupt.is_the_end()
    with client(settings) as control:
        for change in control.watch(timeout):
            typer.echo(printable_json(_document(change)) if as_json else printable(_line(change)))
            sys.stdout.flush()


class _Ctl(CommandGroup):
    @classmethod
    def targets(cls) -> Mapping[str, Callable[..., None]]:
        from connector.cli import ctl_plan, ctl_rules
        from connector.control.commands import COMMAND_TYPES

        return {
            # `apply` is the face of a sequence, which no options can tell
            **{
                kind: _sender(kind, model)
                for kind, model in COMMAND_TYPES.items()
                if kind not in ("sequence", "set-rule")
            },
            "set-rule": ctl_rules.set_rule,
            "plan": ctl_plan.plan,
            "apply": ctl_plan.apply,
            "export": ctl_plan.export,
            "status": status,
            "list": list_subscriptions,
            "watch": watch,
        }


ctl = group(
    _Ctl,
    name="ctl",
    help="Steer a running cluster: what is subscribed, in which mode, on which connection.",
)


def send_fields(
    settings: Settings, timeout_seconds: float, as_json: bool, fields: dict[str, Any]
) -> None:
    """Write a command, show its reply, end with its exit code."""
    from connector.control.client import new_id
    from connector.control.reply import ReplyStatus

    # checked here as the leader does: what is wrong is told without a broker
    command = _command({"id": new_id(), "by": os_user(), **fields})
    with client(settings) as control:
        reply = control.send(command, timeout_seconds)
    applied = reply.status is ReplyStatus.APPLIED
    with ends_with((EXIT_PARTLY if reply.refused else 0) if applied else EXIT_REJECTED):
        if as_json:
            print_json(reply.model_dump(mode="json", exclude_none=True))
        else:
            print_reply(reply)


def _command(fields: dict[str, Any]) -> Command:
    """The command of these fields.

    Raises:
        SettingsError: in one line, each reason with all that it holds for.
    """
    from connector.control.bounds import excerpt
    from connector.control.parsing import Rejected, parse

    expires_at = fields.get("expires_at")
    if expires_at is not None:
        fields["expires_at"] = _number_or_text(expires_at)
    data = json.dumps(fields).encode()
    command = parse(data, len(data))
    if not isinstance(command, Rejected):
        return command
    places: dict[str, list[str]] = {}
    for error in command.errors:
        place, _, reason = error.partition(": ")
        if place.startswith("instruments["):
            # named as it was written, and not by its place in a list of thousands; of a file that
            # is none of instruments one line may be all
            place = excerpt(str(fields["instruments"][int(place[12:-1])]))
        places.setdefault(reason or place, []).append(place)
    problems = [f"{', '.join(names)}: {reason}" for reason, names in places.items()]
    name, _, reason = "; ".join(problems).partition(": ")
    raise SettingsError.of(name, reason)


def _number_or_text(text: str) -> int | str:
    # longer ones are neither a token nor a time, and Python does not read any number of digits
    return int(text) if len(text) <= _NUMBER_DIGITS and text.isascii() and text.isdigit() else text


def _document(change: Change) -> dict[str, Any]:
    """Return a change as JSON has it, without what it lacks."""
    return {
        name: value.model_dump(mode="json", exclude_none=True)
        if hasattr(value, "model_dump")
        else value
        for name, value in change._asdict().items()
        if value is not None
    }


def _line(change: Change) -> str:
    if change.reply is not None:
        reply = change.reply
        return (
            f"reply    {reply.status} {' '.join(filter(None, (reply.type, reply.watchlist)))}"
            f"{f' by {reply.by}' if reply.by else ''}: revision {reply.revision}, "
            f"{reply.accepted} accepted, {len(reply.refused)} refused  (id {reply.id})"
        )
    if change.subscription is None:
        return f"slot {change.slot}   {change.token} ends"
    record = change.subscription
    return f"slot {change.slot}   {change.token} {record.symbol or ''} {record.mode}"


def _instruments(arguments: Sequence[str] | None, file: Path | None) -> list[int | str]:
    """Read instruments from arguments, a file and standard input together, in this order."""
    written: list[str] = []
    place = "standard input"
    try:
        for argument in arguments or ():
            written += _lines(standard_input()) if argument == "-" else [argument.strip()]
        if file is not None:
            place = f"--file {file}"
            written += _lines(read_bounded(file, MAX_INPUT_BYTES, pipe=True))
    except UnicodeDecodeError as exc:
        raise SettingsError.of(place, "is not UTF-8 text") from exc
    except OSError as exc:
        raise SettingsError.of(place, f"cannot be read: {exc.strerror or exc}") from exc
    return [_number_or_text(text) for text in written]


def _lines(text: bytes) -> list[str]:
    """Return one instrument a line: a name may have spaces, as NSE:NIFTY 50 has."""
    lines = text.decode("utf-8-sig").splitlines()
    stripped = (line.partition("#")[0].strip() for line in lines)
    return [line for line in stripped if line]
