"""The counts of the manager, as an immutable snapshot."""

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
    """How many instruments the connections carry at most."""
    ticks: int
    """How many ticks went into channels, or were dropped by them."""
    rejected_packets: int
    """How many packets were no ticks."""
    order_duplicates: int
    """How many copies of order updates came, which each socket brings."""

    @property
    def connected(self) -> int:
        """How many connections have an open socket."""
        states = [connection.state for connection in self.connections.values()]
        return states.count(ConnectionState.CONNECTED)

    @property
    def desired(self) -> int:
        """How many instruments should stream."""
        return sum(connection.desired for connection in self.connections.values())

    @property
    def confirmed(self) -> int:
        """How many instruments were seen in the mode that is wanted."""
        return sum(connection.confirmed for connection in self.connections.values())

    @property
    def frames(self) -> int:
        """How many binary frames came that are not heartbeats."""
        return sum(connection.frames for connection in self.connections.values())

    @property
    def reconnects(self) -> int:
        """How many sockets were opened after the first of each connection."""
        return sum(connection.reconnects for connection in self.connections.values())

    @property
    def dropped(self) -> int:
        """How many messages full channels lost."""
        return sum(channel.dropped for channel in self.channels.values())

    @property
    def dropped_ticks(self) -> int:
        """How many ticks full channels lost."""
        return sum(channel.dropped_ticks for channel in self.channels.values())
