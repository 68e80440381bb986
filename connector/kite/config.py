"""How connections and the manager behave; one definition for the library and the service."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connector.kite.wire.models import Mode

MAX_CONNECTIONS_PER_KEY = 3
"""Sockets that the feed allows an api_key."""
MAX_SYMBOLS_PER_CONNECTION = 3000
"""Instruments that the feed allows a socket."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ConnectionConfig(BaseModel):
    """How each connection behaves. All durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_symbols_per_connection: int = Field(
        MAX_SYMBOLS_PER_CONNECTION,
        ge=1,
        le=MAX_SYMBOLS_PER_CONNECTION,
        description="instruments a connection carries at most",
    )
    connection_timeout: Seconds = Field(10.0, description="seconds for a handshake")
    liveness_threshold: Seconds = Field(
        6.0, description="seconds without a frame of any kind after which the socket is dead"
    )
    stall_threshold: Seconds = Field(
        60.0, description="seconds of heartbeats without a tick after which it counts as stalled"
    )
    ping_interval: Seconds = Field(2.5, description="seconds between our own pings")
    confirm_timeout: Seconds = Field(
        5.0, description="seconds after which a silent instrument is asked for again"
    )
    confirm_attempts: int = Field(3, ge=0, description="how often to ask again")
    reconnect_min_delay: Seconds = Field(0.5, description="seconds, the first delay before jitter")
    reconnect_max_delay: Seconds = Field(30.0, description="seconds, the delay's cap")
    max_reconnect_attempts: int | None = Field(
        None, ge=0, description="failures in a row after which it gives up; null: never"
    )
    slot_wait: Seconds = Field(2.0, description="seconds between tries after HTTP 429")

    @model_validator(mode="after")
    def _delays_in_order(self) -> ConnectionConfig:
        if self.reconnect_min_delay > self.reconnect_max_delay:
            raise ValueError("reconnect_min_delay must not exceed reconnect_max_delay")
        if self.ping_interval >= self.liveness_threshold:
            raise ValueError("ping_interval must be below liveness_threshold")
        return self


class ChannelPolicy(StrEnum):
    """What a full channel does with one more message. Each drop is counted."""

    DROP_OLDEST = "drop_oldest"
    """The reader is behind: it gets the newest data."""
    DROP_NEWEST = "drop_newest"
    """What is queued stays; what comes is lost."""
    BLOCK = "block"
    """Nothing is lost: reading of the socket pauses, and TCP holds the feed back."""


class KiteManagerConfig(ConnectionConfig):
    """How a `KiteTickerManager` behaves. All durations are seconds."""

    max_connections: int = Field(
        MAX_CONNECTIONS_PER_KEY,
        ge=1,
        le=MAX_CONNECTIONS_PER_KEY,
        description="sockets an api_key",
    )
    channel_size: int = Field(
        10_000, ge=1, description="messages (frames) that a connection's channel holds"
    )
    channel_policy: ChannelPolicy = Field(
        ChannelPolicy.DROP_OLDEST, description="what a full channel does"
    )
    default_mode: Mode = Field(Mode.QUOTE, description="where subscribe_symbols names no mode")
    health_check_interval: Seconds = Field(5.0, description="seconds between health checks")
