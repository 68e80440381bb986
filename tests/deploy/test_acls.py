"""The ACLs in docs/security.md, on a real broker that allows nothing else."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.deploy.docker import docker, free_ports, inspect, need_engine, wait_for

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
CLI = str(ROOT / ".venv/bin/kite-connector")
PASSWORD = "not-a-real-password"
ROW = re.compile(r"^\| (\w+) \| ([a-z ]+) \| `([^`]+)`(\*?) \| ([A-Za-z, ]+) \|$", re.MULTILINE)
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Alter": AclOperation.ALTER,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def documented(principal: str) -> list[tuple]:
    """The table's rows of one principal: resource, name, pattern, operation."""
    text = (ROOT / "docs/security.md").read_text()
    table = text.partition("<!-- acls: begin -->")[2].partition("<!-- acls: end -->")[0]
    return [
        (
            RESOURCES[resource],
            name,
            ResourcePatternType.PREFIXED if star else ResourcePatternType.LITERAL,
            OPERATIONS[operation],
        )
        for who, resource, name, star, operations in ROW.findall(table)
        if who == principal
        for operation in operations.split(", ")
    ]


class Broker:
    """One broker: PLAINTEXT is the administrator's, SCRAM everybody else's."""

    def __init__(self) -> None:
        self.admin_port, self.port = free_ports(2)
        self.container = docker(
            *("run", "--detach", "--rm"),
            *("--publish", f"127.0.0.1:{self.admin_port}:9092"),
            *("--publish", f"127.0.0.1:{self.port}:9095"),
            *(f"--env={name}={value}" for name, value in self._environment().items()),
            "apache/kafka:4.4.0",
        ).strip()
        self.admin = AdminClient(
            {"bootstrap.servers": f"localhost:{self.admin_port}", "log_level": 0}
        )

    def _environment(self) -> dict[str, str]:
        kinds = "ADMIN:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT"
        ones = (
            "KAFKA_NODE_ID",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR",
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR",
        )
        return dict.fromkeys(ones, "1") | {
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_LISTENERS": "ADMIN://:9092,CONTROLLER://:9093,INSIDE://:9094,USERS://:9095",
            "KAFKA_ADVERTISED_LISTENERS": f"ADMIN://localhost:{self.admin_port},"
            f"INSIDE://localhost:9094,USERS://localhost:{self.port}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": kinds,
            "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_SASL_ENABLED_MECHANISMS": "SCRAM-SHA-512",
            "KAFKA_LISTENER_NAME_USERS_SCRAM___SHA___512_SASL_JAAS_CONFIG": "org.apache.kafka."
            "common.security.scram.ScramLoginModule required;",
            "KAFKA_AUTHORIZER_CLASS_NAME": "org.apache.kafka.metadata.authorizer."
            "StandardAuthorizer",
            "KAFKA_SUPER_USERS": "User:ANONYMOUS",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
        }

    def ready(self) -> bool:
        if not inspect(self.container)["State"]["Running"]:
            pytest.fail(docker("logs", self.container)[-4000:])
        try:
            return bool(self.admin.list_topics(timeout=2).brokers)
        except Exception:  # noqa: BLE001 - not up yet
            return False

    def user(self, name: str, *principals: str) -> None:
        """A user with the documented rights of these principals, and no other."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, info, PASSWORD.encode())
        for future in self.admin.alter_user_scram_credentials([change]).values():
            future.result(20)
        allowed = AclPermissionType.ALLOW
        bindings = [
            AclBinding(kind, resource, pattern, f"User:{name}", "*", operation, allowed)
            for principal in principals
            for kind, resource, pattern, operation in documented(principal)
        ]
        for future in self.admin.create_acls(bindings).values() if bindings else ():
            future.result(20)

    def environment(self, user: str) -> dict[str, str]:
        """The settings of a client that is this user."""
        return os.environ | {
            "KITE_KAFKA__BOOTSTRAP_SERVERS": f"localhost:{self.port}",
            "KITE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KITE_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
            "KITE_KAFKA__SASL_USERNAME": user,
            "KITE_KAFKA__SASL_PASSWORD": PASSWORD,
            "KITE_ACCOUNTS__0__API_KEY": "simulated_key",
            "KITE_ACCOUNTS__0__ACCESS_TOKEN": "simulated_token",
            "KITE_REGISTRY__URL": "mock://acls",
            "KITE_TOPICS__REPLICATION_FACTOR": "1",
            "KITE_LOGGING__FORMAT": "json",
        }


@pytest.fixture(scope="module")
def broker():
    need_engine()
    broker = Broker()
    try:
        wait_for("the broker answers", broker.ready)
        yield broker
    finally:
        docker("rm", "--force", "--volumes", broker.container, check=False)


@pytest.fixture(scope="module")
def simulator():
    ws, rest = free_ports(2)
    process = subprocess.Popen(
        [CLI, "simulate", "--ws-port", str(ws), "--rest-port", str(rest)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield {
        "KITE_FEED__ROOT": f"ws://127.0.0.1:{ws}",
        "KITE_FEED__REST": f"http://127.0.0.1:{rest}",
    }
    process.send_signal(signal.SIGTERM)
    process.wait(10)


class Connector:
    """A `kite-connector run` of its own; its log goes to a file."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        (self.port,) = free_ports(1)
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [CLI, "run"],
                env=environment | {"KITE_HTTP__PORT": str(self.port)},
                stdout=file,
                stderr=file,
            )

    def status(self) -> dict:
        if self.process.poll() is not None:
            pytest.fail(self.log.read_text()[-4000:])
        try:
            url = f"http://127.0.0.1:{self.port}/status"
            with urllib.request.urlopen(url, timeout=5) as page:
                return json.load(page)
        except OSError:
            return {"ready": False}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


def ctl(environment: dict[str, str], *arguments: str) -> dict:
    done = subprocess.run(
        [CLI, "ctl", *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_the_documented_rights_are_enough(broker, simulator, tmp_path):
    broker.user("creator", "connector", "creator")
    broker.user("connector", "connector")
    broker.user("operator", "operator")
    for user, more in [("creator", {}), ("connector", {"KITE_TOPICS__CREATE": "false"})]:
        environment = broker.environment(user) | simulator | more
        connector = Connector(environment, tmp_path / f"{user}.log")
        try:
            wait_for(f"{user} is ready", lambda c=connector: c.status()["ready"], 60)
            # asked by an operator, as its own user
            operator = broker.environment("operator") | simulator
            reply = ctl(operator, "subscribe", "--mode", "full", "NSE:INFY", "--watchlist", user)
            assert reply["status"] == "APPLIED", reply
            wait_for(
                "ticks are delivered",
                lambda c=connector: (
                    sum(e["ticks"] for e in c.status()["exchanges"]) > 3
                    and c.status()["accounting"]["delivered"] > 3
                ),
            )
        finally:
            code = connector.stop()
        log = connector.log.read_text()
        assert code == 0, log[-4000:]
        assert not re.findall(r".*authoriz.*", log, re.IGNORECASE)
        assert '"dropped": {}' in log.splitlines()[-1]


def test_a_user_without_rights_gets_nothing(broker, simulator, tmp_path):
    """The broker does refuse: what is tested above is worth something."""
    broker.user("nobody")
    environment = broker.environment("nobody") | simulator | {"KITE_TOPICS__CREATE": "false"}
    done = subprocess.run(
        [CLI, "run"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "kite.ticks.nse" in done.stderr
