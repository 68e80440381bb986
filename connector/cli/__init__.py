"""The command line: `kite-connector`.

Modules of commands import what they run inside the command: `--help` must not wait for Kafka's
client library. Exit codes: 0 done, 1 failed, 2 wrong settings or usage, 3 stopped with losses.
"""

from __future__ import annotations

import sys

import typer

from connector.cli.ctl import add_to as add_ctl
from connector.cli.feed import add_to as add_feed
from connector.cli.kafka import add_to as add_kafka
from connector.cli.login import add_to as add_login
from connector.cli.service import add_to as add_service
from connector.errors import ConnectorError, PortInUseError, SettingsError
from connector.logs import configure

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="kite-connector",
    help="Streams Zerodha Kite Connect market data into Apache Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for add in (add_service, add_login, add_ctl, add_feed, add_kafka):
    add(app)


def main() -> None:
    """Run a command; what goes wrong on purpose is one message, without a traceback."""
    # what is not configured is printed with the results; a command that runs for long says more
    configure("warning")
    try:
        app(prog_name="kite-connector")
    except (SettingsError, PortInUseError) as exc:
        _say(exc)
        sys.exit(EXIT_USAGE)
    except ConnectorError as exc:
        _say(exc)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # `… | head`: whoever read has enough; keep the interpreter from flushing into it again
        sys.stdout = None
        sys.exit(0)


def _say(error: Exception) -> None:
    text = str(error)
    sys.stderr.write(f"kite-connector: {text}\n")
