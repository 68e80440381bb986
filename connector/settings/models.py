"""Everything that can be set, in one frozen tree.

The models only: they read neither file nor environment, so that a test or an embedding program
builds them from arguments alone. `connector.settings.source` reads a YAML file and the environment
into them. Secrets are `SecretStr`: no repr, log, error or status page shows them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from connector.kite.access_token_syntax import usable_token
from connector.kite.config import MAX_CONNECTIONS_PER_KEY, ConnectionConfig, Seconds
from connector.kite.wire.models import SEGMENTS, Exchange, Mode
from connector.redaction import quoted
from connector.settings.oauth import OAuthSettings
from connector.settings.section import (
    BrokerList,
    FilePath,
    HttpUrl,
    Section,
    WebSocketUrl,
    checked_url,
    clean,
)
from connector.settings.topics import BackfillSettings, TopicSettings

DEFAULT_NAME: Final = "kite-connector"
"""The default name of a connector, and so of its cluster."""


class FeedSettings(Section):
    """The URLs of Kite; point them at the simulator to run without an account."""

    root: WebSocketUrl = Field("wss://ws.kite.trade", description="Open WebSockets at this URL.")
    rest: HttpUrl = Field("https://api.kite.trade", description="Call the REST API at this URL.")
    login: HttpUrl = Field("https://kite.zerodha.com", description="A human logs in at this URL.")
    reconcile_orders: bool = Field(
        True,
        description="After a connection was opened, ask the REST API for the day's orders, and "
        "write those updates that no socket brought.",
    )


class AccountSettings(Section):
    """One api_key, with three connections of its own."""

    name: str = Field(
        "main",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
        description="Logs and metrics show this short name in place of the api_key.",
    )
    api_key: SecretStr = Field(min_length=1, description="The api_key of the Kite Connect app.")
    api_key_file: FilePath | None = Field(
        None,
        description="A file that holds the api_key, in place of api_key; beside access_token_file "
        "it is read again for each connection.",
    )
    api_secret: SecretStr | None = Field(
        None, description="The app's api_secret, which only `kite-connector login` needs."
    )
    api_secret_file: FilePath | None = Field(
        None, description="A file that holds the api_secret, in place of api_secret."
    )
    access_token: SecretStr | None = Field(
        None, description="The access_token of the day; a file is better, since it can change."
    )
    access_token_file: FilePath | None = Field(
        None,
        description="A file that holds the access_token and is watched, such as a mounted Secret.",
    )
    connections: int = Field(
        MAX_CONNECTIONS_PER_KEY,
        ge=1,
        le=MAX_CONNECTIONS_PER_KEY,
        description="Open so many sockets with this api_key.",
    )

    @field_validator("api_key", "api_secret", "access_token")
    @classmethod
    def _usable(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(usable_token(value.get_secret_value().encode()))

    @model_validator(mode="after")
    def _one_token(self) -> AccountSettings:
        if self.access_token is not None and self.access_token_file is not None:
            raise ValueError("give access_token or access_token_file, not both")
        return self


EXCHANGE_NAMES = (*(exchange.name for exchange in Exchange if exchange.tradable), "NSEIX", "GLOBAL")
"""Exchanges in the instrument master; an index stands under the exchange that computes it."""


_WHOLE = re.compile(r"-?[0-9]+", re.ASCII)


def _instrument(value: object) -> int | str:
    """A token as int, or a name as EXCHANGE:TRADINGSYMBOL; says what is wrong with all else."""
    # nearly all of them, at no cost: the low byte of a token is Kite's segment
    if type(value) is int and 0 < value < 2**32 and value & 0xFF in SEGMENTS:
        # settings may name the whole market
        return value
    text = str(value).strip()
    if _WHOLE.fullmatch(text):
        token = int(text[:20])
        if not 0 < token < 2**32:
            shown = quoted(int(text[:20]))
            raise ValueError(f"{shown} is not an instrument token: these are 32 bits, unsigned")
        try:
            Exchange.of(token)
        except ValueError:
            raise ValueError(
                f"{token} is not an instrument token: no exchange has the segment {token & 0xFF}"
            ) from None
        return token
    exchange, colon, symbol = text.partition(":")
    if not colon or not symbol.strip():
        raise ValueError(f"{quoted(text)} must be an instrument token or EXCHANGE:TRADINGSYMBOL")
    if exchange.upper() not in EXCHANGE_NAMES:
        known = ", ".join(EXCHANGE_NAMES)
        raise ValueError(f"{quoted(text)}: no such exchange; there are {known}")
    return f"{exchange.upper()}:{symbol.strip()}"


Instrument = Annotated[int | str, BeforeValidator(_instrument)]


class InstrumentSettings(Section):
    """A group of instruments that is always subscribed, in one mode."""

    mode: Mode = Field(
        Mode.QUOTE, description="Subscribe the group in this mode: ltp, quote or full."
    )
    account: str | None = Field(
        None,
        description="Only the connections of this account carry the group; null means any.",
    )
    instruments: tuple[Instrument, ...] = Field(
        min_length=1,
        description="The instruments of the group, as tokens or EXCHANGE:TRADINGSYMBOL.",
    )


# what confluent-kafka's clients take among librdkafka's properties, and ends with a TypeError of
_FUNCTIONS = frozenset(
    {
        "error_cb", "stats_cb", "throttle_cb", "oauth_cb", "logger", "on_delivery", "on_commit",
        "default.topic.config",
    }
)  # fmt: skip


def _clean_values(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {clean(key): clean(item) for key, item in value.items()}


class KafkaSettings(Section):
    """The brokers, and how clients reach them."""

    bootstrap_servers: BrokerList = Field(
        "localhost:9092",
        min_length=1,
        description="Brokers to begin with, as host:port; several with commas.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Speak to brokers with this protocol."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = (
        Field(
            None,
            description="Log in with this mechanism; the SASL protocols need one. OAUTHBEARER "
            "takes kafka.oauth, the others a name and a password.",
        )
    )
    oauth: OAuthSettings = OAuthSettings()
    sasl_username: str | None = Field(None, description="Log in to brokers under this name.")
    sasl_username_file: FilePath | None = Field(
        None, description="A file that holds the name, in place of sasl_username; it may change."
    )
    sasl_password: SecretStr | None = Field(
        None, description="The password that belongs to sasl_username."
    )
    sasl_password_file: FilePath | None = Field(
        None,
        description="A file that holds the password, in place of sasl_password; it may change.",
    )
    ssl_ca_file: FilePath | None = Field(
        None,
        description="Trust brokers by the authorities in this PEM file; null means the system's. "
        "It may change.",
    )
    ssl_certificate_file: FilePath | None = Field(
        None,
        description="Prove who we are with the certificate in this PEM file (mutual TLS); it may "
        "change.",
    )
    ssl_key_file: FilePath | None = Field(
        None, description="The key of ssl_certificate_file, in this PEM file; it may change."
    )
    ssl_key_password: SecretStr | None = Field(
        None, description="The password that ssl_key_file is encrypted with."
    )
    ssl_key_password_file: FilePath | None = Field(
        None, description="A file that holds it, in place of ssl_key_password; it may change."
    )
    compression: Literal["none", "lz4", "zstd", "snappy", "gzip"] = Field(
        "lz4", description="The producer compresses batches with this codec."
    )
    linger_ms: float = Field(
        20.0,
        ge=0,
        le=1000,
        description="A batch waits so many milliseconds for more records; a longer wait costs "
        "less CPU.",
    )
    queue_max_messages: int = Field(
        200_000,
        ge=1000,
        le=2**31 - 1,
        description="The producer holds at most so many records in memory; more go to the spool.",
    )
    queue_max_mib: int = Field(
        128,
        ge=1,
        le=2**21 - 1,
        description="The producer holds at most so many MiB in memory; more go to the spool.",
    )
    spool_after_seconds: float = Field(
        3.0,
        ge=0.5,
        le=60,
        description="Records go to the spool when Kafka has acknowledged nothing for so many "
        "seconds: a killed process loses no more than that.",
    )
    client: Annotated[dict[str, str | int | float | bool], BeforeValidator(_clean_values)] = Field(
        default_factory=dict,
        description="Any other librdkafka properties, for every client; the connector's own win.",
    )

    @field_validator("client")
    @classmethod
    def _properties(
        cls, client: dict[str, str | int | float | bool]
    ) -> dict[str, str | int | float | bool]:
        if functions := sorted(_FUNCTIONS & client.keys()):
            raise ValueError(f"{functions[0]} is a function of a program, and no text can be one")
        return client

    # here, and not when a client is made: a wrong combination stops the start with its names
    @model_validator(mode="after")
    def _complete(self) -> KafkaSettings:
        sasl = self.security_protocol.startswith("SASL")
        if self.sasl_mechanism == "OAUTHBEARER":
            return self._complete_tokens()
        if given := self.oauth.given():
            raise ValueError(f"oauth.{given[0]} is set, but sasl_mechanism is not OAUTHBEARER")
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

    def _complete_tokens(self) -> KafkaSettings:
        if not self.security_protocol.startswith("SASL"):
            raise ValueError("sasl_mechanism is set, but security_protocol is not a SASL one")
        if missing := self.oauth.missing():
            needed = ", ".join(f"oauth.{name}" for name in missing)
            raise ValueError(f"sasl_mechanism OAUTHBEARER needs {needed}")
        if self.sasl_username or self.sasl_password:
            raise ValueError("sasl_mechanism OAUTHBEARER takes no sasl_username or sasl_password")
        return self


class RegistrySettings(Section):
    """The schema registry, with Confluent's API."""

    url: Annotated[str, checked_url("https", "http", "mock")] = Field(
        "http://localhost:8081",
        description="Schema registry; a URL of mock:// keeps schemas inside the process.",
    )
    register_schemas: bool = Field(
        True, description="Register the schemas; false only looks them up."
    )
    username: str | None = Field(
        None, description="Log in to the registry under this name (basic authentication)."
    )
    username_file: FilePath | None = Field(
        None, description="A file that holds the name, in place of username; it may change."
    )
    password: SecretStr | None = Field(None, description="The password that belongs to username.")
    password_file: FilePath | None = Field(
        None, description="A file that holds the password, in place of password; it may change."
    )
    oauth: OAuthSettings = OAuthSettings()
    ca_file: FilePath | None = Field(
        None,
        description="Trust the registry by the authorities in this PEM file; null means the "
        "system's.",
    )
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
    ) = Field(
        "FULL_TRANSITIVE",
        description="Set this compatibility for each subject; null leaves it as it is.",
    )

    @model_validator(mode="after")
    def _complete(self) -> RegistrySettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if given := self.oauth.given():
            if missing := self.oauth.missing():
                needed = ", ".join(f"oauth.{name}" for name in missing)
                raise ValueError(f"oauth.{given[0]} needs {needed} beside it")
            if self.username is not None:
                raise ValueError("give username and password, or oauth, not both")
        return self


