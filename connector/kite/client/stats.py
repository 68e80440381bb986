"""The counts of the manager, as an immutable snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from connector.kite.client.channel import ChannelStats
from connector.kite.feed.stats import ConnectionStats
from connector.kite.wire.models import ConnectionState

ChannelId = NewType("ChannelId", int)
ChannelId.__doc__ = "The number of a manager's connection, 0, 1, …, and of its channel; an int."


@dataclass(frozen=True, slots=True)
class ManagerStats:
    """All connections of a manager, as they are now.

    Attributes:
        connections: the counts of each.
        channels: those of its channel; empty where a manager has handlers of its user's own.
        capacity: how many instruments the connections carry at most.
        ticks: how many ticks went into channels, or were dropped by them.
        rejected_packets: how many packets were no ticks.
        order_duplicates: how many copies of order updates came, which each socket brings.
    """

    connections: Mapping[ChannelId, ConnectionStats]
    channels: Mapping[ChannelId, ChannelStats]
    capacity: int
    ticks: int
    rejected_packets: int
    order_duplicates: int

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
