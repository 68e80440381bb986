"""What the manager counts, as an immutable snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from connector.kite.client.channel import ChannelStats
from connector.kite.feed.stats import ConnectionStats
from connector.kite.wire.models import ConnectionState

ChannelId = NewType("ChannelId", int)
"""The slot of a connection, 0, 1, …: names its channel too."""


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
