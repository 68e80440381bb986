"""Commands around the service: run, check-config, settings, version."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import ConfigOption, with_settings

if TYPE_CHECKING:
    from connector.service.logs import SecretMask
    from connector.settings.models import Settings


def _end_clean_at_sigterm() -> None:
    """Answer SIGTERM until the service itself listens: there is nothing to lose yet.

    Nobody who asks meanwhile gets an exit code that says "killed", or, from the first process of a
    container, no answer at all.
    """
    signal.signal(signal.SIGTERM, _nothing_to_lose)


def _nothing_to_lose(_number: int, _frame: object) -> None:
    # not an exception: it would come out of wherever Python is just then, as another one maybe
    os._exit(0)


@with_settings(
    "log_format",
    "log_level",
    accounts_required=True,
    log_level=None,
    first=_end_clean_at_sigterm,
)
def run(*, settings: Settings, mask: SecretMask) -> None:
    """Run the service: three connections an account, into Kafka.

    Ends at SIGTERM or Ctrl-C after a flush; a second one ends it faster. Exit code 0: everything
    was delivered or is in the spool on disk; 3: something was lost; 2: wrong settings; 1: failed.
    """
    import structlog

    from connector.settings.clear_text import clear_text

    for found in clear_text(settings):
        structlog.get_logger("connector.settings").warning(
            "secret_in_clear_text", setting=found.setting, reason=str(found)
        )
    from connector.cli.progress import show_backlog
    from connector.service.process import run_service

    # beside lines for a program it would be in the way
    watched = sys.stderr.isatty() and settings.logging.format != "json"
    raise typer.Exit(run_service(settings, mask, beside=show_backlog if watched else None))


def check_config(
    config: ConfigOption = None,
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="Try brokers, registry, tokens, REST API and names, and say what was found.",
        ),
    ] = False,
) -> None:
    """Check the settings: explain what is wrong, else print what applies.

    The output is YAML, with secrets masked, the origin of what was given, and at its end what a
    start waits for; a secret that would be sent unencrypted is a warning beside it. Exit code 2
    when something is wrong.

    With --connect it tries instead what a start would reach, changes nothing, and ends with 1
    where something does not answer as it should.
    """
    from connector.service.trading_calendar import TradingCalendar
    from connector.settings.clear_text import clear_text
    from connector.settings.reference import awaited, effective
    from connector.settings.source import load

    loaded = load(config)
    TradingCalendar(loaded.settings).load()
    if loaded.settings.kafka.client:
        from connector.kafka.config import check_properties

        check_properties(loaded.settings.kafka)
    for found in clear_text(loaded.settings):
        typer.echo(f"warning: {found.setting}: {found}", err=True)
    if connect:
        _try(loaded.settings)
        return
    typer.echo(effective(loaded), nl=False)
    typer.echo("# a start waits for these, alive and not ready:")
    for one in awaited(loaded.settings):
        typer.echo(f"#   {one}")


def _try(settings: Settings) -> None:
    import asyncio

    from connector.cli.verdict import ends_with
    from connector.redaction import printable
    from connector.service.logs import SecretMask, configure
    from connector.service.trial import trial
    from connector.settings.paths import secrets_of

    mask = SecretMask(secrets_of(settings))
    configure("error", settings.logging.format, mask=mask)

    async def tried() -> bool:
        fine = True
        async for finding in trial(settings):
            fine = fine and finding.ok
            told = printable(str(mask.clean(finding.told)), keep="\n")
            # to the end, whoever has read enough of it: the exit code tells of all
            with ends_with(0):
                typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {told}")
        return fine

    if not asyncio.run(tried()):
        raise typer.Exit(1)


def print_settings() -> None:
    """Print the reference of all settings, as Markdown."""
    from connector.settings.reference import markdown

    typer.echo(markdown(), nl=False)


def version() -> None:
    """Print the version, and which codec would run."""
    import connector
    from connector.codec import IMPLEMENTATION

    typer.echo(f"kite-connector {connector.__version__} ({IMPLEMENTATION} codec)")
