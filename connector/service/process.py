"""The service as a process: its event loop, its signals and its exit code."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine

import uvloop

from connector.kite.feed.wait import cancelled
from connector.service.backlog import Backlog
from connector.service.logs import SecretMask
from connector.service.service import Service
from connector.settings.models import Settings

EXIT_CLEAN = 0
EXIT_LOSSY = 3
GC_THRESHOLD = 50_000
"""Objects more than before, until Python looks for cycles. Ticks make none, but in a flood their
records wait by the hundred thousand: at the usual 700 the looking costs up to a tenth of the CPU,
and stops everything for up to 90 ms when it goes over the instrument list."""


def run_service(
    settings: Settings,
    mask: SecretMask,
    *,
    beside: Callable[[Callable[[], Backlog | None]], Coroutine[None, None, None]] | None = None,
) -> int:
    """Run the service in an event loop of its own until a signal; returns the exit code.

    Args:
        settings: of the service.
        mask: takes the secrets out of the log.
        beside: runs beside it to its end, and is given what tells of long work.
    """

    async def serve() -> bool:
        service = Service(settings, mask=mask)
        loop = asyncio.get_running_loop()
        # not the loop's handlers: those leave a moment in which the signal would kill
        ends = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            ends.append(signal.SIGHUP)  # the terminal is gone: an end like any other
        for number in ends:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(service.stop))
        watching = None if beside is None else asyncio.create_task(beside(service.backlog))
        try:
            return await service.run()
        finally:
            if watching is not None:
                await cancelled(watching)
            # all is over: who asks once more must not change what the exit code says
            for number in ends:
                signal.signal(number, signal.SIG_IGN)

    gc.set_threshold(GC_THRESHOLD)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return EXIT_CLEAN if runner.run(serve()) else EXIT_LOSSY
