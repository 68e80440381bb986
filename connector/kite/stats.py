"""What connections and the manager count, as immutable snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from connector.kite.channel import ChannelStats
from connector.kite.models import ConnectionState

ChannelId = NewType("ChannelId", int)
"""The slot of a connection, 0, 1, …: names its channel too."""


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Counts since the start and the state as it is now; times are UTC, 0 where there is none."""

    slot: int
    account: str
    state: ConnectionState
    session_id: int
    """Connect time of the latest socket, milliseconds."""
    desired: int
    confirmed: int
    unconfirmed: int
    given_up: int
    """Of the unconfirmed: asked for as often as is allowed."""
    frames: int
    """Binary frames that are not heartbeats."""
    bytes: int
    """In those frames."""
    heartbeats: int
    messages: int
    """Text frames."""
    control_frames: int
    """Pings and pongs."""
    connects: int
    reconnects: int
    failures: int
    """Tries that did not lead to a socket."""
    handler_errors: int
    last_frame_us: int
    """Of any kind, heartbeats and pongs too."""
    last_tick_us: int
    stalled: bool
    """Frames come, but no ticks."""
    paused: bool
    """The handler holds reading."""
    last_error: str


@dataclass(frozen=True, slots=True)
class ManagerStats:
    """All connections of a manager; `channels` is empty where it has handlers of its user's own."""

    connections: Mapping[ChannelId, ConnectionStats]
    channels: Mapping[ChannelId, ChannelStats]
    capacity: int
    """Instruments that the connections carry at most."""
    ticks: int
    """Ticks that went into channels, or were dropped by them."""
    rejected_packets: int
    """Packets that were no ticks."""
    order_duplicates: int
    """Copies of order updates, which each socket brings."""

    @property
    def connected(self) -> int:
        """Connections with an open socket."""
        states = [connection.state for connection in self.connections.values()]
        return states.count(ConnectionState.CONNECTED)

    @property
    def desired(self) -> int:
        """Instruments that should stream."""
        return sum(connection.desired for connection in self.connections.values())

    @property
    def confirmed(self) -> int:
        """Instruments seen in the mode that is wanted."""
        return sum(connection.confirmed for connection in self.connections.values())

    @property
    def frames(self) -> int:
        """Binary frames that are not heartbeats."""
        return sum(connection.frames for connection in self.connections.values())

    @property
    def reconnects(self) -> int:
        """Sockets opened after the first of each connection."""
        return sum(connection.reconnects for connection in self.connections.values())

    @property
    def dropped(self) -> int:
        """Messages that full channels lost."""
        return sum(channel.dropped for channel in self.channels.values())

    @property
    def dropped_ticks(self) -> int:
        """Ticks that full channels lost."""
        return sum(channel.dropped_ticks for channel in self.channels.values())
