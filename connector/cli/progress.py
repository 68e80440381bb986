"""A bar on a terminal that shows how far a command is in the time that it reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

_T = TypeVar("_T")
_EVERY: Final = 100


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
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            self._progress = Progress(
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[count]:,} ticks"),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
