"""The counts of a connection, as an immutable snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from connector.kite.wire.models import ConnectionState


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Counts since the start and the state as it is now; times are UTC, 0 where there is none."""

    slot: int
    account: str
    state: ConnectionState
    session_id: int
    """The connect time of the latest socket, UTC milliseconds."""
    desired: int
    confirmed: int
    unconfirmed: int
    given_up: int
    """How many of the unconfirmed were asked for as often as is allowed, and more slowly since."""
    frames: int
    """How many binary frames came that are not heartbeats."""
    bytes: int
    """How many bytes were in those frames."""
    heartbeats: int
    messages: int
    """How many text frames came."""
    control_frames: int
    """How many pings and pongs came."""
    connects: int
    reconnects: int
    failures: int
    """How many tries did not lead to a socket."""
    handler_errors: int
    last_frame_us: int
    """When the last frame of any kind came, heartbeats and pongs too; UTC microseconds."""
    last_tick_us: int
    stalled: bool
    """Whether frames come, but no ticks, and no answer to a question."""
    paused: bool
    """Whether the handler holds reading."""
    last_error: str
    unserved: int = 0
    """How many of those given up sent no packet on this socket."""
    trouble: str = ""
    """What is wrong with the stream of an open socket, in words; "" while nothing is."""
    renewals: int = 0
    """How many sockets were replaced since they were mute or half served."""
