"""Watchlists as a file under version control: `kite-connector ctl plan`, `apply` and `export`.

`plan` shows the difference and changes nothing; `apply` makes it in one command, in full or not at
all, on the very revision that the difference was made for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from connector.cli.ctl_shown import (
    EXIT_REJECTED,
    MAX_INPUT_BYTES,
    TimeoutOption,
    client,
    connected,
    os_user,
    print_json,
    print_reply,
    standard_input,
    table,
)
from connector.cli.options import JsonOption
from connector.cli.verdict import ends_with
from connector.errors import SettingProblem, SettingsError
from connector.redaction import first_of, printable

if TYPE_CHECKING:
    from connector.control.client import ControlClient, Subscribed
    from connector.control.plan import Claims, Plan, WantedWatchlists, WatchlistChange
    from connector.control.reply import Reply
    from connector.settings.models import Settings

EXIT_DIFFERENT: Final = 2
MOST_SHOWN: Final = 20
"""So many instruments of a watchlist, and so many refused ones, are named; JSON has all."""
# a cluster whose revision changes all the time is planned for all the same: the leader refuses what
# is made for an older one
_TRIES: Final = 5
_NOTHING: Final = "nothing to do: revision {} is what the file says"

FileOption = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        help="The YAML file that says what each watchlist claims; - reads standard input.",
    ),
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="End the watchlists that the file does not name.")
]


@connected
def plan(
    *,
    settings: Settings,
    file: FileOption,
    prune: PruneOption = False,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Show what `apply` would change, asking the leader whether it could; changes nothing.

    Exit code 0 when there is nothing to do, 2 when there is a difference, 4 when the leader would
    refuse it.
    """
    wanted = _read(file)
    with client(settings) as control:
        found = _Difference.of(control, wanted, timeout, prune=prune)
        reply = _send(control, found, timeout, dry_run=True) if found.plan.steps else None
    code = 0
    if reply is not None:
        code = EXIT_DIFFERENT if reply.status == "APPLIED" else EXIT_REJECTED
    with ends_with(code):
        _show(found, reply, as_json=as_json)


