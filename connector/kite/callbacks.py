"""Callbacks are called, and not awaited: what needs `await` begins a task."""

from __future__ import annotations

import inspect

_METHODS = ("opened", "expect", "forget", "frame", "message", "event", "watch", "flow")


def check_callback(name: str, callback: object) -> None:
    """Refuse what cannot be called, or would do nothing.

    Raises:
        TypeError: it is no function, or an `async def`.
    """
    if not callable(callback):
        raise TypeError(f"{name} must be a function, not {callback!r}")
    # an object whose __call__ is one, too
    functions = (callback, type(callback).__call__)
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for function in functions for is_kind in kinds):
        raise TypeError(
            f"{name} is called, and not awaited: it cannot be an `async def`. Let a plain function "
            "begin a task, as with asyncio.create_task"
        )


def check_handler(handler: object) -> None:
    """Refuse a handler of frames one of whose methods would do nothing.

    Raises:
        TypeError: it is an `async def`.
    """
    for name in _METHODS:
        if (method := getattr(handler, name, None)) is not None:
            check_callback(f"{type(handler).__name__}.{name}", method)
