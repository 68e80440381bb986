"""What the simulator can be told: where it listens, whom it knows, how its market behaves."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connector.kite.config import MAX_CONNECTIONS_PER_KEY, MAX_SYMBOLS_PER_CONNECTION
from connector.simulator.faults import FaultSpec

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SimulatedAccount(BaseModel):
    """One app of one user. Nothing here is a real secret, but none is shown in a repr either."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: str = Field(
        default="simulated_key", min_length=1, description="The api_key of the app."
    )
    api_secret: str = Field(
        default="simulated_secret",
        min_length=1,
        repr=False,
        description="The app's api_secret, for the checksum of a login.",
    )
    access_token: str | None = Field(
        default="simulated_token",
        min_length=1,
        repr=False,
        description="This access_token is good at the start; null means nobody has logged in.",
    )
    user_id: str = Field(
        default="SIM001", min_length=1, description="The sockets bring the orders of this user."
    )
    redirect_url: str = Field(
        default="http://127.0.0.1/",
        description="A login sends the browser to this URL, with its request_token.",
    )


class SimulatorConfig(BaseModel):
    """Everything that a `SimulatorServer` can be told at its start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Listen on this address, with both ports.")
    ws_port: int = Field(
        default=0, ge=0, le=65535, description="WebSocket port; 0 takes any free one."
    )
    rest_port: int = Field(
        default=0, ge=0, le=65535, description="REST port; 0 takes any free one."
    )
    accounts: tuple[SimulatedAccount, ...] = Field(
        default=(SimulatedAccount(),),
        min_length=1,
        description="The accounts whose api_keys are good.",
    )

    instruments: int = Field(
        default=2_000, ge=1, le=120_000, description="The market has so many instruments."
    )
    seed: int = Field(default=1, description="The same seed and steps give the same packets.")
    today: date | None = Field(
        default=None,
        description="The trading day that expiries are counted from; today in IST by default.",
    )
    market_open: bool = Field(
        default=True, description="A closed market sends snapshots and heartbeats only."
    )
    stepped: bool = Field(
        default=False,
        description="Nothing goes out by itself, not even heartbeats: tests call step().",
    )

    updates_per_second: NotNegative = Field(
        default=1.0, description="Update each subscribed instrument so many times a second."
    )
    period_seconds: Positive = Field(
        default=0.02,
        le=1,
        description="Seconds between batches of updates; fewer are smoother and cost more.",
    )
    burst_factor: Positive = Field(
        default=1.0, description="A burst is so many times faster; 1 means no bursts."
    )
    burst_every_seconds: Positive = Field(
        default=10.0, description="Seconds from the beginning of one burst to that of the next."
    )
    burst_seconds: Positive = Field(default=1.0, description="A burst lasts so long.")
    packets_per_frame: int = Field(
        default=50, ge=1, le=5_000, description="A frame has at most so many packets."
    )
    heartbeat_seconds: Positive = Field(
        default=1.0, description="Seconds from one heartbeat, a frame of one byte, to the next."
    )
    connect_messages: bool = Field(
        default=True, description="Send the undocumented instruments_meta and app_code at connect."
    )

    max_sockets_per_key: int = Field(
        default=MAX_CONNECTIONS_PER_KEY,
        ge=1,
        description="An api_key may have so many sockets; the next gets HTTP 429.",
    )
    max_instruments_per_socket: int = Field(
        default=MAX_SYMBOLS_PER_CONNECTION,
        ge=1,
        description="A socket may subscribe so many instruments; then it gets the error frame.",
    )
    slot_release_seconds: NotNegative = Field(
        default=0.1, description="A closed socket counts against its api_key for so long."
    )
    candle_minutes: int = Field(
        default=15,
        ge=1,
        le=100_000,
        description="Keep candles of so many minutes of each instrument that trades.",
    )
    candle_requests_per_second: int = Field(
        default=3,
        ge=1,
        description="An api_key may ask for candles so many times a second; the next gets "
        "HTTP 429.",
    )
    backlog_mib: Positive = Field(
        default=16.0,
        description="Leave packets out, and count them, above so many unsent MiB of a socket.",
    )
    sent_log_frames: int = Field(
        default=0, ge=0, description="Each socket remembers so many data frames, for tests."
    )

    replay: Path | None = Field(
        default=None, description="Send this capture instead of the random market."
    )
    replay_speed: NotNegative = Field(
        default=1.0,
        description="Replay so many times faster than recorded; 0 is as fast as the sockets drain.",
    )
    replay_route: Literal["subscription", "slot"] = Field(
        default="subscription",
        description="subscription sends each packet to the sockets that asked for it, in their "
        "mode; slot sends each recorded frame unchanged to the socket of the recorded slot.",
    )
    replay_loop: bool = Field(default=False, description="Begin the replay again at its end.")
    replay_sockets: int = Field(
        default=1, ge=1, description="Begin the replay when so many sockets are open."
    )

    instruments_file: Path | None = Field(
        default=None,
        description="Serve this list at /instruments, CSV or CSV.gz, such as that of a replay's "
        "day; a file that is replaced is another day's.",
    )

    faults: tuple[FaultSpec, ...] = Field(
        default=(), description="Do these faults, each at its time."
    )

    @model_validator(mode="after")
    def _distinct_keys(self) -> SimulatorConfig:
        keys = [account.api_key for account in self.accounts]
        if len(set(keys)) != len(keys):
            raise ValueError("accounts: each api_key once")
        if self.burst_seconds > self.burst_every_seconds:
            raise ValueError("burst_seconds must not exceed burst_every_seconds")
        return self
