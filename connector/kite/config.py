"""How connections and the manager behave; one definition for the library and the service."""

from __future__ import annotations

import inspect
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connector.kite.wire.models import Mode

MAX_CONNECTIONS_PER_KEY = 3
"""The feed allows so many sockets for an api_key."""
MAX_SYMBOLS_PER_CONNECTION = 3000
"""The feed allows so many instruments on a socket."""

_Model = TypeVar("_Model", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _described(model: type[_Model]) -> type[_Model]:
    """Put the descriptions of a model's fields into its docstring, for `help()`."""
    lines = [
        f"    {name}: {field.description} Default: {field.get_default()}."
        for name, field in model.model_fields.items()
    ]
    about, raises, rest = inspect.cleandoc(model.__doc__ or "").partition("\n\nRaises:")
    model.__doc__ = "\n".join([about, "", "Attributes:", *lines, raises + rest])
    return model


@_described
class ConnectionConfig(BaseModel):
    """How each connection behaves. All durations are seconds.

    Raises:
        ValidationError: of pydantic, a ValueError: a value is out of bounds, or a name unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_symbols_per_connection: int = Field(
        default=MAX_SYMBOLS_PER_CONNECTION,
        ge=1,
        le=MAX_SYMBOLS_PER_CONNECTION,
        description="A connection carries at most so many instruments.",
    )
    connection_timeout_seconds: Seconds = Field(
        default=10.0, description="A handshake that takes longer, seconds, has failed."
    )
    # a heartbeat comes about each second: six are missing by then, and the pongs of two pings
    liveness_threshold_seconds: Seconds = Field(
        default=6.0,
        ge=0.1,
        description="A socket without a frame of any kind for so many seconds is dead.",
    )
    stall_threshold_seconds: Seconds = Field(
        default=60.0,
        description="A connection with heartbeats and no tick for so many seconds has stalled.",
    )
    ping_interval_seconds: Seconds = Field(
        default=2.5, ge=0.05, description="Send a ping of our own every so many seconds."
    )
    confirm_timeout_seconds: Seconds = Field(
        default=5.0, description="Ask for an instrument again that is silent for so many seconds."
    )
    confirm_attempts: int = Field(
        default=3, ge=0, description="Ask for a silent instrument again at most so many times."
    )
    reconnect_min_delay_seconds: Seconds = Field(
        default=0.5, description="The first reconnect waits up to so many seconds, at random."
    )
    reconnect_max_delay_seconds: Seconds = Field(
        default=30.0, description="No reconnect waits longer than so many seconds."
    )
    max_reconnect_attempts: int | None = Field(
        default=None, ge=0, description="Give up after so many failures in a row; null means never."
    )
    slot_wait_seconds: Seconds = Field(
        default=2.0,
        description="Try again at most so many seconds after the feed answered HTTP 429; the first "
        "tries follow sooner, the first of all after a sixteenth.",
    )

    @model_validator(mode="after")
    def _delays_in_order(self) -> ConnectionConfig:
        if self.reconnect_min_delay_seconds > self.reconnect_max_delay_seconds:
            raise ValueError(
                "reconnect_min_delay_seconds must not exceed reconnect_max_delay_seconds"
            )
        if self.ping_interval_seconds >= self.liveness_threshold_seconds:
            raise ValueError("ping_interval_seconds must be below liveness_threshold_seconds")
        return self


class ChannelPolicy(StrEnum):
    """The policies of a full channel for one more message; each drop is counted.

    Attributes:
        DROP_OLDEST: the oldest message is lost: a reader that is behind gets the newest data.
        DROP_NEWEST: the new message is lost: what is queued stays.
        BLOCK: nothing is lost: reading of the socket pauses, and TCP holds the feed back.
    """

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    BLOCK = "block"


@_described
class KiteManagerConfig(ConnectionConfig):
    """How a `KiteTickerManager` behaves. All durations are seconds."""

    max_connections: int = Field(
        default=MAX_CONNECTIONS_PER_KEY,
        ge=1,
        le=MAX_CONNECTIONS_PER_KEY,
        description="Open so many sockets for each api_key.",
    )
    channel_size: int = Field(
        default=10_000,
        ge=1,
        description="The channel of a connection holds so many messages, each of one frame.",
    )
    channel_policy: ChannelPolicy = Field(
        default=ChannelPolicy.DROP_OLDEST,
        description="A full channel drops its oldest ticks, drops the newest, or blocks.",
    )
    default_mode: Mode = Field(
        default=Mode.QUOTE,
        description="The mode of an instrument for which subscribe_symbols names none.",
    )
    health_check_interval_seconds: Seconds = Field(
        default=5.0, description="Check the health of the connections every so many seconds."
    )
