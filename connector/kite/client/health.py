"""One judgement over all connections: healthy, degraded or critical, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from connector.kite.client.stats import ChannelId
from connector.kite.feed.events import ConnectionState
from connector.kite.feed.stats import ConnectionStats
from connector.kite.market_hours import ticks_expected
from connector.kite.wire.models import Exchange


class HealthStatus(StrEnum):
    """The state of all connections together, in one word.

    Attributes:
        HEALTHY: every connection streams what it should.
        DEGRADED: something is lost or late, but at least half works.
        CRITICAL: less than half of the connections work.
    """

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class HealthSummary:
    """The judgement, with a sentence for each thing that is not as it should be.

    Attributes:
        status: in one word.
        percentage: 100 when all is well; a connection that is down counts 0, one that is impaired
            half.
        connected: how many sockets are open.
        connections: how many there should be.
        reasons: a sentence for each fault.
        unhealthy_connections: the connections that are down or impaired.
        accounts: how healthy the connections of each account are, per cent, by its name.
    """

    status: HealthStatus
    percentage: float
    connected: int
    connections: int
    reasons: tuple[str, ...]
    unhealthy_connections: tuple[ChannelId, ...] = ()
    accounts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectionHealth:
    """The facts of one connection that health depends on."""

    slot: ChannelId
    stats: ConnectionStats
    exchanges: Collection[Exchange]
    """The exchanges of its instruments."""
    dropping: bool = False
    """Whether its channel loses messages."""


def judge(connections: Sequence[ConnectionHealth], at: datetime) -> HealthSummary:
    """Sum up.

    Args:
        connections: all of them.
        at: the time, aware: outside market hours no ticks is no fault.
    """
    points: dict[ChannelId, float] = {}
    reasons: list[str] = []
    for connection in connections:
        complaints = _complaints(connection, at)
        reasons += [f"connection {connection.slot}: {complaint}" for complaint in complaints]
        up = connection.stats.state is ConnectionState.CONNECTED
        # an impaired one still brings some of its ticks
        points[connection.slot] = (0.5 if complaints else 1.0) if up else 0.0
    if not connections:
        reasons.append("there is no connection")
    percentage = _percentage(points.values())
    of_accounts: dict[str, list[float]] = {}
    for connection in connections:
        of_accounts.setdefault(connection.stats.account, []).append(points[connection.slot])
    if not reasons:
        status = HealthStatus.HEALTHY
    else:
        status = HealthStatus.DEGRADED if percentage >= 50 else HealthStatus.CRITICAL
    states = [connection.stats.state for connection in connections]
    return HealthSummary(
        status,
        percentage,
        states.count(ConnectionState.CONNECTED),
        len(connections),
        tuple(reasons),
        tuple(slot for slot, point in points.items() if point < 1),
        {account: _percentage(of_one) for account, of_one in of_accounts.items()},
    )


def _percentage(points: Collection[float]) -> float:
    return 100 * sum(points) / len(points) if points else 0.0


def _complaints(connection: ConnectionHealth, at: datetime) -> list[str]:
    stats = connection.stats
    if stats.state is not ConnectionState.CONNECTED:
        words = stats.state.value.replace("_", " ")
        return [f"{words}: {stats.last_error}" if stats.last_error else words]
    complaints = []
    # else nothing comes that could confirm an instrument, but for the cached packet
    trading = any(ticks_expected(exchange, at) for exchange in connection.exchanges)
    if stats.stalled and trading:
        complaints.append("heartbeats but no ticks in market hours")
    # in another mode than asked for is no fault: a thinly traded one sends its next packet late
    if stats.unserved and trading:
        complaints.append(f"{stats.unserved} instruments do not answer")
    if connection.dropping:
        complaints.append("its channel is full and drops messages: the reader is too slow")
    if stats.paused:
        complaints.append("its channel is full and holds the socket: the reader is too slow")
    return complaints