class SpoolSettings(Section):
    """The spool on disk, where records wait while Kafka is away."""

    directory: FilePath | None = Field(
        None,
        description="Records wait in this directory; null means a temporary one, lost with the "
        "process.",
    )
    max_mib: int = Field(
        512,
        ge=1,
        description="The spool holds at most so many MiB; when it is full the oldest records are "
        "dropped and counted.",
    )
    ephemeral: bool = Field(
        False,
        description="The directory goes with the pod or the container, so what waits in it at a "
        "stop counts as lost.",
    )


class ClusterSettings(Section):
    """The sharing of slots between replicas, and their steering by commands."""

    enabled: bool = Field(
        True,
        description="Share the slots with other replicas and take commands; false gives this "
        "process all slots, and the instruments of the settings alone.",
    )
    session_timeout_seconds: float = Field(
        10.0,
        ge=6,
        le=300,
        description="A replica that is silent for so many seconds loses its slots; with "
        "group_protocol consumer the brokers' group.consumer.session.timeout.ms says how long.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="The protocol of the group; consumer is KIP-848, on brokers 4.0 and newer.",
    )
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Names this process over its restarts (group.instance.id): one that was killed "
        "and starts again takes its slots up at once, not after the session timeout. No two "
        "processes may have the same; the chart sets the pod's UID. With group_protocol consumer "
        "it is not used: brokers refuse it until the session has ended.",
    )
    watchlist_max_instruments: int | None = Field(
        None,
        ge=1,
        description="One watchlist may claim at most so many instruments; null means any number.",
    )
    command_max_bytes: int = Field(
        1_000_000, ge=1024, description="A command of more bytes is refused unread."
    )


