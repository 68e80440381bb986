"""`kite-connector ctl`: steers a running cluster over its control topic.

Exit codes: 0 done; 1 no reply, or no broker; 2 wrong usage; 4 rejected or expired; 5 done in part,
some instruments were refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli.kafka import BootstrapOption, PrefixOption
from connector.cli.service import ConfigOption
from connector.errors import SettingProblem, SettingsError
from connector.settings.models import KafkaSettings
from connector.settings.source import load

if TYPE_CHECKING:
    from connector.control.client import ControlClient

EXIT_REJECTED = 4
EXIT_PARTLY = 5


class ModeChoice(StrEnum):
    """The modes, as the command line has them."""

    LTP = "ltp"
    QUOTE = "quote"
    FULL = "full"


InstrumentsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INSTRUMENT…",
        help="Tokens or EXCHANGE:TRADINGSYMBOL; - reads them from standard input, one a line",
        show_default=False,
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="File with instruments, one a line; # begins a comment"),
]
WatchlistOption = Annotated[str, typer.Option("--watchlist", "-w", help="Whose claim it is")]
WatchlistArgument = Annotated[str, typer.Argument(help="The watchlist")]
ModeOption = Annotated[ModeChoice, typer.Option("--mode", "-m", help="How much each packet has")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Answer as if, change nothing")]
RevisionOption = Annotated[
    int | None,
    typer.Option("--expected-revision", help="Refuse unless the revision is this one"),
]
IdOption = Annotated[
    str | None, typer.Option("--id", help="Of the command; the same id has one effect only")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the reply")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")]

ctl = typer.Typer(
    name="ctl",
    help="Steer a running cluster: what is subscribed, in which mode, on which connection.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(ctl)


@ctl.command()
def subscribe(
    instruments: InstrumentsArgument = None,
    file: FileOption = None,
    watchlist: WatchlistOption = "default",
    mode: ModeOption = ModeChoice.QUOTE,
    dry_run: DryRunOption = False,
    expected_revision: RevisionOption = None,
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Claim instruments for a watchlist; each is streamed while any watchlist claims it."""
    _send(
        _client(config, bootstrap, prefix),
        timeout,
        as_json,
        type="subscribe",
        id=command_id,
        watchlist=watchlist,
        mode=mode.value,
        instruments=_instruments(instruments, file),
        dry_run=dry_run,
        expected_revision=expected_revision,
    )