@connected
def apply(
    *,
    settings: Settings,
    file: FileOption,
    prune: PruneOption = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="Who sends the command, for the log and the reply. [default: the user's name]",
        ),
    ] = None,
    timeout: TimeoutOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Make the watchlists what the file says, in full or not at all; again, it changes nothing."""
    wanted = _read(file)
    with client(settings) as control:
        found = _Difference.of(control, wanted, timeout, prune=prune)
        reply = _send(control, found, timeout, by=by or os_user()) if found.plan.steps else None
    with ends_with(0 if reply is None or reply.status == "APPLIED" else EXIT_REJECTED):
        _show(found, reply, as_json=as_json)


@connected
def export(*, settings: Settings) -> None:
    """Print the file that says what all watchlists claim now; no leader is needed."""
    import yaml

    from connector.control.plan import Claims, of_claims

    with client(settings) as control:
        subscribed = control.subscribed()
    document = of_claims(Claims.of(subscribed.records, subscribed.rules, subscribed.limits))
    typer.echo(f"# what the watchlists claim at revision {subscribed.revision}")
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    typer.echo(printable(text, keep="\n"), nl=False)


class _Difference:
    """The plan, and the state that it was made for."""

    def __init__(self, subscribed: Subscribed, capacity: int | None, claims: Claims, plan: Plan):
        self.revision = subscribed.revision
        self.capacity = capacity
        self.claims = claims
        self.plan = plan

    @classmethod
    def of(
        cls,
        control: ControlClient,
        wanted: WantedWatchlists,
        timeout_seconds: float,
        *,
        prune: bool,
    ) -> _Difference:
        from connector.control.plan import Claims, difference

        # partitions are read one after the other: what was read is of one revision where the
        # leader names it before, and the topic after; else the leader refuses what is made of it
        for _ in range(_TRIES):
            status = control.status(timeout_seconds)
            subscribed = control.subscribed()
            if status.revision == subscribed.revision:
                break
        capacity = None if status.payload is None else status.payload.capacity
        claims = Claims.of(subscribed.records, subscribed.rules, subscribed.limits)
        return cls(subscribed, capacity, claims, difference(claims, wanted, prune=prune))

    def name(self, instrument: int | str) -> str:
        """The name of an instrument where it is known."""
        if isinstance(instrument, int):
            return self.claims.symbols.get(instrument, str(instrument))
        return instrument


def _read(file: Path) -> WantedWatchlists:
    """Read the file.

    Raises:
        SettingsError: each problem in one line, with its place.
    """
    from connector.control.plan import parse_watchlists
    from connector.files import UnusableFileError, read_bounded
    from connector.settings.yaml_text import YamlTextError, read_yaml

    place = "standard input" if str(file) == "-" else f"--file {file}"
    try:
        if str(file) == "-":
            data = standard_input()
        else:
            data = read_bounded(file, MAX_INPUT_BYTES, pipe=True)
        document = read_yaml(data)
    except (YamlTextError, UnusableFileError) as exc:
        raise SettingsError.of(place, str(exc)) from None
    except OSError as exc:
        raise SettingsError.of(place, f"cannot be read: {exc.strerror or exc}") from None
    if document.repeated:
        raise SettingsError(
            [
                SettingProblem(f"{place} line {line}", f"{path[-1]} is there twice")
                for path, line in document.repeated[:MOST_SHOWN]
            ]
        )
    return parse_watchlists(document.value)


def _send(
    control: ControlClient,
    found: _Difference,
    timeout_seconds: float,
    *,
    dry_run: bool = False,
    by: str | None = None,
) -> Reply:
    from pydantic import ValidationError

    from connector.control.client import new_id
    from connector.control.commands import StepSequence

    try:
        command = StepSequence(
            id=new_id(),
            type="sequence",
            steps=found.plan.steps,
            # what was shown is what is done, or nothing
            expected_revision=found.revision,
            dry_run=dry_run,
            by=by,
        )
    except ValidationError as exc:  # of what the user gives here there is only this
        reason = "is to be up to 64 characters that can be looked at"
        raise SettingsError.of("--by", reason) from exc
    return control.send(command, timeout_seconds)


def _show(found: _Difference, reply: Reply | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(found, reply))
        return
    if reply is None:
        typer.echo(_NOTHING.format(found.revision))
    else:
        _print_changes(found)
        of = "" if found.capacity is None else f", of {found.capacity}"
        rules = f" and what {found.plan.rules} rules come to" if found.plan.rules else ""
        then = f"{found.plan.after}{rules} then{of}"
        typer.echo(f"instruments: {found.plan.before} now, {then}")
    if found.plan.unnamed:
        names = [f"{name} ({count})" for name, count in sorted(found.plan.unnamed.items())]
        kept = first_of(names, MOST_SHOWN)
        typer.echo(f"kept, though the file does not name them (--prune ends them): {kept}")
    if reply is not None:
        print_reply(reply, most_refused=MOST_SHOWN)
        if reply.status != "APPLIED" and any("expected_revision" in one for one in reply.errors):
            typer.echo("the subscriptions were changed meanwhile: try again")


def _print_changes(found: _Difference) -> None:
    changes = found.plan.changes
    table(
        ("watchlist", "added", "removed", "mode changes", "rules"),
        [
            (
                one.name,
                len(one.added),
                len(one.removed),
                len(one.changed),
                len(one.rules_set) + len(one.rules_ended),
            )
            for one in changes
        ],
    )
    for one in changes:
        lines = [f"+ {found.name(written)} {mode}" for written, mode in one.added.items()]
        held = found.claims.watchlists.get(one.name, {})
        lines += [
            f"~ {found.name(token)} {held[token]} -> {mode}" for token, mode in one.changed.items()
        ]
        lines += [f"- {found.name(token)}" for token in one.removed]
        lines += _rule_lines(found, one)
        if one.limits is not None:
            quota = "none" if one.limits.quota is None else one.limits.quota
            lines.append(f"~ quota {quota}, priority {one.limits.priority}")
        typer.echo(f"{one.name}{_what_becomes(one)}:")
        for line in lines[:MOST_SHOWN]:
            typer.echo(f"  {printable(line)}")
        if len(lines) > MOST_SHOWN:
            typer.echo(f"  and {len(lines) - MOST_SHOWN} more (--json has all)")


def _rule_lines(found: _Difference, change: WatchlistChange) -> list[str]:
    from connector.control.rules import told

    held = found.claims.rules.get(change.name, {})
    return [
        *(
            f"{'~' if name in held else '+'} rule {name}: {told(one.claims)} {one.mode}"
            for name, one in change.rules_set.items()
        ),
        *(f"- rule {name}: {told(held[name].rule)}" for name in change.rules_ended),
    ]


def _what_becomes(change: WatchlistChange) -> str:
    if change.deleted:
        return " (ends)"
    if not change.moved:
        return ""
    to = "any account" if change.account is None else f"account {change.account}"
    return f" (all of it moves to {to})"


def _document(found: _Difference, reply: Reply | None) -> dict[str, Any]:
    plan = found.plan
    return {
        "revision": found.revision,
        "watchlists": {
            one.name: {
                "added": {str(written): mode for written, mode in one.added.items()},
                "removed": [found.name(token) for token in one.removed],
                "changed": {found.name(token): mode for token, mode in one.changed.items()},
                "rules_set": {
                    name: wanted.model_dump(mode="json", exclude_unset=True)
                    for name, wanted in one.rules_set.items()
                },
                "rules_ended": list(one.rules_ended),
                "limits": None if one.limits is None else one.limits._asdict(),
                "account": one.account,
                "moves": one.moved,
                "ends": one.deleted,
            }
            for one in plan.changes
        },
        "unnamed": dict(plan.unnamed),
        "instruments": {"now": plan.before, "then": plan.after, "capacity": found.capacity},
        "reply": None if reply is None else reply.model_dump(mode="json", exclude_none=True),
    }
