"""Ctrl-C: ends a command at any moment, at once and without a traceback, with exit code 130.

Python runs a signal's handler between two of its own instructions, so a call into librdkafka that
waits ten seconds for a broker would hold Ctrl-C for as long, and an import or the interpreter's end
would answer with a traceback. So a thread waits for the byte that the interpreter's C handler
writes at once, and ends the process. A command that ends in order instead, because it has something
to flush, sets a handler of its own, with `signal.signal` or its event loop's: the thread leaves it
the signal then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Final

EXIT_CODE: Final = 130
"""The exit code after Ctrl-C, 128 + SIGINT, as shells have it."""

_exit_code = EXIT_CODE
_pipe: tuple[int, int] | None = None


def end_at_ctrl_c() -> None:
    """End the process at Ctrl-C from now on, unless a command has a handler of its own.

    To be called again when an event loop, at its end, has put Python's handler in the place of it.
    """
    global _pipe  # noqa: PLW0603 - a process has one SIGINT
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    if _pipe is None:
        _pipe = os.pipe()
        os.set_blocking(_pipe[1], False)
        threading.Thread(target=_wait, args=(_pipe[0],), name="ctrl-c", daemon=True).start()
    signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _nothing)


def is_the_end() -> None:
    """Let Ctrl-C end the process with 0: it is the documented end of a command that only shows."""
    global _exit_code  # noqa: PLW0603 - a process has one exit code
    _exit_code = 0


@contextlib.contextmanager
def asks_to_stop() -> Iterator[Callable[[], bool]]:
    """Have Ctrl-C and SIGTERM ask for an end in order; whether they did is what this is asked.

    For a command that has something to flush or to take away. A second one ends it at once.
    """
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            os._exit(EXIT_CODE)
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        # once asked it is the end: to `_wait`, which may not have seen the signal yet,
        # the handler from before would mean an end at once
        if not asked:
            for number, handler in before.items():
                signal.signal(number, handler)


def _wait(read: int) -> None:
    while True:
        # the interpreter writes the number of whichever signal has a handler
        numbers = os.read(read, 64)
        if signal.SIGINT in numbers and signal.getsignal(signal.SIGINT) is _nothing:
            os._exit(_exit_code)


def _nothing(_number: int, _frame: object) -> None:
    """Stand in for Python's own handler, which raises; the thread does the work."""
