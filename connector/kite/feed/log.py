"""Where the log of this package goes.

To structlog where the program has set it up; else to the standard library's `logging`, so that a
program that merely uses the library does not find lines on its standard output.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog

NAME = "connector.kite"


def edge_log(**bound: Any) -> Any:
    """A logger with these values bound.

    Ask for it at each edge rather than once: edges are rare, and the program may set up its log
    after it has made a connection.
    """
    if structlog.is_configured():
        return structlog.get_logger(NAME).bind(**bound)
    return structlog.wrap_logger(
        logging.getLogger(NAME),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, _line],
        cache_logger_on_first_use=False,  # the program may set structlog up later
    ).bind(**bound)


def worth_a_line(count: int) -> bool:
    """Whether a count is the first or a power of two: of what may come in a flood these are logged.

    Args:
        count: how often it has happened, from 1 on.
    """
    return count & (count - 1) == 0


def _line(_logger: Any, _name: str, event: structlog.typing.EventDict) -> str:
    """`event key=value …`, and a traceback on lines of its own."""
    text = str(event.pop("event", ""))
    trace = event.pop("exception", None)
    text += "".join(f" {key}={value!r}" for key, value in event.items())
    return f"{text}\n{trace}" if trace else text
