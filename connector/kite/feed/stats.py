"""The counts of a connection, as an immutable snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from connector.kite.feed.events import ConnectionState


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Counts since the start and the state as it is now; times are UTC, 0 where there is none.

    Attributes:
        slot: the connection's number; a manager's `ChannelId`.
        account: the name of its credentials.
        state: see `ConnectionState`.
        session_id: the connect time of the latest socket, UTC milliseconds.
        desired: how many instruments should stream.
        confirmed: how many were seen in the mode that is wanted.
        unconfirmed: how many were not, yet.
        given_up: how many of the unconfirmed were asked for as often as is allowed, and more slowly
            since.
        silent: how many of the unconfirmed have sent no packet on this socket.
        frames: how many binary frames came that are not heartbeats.
        bytes: how many bytes were in those frames.
        heartbeats: how many came.
        messages: how many text frames came.
        control_frames: how many pings and pongs came.
        connects: how many sockets were opened.
        reconnects: how many of them after the first.
        failures: how many tries did not lead to a socket.
        handler_errors: how often the handler of frames and events failed.
        last_frame_us: when the last frame of any kind came, heartbeats and pongs too; UTC
            microseconds.
        last_tick_us: when the last frame with ticks came; UTC microseconds.
        stalled: whether frames come, but no ticks, and no answer to a question.
        paused: whether the handler holds reading.
        last_error: the last failure in words; "" while all is well.
        unserved: how many of those given up sent no packet on this socket.
        trouble: what is wrong with the stream of an open socket, in words; "" while nothing is.
        renewals: how many sockets were replaced since they were mute or half served.
    """

    slot: int
    account: str
    state: ConnectionState
    session_id: int
    desired: int
    confirmed: int
    unconfirmed: int
    given_up: int
    frames: int
    bytes: int
    heartbeats: int
    messages: int
    control_frames: int
    connects: int
    reconnects: int
    failures: int
    handler_errors: int
    last_frame_us: int
    last_tick_us: int
    stalled: bool
    paused: bool
    last_error: str
    silent: int = 0
    unserved: int = 0
    trouble: str = ""
    renewals: int = 0
