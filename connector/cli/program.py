"""The program `kite-connector`: its commands, each imported when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from connector.cli.group import CommandGroup, Target, group

PROGRAM: Final = "kite-connector"
_COMPLETION_VARIABLE: Final = "_KITE_CONNECTOR_COMPLETE"
_UsageError: Any = typer.BadParameter.__base__
"""The root of click's usage errors; newer releases of typer bring a click of their own."""


class UsageError(Exception):
    """The words of the command line are no command, or no options of it."""


class _Program(CommandGroup):
    @classmethod
    def targets(cls) -> Mapping[str, Target | str]:
        return {
            name: f"connector.cli.{module}"
            for name, module in {
                "run": "service:run",
                "check-config": "service:check_config",
                "settings": "service:print_settings",
                "version": "service:version",
                "calendar": "calendar:calendar",
                "login": "login:login",
                "ctl": "ctl:ctl",
                "top": "top:top",
                "demo": "feed:demo",
                "simulate": "feed:simulate",
                "record": "feed:record",
                "tail": "tail:tail",
                "verify": "verify:verify",
                "export": "export:export",
                "replay": "replay:replay",
                "schemas": "schemas:schemas",
                "kafka-resources": "resources:kafka_resources",
            }.items()
        }


def _print_version(wanted: bool) -> None:
    if wanted:
        from connector.cli.service import version

        version()
        raise typer.Exit


def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


app = group(
    _Program,
    callback=_program,
    add_completion=True,
    name=PROGRAM,
    help="Stream Zerodha Kite Connect market data into Apache Kafka.",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit code.

    Args:
        arguments: without the program's name; None takes the process's own.

    Raises:
        UsageError: no command is called so.
    """
    program = typer.main.get_command(app)
    for option in program.params:
        option.default = False  # None, which those of completion have, is converted by pydantic
    if _COMPLETION_VARIABLE in os.environ:
        program.main(prog_name=PROGRAM)  # a shell asks what could come next; ends the process
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # not its main(), which would answer for errors, Ctrl-C and closed pipes in its own way
        with program.make_context(PROGRAM, words) as context:
            program.invoke(context)
    except typer.Exit as exc:
        return exc.exit_code
    except (typer.Abort, EOFError):
        raise UsageError("the input ended before an answer") from None
    except _UsageError as exc:
        # by its name, since it is in click or in what typer brings, by typer's version
        if type(exc).__name__ == "NoArgsIsHelpError":
            exc.show()
            return int(exc.exit_code)
        where = exc.ctx.command_path if exc.ctx is not None else PROGRAM
        text = " ".join(exc.format_message().split()).rstrip(".")
        place = where.removeprefix(PROGRAM).strip()
        raise UsageError(f"{place + ': ' if place else ''}{text}. Try {where} --help") from None
    return 0
