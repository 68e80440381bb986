"""How long a busy server asks to be left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""A server that says when to come again is left alone for so long at most."""
_BUSY: Final = frozenset({429, 503})


def retry_after_seconds(
    status: int, headers: Mapping[str, str], clock: Callable[[], float] = time.time
) -> float:
    """How long a busy server asks to be left alone; 0 where it does not say, or is not busy.

    In seconds, or until a date, which is held against the answer's own: clocks differ.

    Source: RFC 9110, 10.2.3.

    Args:
        status: of the answer.
        headers: of the answer.
        clock: seconds since 1970, for an answer without a date.
    """
    told = headers.get("Retry-After", "").strip()
    if status not in _BUSY or not told:
        return 0.0
    if told.isascii() and told.isdigit():
        return min(float(told), MAX_RETRY_AFTER_SECONDS)
    until, now = _seconds_of(told), _seconds_of(headers.get("Date", ""))
    if until is None:
        return 0.0
    return min(max(0.0, until - (clock() if now is None else now)), MAX_RETRY_AFTER_SECONDS)


def _seconds_of(date: str) -> float | None:
    """Return a date of HTTP in seconds since 1970; None where it is none."""
    try:
        at = parsedate_to_datetime(date)
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
