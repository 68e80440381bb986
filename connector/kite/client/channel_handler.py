"""The library's handlers: one that only confirms, and one that fills a connection's channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from connector.kite.client.channel import Channel
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.feed.handler import Flow
from connector.kite.feed.log import edge_log
from connector.kite.wire.models import (
    ClosingMessage,
    FrameMessage,
    Mode,
    OrderMessage,
    TickerMessage,
    TickMessage,
)
from connector.kite.wire.packets import new_modes, parse_packets

OnEvent = Callable[[ConnectionEvent], None]
OnOrder = Callable[[OrderMessage, str], None]


class ConfirmingHandler:
    """Confirms to a connection which instruments came, and forgets the rest; a `Handler`."""

    def __init__(self) -> None:
        self._modes: dict[int, Mode] = {}  # of each token's latest packet on this socket

    def opened(self, session_id: int) -> None:  # noqa: ARG002 -- the interface's
        """Forget all: everything on a new socket is new."""
        self._modes.clear()

    def expect(self, tokens: Iterable[int]) -> None:
        """Forget these tokens: the next packet of each is new again."""
        for token in tokens:
            self._modes.pop(token, None)

    def forget(self, tokens: Iterable[int]) -> None:
        """Forget tokens that are no longer wanted."""
        self.expect(tokens)

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:  # noqa: ARG002
        """Return what is new, or new in its mode, by the packets' tokens and lengths alone."""
        return new_modes(data, self._modes)

    def message(self, message: TickerMessage, raw: str) -> None:
        """Do nothing: text confirms no instrument."""

    def event(self, event: ConnectionEvent) -> None:
        """Do nothing: a connection logs its own edges."""


class DropWatch:
    """Turns single drops into edges: the first one, and the end once the reader caught up."""

    def __init__(self, slot: int, channel: Channel, clock: Clock, on_event: OnEvent | None) -> None:
        self.dropping = False  # the first drop was told, the end not yet
        self._slot = slot
        self.channel = channel
        self._clock = clock
        self._on_event = on_event
        self._before = 0  # messages that were dropped before this row of drops

    def put(self, message: TickerMessage) -> None:
        """Queue a message and watch what it displaces."""
        channel = self.channel
        if channel.put(message):
            if not self.dropping:
                self.dropping = True
                stats = channel.stats
                self._before = stats.dropped - 1
                edge_log(slot=self._slot).warning("channel_full", capacity=stats.capacity)
                self._report(f"channel full at {stats.capacity} messages")
        # at half: a reader that is just as fast as the feed would make an edge of each message
        elif self.dropping and len(channel) * 2 <= channel.capacity:
            self.dropping = False
            lost = channel.stats.dropped - self._before
            edge_log(slot=self._slot).info("channel_recovered", dropped=lost)
            self._report(f"{lost} messages dropped")

    def _report(self, reason: str) -> None:
        if self._on_event is None:
            return
        time_ms = self._clock.time_us() // 1000
        try:
            self._on_event(ConnectionEvent(EventType.DROPPED, self._slot, time_ms, reason=reason))
        except Exception:  # noqa: BLE001 -- in the midst of a frame, which others wait for too
            edge_log(slot=self._slot).exception("on_event_failed")


class ChannelHandler(ConfirmingHandler):
    """Fills one channel with everything that one connection receives."""

    def __init__(
        self,
        slot: int,
        channel: Channel,
        *,
        raw: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        on_event: OnEvent | None = None,
        on_order: OnOrder | None = None,
    ) -> None:
        super().__init__()
        self.channel = channel
        self.ticks = 0
        """Ticks parsed; 0 with `raw`."""
        self.rejected = 0
        """Packets that were no ticks."""
        self.raw_channel: Channel | None = None
        """Gets the frames beside the ticks, once there is one."""
        self._raw = raw  # frames alone: nothing is parsed
        self._raw_watch: DropWatch | None = None  # of `raw_channel`
        self._flow: Flow | None = None  # the connection's; None before it has given it
        self._new_watch = partial(DropWatch, slot, clock=clock, on_event=on_event)
        self._watch = self._new_watch(channel=channel)
        self._on_event = on_event
        self._on_order = on_order

    @property
    def dropping(self) -> bool:
        """A channel has dropped messages and its reader has not caught up since."""
        beside = self._raw_watch
        return self._watch.dropping or (beside is not None and beside.dropping)

    def flow(self, flow: Flow) -> None:
        """Let a full channel of policy BLOCK hold the connection."""
        self._flow = flow
        for channel in self._channels():  # without it BLOCK would queue without a bound
            channel.hold_with(flow.pause_reading, self._release)

    def add_raw(self, channel: Channel) -> None:
        """Put every frame into this channel too, from now on."""
        self.raw_channel = channel
        self._raw_watch = self._new_watch(channel=channel)
        if self._flow is not None:
            channel.hold_with(self._flow.pause_reading, self._release)

    def close(self) -> None:
        """Close its channels: readers get what is queued, then the end."""
        for channel in self._channels():
            channel.close()

    def _channels(self) -> list[Channel]:
        return [one for one in (self.channel, self.raw_channel) if one is not None]

    def _release(self) -> None:
        """Go on reading, if no channel is full."""
        if self._flow is not None and not any(one.blocked for one in self._channels()):
            self._flow.resume_reading()

    def watch(self, tokens: Iterable[int]) -> None:
        """The next packet of each is told of."""
        self.expect(tokens)

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        """Parse and queue a frame, and return which tokens are new."""
        if self._raw_watch is not None:
            self._raw_watch.put(FrameMessage(data, receive_time_us))
        if self._raw:
            self._watch.put(FrameMessage(data, receive_time_us))
            return super().frame(data, receive_time_us)
        ticks, rejected = parse_packets(data)
        self.rejected += len(rejected)
        if not ticks:
            return ()
        self.ticks += len(ticks)
        self._watch.put(TickMessage(ticks, receive_time_us))
        # by the packets' lengths: to look at every tick would cost more than parsing the frame
        return super().frame(data, receive_time_us)

    def message(self, message: TickerMessage, raw: str) -> None:
        """Queue a text message."""
        self._watch.put(message)
        if self._on_order is not None and isinstance(message, OrderMessage):
            self._on_order(message, raw)

    def event(self, event: ConnectionEvent) -> None:
        """Pass an event on; the end of a socket is a message too."""
        # in the order of what was received: behind the last tick of its socket
        if event.type is EventType.DISCONNECTED:
            self._watch.put(ClosingMessage(event.code, event.reason))
        # for good, and perhaps not by the manager; one that has FAILED may be connected again
        if event.type is EventType.CLOSED:
            self.close()
        if self._on_event is not None:
            self._on_event(event)
