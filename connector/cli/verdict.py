"""The exit code of a command that has found something out, whatever becomes of its output."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def ends_with(exit_code: int) -> Iterator[None]:
    """Show in here what was found, and end with its exit code.

    Also where whoever read the output has gone, as `head` does: that was no answer of theirs to
    what was asked for.

    Raises:
        typer.Exit: with the code; none is raised for 0.
    """
    with contextlib.suppress(BrokenPipeError):
        yield
    if exit_code:
        raise typer.Exit(exit_code)
