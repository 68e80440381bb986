"""What a connection says of itself: state, events to the handler, and the log's edges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from connector.kite.clock import Clock
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.feed.handler import Handler
from connector.kite.feed.log import edge_log, worth_a_line

_CALM = {EventType.CONNECTED, EventType.CLOSED, EventType.TICKS_RESUMED, EventType.SNAPSHOT_DONE}
# events that a log need not have: the state says it, or the handler's owner does
_UNLOGGED = {EventType.CONNECTING, EventType.RESUBSCRIBED, EventType.GAP}


class EventReporter:
    """The present state of one connection, and everybody who is to know of its changes.

    An exception out of the handler is logged and counted; it never reaches the connection.
    """

    def __init__(self, slot: int, account: str, handler: Handler, clock: Clock) -> None:
        self.state = ConnectionState.IDLE
        self.session_id = 0
        """Connect time of the latest socket, milliseconds; 0 before the first."""
        self.handler_errors = 0  # exceptions out of the handler, since the start
        self._slot = slot
        self._handler = handler
        self._clock = clock
        self._account = account
        self._logged: tuple[EventType, str] | None = None  # the last line: the next one differs

    def enter(
        self, state: ConnectionState, event: EventType, reason: str = "", **details: Any
    ) -> None:
        """Change the state, and emit the event of it."""
        self.state = state
        self.emit(event, reason, **details)

    def emit(
        self, event: EventType, reason: str = "", *, seconds: float | None = None, **details: Any
    ) -> None:
        """Hand an edge to the handler, and log it unless the last line was the same.

        Args:
            event: what happened.
            reason: why, in words; holds no secret.
            seconds: until the next try; only logged.
            details: fields of `ConnectionEvent`.
        """
        if event not in _UNLOGGED and (event, reason) != self._logged:
            # a feed that is away for hours is one line, not one a try
            self._logged = (event, reason)
            shown = {
                "reason": reason or None,
                "code": details.get("code"),
                "instruments": details.get("instruments"),
                "next_try_seconds": None if seconds is None else round(seconds, 1),
            }
            log = self._log()
            (log.info if event in _CALM else log.warning)(
                f"connection_{event.value}",
                **{name: value for name, value in shown.items() if value is not None},
            )
        self.call(
            self._handler.event,
            ConnectionEvent(
                event,
                self._slot,
                self._clock.time_us() // 1000,
                self.session_id or None,
                self.state,
                reason,
                **details,
            ),
        )

    def call(self, method: Callable[..., object], *arguments: object) -> None:
        """Call a method of the handler; whatever it raises is counted and logged."""
        try:
            method(*arguments)
        except BaseException as error:  # noqa: BLE001 -- whatever a handler does, the socket lives
            self.handler_failed(error)

    def handler_failed(self, error: BaseException) -> None:
        """Count and log the exception that is being handled; one that ends the program does so."""
        if not isinstance(error, Exception):
            # by a turn of the loop: out of a transport's call uvloop takes a sys.exit() for the end
            # of this socket alone
            asyncio.get_running_loop().call_soon(_raise, error)
            return
        self.handler_errors += 1
        if worth_a_line(self.handler_errors):  # it may fail on every frame
            self._log().exception("handler_failed", count=self.handler_errors)

    def defect(self, name: str, error: Exception) -> None:
        """Log what should not have happened; the type alone, since its text is not known."""
        self._log().error(name, error=type(error).__name__)

    def _log(self) -> Any:
        return edge_log(slot=self._slot, account=self._account)


def _raise(error: BaseException) -> None:
    raise error