def _time_of_day(value: object) -> object:
    # YAML reads 12:35 as a number to the base of 60
    return "{:02d}:{:02d}".format(*divmod(value, 60)) if type(value) is int else value


class InstrumentMasterSettings(Section):
    """The daily list of instruments, Kite's instrument master."""

    load: bool = Field(
        True, description="Load the list each day; false allows tokens only, no tradingsymbols."
    )
    refresh_at: Annotated[str, BeforeValidator(_time_of_day)] = Field(
        "08:35",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Load the list at this time of day, IST.",
    )
    cache_file: FilePath | None = Field(
        None, description="Keep the list in this file between starts; null keeps it nowhere."
    )


class HttpSettings(Section):
    """The status server, with metrics, probes and the status page."""

    host: str = Field("127.0.0.1", description="Listen on this address; a container needs 0.0.0.0.")
    port: int = Field(
        8090, ge=0, le=65535, description="Listen on this port; 0 takes any free one."
    )
    operator_token_file: FilePath | None = Field(
        None,
        description="A file with a token of at least 24 characters: whoever has it sends commands "
        "from the page. When it is not set, the page only reads.",
    )


LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]


class LoggingSettings(Section):
    """The log that the service writes to standard error."""

    level: LogLevel = Field(
        "info",
        description="Write what is at least so important, of the connector and of what it uses.",
    )
    format: LogFormat = Field(
        "auto",
        description="Write the log in this form; auto is readable on a terminal, JSON elsewhere.",
    )
    summary_seconds: float = Field(
        60.0,
        ge=0,
        le=86400,
        description="Write a line that says what flows (`traffic_summary`) so often; 0: never.",
    )

    @field_validator("summary_seconds")
    @classmethod
    def _a_second_at_least(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be 0, or 1 at least: the log would have nothing else")
        return value


class Settings(Section):
    """All settings, as one tree."""

    name: str = Field(
        DEFAULT_NAME,
        pattern=r"^[A-Za-z0-9._-]{1,80}$",
        description="Name of the connector: with topics.prefix, of its group and transactional.id.",
    )
    feed: FeedSettings = FeedSettings()
    accounts: tuple[AccountSettings, ...] = Field(
        min_length=1, description="The api_keys, each with connections of its own."
    )
    connection: ConnectionConfig = ConnectionConfig()
    instruments: tuple[InstrumentSettings, ...] = Field(
        (), description="Always subscribe these groups; the highest mode wins where they overlap."
    )
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    backfill: BackfillSettings = BackfillSettings()
    registry: RegistrySettings = RegistrySettings()
    spool: SpoolSettings = SpoolSettings()
    cluster: ClusterSettings = ClusterSettings()
    instrument_master: InstrumentMasterSettings = InstrumentMasterSettings()
    trading_days_file: FilePath | None = Field(
        None,
        description="Set this file's days over the connector's own; see `calendar --print-file`.",
    )
    http: HttpSettings = HttpSettings()
    logging: LoggingSettings = LoggingSettings()
    allow_insecure: bool = Field(
        False,
        description="Send secrets unencrypted even to public hosts; false ends the start there.",
    )
    grace_seconds: Seconds = Field(
        25.0,
        description="A stop takes at most so many seconds from SIGTERM on: flush, spool the rest, "
        "give up the slots.",
    )

    @field_validator("accounts")
    @classmethod
    def _distinct(cls, accounts: tuple[AccountSettings, ...]) -> tuple[AccountSettings, ...]:
        names = Counter(account.name for account in accounts)
        if repeated := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"names must differ: {', '.join(repeated)} stands more than once")
        if len({account.api_key.get_secret_value() for account in accounts}) < len(accounts):
            raise ValueError("two accounts have the same api_key")
        return accounts

    @field_validator("instruments")
    @classmethod
    def _on_accounts(
        cls, groups: tuple[InstrumentSettings, ...], info: ValidationInfo
    ) -> tuple[InstrumentSettings, ...]:
        known = [account.name for account in info.data.get("accounts", ())]
        placed: dict[int | str, str] = {}
        for number, group in enumerate(groups):
            if group.account is None:
                continue
            # without accounts something else is wrong already, or no feed is wanted
            if known and group.account not in known:
                raise ValueError(
                    f"the account of group {number}, {quoted(group.account)}, is not there; "
                    f"accounts has {', '.join(known)}"
                )
            for instrument in group.instruments:
                other = placed.setdefault(instrument, group.account)
                if other != group.account:
                    raise ValueError(
                        f"group {number} has {instrument} on account {group.account}, another "
                        f"group on account {other}; name one"
                    )
        return groups

    @model_validator(mode="after")
    def _resolvable(self) -> Settings:
        if self.instrument_master.load:
            return self
        names = [
            name
            for group in self.instruments
            for name in group.instruments
            if isinstance(name, str)
        ]
        if names:
            raise ValueError(
                f"{names[0]} is a name, and instrument_master.load is false: give its token"
            )
        return self
