"""The log: JSON lines for machines, readable on a terminal, never a secret.

Everything goes through structlog, the standard library's loggers (aiohttp, websockets, asyncio)
too, and to the error stream: standard output belongs to what a command prints as its result.
"""

from __future__ import annotations

import itertools
import logging
import re
import sys
from collections.abc import Iterable
from typing import IO, Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from connector.redaction import MASK, Redactor, printable
from connector.settings.models import LogFormat, LogLevel

MAX_LATER_SECRETS: Final = 20
"""So many tokens of an account that came after the start are taken out of log lines, the newest:
each takes some 16 KiB, and time of every line."""
# the query of the feed's URL, and the REST API's header: where a token would show up in a log
_QUERY = re.compile(r"\b((?:access_token|api_key|request_token|checksum)=)[^&\s\"']+")
_HEADER = re.compile(r"\b(token )[^\s:\"']+:[^\s\"',}]+", re.IGNORECASE)
_SECRET_KEY = re.compile(r"(^|_)(password|secret|token|api_key)$", re.IGNORECASE)


class SecretMask:
    """The last resort: takes secrets out of whatever is about to be written.

    Nothing should have put them there. What is known (`hide`) is found anywhere, however it is
    written; a token of another origin is found by the name before it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._fixed = tuple(secrets)
        # what came later, by where from, the oldest first: of a file that is replaced again and
        # again each token
        self._later: dict[str, list[str]] = {}
        self._redactor = Redactor(*self._fixed)

    def hide(self, secret: str, *, source: str = "") -> None:
        """Mask this secret too, from now on; of those of one source the newest."""
        later = self._later.setdefault(source, [])
        if secret in later:
            return
        later.append(secret)
        if len(later) <= MAX_LATER_SECRETS:
            self._redactor.hide(secret)
            return
        # by halves, since all that is looked for is made anew
        del later[: len(later) // 2]
        self._redactor = Redactor(*self._fixed, *itertools.chain(*self._later.values()))

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Mask an event; structlog's interface of a processor."""
        for key, value in event.items():
            event[key] = MASK if _SECRET_KEY.search(key) and value else self.clean(value)
        return event

    def clean(self, value: Any) -> Any:
        """Return the same value without secrets; containers are looked through."""
        if isinstance(value, str):
            value = self._redactor.redact(value)
            value = _HEADER.sub(rf"\1{MASK}", _QUERY.sub(rf"\1{MASK}", value))
            # others' words must not steer the terminal; a traceback has lines
            return printable(value, keep="\n\t")
        if isinstance(value, dict):
            return {key: self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(item) for item in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.clean(str(value))


class _ErrorStream(logging.StreamHandler[IO[str]]):
    """Writes to whatever the error stream is just then: a bar puts lines above itself."""

    @property
    def stream(self) -> IO[str]:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: IO[str]) -> None:
        """Keep none."""


def configure(
    level: LogLevel = "info",
    log_format: LogFormat = "auto",
    *,
    mask: SecretMask | None = None,
    stream: IO[str] | None = None,
) -> None:
    """Set up structlog and the standard library's logging; may be called again.

    Args:
        level: debug, info, warning or error.
        log_format: auto is console where `stream` is a terminal, json elsewhere.
        mask: takes the secrets out; one without known secrets when not given.
        stream: where lines go; the error stream when not given.
    """
    stream = sys.stderr if stream is None else stream
    mask = SecretMask() if mask is None else mask
    as_json = log_format == "json" or (log_format == "auto" and not stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(
            fmt="iso" if as_json else "%H:%M:%S", utc=as_json, key="time"
        ),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        mask,
    ]
    if as_json:
        rendering += [
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        rendering.append(
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), pad_event_to=0, pad_level=False, timestamp_key="time"
            )
        )
    handler = _ErrorStream() if stream is sys.stderr else logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=rendering)
    )
    root = logging.getLogger()
    # called again, it replaces what the call before has set up
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # they speak of every connection and request at INFO; edges are this program's own to report
    for chatty in ("websockets", "aiohttp.access", "httpx2", "urllib3", "watchfiles"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # a logger of a module would go on with the processors of the call before
        cache_logger_on_first_use=False,
    )
