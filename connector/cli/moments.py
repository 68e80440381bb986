"""Times as people give them on the command line; without a zone they are India's. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from connector.errors import SettingsError
from connector.kite.clock import IST

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_TIME_OF_DAY: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(T.{5,32})?", re.ASCII)
TIMES: Final = (
    "90s, 5m, 2h or 1d ago, today, a time of today in India such as 09:15, or a date and time such "
    "as 2026-01-30T09:15"
)
"""The words for what `time_of` reads."""


def time_of(text: str, now: datetime) -> datetime | None:
    """Return the time that a text means; None where it means none.

    Args:
        text: as `TIMES` says, or `now`.
        now: the present time.
    """
    now = now.astimezone(IST)
    if (ago := _AGO.fullmatch(text)) is not None:
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:  # before the year 1
            return datetime.min.replace(tzinfo=IST) + timedelta(days=1)
    if text == "now":
        return now
    if text == "today":
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    if _TIME_OF_DAY.fullmatch(text):
        hour, _, rest = text.partition(":")
        text = f"{now.date().isoformat()}T{hour:0>2}:{rest}"
    if not _DATE.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=IST)


def moment_ms(text: str, option: str, now: datetime | None = None) -> int:
    """Return the time that an option was given, in UTC milliseconds since 1970.

    Raises:
        SettingsError: it is no time; names the option, and says what is allowed.
    """
    time = time_of(text.strip(), now or datetime.now(UTC))
    if time is None:
        raise SettingsError.of(option, f"{text!r} is no time; allowed are {TIMES}")
    return max(0, round(time.timestamp() * 1000))


def check_past(at_ms: int, text: str, option: str, now: datetime) -> None:
    """See that a time that an option was given, UTC milliseconds, has come.

    Raises:
        SettingsError: it is to come; names the option.
    """
    if at_ms > now.timestamp() * 1000:
        clock = f"{now.astimezone(IST):%H:%M:%S}"
        raise SettingsError.of(option, f"{text} is to come: it is {clock} in India")


def in_india(at_ms: int) -> datetime | None:
    """Return a time in UTC milliseconds as India's; None where no calendar has it.

    What records say may be any number: theirs, or that of a damaged value.
    """
    try:
        return datetime.fromtimestamp(at_ms / 1000, IST)
    except (ValueError, OverflowError, OSError):
        return None


def text_of(at_ms: int, sep: str = "T") -> str:
    """Return a time in UTC milliseconds as India's, in a form that `time_of` reads."""
    time = in_india(at_ms)
    return "no time" if time is None else time.isoformat(sep, timespec="milliseconds")
