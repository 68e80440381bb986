"""What happens to a connection: its states, and the events that logs, metrics and Kafka have of it.

The service's own events are here too, since they go the same way: to `kite.events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from connector.kite.wire.models import Exchange


class ConnectionState(StrEnum):
    """The states of a connection; each change of state is an event.

    Attributes:
        IDLE: it was not started yet.
        CONNECTING: the handshake is under way.
        CONNECTED: the socket is open and frames are read.
        BACKING_OFF: the last try failed; the next one has its time.
        WAITING_FOR_TOKEN: HTTP 403: nothing is tried until the credentials change.
        WAITING_FOR_SLOT: HTTP 429: the feed has not freed the slot yet.
        FAILED: the configured number of attempts is used up.
        CLOSED: it was closed by its owner.
    """

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    BACKING_OFF = "backing_off"
    WAITING_FOR_TOKEN = "waiting_for_token"  # noqa: S105 -- a state, not a secret
    WAITING_FOR_SLOT = "waiting_for_slot"
    FAILED = "failed"
    CLOSED = "closed"


class EventType(StrEnum):
    """What can happen to a connection; also the `type` in the topic `kite.events`.

    Attributes:
        CONNECTING: a handshake begins.
        CONNECTED: a socket is open.
        DISCONNECTED: it is gone; `code` and `reason` say how.
        BACKING_OFF: a try has failed; the next one has its time.
        RESUBSCRIBED: all instruments were asked for again.
        SNAPSHOT_DONE: each of them has sent something since.
        GAP: nothing was received from `gap_from_ms` to `gap_to_ms`.
        WAITING_FOR_TOKEN: HTTP 403: nothing is tried until the token changes.
        WAITING_FOR_SLOT: HTTP 429: the feed has no socket free.
        UNCONFIRMED: `tokens` send nothing, or in another mode than asked for.
        STALLED: heartbeats come, and no ticks.
        TICKS_RESUMED: ticks come again.
        DROPPED: a channel was full and lost messages, or caught up again.
        FAILED: the configured number of attempts is used up.
        CLOSED: the connection was closed by its owner.
        COUNT: of the service: so many ticks went to Kafka, in `count`.
        SLOT_PAUSED: of the service: a command paused it; its socket asks for nothing.
        SLOT_STOPPED: of the service: a command closed its socket for the time being.
        SLOT_RESUMED: of the service: a command ended that.
        ORDERS_NOT_RECONCILED: of the service: what became of orders meanwhile is not known.
        GAP_BACKFILLED: of the service: candles of a gap are in Kafka, as far as they can be had.
        GAP_NOT_BACKFILLED: of the service: what of a gap's candles cannot be had, and why.
        INSTRUMENT_EXPIRED: of the service: an instrument is no longer listed.
        INSTRUMENT_CHANGED: of the service: a token means another instrument.
        INSTRUMENT_DISPLACED: of the service: a watchlist of higher priority has its room.
        INSTRUMENT_LIST_HELD_BACK: of the service: a list differs too much from the one before.
        INSTRUMENT_LIST_ACCEPTED: of the service: such a list was accepted.
        INSTRUMENT_ROWS_KEPT: of the service: damaged rows are as the last good list had them.
        SUBSCRIPTIONS_RESTORED: of the service: their topic was deleted, and has them all again.
        SUBSCRIPTIONS_LOST: of the service: their topic was deleted, and nobody has them any more.
        INSTRUMENTS_LET_GO: of the service: nobody is known to claim them since, and they end.
        TOPIC_RECREATED: of the service: a topic was missing and was made again.
        TOPIC_MISCONFIGURED: of the service: a topic is no more as it has to be.
        FOREIGN_MEMBER: of the service: another program's consumer took a slot or the leadership.
        RULE_CHANGED: of the service: a rule of a watchlist claims other instruments now.
        RULE_KEPT: of the service: a rule could not be followed, and has what it had.
    """

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    BACKING_OFF = "backing_off"
    RESUBSCRIBED = "resubscribed"
    SNAPSHOT_DONE = "snapshot_done"
    GAP = "gap"
    WAITING_FOR_TOKEN = "waiting_for_token"  # noqa: S105 -- a state, not a secret
    WAITING_FOR_SLOT = "waiting_for_slot"
    UNCONFIRMED = "unconfirmed"
    STALLED = "stalled"
    TICKS_RESUMED = "ticks_resumed"
    DROPPED = "dropped"
    FAILED = "failed"
    CLOSED = "closed"
    COUNT = "count"
    ORDERS_NOT_RECONCILED = "orders_not_reconciled"
    GAP_BACKFILLED = "gap_backfilled"
    GAP_NOT_BACKFILLED = "gap_not_backfilled"
    SLOT_PAUSED = "slot_paused"
    SLOT_STOPPED = "slot_stopped"
    SLOT_RESUMED = "slot_resumed"
    INSTRUMENT_EXPIRED = "instrument_expired"
    INSTRUMENT_CHANGED = "instrument_changed"
    INSTRUMENT_DISPLACED = "instrument_displaced"
    INSTRUMENT_LIST_HELD_BACK = "instrument_list_held_back"
    INSTRUMENT_LIST_ACCEPTED = "instrument_list_accepted"
    INSTRUMENT_ROWS_KEPT = "instrument_rows_kept"
    SUBSCRIPTIONS_RESTORED = "subscriptions_restored"
    SUBSCRIPTIONS_LOST = "subscriptions_lost"
    INSTRUMENTS_LET_GO = "instruments_let_go"
    TOPIC_RECREATED = "topic_recreated"
    TOPIC_MISCONFIGURED = "topic_misconfigured"
    FOREIGN_MEMBER = "foreign_member"
    RULE_CHANGED = "rule_changed"
    RULE_KEPT = "rule_kept"


@dataclass(slots=True, frozen=True)
class TickCount:
    """The ticks of a part of a session, which begins where the part of the count before ended."""

    first_sequence: int
    last_sequence: int
    """One less than the first where there is no tick."""
    session_ended: bool
    """Whether the session has no further tick."""
    partitions: Mapping[tuple[Exchange, int], int]
    """How many ticks went to a partition of an exchange's topic; where there are any."""


@dataclass(slots=True, frozen=True)
class ConnectionEvent:
    """An edge in the life of a connection, for logs, metrics and the topic `kite.events`.

    Attributes:
        type: what happened.
        slot: the connection's number; a manager's `ChannelId`.
        time_ms: when, UTC milliseconds since 1970.
        session_id: when the socket was opened, UTC milliseconds; None before the first one.
        state: the connection's state from now on; None where it stays as it was.
        reason: in words; "" where there is nothing to say.
        gap_from_ms: of a GAP: the last frame before it, UTC milliseconds; None where that is not
            known, for another process received before.
        gap_to_ms: of a GAP: its end, UTC milliseconds.
        instruments: how many it is about; None where it is not about any.
        tokens: those it is about, by name.
        code: the WebSocket's close code of a DISCONNECTED, None where the feed sent none.
        count: of a COUNT, which the service writes: what was counted.
    """

    type: EventType
    slot: int
    time_ms: int
    session_id: int | None = None
    state: ConnectionState | None = None
    reason: str = ""
    gap_from_ms: int | None = None
    gap_to_ms: int | None = None
    instruments: int | None = None
    tokens: tuple[int, ...] = ()
    code: int | None = None
    count: TickCount | None = None
