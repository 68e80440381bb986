"""The interface between a connection and whatever handles its frames.

A connection reads frames and knows nothing of what becomes of them: the library's handler parses
and fills a channel, the service's transcodes and produces. Both are given to the same connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from connector.kite.feed.events import ConnectionEvent
from connector.kite.wire.models import Mode, TickerMessage


class Handler(Protocol):
    """Handles all that one connection receives; every call comes from the event loop, in order."""

    def opened(self, session_id: int) -> None:
        """Begin a session: a socket is open; `session_id` is its connect time, UTC milliseconds."""

    def expect(self, tokens: Iterable[int]) -> None:
        """Treat the next packet of each token as a snapshot: it is about to be asked for."""

    def forget(self, tokens: Iterable[int]) -> None:
        """Forget tokens that are no longer wanted."""

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        """Handle a binary frame that is not a heartbeat; must not raise on bad bytes.

        Returns:
            (instrument_token, mode) for each token whose mode differs from the last time, or that
            is seen for the first time since `expect`: what the session confirms subscriptions by.
            Empty in steady state.
        """

    def message(self, message: TickerMessage, raw: str) -> None:
        """Handle a text frame, decoded; `raw` is the frame itself."""

    def event(self, event: ConnectionEvent) -> None:
        """Handle an edge of the connection's life."""


@runtime_checkable
class Watching(Protocol):
    """A handler that can tell that an instrument still ticks, at no cost a tick."""

    def watch(self, tokens: Iterable[int]) -> None:
        """Return the next packet of each of these from `frame`, although its mode is no other."""


class Flow(Protocol):
    """Reading of one connection, which its handler may hold."""

    def pause_reading(self) -> None:
        """Deliver nothing more until `resume_reading`: TCP then holds the feed back."""

    def resume_reading(self) -> None:
        """Go on; frames may be delivered before this returns."""


@runtime_checkable
class FlowControlled(Protocol):
    """A handler that wants to hold reading: it is given the `Flow` once, before all else."""

    def flow(self, flow: Flow) -> None:
        """Keep the flow, by which reading can be held."""
