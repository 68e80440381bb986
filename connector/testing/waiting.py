"""Waiting by a condition for what another task, thread or process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from connector.kite.callbacks import check_callback

_LOOK_SECONDS, _BLOCKING_LOOK_SECONDS = 0.005, 0.02

T = TypeVar("T")


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return as soon as a condition is true; the event loop runs meanwhile.

    Raises:
        AssertionError: it did not become true in so many seconds.
        TypeError: it is an `async def`, which would be true at once.
    """
    check_callback("the condition", condition)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        if loop.time() >= end:
            raise AssertionError(f"the condition did not come true in {seconds:g} s")
        await asyncio.sleep(_LOOK_SECONDS)


def wait_until(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """Block until a condition is true, and return its value: for code without an event loop.

    Raises:
        AssertionError: it did not become true in so many seconds.
        TypeError: it is an `async def`, which would be true at once.
    """
    check_callback("the condition", condition)
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= end:
            raise AssertionError(f"the condition did not come true in {seconds:g} s")
        time.sleep(_BLOCKING_LOOK_SECONDS)
    return value
