"""The command line: `kite-connector`.

Nothing is imported here but what guards a command from its first moment on: Ctrl-C, a reader that
went away and errors are answered in one line, even while the rest is still being imported.

Exit codes: 0 done, 1 failed, 2 wrong settings or usage, 3 stopped with losses, 130 ended by Ctrl-C;
`ctl` has 4 and 5 too.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import typing

from connector.cli import interrupt

if typing.TYPE_CHECKING:
    from connector.cli.program import app

__all__ = ["app", "main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the program when it is asked for: `main` is not to wait for it (PEP 562)."""
        if name != "app":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from connector.cli.program import app

        return app


def main() -> typing.NoReturn:
    """Run a command; what goes wrong on purpose is one message, without a traceback."""
    _open_what_is_closed()
    _escape_what_is_not_encoded()
    _forget_no_width()
    interrupt.end_at_ctrl_c()
    try:
        code = _run()
    except KeyboardInterrupt:  # in between two event loops, each of which sets its own handler
        code = interrupt.EXIT_CODE
    interrupt.end_at_ctrl_c()  # again: an event loop has taken the handler away at its end
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Give streams that are closed from the start a place to write to, and to read nothing from.

    Without a number of its own, a socket or a file of ours would be what others take for stderr.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - as long as the process


def _escape_what_is_not_encoded() -> None:
    """Let characters that the output's encoding lacks stand there escaped, as in JSON.

    Records hold any text; a locale of Latin-1 or ASCII is no reason to end at one of them.
    """

    def escaped(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        from json import dumps

        return dumps(error.object[error.start : error.end])[1:-1], error.end

    codecs.register_error("connector.escaped", escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="connector.escaped")


def _forget_no_width() -> None:
    """Take a terminal's size that is none, `COLUMNS=0` say, out of the environment.

    rich lays out for a width of 0 then, and prints empty lines; without it the terminal is asked.
    """
    for name in ("COLUMNS", "LINES"):
        size = os.environ.get(name, "")
        if not (size.isascii() and size.isdigit() and int(size[:9])):
            os.environ.pop(name, None)


def _run() -> int:
    from connector.errors import ConnectorError, PortInUseError, SettingsError

    code = 0
    try:
        try:
            code = _command()
        finally:
            if sys.stdout is not None:  # closed from the start
                sys.stdout.flush()
    except SettingsError as exc:
        # all that is wrong at once; where that is one thing, in one line
        _say(exc.problems[0] if len(exc.problems) == 1 else exc)
        return EXIT_USAGE
    except PortInUseError as exc:
        _say(exc)
        return EXIT_USAGE
    except ConnectorError as exc:
        _say(exc)
        return EXIT_FAILED
    except BrokenPipeError:
        # `… | head`: whoever read has enough; what the command has found out by then stands
        _discard_output()
        return code
    except OSError as exc:
        if exc.errno not in _FULL or exc.filename is not None:
            raise  # a fault of its own, to be seen whole
        _say(f"cannot write the output: {exc.strerror}")
        _discard_output()
        return EXIT_FAILED
    return code


def _command() -> int:
    """Run the command line's words; what is wrong with them is one line."""
    from connector.cli.program import UsageError, run

    try:
        return run()
    except UsageError as exc:
        _say(exc)
        return EXIT_USAGE


def _discard_output() -> None:
    """Keep the interpreter from flushing, at its end, into what cannot be written to."""
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - pathlib is not needed for anything else
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def _say(error: object) -> None:
    from connector.redaction import printable

    text = printable(str(error), keep="\n")
    sys.stderr.write(f"kite-connector: {text}\n")
