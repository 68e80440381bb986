"""What a connection counts, as an immutable snapshot."""

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
    """Connect time of the latest socket, milliseconds."""
    desired: int
    confirmed: int
    unconfirmed: int
    given_up: int
    """Of the unconfirmed: asked for as often as is allowed, and more slowly since."""
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
    """Frames come, but no ticks, and no answer to a question."""
    paused: bool
    """The handler holds reading."""
    last_error: str
    unserved: int = 0
    """Of those given up: without any packet on this socket."""
    trouble: str = ""
    """What is wrong with the stream of an open socket, in words; "" while nothing is."""
    renewals: int = 0
    """Sockets replaced since they were mute or half served."""
