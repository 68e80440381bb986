"""The image: what is in it, what it may do, how it starts and ends."""

import json
import subprocess

import pytest

from tests.deploy.docker import IMAGE, build_image, docker, inspect, need_engine, wait_for

pytestmark = pytest.mark.deploy

CONFINED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]


@pytest.fixture(scope="module", autouse=True)
def image():
    need_engine()
    build_image()


def run(*command: str, entrypoint: str | None = None) -> str:
    """What a command prints in a container without network, rights and writable files."""
    options = ["--rm", "--network", "none", *CONFINED]
    if entrypoint:
        options += ["--entrypoint", entrypoint]
    return docker("run", *options, IMAGE, *command)


@pytest.fixture
def container():
    """Starts containers that are removed at the end, whatever became of them."""
    started = []

    def start(*arguments: str) -> str:
        started.append(docker("run", "--detach", *CONFINED, *arguments).strip())
        return started[-1]

    yield start
    if started:
        docker("rm", "--force", "--volumes", *started)


def test_configuration():
    config = inspect(IMAGE)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["kite-connector"]
    assert config["Cmd"] == ["run"]
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["ExposedPorts"]) == ["8090/tcp"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "kite-connector"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] in run("version")


def test_the_compiled_codec_runs():
    assert "(native codec)" in run("version")


def test_no_compiler_and_no_sources():
    script = (
        "for tool in gcc cc g++ make cython; do ! command -v $tool || exit 1; done;"
        "[ ! -e /src ] && [ ! -e /build ] && [ ! -e /wheel ]"
    )
    run("-c", script, entrypoint="sh")


def test_its_bill_of_materials_has_what_is_installed():
    script = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps([[d.name, d.version] for d in m.distributions()]))\n"
    )
    installed = {tuple(one) for one in json.loads(run("-c", script, entrypoint="python"))}
    bill = json.loads(run("/opt/kite-connector/sbom.cdx.json", entrypoint="cat"))
    assert bill["bomFormat"] == "CycloneDX"
    # of the same sources it is the same
    assert "timestamp" not in bill["metadata"]
    assert "serialNumber" not in bill
    root = bill["metadata"]["component"]
    listed = {(one["name"], one["version"]) for one in [root, *bill["components"]]}
    assert listed == installed
    assert root["name"] == "kite-connector"
    assert root["licenses"]
    assert all(one["purl"].startswith("pkg:pypi/") for one in bill["components"])


def test_the_account_owns_nothing_but_its_folder():
    script = (
        "find / -xdev -user connector -not -path '/proc/*' 2>/dev/null;"
        "find /opt/kite-connector -writable -not -type l"
    )
    assert run("-c", script, entrypoint="sh").split() == ["/var/lib/kite-connector"]


def test_every_module_can_be_imported():
    script = (
        "import connector, importlib, pkgutil\n"
        "for module in pkgutil.walk_packages(connector.__path__, 'connector.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "from connector import schemas\n"
        "print(*schemas.NAMES)\n"
    )
    assert "tick" in run("-c", script, entrypoint="python")


def test_wrong_settings_stop_it():
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "-e", "KITE_KAFKA__BOOTSTRAP=x:1", IMAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "did you mean KITE_KAFKA__BOOTSTRAP_SERVERS?" in done.stderr


def test_alive_without_brokers_and_ends_cleanly(container):
    """Restarting would not bring the brokers back: it waits, healthy, and can be stopped."""
    name = container(
        *("--network", "none", "--tmpfs", "/var/lib/kite-connector:uid=10001,mode=0750"),
        *("--health-interval", "1s"),
        *("-e", "KITE_ACCOUNTS__0__API_KEY=secret-key"),
        *("-e", "KITE_ACCOUNTS__0__ACCESS_TOKEN=secret-token"),
        *("-e", "KITE_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9", IMAGE),
    )
    wait_for("healthy", lambda: inspect(name)["State"]["Health"]["Status"] == "healthy")
    ask = (
        "import urllib.request as u, urllib.error as e\n"
        "try: u.urlopen('http://127.0.0.1:8090/ready')\n"
        "except e.HTTPError as error: print(error.read().decode())\n"
    )
    ready = json.loads(docker("exec", name, "python", "-c", ask))
    assert ready["ready"] is False
    assert ready["reasons"]
    docker("stop", "--time", "40", name)
    log = (
        docker("logs", name)
        + subprocess.run(
            ["docker", "logs", name], capture_output=True, text=True, check=True
        ).stderr
    )
    assert inspect(name)["State"]["ExitCode"] == 0, log
    assert "secret-key" not in log
    assert "secret-token" not in log


def test_the_simulator_ends_at_once(container):
    name = container(IMAGE, "simulate", "--host", "0.0.0.0")
    wait_for("it listens", lambda: "WebSocket" in docker("logs", name))
    docker("stop", "--time", "10", name)
    assert inspect(name)["State"]["ExitCode"] == 0
