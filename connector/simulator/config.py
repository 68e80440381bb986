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

    api_key: str = Field("simulated_key", min_length=1, description="the app's api_key")
    api_secret: str = Field(
        "simulated_secret", min_length=1, repr=False, description="for the login's checksum"
    )
    access_token: str | None = Field(
        "simulated_token",
        min_length=1,
        repr=False,
        description="the token that is good at the start; null: nobody has logged in yet",
    )
    user_id: str = Field("SIM001", min_length=1, description="whose orders its sockets are told")
    redirect_url: str = Field(
        "http://127.0.0.1/", description="where a login sends the browser with its request_token"
    )


class SimulatorConfig(BaseModel):
    """Everything that a `SimulatorServer` can be told at its start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on, for both ports")
    ws_port: int = Field(0, ge=0, le=65535, description="WebSocket port; 0: any free one")
    rest_port: int = Field(0, ge=0, le=65535, description="REST port; 0: any free one")
    accounts: tuple[SimulatedAccount, ...] = Field(
        (SimulatedAccount(),), min_length=1, description="the api_keys that may come in"
    )

    instruments: int = Field(2_000, ge=1, le=120_000, description="size of the market")
    seed: int = Field(1, description="the same seed and steps give the same packets")
    today: date | None = Field(
        None, description="the trading day that expiries are counted from; null: today in IST"
    )
    market_open: bool = Field(True, description="false: snapshots and heartbeats only")
    stepped: bool = Field(
        False, description="nothing goes out by itself, not even heartbeats: tests call step()"
    )

    updates_per_second: NotNegative = Field(1.0, description="of each subscribed instrument")
    period_seconds: Positive = Field(
        0.02, le=1, description="how often updates go out; smaller is smoother and costs more"
    )
    burst_factor: Positive = Field(1.0, description="how much faster a burst is; 1: no bursts")
    burst_every_seconds: Positive = Field(10.0, description="from one burst's start to the next")
    burst_seconds: Positive = Field(1.0, description="how long a burst lasts")
    packets_per_frame: int = Field(50, ge=1, le=5_000, description="at most, in one frame")
    heartbeat_seconds: Positive = Field(1.0, description="between the 1-byte frames")
    connect_messages: bool = Field(
        True, description="send the undocumented instruments_meta and app_code at connect"
    )

    max_sockets_per_key: int = Field(MAX_CONNECTIONS_PER_KEY, ge=1, description="then HTTP 429")
    max_instruments_per_socket: int = Field(
        MAX_SYMBOLS_PER_CONNECTION, ge=1, description="then the error frame"
    )
    slot_release_seconds: NotNegative = Field(
        0.1, description="for how long a closed socket still counts against its api_key"
    )
    backlog_mib: Positive = Field(
        16.0, description="unsent bytes of a socket above which its packets are left out, counted"
    )
    sent_log_frames: int = Field(
        0, ge=0, description="data frames that each socket remembers, for tests"
    )

    replay: Path | None = Field(None, description="a capture to send instead of the random market")
    replay_speed: NotNegative = Field(
        1.0, description="1: as recorded, 10: ten times faster, 0: as fast as the sockets drain"
    )
    replay_route: Literal["subscription", "slot"] = Field(
        "subscription",
        description="subscription: each packet to the sockets that asked for it, in their mode; "
        "slot: each recorded frame unchanged to the socket of the recorded slot",
    )
    replay_loop: bool = Field(False, description="begin again at its end")
    replay_sockets: int = Field(1, ge=1, description="open sockets to wait for before it begins")

    instruments_file: Path | None = Field(
        None,
        description="a list to serve at /instruments, CSV or CSV.gz: that of a replay's day; "
        "replaced, it is another day's",
    )

    faults: tuple[FaultSpec, ...] = Field((), description="faults with their times")

    @model_validator(mode="after")
    def _distinct_keys(self) -> SimulatorConfig:
        keys = [account.api_key for account in self.accounts]
        if len(set(keys)) != len(keys):
            raise ValueError("accounts: each api_key once")
        if self.burst_seconds > self.burst_every_seconds:
            raise ValueError("burst_seconds must not exceed burst_every_seconds")
        return self
