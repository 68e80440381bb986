"""Trying again what may work later: with pauses that grow, and only where waiting can help."""

from __future__ import annotations

import asyncio
import errno
import random as random_module
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from connector.errors import ConnectorError, reason_of

_T = TypeVar("_T")

RETRY_MIN_SECONDS: Final = 0.5
RETRY_MAX_SECONDS: Final = 15.0

# others give descriptors and memory back; whoever starts in such a moment is not at fault
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


async def retry_forever(
    step: Callable[[], Awaitable[_T]],
    failed: Callable[[str], Awaitable[None] | None],
    *,
    min_seconds: float = RETRY_MIN_SECONDS,
    max_seconds: float = RETRY_MAX_SECONDS,
    whatever: bool = False,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Callable[[], float] = random_module.random,
) -> _T:
    """Do a step again and again until it works; the pauses double up to a cap.

    Half of a pause is chance: replicas that start together must not ask together. Where an error
    says that the other side wants to be left alone for longer, it is.

    Args:
        step: what is tried.
        failed: told the reason after each try that failed, before the pause; may be a coroutine.
        min_seconds: the first pause at most.
        max_seconds: the longest pause.
        whatever: also after errors that are not `retryable`, where the world may change by itself.
        sleep: waits; tests have their own.
        random: 0 ≤ x < 1; always 1 makes whole pauses.

    Raises:
        Exception: what is not retryable, unless `whatever`; a lack of descriptors or memory is.
    """
    pause_seconds = min_seconds
    while True:
        try:
            return await step()
        except Exception as error:
            # a fact of the class: what waiting cannot mend ends the start, with its reason
            if not (whatever or _may_pass(error)):
                raise
            told = failed(reason_of(error))
            if told is not None:
                await told
            asked_seconds = getattr(error, "retry_after_seconds", 0.0)
        # replicas that are told the same to wait must not come back together either
        asked_seconds += pause_seconds * random() / 2 if asked_seconds else 0.0
        await sleep(max(pause_seconds * (0.5 + random() / 2), asked_seconds))
        pause_seconds = min(pause_seconds * 2, max_seconds)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _SCARCE
    return isinstance(error, ConnectorError) and error.retryable