@ctl.command()
def unsubscribe(
    instruments: InstrumentsArgument = None,
    file: FileOption = None,
    watchlist: WatchlistOption = "default",
    dry_run: DryRunOption = False,
    expected_revision: RevisionOption = None,
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Give up a watchlist's claim on instruments."""
    _send(
        _client(config, bootstrap, prefix),
        timeout,
        as_json,
        type="unsubscribe",
        id=command_id,
        watchlist=watchlist,
        instruments=_instruments(instruments, file),
        dry_run=dry_run,
        expected_revision=expected_revision,
    )


@ctl.command("set-mode")
def set_mode(
    mode: Annotated[ModeChoice, typer.Argument(help="ltp, quote or full")],
    instruments: InstrumentsArgument = None,
    file: FileOption = None,
    watchlist: WatchlistOption = "default",
    dry_run: DryRunOption = False,
    expected_revision: RevisionOption = None,
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Change the mode that a watchlist claims: of some instruments, or of all it has."""
    some = instruments or file
    _send(
        _client(config, bootstrap, prefix),
        timeout,
        as_json,
        type="set-mode",
        id=command_id,
        watchlist=watchlist,
        mode=mode.value,
        instruments=_instruments(instruments, file) if some else None,
        dry_run=dry_run,
        expected_revision=expected_revision,
    )


@ctl.command()
def replace(
    watchlist: WatchlistArgument,
    instruments: InstrumentsArgument = None,
    file: FileOption = None,
    mode: ModeOption = ModeChoice.QUOTE,
    dry_run: DryRunOption = False,
    expected_revision: RevisionOption = None,
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Make these instruments the whole of a watchlist."""
    _send(
        _client(config, bootstrap, prefix),
        timeout,
        as_json,
        type="replace",
        id=command_id,
        watchlist=watchlist,
        mode=mode.value,
        instruments=_instruments(instruments, file),
        dry_run=dry_run,
        expected_revision=expected_revision,
    )


@ctl.command()
def delete(
    watchlist: WatchlistArgument,
    dry_run: DryRunOption = False,
    expected_revision: RevisionOption = None,
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Give up all that a watchlist claims."""
    _send(
        _client(config, bootstrap, prefix),
        timeout,
        as_json,
        type="delete",
        id=command_id,
        watchlist=watchlist,
        dry_run=dry_run,
        expected_revision=expected_revision,
    )


@ctl.command()
def reconnect(
    slot: Annotated[int, typer.Argument(min=0, help="Number of the connection")],
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Close the socket of a slot and open a new one."""
    client = _client(config, bootstrap, prefix)
    _send(client, timeout, as_json, type="reconnect", id=command_id, slot=slot)


@ctl.command()
def rebalance(
    dry_run: DryRunOption = False,
    command_id: IdOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Spread the instruments evenly over the slots, with the fewest moves."""
    client = _client(config, bootstrap, prefix)
    _send(client, timeout, as_json, type="rebalance", id=command_id, dry_run=dry_run)


@ctl.command("refresh-instruments")
def refresh_instruments(
    accept_list: Annotated[
        bool,
        typer.Option(
            "--accept-list",
            help="Use a list that would be held back, and end the claims of all that it lacks",
        ),
    ] = False,
    command_id: IdOption = None,
    timeout: TimeoutOption = 90.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Load the instrument master anew, and give every symbol its token of today."""
    client = _client(config, bootstrap, prefix)
    _send(
        client, timeout, as_json, type="refresh-instruments", id=command_id, accept_list=accept_list
    )


@ctl.command()
def status(
    name: Annotated[
        str | None, typer.Option("--name", help="Of the connector. Default: name of the settings")
    ] = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Show slots and their owners, watchlists and the revision.

    The leader tells all but the owners, which the broker tells.
    """
    from connector.control.client import new_id
    from connector.control.commands import Status

    settings = load(config, accounts_required=False).settings
    with _client(config, bootstrap, prefix, name) as client:
        reply = client.send(Status(id=new_id(), type="status"), timeout)
        owners = client.owners(name or settings.name)
    if as_json:
        document = reply.model_dump(mode="json", exclude_none=True)
        if owners is not None:
            document["leader"] = owners.get(None)
            document["owners"] = {slot: who for slot, who in owners.items() if slot is not None}
        _print_json(document)
        return
    _print_reply(reply, owners or {})


@ctl.command("list")
def list_subscriptions(
    watchlist: Annotated[
        str | None, typer.Option("--watchlist", "-w", help="Only what this one claims")
    ] = None,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """List what is subscribed, from the topic itself: no leader is needed."""
    with _client(config, bootstrap, prefix) as client:
        carried = client.subscriptions()
    rows = [
        {"slot": slot, **record.model_dump(mode="json")}
        for slot, record in carried.values()
        if watchlist is None or watchlist in record.claims
    ]
    rows.sort(key=lambda row: (row["symbol"] or "", row["token"]))
    if as_json:
        _print_json(rows)
        return
    _table(
        ("token", "symbol", "mode", "slot", "claimed by"),
        [
            (
                row["token"],
                row["symbol"] or "-",
                row["mode"],
                row["slot"],
                ", ".join(f"{name} ({mode})" for name, mode in row["claims"].items()),
            )
            for row in rows
        ],
    )
    typer.echo(f"{len(rows)} instruments")


@ctl.command()
def watch(
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="End after so many seconds")
    ] = None,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Show replies and changed subscriptions as they are written, until Ctrl-C."""
    with _client(config, bootstrap, prefix) as client:
        try:
            for change in client.watch(timeout):
                if as_json:
                    shown: dict[str, Any] = {
                        name: value.model_dump(mode="json", exclude_none=True)
                        if hasattr(value, "model_dump")
                        else value
                        for name, value in change._asdict().items()
                    }
                    typer.echo(json.dumps({k: v for k, v in shown.items() if v is not None}))
                elif change.reply is not None:
                    reply = change.reply
                    typer.echo(
                        f"reply    {reply.id}: {reply.status} revision {reply.revision}, "
                        f"{reply.accepted} accepted, {len(reply.refused)} refused"
                    )
                elif change.subscription is not None:
                    record = change.subscription
                    typer.echo(
                        f"slot {change.slot}   {change.token} {record.symbol or ''} {record.mode}"
                    )
                else:
                    typer.echo(f"slot {change.slot}   {change.token} ends")
                sys.stdout.flush()
        except KeyboardInterrupt:
            return


def _client(
    config: Path | None, bootstrap: str | None, prefix: str | None, name: str | None = None
) -> ControlClient:
    from connector.control.client import ControlClient
    from connector.kafka.topics import TopicNames

    settings = load(config, accounts_required=False).settings
    kafka = settings.kafka
    if bootstrap is not None:
        kafka = KafkaSettings.model_validate({**kafka.model_dump(), "bootstrap_servers": bootstrap})
    topics = TopicNames(prefix or settings.topics.prefix)
    return ControlClient(kafka, topics, name=name or settings.name)


def _send(client: ControlClient, timeout: float, as_json: bool, /, **fields: Any) -> None:
    """Write a command, show its reply, end with its exit code."""
    from connector.control.client import new_id
    from connector.control.commands import Rejected, ReplyStatus, parse

    fields = {name: value for name, value in fields.items() if value is not None}
    fields.setdefault("id", new_id())
    data = json.dumps(fields).encode()
    command = parse(data, len(data))
    if isinstance(command, Rejected):
        raise SettingsError(
            [SettingProblem(*error.split(": ", 1)) for error in command.errors if ": " in error]
        )
    with client:
        reply = client.send(command, timeout)
    if as_json:
        _print_json(reply.model_dump(mode="json", exclude_none=True))
    else:
        _print_reply(reply)
    if reply.status is not ReplyStatus.APPLIED:
        raise typer.Exit(EXIT_REJECTED)
    if reply.refused:
        raise typer.Exit(EXIT_PARTLY)


def _print_reply(reply: Any, owners: Mapping[int | None, str] = MappingProxyType({})) -> None:
    dry = " (dry run: nothing was changed)" if reply.dry_run else ""
    typer.echo(f"{reply.status}  revision {reply.revision}, {reply.accepted} accepted{dry}")
    for error in reply.errors:
        typer.echo(f"  {error}")
    if reply.refused:
        typer.echo(f"refused: {len(reply.refused)}")
        _table(("instrument", "reason"), [(one.instrument, one.reason) for one in reply.refused])
    if reply.payload is not None:
        payload = reply.payload
        typer.echo(f"{payload.instruments} of {payload.capacity} instruments")
        if payload.unplaced:
            typer.echo(f"{payload.unplaced} wait for room")
        if None in owners:
            typer.echo(f"leader: {owners[None]}")
        _table(
            ("slot", "instruments", "capacity", "owner"),
            [
                (slot.slot, slot.instruments, slot.capacity, owners.get(slot.slot, "-"))
                for slot in payload.slots
            ],
        )
        _table(("watchlist", "instruments"), list(payload.watchlists.items()))


def _instruments(arguments: Sequence[str] | None, file: Path | None) -> list[int | str]:
    """From arguments, a file and standard input together, in this order."""
    written: list[str] = []
    for argument in arguments or ():
        written += _lines(sys.stdin) if argument == "-" else [argument.strip()]
    if file is not None:
        try:
            written += _lines(file.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError([SettingProblem("--file", f"cannot be read: {exc}")]) from exc
    return [int(text) if text.isascii() and text.isdigit() else text for text in written]


def _lines(lines: Iterable[str]) -> list[str]:
    """One instrument a line: a name may have spaces, as NSE:NIFTY 50 has."""
    stripped = (line.partition("#")[0].strip() for line in lines)
    return [line for line in stripped if line]


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        return
    text = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[n]) for row in text) for n in range(len(header))]
    for row in text:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
