"""Bars on a terminal: how far a command is in the time that it reads, a service in long work."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from connector.service.backlog import Backlog

_T = TypeVar("_T")
_EVERY: Final = 100
LOOK_SECONDS: Final = 0.25
"""Long work is looked at so often; what is done by the second look has no bar."""


class TimeBar:
    """A context manager; on standard error where that is a terminal, else nothing.

    Args:
        end_ms: the time at which it is full.
    """

    def __init__(self, end_ms: int) -> None:
        self._end_ms = end_ms
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._progress = _bar("{task.fields[count]:,} ticks")
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def follow(self, ticks: Iterable[_T], time_ms: Callable[[_T], int]) -> Iterator[_T]:
        """Yield all of them, and show how far they have come by their times."""
        if self._progress is None:
            yield from ticks
            return
        task, first_ms = self._progress.add_task("", total=None, count=0), None
        for count, tick in enumerate(ticks, 1):
            if first_ms is None:
                first_ms = time_ms(tick)
                self._progress.update(task, total=max(1, self._end_ms - first_ms))
            yield tick
            if count % _EVERY == 0:
                self._progress.update(task, completed=time_ms(tick) - first_ms, count=count)


async def show_backlog(
    look: Callable[[], Backlog | None],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Show a bar on standard error while there is long work, below the lines of the log.

    Runs until it is cancelled.

    Args:
        look: tells what there is.
        sleep: waits; tests have their own.
    """
    what, total = "", 0
    shown: Progress | None = None
    try:
        while True:
            found = look()
            if found is None or found.what != what:
                if shown is not None:
                    shown.stop()
                shown = None
                what, total = ("", 0) if found is None else found
            elif found is not None:
                # it may grow while it is worked at; a bar that goes back would be worse
                total = max(total, found.left)
                if shown is None:
                    # no thread: it is drawn when it is looked at
                    shown = _bar("{task.fields[left]:,} left", named=True, auto_refresh=False)
                    shown.add_task(what, total=None, left=0)
                    shown.start()
                task = shown.task_ids[0]
                shown.update(task, total=total, completed=total - found.left, left=found.left)
                shown.refresh()
            await sleep(LOOK_SECONDS)
    finally:
        if shown is not None:
            shown.stop()


def _bar(count: str, *, named: bool = False, auto_refresh: bool = True) -> Progress:
    """A bar, not started: with its task's name before it, where that is named, and a count."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        *([TextColumn("{task.description}")] if named else []),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn(count),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=auto_refresh,
    )
