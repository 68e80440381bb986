"""The properties that every Kafka client of the connector is made with, and where its log goes.

Three layers, later ones win: the connector's defaults; the user's `kafka.client`; what the user's
other settings say and what the connector's promises rest on. What `kafka.client` says of fetching
goes to consumers alone, since librdkafka warns of it in a producer.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]  # public name

from connector.errors import SettingProblem, SettingsError
from connector.files import MAX_PEM_BYTES, UnusableFileError, check_file
from connector.kafka.logins import login_of
from connector.redaction import MAX_QUOTED_CHARS, cut
from connector.settings.models import KafkaSettings
from connector.settings.oauth import OAuthSettings
from connector.settings.secret_files import fresh

_DEFAULTS: dict[str, Any] = {
    # an idle broker closes a socket after ten minutes: normal, and not worth a line
    "log.connection.close": False,
    "reconnect.backoff.ms": 100,
    # librdkafka's 10 s leave a broker that is back alone for twice as long
    "reconnect.backoff.max.ms": 5_000,
    "socket.keepalive.enable": True,
    # requests are written as a whole: to wait for more costs latency alone
    "socket.nagle.disable": True,
}

PREFETCH_KIB: Final = 2048
"""So many KiB of messages a consumer fetches ahead, in records and in one answer: ours are small,
and librdkafka's overhead is not. Its own default of 64 MiB would be 300 MiB of memory."""
_CONSUMER_DEFAULTS: dict[str, Any] = {
    # a broker answers as soon as there is something to read, so a long wait costs no latency; with
    # 20 to 50 ms, empty answers were most of what woke an idle service. librdkafka's mock cluster
    # answers at the end of the wait alone: `EmbeddedBroker.client` has a short one
    "fetch.wait.max.ms": 500,
    "queued.max.messages.kbytes": PREFETCH_KIB,
    "fetch.max.bytes": PREFETCH_KIB * 1024,
    # with so little ahead it is often enough; librdkafka would fetch nothing for a second then, and
    # reading to an end took twenty times as long
    "fetch.queue.backoff.ms": 10,
}
_OF_CONSUMERS = ("fetch.", "queued.")

# prefixes of properties that a client alone, without brokers, cannot be asked about
_NOT_CHECKED = (
    "ssl.", "sasl.", "security.", "bootstrap.", "metadata.broker", "plugin.", "debug", "log_level",
)  # fmt: skip
# librdkafka's property → our setting, of files that it opens while a client is made
_FILES = {
    "ssl.ca.location": "ssl_ca_file",
    "ssl.certificate.location": "ssl_certificate_file",
    "ssl.key.location": "ssl_key_file",
}
_FOLDERS = frozenset({"ssl.ca.location"})  # may be one, too
_REFUSED_FILE = re.compile(r"(ssl\.\w+\.location) failed")

# syslog's severities, as librdkafka counts and confluent-kafka hands them on
_LEVELS = {
    # "fatal" is so to one client only: the connector replaces it, and says so itself
    logging.CRITICAL: "warning",
    logging.ERROR: "warning",
    logging.WARNING: "warning",
    logging.INFO: "debug",
    logging.DEBUG: "debug",
}

# Said again at each try while a broker is away; the connector tells the edges of that itself.
_REPEATED = frozenset({"FAIL", "ERROR", "DISCONNECT", "REQTMOUT", "COORDQUERY", "TERMINATE", "SSL"})
# Said of each client since the connector sets this property, and of each that a refusal ends.
_GAPLESS = ("enable.gapless.guarantee is experimental", "Gap-less ordering would not be guaranteed")
# Said where a reader asked for the last so many records of a partition that has fewer and whose
# first ones were deleted: it goes on with the first that there is, and has missed nothing.
_FROM_THE_FIRST = "offset reset (at offset 0 "


def is_embedded(metadata: ClusterMetadata) -> bool:
    """Whether a cluster is librdkafka's mock, which the embedded broker is.

    It lets some requests wait their time out, and answers others differently.
    """
    return (metadata.cluster_id or "").startswith("mockCluster")


def client_properties(kafka: KafkaSettings, **own: Any) -> dict[str, Any]:
    """The librdkafka properties of one client.

    Args:
        kafka: the settings, whose `client` may change any default.
        own: properties of this client (`**{"group.id": …}`), which nothing overrides.

    Returns:
        A new dict, secrets in clear: never to be logged.

    Raises:
        SettingsError: librdkafka would wait for ever where a file of certificates should be.
    """
    fixed: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL"):
        fixed["sasl.mechanism"] = kafka.sasl_mechanism
        if kafka.sasl_mechanism == "OAUTHBEARER":
            fixed |= _token_properties(kafka.oauth)
        else:
            login = login_of(kafka)
            assert login is not None  # noqa: S101 - the settings' own validator saw to it
            fixed["sasl.username"], fixed["sasl.password"] = login
    if kafka.security_protocol.endswith("SSL"):
        # fixed, not defaults: `kafka.client` must not be a way to switch verification off
        fixed["enable.ssl.certificate.verification"] = True
        fixed["ssl.endpoint.identification.algorithm"] = "https"
        for name, setting in _FILES.items():
            if (value := getattr(kafka, setting)) is not None:
                fixed[name] = str(value)
        if kafka.ssl_key_password is not None:
            fixed["ssl.key.password"] = fresh(
                kafka.ssl_key_password.get_secret_value(), kafka.ssl_key_password_file
            )
    properties = {**_DEFAULTS, **kafka.client, **fixed, **own}
    if "group.id" in own:
        # a consumer is what has a group: librdkafka wants one of each
        properties = {**_CONSUMER_DEFAULTS, **properties}
    else:
        properties = {k: v for k, v in properties.items() if not k.startswith(_OF_CONSUMERS)}
    if kafka.security_protocol.endswith("SSL"):
        _check_files(properties)
    return properties


