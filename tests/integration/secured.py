"""One broker that lets nobody in without TLS and a name, and allows only what its ACLs say.

Its administrator's listener alone has neither. All are published to this machine's loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public names, not re-exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from testcontainers.core.container import DockerContainer

from connector.kafka.topics import TopicsReport, ensure_topics
from connector.settings.models import KafkaSettings, TopicSettings
from connector.testing import wait_until
from tests.integration.containers import KAFKA_IMAGE, START_SECONDS, require_engine
from tests.support.certificates import Authority
from tests.support.ports import free_ports
from tests.support.token_endpoint import AUDIENCE, ISSUER, TokenEndpoint

PASSWORD = "not-a-real-password"
PLAIN_USER = "plain"
TOKEN_USER = "tokened"
_JWKS = "/tmp/jwks/keys.json"

_ROW = re.compile(r"^\| (\w+) \| ([a-z ]+) \| `([^`]+)`(\*?) \| ([A-Za-z, ]+) \|$", re.MULTILINE)
_ALLOWED = re.compile(
    r"is Allowed operation = (\w+) .*\[resourceType=(\w+), resourceName=([^,]+), "
    r"patternType=(\w+), .*operation=(\w+), permissionType=ALLOW\]"
)
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Alter": AclOperation.ALTER,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


class Right(NamedTuple):
    """One operation of a row of the table in docs/security.md."""

    resource: str
    name: str
    prefixed: bool
    operation: str

    def binding(self, user: str) -> AclBinding:
        """The ACL that gives it to a user."""
        return AclBinding(*self._allowed(user))

    def filter(self, user: str) -> AclBindingFilter:
        """Finds exactly that ACL."""
        return AclBindingFilter(*self._allowed(user))

    def _allowed(self, user: str) -> tuple[Any, ...]:
        pattern = ResourcePatternType.PREFIXED if self.prefixed else ResourcePatternType.LITERAL
        operation = _OPERATIONS[self.operation]
        what = _RESOURCES[self.resource], self.name, pattern
        return *what, f"User:{user}", "*", operation, AclPermissionType.ALLOW


def documented(*principals: str) -> list[Right]:
    """The rights that docs/security.md lists for these principals."""
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    table = text.partition("<!-- acls: begin -->")[2].partition("<!-- acls: end -->")[0]
    rows = _ROW.findall(table)
    assert {who for who, *_ in rows} == {"connector", "creator", "operator", "consumer"}
    return [
        Right(resource, name, bool(star), operation)
        for who, resource, name, star, operations in rows
        if who in principals
        for operation in operations.split(", ")
    ]


class SecuredKafka:
    """A broker with listeners for SASL over TLS, for mutual TLS, and for its administrator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = Authority("kite-connector tests")
        self.ca_file = self.write("ca.pem", self.authority.certificate)
        server = self.write("token-endpoint.pem", "".join(self.authority.server("localhost")))
        self.tokens = TokenEndpoint({TOKEN_USER: PASSWORD, "astray": PASSWORD}, server)
        self.tokens.claims["astray"] = {"aud": "somebody else"}
        keys = folder / "jwks"
        keys.mkdir(mode=0o755)
        (keys / Path(_JWKS).name).write_text(self.tokens.jwks())
        admin, sasl, mutual = free_ports(3)
        self.sasl_servers = f"localhost:{sasl}"
        self.mutual_servers = f"localhost:{mutual}"
        # the certificate does not have this name
        self.misnamed_servers = f"127.0.0.1:{sasl}"
        self._container = (
            DockerContainer(KAFKA_IMAGE)
            .with_envs(**self._settings(admin))
            .with_volume_mapping(str(keys), str(Path(_JWKS).parent))
        )
        published = {"9092": admin, "9095": sasl, "9096": mutual}
        self._container.ports = {name: ("127.0.0.1", port) for name, port in published.items()}
        self.admin_properties = {"bootstrap.servers": f"127.0.0.1:{admin}", "log_level": 0}
        self.admin = AdminClient(self.admin_properties)

    def _settings(self, admin_port: int) -> dict[str, str]:
        certificate, key = self.authority.server("localhost")
        jaas = "org.apache.kafka.common.security"
        ones = (
            "KAFKA_NODE_ID",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
        )
        return dict.fromkeys(ones, "1") | {
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENERS": "ADMIN://:9092,CONTROLLER://localhost:9093,"
            "INSIDE://localhost:9094,USERS://:9095,MUTUAL://:9096",
            "KAFKA_ADVERTISED_LISTENERS": f"ADMIN://127.0.0.1:{admin_port},"
            f"INSIDE://localhost:9094,USERS://{self.sasl_servers},MUTUAL://{self.mutual_servers}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "ADMIN:PLAINTEXT,INSIDE:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT,USERS:SASL_SSL,MUTUAL:SSL",
            "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
            "KAFKA_SSL_KEYSTORE_TYPE": "PEM",
            "KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN": _one_line(certificate),
            "KAFKA_SSL_KEYSTORE_KEY": _one_line(key),
            "KAFKA_SSL_TRUSTSTORE_TYPE": "PEM",
            "KAFKA_SSL_TRUSTSTORE_CERTIFICATES": _one_line(self.authority.certificate),
            "KAFKA_LISTENER_NAME_MUTUAL_SSL_CLIENT_AUTH": "required",
            "KAFKA_SSL_PRINCIPAL_MAPPING_RULES": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "KAFKA_SASL_ENABLED_MECHANISMS": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER",
            # Kafka's own validators, which check signature, times, issuer and audience
            "KAFKA_LISTENER_NAME_USERS_OAUTHBEARER_SASL_JAAS_CONFIG": f"{jaas}."
            "oauthbearer.OAuthBearerLoginModule required;",
            "KAFKA_LISTENER_NAME_USERS_OAUTHBEARER_SASL_SERVER_CALLBACK_HANDLER_CLASS": f"{jaas}."
            "oauthbearer.OAuthBearerValidatorCallbackHandler",
            "KAFKA_SASL_OAUTHBEARER_JWKS_ENDPOINT_URL": f"file://{_JWKS}",
            "KAFKA_SASL_OAUTHBEARER_EXPECTED_AUDIENCE": AUDIENCE,
            "KAFKA_SASL_OAUTHBEARER_EXPECTED_ISSUER": ISSUER,
            "KAFKA_OPTS": f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{_JWKS}",
            "KAFKA_LISTENER_NAME_USERS_SCRAM___SHA___512_SASL_JAAS_CONFIG": f"{jaas}."
            "scram.ScramLoginModule required;",
            "KAFKA_LISTENER_NAME_USERS_SCRAM___SHA___256_SASL_JAAS_CONFIG": f"{jaas}."
            "scram.ScramLoginModule required;",
            "KAFKA_LISTENER_NAME_USERS_PLAIN_SASL_JAAS_CONFIG": f"{jaas}."
            f'plain.PlainLoginModule required user_{PLAIN_USER}="{PASSWORD}";',
            "KAFKA_AUTHORIZER_CLASS_NAME": "org.apache.kafka.metadata.authorizer."
            "StandardAuthorizer",
            "KAFKA_SUPER_USERS": "User:ANONYMOUS",
            # each decision, and the rule that it rests on
            "KAFKA_LOG4J_LOGGERS": "kafka.authorizer.logger=DEBUG",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
        }

    def write(self, name: str, text: str) -> Path:
        """A file that a client is given."""
        path = self._folder / name
        path.write_text(text)
        return path

    def start(self) -> None:
        """Run the container, and wait until the broker answers its administrator."""
        self._container.start()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(KafkaException):
                if self.admin.list_topics(timeout=1).brokers:
                    return
        raise TimeoutError(f"the secured Kafka does not answer: {self.log()[-4000:]}")

    def close(self) -> None:
        """Delete the container and its data."""
        self.tokens.close()
        self._container.stop()

    def log(self) -> str:
        """Everything that the broker has said."""
        out, err = self._container.get_logs()
        return (out + err).decode(errors="replace")

    def decisions(self, user: str) -> tuple[set[Right], list[str]]:
        """What its ACLs have allowed a user so far, and each line that tells of a refusal.

        The broker's audit log names the rule that each request was allowed by.
        """
        allowed, denied = set(), []
        for line in self.log().splitlines():
            if f" Principal = User:{user} is " not in line:
                continue
            found = _ALLOWED.search(line)
            if found is None:
                denied.append(line)
                continue
            wanted, resource, name, pattern, operation = found.groups()
            # a right to more brings the right to describe with it
            if wanted == operation:
                allowed.add(
                    Right(
                        resource.lower().replace("_", " "),
                        name,
                        pattern == "PREFIXED",
                        operation.title().replace("_", ""),
                    )
                )
        return allowed, denied

    def user(
        self, name: str, rights: Collection[Right] = (), mechanism: str = "SCRAM-SHA-512"
    ) -> None:
        """A user with these rights and no others, whose password is `PASSWORD`."""
        kind = ScramMechanism[mechanism.replace("-", "_")]
        change = UserScramCredentialUpsertion(
            name, ScramCredentialInfo(kind, 4096), PASSWORD.encode()
        )
        for future in self.admin.alter_user_scram_credentials([change]).values():
            future.result(20)
        self.allow(name, rights)

    def allow(self, user: str, rights: Collection[Right]) -> None:
        """Give rights; of a user with a certificate too, which needs no password."""
        bindings = [right.binding(user) for right in rights]
        for future in self.admin.create_acls(bindings).values() if bindings else ():
            future.result(20)
        for right in rights:
            wait_until(lambda right=right: self._has(user, right))

    def disallow(self, user: str, rights: Collection[Right]) -> None:
        """Take rights away."""
        filters = [right.filter(user) for right in rights]
        for future in self.admin.delete_acls(filters).values() if filters else ():
            assert len(future.result(20)) == 1, "there was no such right"
        for right in rights:
            wait_until(lambda right=right: not self._has(user, right))

    def _has(self, user: str, right: Right) -> bool:
        # the broker, which is told of changes a little after they are made
        return bool(self.admin.describe_acls(right.filter(user)).result(20))

    def make_topics(self, user: str, *, slots: int) -> TopicsReport:
        """Make the connector's topics as this user, by the connector's own code."""
        topics = TopicSettings(replication_factor=1, tick_partitions=2)
        return asyncio.run(ensure_topics(kafka_settings(self.sasl(user)), topics, slots=slots))

    def sasl(self, user: str, mechanism: str = "SCRAM-SHA-512", **changes: str) -> dict[str, str]:
        """The settings, as variables, of a client with a password."""
        return _variables(
            bootstrap_servers=self.sasl_servers,
            security_protocol="SASL_SSL",
            sasl_mechanism=mechanism,
            sasl_username=user,
            sasl_password=PASSWORD,
            ssl_ca_file=str(self.ca_file),
        ) | _variables(**changes)

    def oauth(self, **changes: str) -> dict[str, str]:
        """The settings, as variables, of a client with tokens."""
        tokens = {
            "token_url": self.tokens.url,
            "client_id": TOKEN_USER,
            "client_secret": PASSWORD,
            "ca_file": str(self.ca_file),
        } | changes
        return _variables(
            bootstrap_servers=self.sasl_servers,
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            ssl_ca_file=str(self.ca_file),
            **{f"oauth__{name}": value for name, value in tokens.items()},
        )

    def mutual(self, user: str, key_password: str | None = None, **changes: str) -> dict[str, str]:
        """The settings, as variables, of a client with a certificate."""
        certificate, key = self.authority.client(user, key_password)
        given = {} if key_password is None else {"ssl_key_password": key_password}
        return _variables(
            bootstrap_servers=self.mutual_servers,
            security_protocol="SSL",
            ssl_ca_file=str(self.ca_file),
            ssl_certificate_file=str(self.write(f"{user}.pem", certificate)),
            ssl_key_file=str(self.write(f"{user}.key", key)),
            **given,
        ) | _variables(**changes)


def kafka_settings(variables: dict[str, str]) -> KafkaSettings:
    """The same settings for code that runs here."""
    raw = {name.removeprefix("KITE_KAFKA__").lower(): text for name, text in variables.items()}
    return KafkaSettings.model_validate(raw)


@contextlib.contextmanager
def secured_kafka(folder: Path) -> Iterator[SecuredKafka]:
    """A secured Kafka of one's own; its clients' files go to the folder."""
    require_engine()
    kafka = SecuredKafka(folder)
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.close()


def _variables(**settings: str) -> dict[str, str]:
    return {f"KITE_KAFKA__{name.upper()}": value for name, value in settings.items()}


def _one_line(pem: str) -> str:
    # a value of server.properties; Kafka takes any white space between the parts of PEM
    return " ".join(pem.split("\n")).strip()
