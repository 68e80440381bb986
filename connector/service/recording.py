"""`kite-connector record`: writes what the feed sends to a capture file, and nothing to Kafka.

The connections are the service's own: all slots of the settings, with their instruments. The file
can be played again by `kite-connector simulate --replay`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from connector.kite.client.channel_handler import ConfirmingHandler
from connector.kite.clock import SYSTEM_CLOCK
from connector.kite.feed.capture import CaptureWriter, CapturingHandler
from connector.kite.feed.events import ConnectionState
from connector.kite.feed.wait import within
from connector.service.instrument_list import InstrumentListLoader
from connector.service.outside import Outside, credentials_of
from connector.service.static_slots import StaticSlots
from connector.settings.models import Settings

PROGRESS_SECONDS = 1.0


class Recorders:
    """Gives each slot's connection a handler that records."""

    def __init__(self, writer: CaptureWriter, *, text: bool) -> None:
        self._writer = writer
        self._text = text
        self.all: list[CapturingHandler] = []
        """Those that were given; one has an error once the file cannot be written."""

    def handler(self, slot: int) -> CapturingHandler:
        """Make the handler of a slot."""
        self.all.append(
            CapturingHandler(
                slot,
                ConfirmingHandler(),
                self._writer,
                text=self._text,
            )
        )
        return self.all[-1]


async def record(
    settings: Settings,
    path: Path,
    stop: asyncio.Event,
    *,
    text: bool = True,
    comment: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Record until `stop` is set.

    Args:
        settings: accounts, instruments and feed.
        path: the file; gzipped where its name ends in `.gz`.
        stop: ends it.
        text: record text frames, and with them order updates.
        comment: for whoever finds the file.
        on_progress: called each second with the messages so far and the connections that are open.

    Returns:
        how many messages were recorded.

    Raises:
        OSError: the file cannot be written.
    """
    credentials = {account.name: credentials_of(account) for account in settings.accounts}
    slots, outside = StaticSlots(settings, credentials), Outside(settings)
    writer = CaptureWriter(path, created_us=SYSTEM_CLOCK.time_us(), comment=comment)
    with writer:
        async with contextlib.AsyncExitStack() as stack:
            if settings.instrument_master.load:
                account = next(iter(credentials.values()))
                keeper = InstrumentListLoader(
                    settings.instrument_master,
                    lambda: outside.rest(account),
                    slots.set_master,
                    root=settings.feed.rest,
                )
                task = asyncio.create_task(keeper.run())
                stack.callback(task.cancel)
                await within(outside.list_wait_seconds, keeper.tried.wait())
            recorders = Recorders(writer, text=text)
            await slots.start(recorders)
            stack.push_async_callback(slots.stop_intake, stop)
            while not stop.is_set():
                await within(PROGRESS_SECONDS, stop.wait())
                if error := next((one.error for one in recorders.all if one.error), None):
                    raise error
                if on_progress is not None:
                    states = [stats.state for stats in slots.stats()]
                    on_progress(writer.records, states.count(ConnectionState.CONNECTED))
    return writer.records