def _token_properties(oauth: OAuthSettings) -> dict[str, Any]:
    """Properties with which librdkafka fetches tokens itself, and new ones before they end.

    Raises:
        SettingsError: librdkafka would wait for ever where a file of certificates should be.
    """
    assert oauth.client_secret is not None  # noqa: S101 - the settings' own validator saw to it
    properties = {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": oauth.token_url,
        "sasl.oauthbearer.client.id": oauth.client_id,
        "sasl.oauthbearer.client.secret": fresh(
            oauth.client_secret.get_secret_value(), oauth.client_secret_file
        ),
    }
    if oauth.scope is not None:
        properties["sasl.oauthbearer.scope"] = oauth.scope
    # Confluent Cloud's, docs.confluent.io/cloud/current/security/authenticate/workload-identities
    cloud = {"logicalCluster": oauth.logical_cluster, "identityPoolId": oauth.identity_pool}
    if extensions := ",".join(f"{name}={value}" for name, value in cloud.items() if value):
        properties["sasl.oauthbearer.extensions"] = extensions
    if oauth.ca_file is not None:
        try:
            check_file(oauth.ca_file, MAX_PEM_BYTES)
        except UnusableFileError as exc:
            raise SettingsError.of("kafka.oauth.ca_file", f"{oauth.ca_file} {exc}") from exc
        properties["https.ca.location"] = str(oauth.ca_file)
    return properties


def _check_files(properties: Mapping[str, Any]) -> None:
    """See what librdkafka is about to open, in whatever thread makes the client."""
    for name, value in properties.items():
        if not (name.startswith("ssl.") and name.endswith(".location")):
            continue
        path = Path(str(value))
        # OpenSSL reads a folder of hashed names for itself
        if name in _FOLDERS and path.is_dir():
            continue
        try:
            check_file(path, MAX_PEM_BYTES)
        except UnusableFileError as exc:
            setting = _FILES.get(name, f"client.{name}")
            raise SettingsError.of(f"kafka.{setting}", f"{path} {exc}") from exc


def overridden(kafka: KafkaSettings, properties: Mapping[str, Any]) -> list[str]:
    """Names in `kafka.client` that the connector set otherwise, for a warning at the start."""
    return sorted(
        name
        for name, value in kafka.client.items()
        if str(properties.get(name, value)).lower() != str(value).lower()
    )


@contextlib.contextmanager
def refused_properties(kafka: KafkaSettings) -> Iterator[None]:
    """Around the making of a client: tell of what librdkafka refuses as a wrong setting.

    Args:
        kafka: the settings that the client is made with.

    Raises:
        SettingsError: an unknown property, a value out of range, a file that cannot be read.
    """
    try:
        yield
    except KafkaException as exc:
        raise SettingsError([_problem(kafka, exc.args[0].str())]) from exc


def check_properties(kafka: KafkaSettings) -> None:
    """See that librdkafka takes the properties of `kafka.client`, without reaching any broker.

    Left out is what needs files or a login, or does something by itself.

    Raises:
        SettingsError: an unknown property, or a value out of range.
    """
    common = {**_DEFAULTS, "log_level": 0}
    given = {k: v for k, v in kafka.client.items() if not k.startswith(_NOT_CHECKED)}
    try:
        Producer(common | given)
    except KafkaException:
        # which of them; where each is right, they do not fit together: the connector has its own
        # for many, and what clients then refuse they say at the start
        for name, value in given.items():
            with refused_properties(kafka):
                Producer(common | {name: value})


def _problem(kafka: KafkaSettings, reason: str) -> SettingProblem:
    """The setting behind a refusal; of a file librdkafka says only in which OpenSSL call."""
    for value in map(str, kafka.client.values()):
        # librdkafka repeats the whole of a wrong value: it may be a secret in the wrong place
        if len(value) > MAX_QUOTED_CHARS:
            reason = reason.replace(value, cut(value, MAX_QUOTED_CHARS + 1))
    found = _REFUSED_FILE.search(reason)
    setting = _FILES.get(found[1]) if found else None
    path: Path | None = getattr(kafka, setting) if setting else None
    if setting is None or path is None:
        return SettingProblem("kafka", reason)
    try:
        path.open("rb").close()
    except OSError as exc:
        fault = f"{path} cannot be read: {exc.strerror}"
    else:
        if "key values mismatch" in reason:
            fault = f"{path} is not the key of ssl_certificate_file"
        elif setting == "ssl_key_file":
            fault = f"{path} holds no private key in PEM that ssl_key_password opens"
        else:
            fault = f"{path} holds no certificate in PEM"
    return SettingProblem(f"kafka.{setting}", fault)


class ClientLog:
    """Takes librdkafka's log lines (`logger=` of a client) and hands them to structlog.

    What librdkafka repeats at every reconnect goes to debug: the connector logs those edges once.
    """

    def __init__(self, client: str) -> None:
        self._log = structlog.get_logger("connector.kafka").bind(client=client)

    def log(self, level: int, _pattern: str, facility: str, _name: str, line: str) -> None:
        """The call that confluent-kafka makes, with the arguments of `logging.Logger.log`."""
        known = facility in _REPEATED or any(
            words in line for words in (*_GAPLESS, _FROM_THE_FIRST)
        )
        method = "debug" if known else _LEVELS.get(level, "debug")
        getattr(self._log, method)("librdkafka", facility=facility, line=line)
