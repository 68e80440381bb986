"""The faults that the simulator can be asked for, as data: by a test, the CLI or a REST call."""

from __future__ import annotations

import re
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class FaultKind(StrEnum):
    """The kinds of fault that the simulator can make."""

    SILENCE = "silence"
    """No frame of any kind: no ticks, heartbeats, pongs or answer to a close. TCP stays up."""
    MUTE = "mute"
    """Heartbeats and pongs, but no ticks."""
    DEAF = "deaf"
    """The requests of clients are ignored."""
    HALF_SERVED = "half_served"
    """Every second instrument (by its number) sends nothing, whatever is asked for."""
    SLOW = "slow"
    """Bytes trickle: `chunk_bytes` each `delay_seconds`."""
    HALF_FRAME = "half_frame"
    """A binary frame whose last packet is cut in the middle."""
    UNKNOWN_LENGTH = "unknown_length"
    """A frame with packets of 12 and 492 bytes between good ones."""
    UNKNOWN_SEGMENT = "unknown_segment"
    """A frame with packets of segments that do not exist, between good ones."""
    WILD_TIME = "wild_time"
    """A frame with full packets whose exchange times are of 1970, 2038 and 2106."""
    GARBAGE_TEXT = "garbage_text"
    """Text frames that are not JSON, or not an object, or lack every key."""
    ERROR_FRAME = "error_frame"
    """A text frame of type error with `text`."""
    ABORT = "abort"
    """The TCP connection is reset, without a close frame."""
    CLOSE = "close"
    """A close frame with `code` and `text`."""
    REFUSE = "refuse"
    """The next `count` handshakes are answered with HTTP `status`."""
    GATEWAY = "gateway"
    """The next `count` handshakes are answered with HTTP `status` and a page that is not Kite's."""
    REFUSE_CANDLES = "refuse_candles"
    """The next `count` requests for candles are answered with HTTP `status`; 403: no right."""
    NO_CANDLES = "no_candles"
    """The next `count` answers have no candle."""
    HALF_CANDLES = "half_candles"
    """The next `count` answers have the first half of the candles alone."""
    EXPIRE_TOKEN = "expire_token"  # noqa: S105 - the name of a fault
    """The access_token of every api_key ends; sockets that are open stay."""


LASTING = frozenset(
    {
        FaultKind.SILENCE,
        FaultKind.MUTE,
        FaultKind.DEAF,
        FaultKind.HALF_SERVED,
        FaultKind.SLOW,
    }
)
"""Faults that have a duration; the others are over at once."""

OF_CANDLES = frozenset({FaultKind.REFUSE_CANDLES, FaultKind.NO_CANDLES, FaultKind.HALF_CANDLES})
"""Faults of the historical API, which concern no socket."""

_SHORT = re.compile(
    r"(?P<kind>[a-z_]+)(@(?P<at>\d+(\.\d+)?))?(:(?P<seconds>\d+(\.\d+)?))?(?P<more>(,[a-z_]+=[^,]*)*)"
)


class FaultSpec(BaseModel):
    """One fault: what, when, for how long and on which sockets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind = Field(description="The kind of the fault.")
    at_seconds: float = Field(
        0.0, ge=0, description="Begin so many seconds after the start; 0 is at once."
    )
    every_seconds: float | None = Field(
        None, gt=0, description="Repeat the fault every so many seconds."
    )
    seconds: float | None = Field(
        None,
        gt=0,
        description="A lasting fault lasts so many seconds; null means until it is cleared.",
    )
    sockets: tuple[int, ...] | None = Field(
        None, description="Meet the sockets of these numbers; null means all that are open."
    )
    upcoming: bool = Field(
        False, description="A lasting fault meets sockets that open while it lasts, too."
    )
    count: int = Field(
        1,
        ge=1,
        description="Send so many frames, refuse so many handshakes, or spoil so many answers.",
    )
    status: int = Field(
        503,
        description="refuse, gateway and refuse_candles answer with this HTTP status, 400 and "
        "above.",
    )
    code: int = Field(1011, description="close sends this WebSocket code.")
    text: str = Field(
        "simulated fault",
        max_length=120,
        description="error_frame, close and gateway bring this text.",
    )
    delay_seconds: float = Field(
        0.1, gt=0, le=60, description="slow pauses for so many seconds between chunks."
    )
    chunk_bytes: int = Field(64, ge=1, description="slow sends so many bytes in a chunk.")

    @field_validator("status")
    @classmethod
    def _is_an_error(cls, status: int) -> int:
        if status >= 400 and status in {known.value for known in HTTPStatus}:
            return status
        raise ValueError("no HTTP error has this status")

    @field_validator("code")
    @classmethod
    def _may_be_sent(cls, code: int) -> int:
        # RFC 6455, 7.4: the others are reserved, or only ever made up by the receiver
        if code in range(1000, 1004) or code in range(1007, 1015) or code in range(3000, 5000):
            return code
        raise ValueError("no close frame may have this code")

    @classmethod
    def parse(cls, text: str) -> FaultSpec:
        """Read the short form of the CLI: `kind[@at_seconds][:seconds][,field=value …]`.

        As in `silence@30:8` and `refuse@5,status=502,count=3`; several sockets are `sockets=0+2`.

        Raises:
            ValueError: the text is not of that form, or names no known kind or field.
        """
        match = _SHORT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r}: write a fault as kind[@at_seconds][:seconds]")
        if match["kind"] not in set(FaultKind):
            raise ValueError(f"{match['kind']!r} is no fault; there are {', '.join(FaultKind)}")
        given: dict[str, Any] = {"kind": match["kind"]}
        if match["at"] is not None:
            given["at_seconds"] = match["at"]
        if match["seconds"] is not None:
            given["seconds"] = match["seconds"]
        for pair in filter(None, match["more"].split(",")):
            name, _, value = pair.partition("=")
            given[name] = value.split("+") if name == "sockets" else value
        return cls.model_validate(given)
