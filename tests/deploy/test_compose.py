"""docker-compose.yml, brought up whole: ticks arrive, it is steered, and it survives its parts."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.deploy.docker import IMAGE, ROOT, build_image, inspect, need_engine, wait_for
from tests.support.ports import free_ports

pytestmark = pytest.mark.deploy

CLI = str(ROOT / ".venv/bin/kite-connector")


class Compose:
    """One project of the compose file, beside any other that runs."""

    def __init__(self, directory: Path) -> None:
        self.project = f"kite-test-{uuid.uuid4().hex[:8]}"
        self.tokens = directory / "tokens"
        self.tokens.mkdir()
        self.live_settings = directory / "live.yaml"
        # "the real feed" is the simulator too: all else is as it would be
        text = (ROOT / "deploy/compose/live.yaml").read_text()
        feed = (ROOT / "deploy/compose/simulated.yaml").read_text()
        self.live_settings.write_text(re.search(r"^feed:\n(  .*\n)+", feed, re.MULTILINE)[0] + text)
        kafka, registry, self.live = free_ports(3)
        self.bootstrap = f"localhost:{kafka}"
        self.registry = f"http://localhost:{registry}/apis/ccompat/v7"
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "CONNECTOR_IMAGE": IMAGE,
            "KAFKA_PORT": str(kafka),
            "REGISTRY_PORT": str(registry),
            "CONNECTOR_PORTS": "0",
            "LIVE_PORT": str(self.live),
            "LIVE_SETTINGS": str(self.live_settings),
            "KITE_API_KEY": "simulated_key",
            "KITE_TOKEN_DIRECTORY": str(self.tokens),
        }

    def __call__(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            logs = self("logs", "--no-color", "--tail", "40", check=False)
            pytest.fail(f"compose {' '.join(arguments)}: {done.stderr[-3000:]}\n{logs[-9000:]}")
        return done.stdout

    def containers(self, service: str) -> list[str]:
        return self("ps", "--all", "--quiet", service).split()

    def status(self, service: str = "connector") -> list[dict]:
        """/status of each running replica."""
        found = []
        for container in self.containers(service):
            state = inspect(container)
            if state["State"]["Running"]:
                port = state["NetworkSettings"]["Ports"]["8090/tcp"][0]["HostPort"]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as page:
                    found.append(json.load(page))
        return found

    def tail(self, *arguments: str) -> list[dict]:
        """Decoded records, read from the host as any consumer would."""
        done = subprocess.run(
            [
                *(CLI, "tail", "--json", "--bootstrap", self.bootstrap),
                *("--registry", self.registry, *arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    need_engine()
    build_image()
    project = Compose(tmp_path_factory.mktemp("compose"))
    try:
        project("up", "--wait", "--wait-timeout", "240", "--no-build")
        yield project
    finally:
        project("--profile", "live", "down", "--volumes", "--timeout", "40", check=False)


def states(statuses: list[dict]) -> dict[int, str]:
    """Slot to state, over all replicas; each slot once."""
    pairs = [(c["slot"], c["state"]) for status in statuses for c in status["connections"]]
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


def total(statuses: list[dict], name: str) -> int:
    return sum(status["accounting"][name] for status in statuses)


def test_ticks_arrive(compose):
    ticks = compose.tail("nse", "--limit", "10")
    assert len(ticks) == 10
    print(ticks[0])
    assert {tick["value"]["exchange"] for tick in ticks} == {"NSE"}


def test_replicas_share_the_connections(compose):
    statuses = compose.status()
    assert len(statuses) == 2
    assert states(statuses) == dict.fromkeys(range(3), "connected")


def test_nothing_runs_with_more_rights_than_it_needs(compose):
    for service in ("kafka", "registry", "simulator", "connector"):
        for container in compose.containers(service):
            host = inspect(container)["HostConfig"]
            assert host["CapDrop"] == ["ALL"], service
            assert host["SecurityOpt"] == ["no-new-privileges:true"], service
            assert host["ReadonlyRootfs"] is (service in {"simulator", "connector"}), service


def test_a_command_changes_what_is_streamed(compose):
    out = compose(
        *("exec", "--no-TTY", "connector", "kite-connector", "ctl", "subscribe", "--json"),
        *("--watchlist", "compose-test", "--mode", "full", "NSE:SBIN"),
    )
    reply = json.loads(out)
    assert reply["status"] == "APPLIED", out

    def sbin():
        ticks = compose.tail("nse", "--limit", "30")
        return [t for t in ticks if t["value"]["tradingsymbol"] == "SBIN"]

    ticks = wait_for("a tick of SBIN", sbin)
    assert ticks[0]["value"]["mode"] == "full"


def test_a_replica_that_goes_is_replaced(compose):
    gone = compose.containers("connector")[0]
    subprocess.run(["docker", "kill", gone], check=True, capture_output=True)
    wait_for(
        "one replica has all connections",
        lambda: (
            [len(s["connections"]) for s in compose.status()] == [3]
            and set(states(compose.status()).values()) == {"connected"}
        ),
    )
    compose("up", "--wait", "--no-build", "--no-recreate", "connector")
    wait_for("two replicas again", lambda: len(states(compose.status())) == 3)


def test_schemas_outlive_the_registry(compose):
    compose("restart", "--timeout", "10", "registry")
    compose("up", "--wait", "--no-build", "--no-recreate", "registry")
    assert compose.tail("nse", "--limit", "5")


def test_no_tick_is_lost_while_the_broker_is_away(compose):
    def waiting() -> int:
        return total(compose.status(), "in_flight") + total(compose.status(), "spooled")

    compose("stop", "--timeout", "20", "kafka")
    wait_for("ticks wait", lambda: waiting() > 50)
    compose("start", "kafka")
    wait_for("all are delivered", lambda: waiting() < 20)
    statuses = compose.status()
    assert all(status["accounting"]["balanced"] for status in statuses)
    assert all(status["accounting"]["dropped"] == {} for status in statuses)
    assert set(states(statuses).values()) == {"connected"}, "kept open all the time"


def test_it_ends_cleanly(compose):
    compose("stop", "connector")
    codes = [
        inspect(container)["State"]["ExitCode"] for container in compose.containers("connector")
    ]
    assert codes == [0, 0]


def test_the_live_profile_waits_for_its_token(compose):
    """After the simulated connector has ended: the simulator allows three sockets an api_key."""
    compose("--profile", "live", "up", "--detach", "--no-build", "--no-recreate", "connector-live")

    def ready() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{compose.live}/ready", timeout=5)
        except urllib.error.HTTPError as error:
            return "token" in error.read().decode() and None
        except OSError:
            return None
        return True

    def waiting() -> bool:
        try:
            statuses = compose.status("connector-live")
        except OSError:
            return False
        return "waiting_for_token" in {c["state"] for s in statuses for c in s["connections"]}

    wait_for("it waits for a token", waiting)
    (compose.tokens / "access_token").write_text("simulated_token\n")
    wait_for("the token is taken", ready)
    assert compose.tail("nse", "--limit", "5", "--prefix", "live")
