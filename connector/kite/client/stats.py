"""The counts of the manager, as an immutable snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from connector.kite.client.channel import ChannelStats
from connector.kite.feed.events import ConnectionState
from connector.kite.feed.stats import ConnectionStats

ChannelId = NewType("ChannelId", int)
ChannelId.__doc__ = "The number of a manager's connection, 0, 1, …, and of its channel; an int."


@dataclass(frozen=True, slots=True)
class AccountStats:
    """The connections of one account together: counts since the start.

    Attributes:
        channel_ids: its connections.
        connected: how many of them have an open socket.
        capacity: how many instruments they carry at most.
        desired: how many instruments should stream.
        confirmed: how many were seen in the mode that is wanted.
        ticks: how many came.
        frames: how many binary frames came that are not heartbeats.
        bytes: how many bytes were in those frames.
        reconnects: how many sockets were opened after the first of each connection.
        failures: how many tries did not lead to a socket.
        dropped_ticks: how many ticks full channels lost.
    """

    channel_ids: tuple[ChannelId, ...]
    connected: int
    capacity: int
    desired: int
    confirmed: int
    ticks: int
    frames: int
    bytes: int
    reconnects: int
    failures: int
    dropped_ticks: int


def of_account(
    connections: Mapping[ChannelId, ConnectionStats],
    channels: Mapping[ChannelId, ChannelStats],
    ticks: Mapping[ChannelId, int],
    instruments_per_connection: int,
) -> AccountStats:
    """Sum up the connections of one account.

    Args:
        connections: its own alone.
        channels: those of their channels, and of others.
        ticks: parsed of each connection, where they are.
        instruments_per_connection: how many a connection carries.
    """
    each = connections.values()
    return AccountStats(
        channel_ids=tuple(connections),
        connected=sum(one.state is ConnectionState.CONNECTED for one in each),
        capacity=len(connections) * instruments_per_connection,
        desired=sum(one.desired for one in each),
        confirmed=sum(one.confirmed for one in each),
        ticks=sum(ticks.get(slot, 0) for slot in connections),
        frames=sum(one.frames for one in each),
        bytes=sum(one.bytes for one in each),
        reconnects=sum(one.reconnects for one in each),
        failures=sum(one.failures for one in each),
        dropped_ticks=sum(channels[slot].dropped_ticks for slot in connections if slot in channels),
    )


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
        accounts: the totals of each account, by its name.
    """

    connections: Mapping[ChannelId, ConnectionStats]
    channels: Mapping[ChannelId, ChannelStats]
    capacity: int
    ticks: int
    rejected_packets: int
    order_duplicates: int
    accounts: Mapping[str, AccountStats] = field(default_factory=dict)

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
