"""Everything that can be set, in one frozen tree: a YAML file, then the environment over it.

Environment names are the path in capitals behind `KITE_`, with `__` between the levels:
`KITE_KAFKA__BOOTSTRAP_SERVERS`. An unknown name stops the start. Secrets are `SecretStr`: no repr,
log, error or status page shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from connector.errors import SettingsError
from connector.kite.config import MAX_CONNECTIONS_PER_KEY, ConnectionConfig, Seconds
from connector.kite.models import Mode

ENV_PREFIX = "KITE_"


class Section(BaseModel):
    """A part of the settings: frozen, and closed against unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must begin with {' or '.join(f'{s}://' for s in schemes)}")
        return value.rstrip("/")

    return AfterValidator(check)


WebSocketUrl = Annotated[str, _url("wss", "ws")]
HttpUrl = Annotated[str, _url("https", "http")]


class FeedSettings(Section):
    """Where Kite is. Point both at the simulator to run without an account."""

    root: WebSocketUrl = Field("wss://ws.kite.trade", description="WebSocket root")
    rest: HttpUrl = Field("https://api.kite.trade", description="REST root")
    login: HttpUrl = Field("https://kite.zerodha.com", description="where a human logs in")


class AccountSettings(Section):
    """One api_key: three connections of its own."""

    name: str = Field(
        "main",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
        description="a short name for logs and metrics, instead of the api_key",
    )
    api_key: SecretStr = Field(description="the app's api_key")
    api_secret: SecretStr | None = Field(None, description="only for `kite-connector login`")
    access_token: SecretStr | None = Field(
        None, description="the day's token; a file is better, since it can change"
    )
    access_token_file: Path | None = Field(
        None, description="a file that holds the token and is watched; a mounted Secret, say"
    )
    connections: int = Field(
        MAX_CONNECTIONS_PER_KEY,
        ge=1,
        le=MAX_CONNECTIONS_PER_KEY,
        description="sockets of this api_key",
    )

    @model_validator(mode="after")
    def _one_token(self) -> AccountSettings:
        if self.access_token is not None and self.access_token_file is not None:
            raise ValueError("give access_token or access_token_file, not both")
        return self


class InstrumentSettings(Section):
    """A group of instruments that is always subscribed, in one mode."""

    mode: Mode = Field(Mode.QUOTE, description="ltp, quote or full")
    instruments: tuple[int | str, ...] = Field(
        min_length=1, description="tokens, or EXCHANGE:TRADINGSYMBOL"
    )


class KafkaSettings(Section):
    """The brokers, and how to reach them."""

    bootstrap_servers: str = Field("localhost:9092", min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = Field(None, description="PEM; the system's own when not given")
    ssl_certificate_file: Path | None = Field(None, description="PEM; for mutual TLS")
    ssl_key_file: Path | None = Field(None, description="PEM; for mutual TLS")
    ssl_key_password: SecretStr | None = None
    compression: Literal["none", "lz4", "zstd", "snappy", "gzip"] = "lz4"
    linger_ms: float = Field(5.0, ge=0, le=1000, description="how long a batch may wait")
    queue_max_messages: int = Field(
        200_000, ge=1000, description="ticks that the producer holds before it spools"
    )
    queue_max_mib: int = Field(128, ge=1, description="the same, in MiB")
    client: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="any other librdkafka property, for every client; the connector's own win",
    )

    @model_validator(mode="after")
    def _complete(self) -> KafkaSettings:
        sasl = self.security_protocol.startswith("SASL")
        if sasl and not (self.sasl_mechanism and self.sasl_username and self.sasl_password):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs sasl_mechanism, "
                "sasl_username and sasl_password"
            )
        if not sasl and (self.sasl_mechanism or self.sasl_username or self.sasl_password):
            raise ValueError("sasl_* are set, but security_protocol is not a SASL one")
        if (self.ssl_certificate_file is None) != (self.ssl_key_file is None):
            raise ValueError("ssl_certificate_file and ssl_key_file go together")
        return self


class TopicSettings(Section):
    """Names and shape of the topics."""

    prefix: str = Field("kite", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}$")
    create: bool = Field(True, description="create what is missing; false: only check")
    replication_factor: int = Field(3, ge=1, le=32767)
    min_insync_replicas: int | None = Field(
        None, ge=1, description="null: replication − 1, at least 1"
    )
    tick_partitions: int = Field(6, ge=1, le=10_000, description="of each kite.ticks.<exchange>")
    order_partitions: int = Field(3, ge=1, le=10_000)
    tick_retention_hours: float = Field(72.0, gt=0)
    order_retention_hours: float = Field(720.0, gt=0)
    event_retention_hours: float = Field(720.0, gt=0)
    control_retention_hours: float = Field(168.0, gt=0)
    deadletter_retention_hours: float = Field(336.0, gt=0)


class RegistrySettings(Section):
    """A schema registry with Confluent's API."""

    url: Annotated[str, _url("https", "http", "mock")] = Field(
        "http://localhost:8081", description="mock://… keeps schemas inside the process"
    )
    register_schemas: bool = Field(True, description="false: only look them up")
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    compatibility: (
        Literal[
            "BACKWARD",
            "BACKWARD_TRANSITIVE",
            "FORWARD",
            "FORWARD_TRANSITIVE",
            "FULL",
            "FULL_TRANSITIVE",
            "NONE",
        ]
        | None
    ) = Field("FULL_TRANSITIVE", description="set per subject; null: leave as it is")


class SpoolSettings(Section):
    """Where ticks wait while Kafka is away."""

    directory: Path | None = Field(None, description="null: a temporary one, lost with the process")
    max_mib: int = Field(512, ge=1, description="full: the oldest are dropped and counted")


class ClusterSettings(Section):
    """How replicas share the slots, and how they are steered."""

    session_timeout_seconds: float = Field(10.0, ge=6, le=300)
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic", description="consumer is KIP-848, on brokers 4.0 and newer"
    )
    command_max_bytes: int = Field(1_000_000, ge=1024)


class InstrumentMasterSettings(Section):
    """The daily list of instruments."""

    load: bool = Field(True, description="false: tokens only, no symbols")
    refresh_at: str = Field("08:35", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="IST")
    cache_file: Path | None = Field(None, description="null: not kept between starts")


class HttpSettings(Section):
    """The status server."""

    host: str = "127.0.0.1"
    port: int = Field(8090, ge=0, le=65535, description="0: any free port")


class LoggingSettings(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: readable on a terminal, JSON elsewhere"
    )


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    name: str = Field(
        "kite-connector",
        pattern=r"^[A-Za-z0-9._-]{1,80}$",
        description="of the cluster: consumer group and transactional.id",
    )
    feed: FeedSettings = FeedSettings()
    accounts: tuple[AccountSettings, ...] = Field(min_length=1)
    connection: ConnectionConfig = ConnectionConfig()
    instruments: tuple[InstrumentSettings, ...] = ()
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    registry: RegistrySettings = RegistrySettings()
    spool: SpoolSettings = SpoolSettings()
    cluster: ClusterSettings = ClusterSettings()
    instrument_master: InstrumentMasterSettings = InstrumentMasterSettings()
    http: HttpSettings = HttpSettings()
    logging: LoggingSettings = LoggingSettings()
    grace_seconds: Seconds = Field(25.0, description="from SIGTERM to the end of the flush")
