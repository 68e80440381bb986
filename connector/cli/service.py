"""Commands around the service: run, check-config, settings, version."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from connector.logs import SecretMask, configure
from connector.settings.models import LogFormat, LogLevel, Settings
from connector.settings.reference import effective, markdown
from connector.settings.source import CONFIG_VARIABLE, load, secrets_of

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help=f"YAML file of settings; the environment wins over it. Default: ${CONFIG_VARIABLE}",
    ),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(help="How the log is written. Default: logging.format of the settings"),
]
LogLevelOption = Annotated[
    LogLevel | None, typer.Option(help="Default: logging.level of the settings")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(run)
    app.command()(check_config)
    app.command(name="settings")(print_settings)
    app.command()(version)


def configure_logs(
    settings: Settings, log_format: LogFormat | None = None, log_level: LogLevel | None = None
) -> SecretMask:
    """Set up the log as the settings and then the options say."""
    mask = SecretMask(secrets_of(settings))
    configure(log_level or settings.logging.level, log_format or settings.logging.format, mask=mask)
    return mask


def run(
    config: ConfigOption = None,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Run the service: three connections an account, into Kafka.

    Ends at SIGTERM or Ctrl-C after a flush; a second one ends it faster. Exit code 0: everything
    was delivered or is in the spool on disk; 3: something was lost; 2: wrong settings; 1: failed.
    """
    # until the service itself listens: nobody who asks meanwhile gets an exit code that says
    # "killed", or, from the first process of a container, no answer at all
    signal.signal(signal.SIGTERM, _nothing_to_lose)
    settings = load(config).settings
    mask = configure_logs(settings, log_format, log_level)
    from connector.service.service import run_service

    raise typer.Exit(run_service(settings, mask))


def _nothing_to_lose(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def check_config(config: ConfigOption = None) -> None:
    """Check the settings: explain what is wrong, else print what applies.

    The output is YAML, with secrets masked and the origin of what was given. Exit code 2 when
    something is wrong.
    """
    typer.echo(effective(load(config)), nl=False)


def print_settings() -> None:
    """Print the reference of all settings, as Markdown."""
    typer.echo(markdown(), nl=False)


def version() -> None:
    """Print the version, and which codec would run."""
    from connector.codec import IMPLEMENTATION
    from connector.service.status import VERSION

    typer.echo(f"kite-connector {VERSION} ({IMPLEMENTATION} codec)")
