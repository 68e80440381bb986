"""A real registry behind TLS and passwords, and the account that may only read."""

import json
import re
import subprocess

import pytest

from connector.testing import wait_until
from tests.integration.service_process import CLI, connector
from tests.support.certificates import Authority
from tests.support.registry_guard import RegistryGuard

pytestmark = pytest.mark.integration

WRITER, READER = "registrar", "reader"
PASSWORDS = {WRITER: "not-a-real-password", READER: "not-a-real-one-either"}
WRONG_PASSWORD = "another-wrong-password"


@pytest.fixture(scope="module")
def guarded(registry_url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    authority = Authority("registry of the tests")
    certificate, key = authority.server("localhost")
    (folder / "server.pem").write_text(certificate + key)
    (folder / "ca.pem").write_text(authority.certificate)
    (folder / "other.pem").write_text(Authority("somebody else").certificate)
    guard = RegistryGuard(
        registry_url,
        folder / "server.pem",
        readers={READER: PASSWORDS[READER]},
        writers={WRITER: PASSWORDS[WRITER]},
    )
    guard.folder = folder
    yield guard
    guard.close()


@pytest.fixture
def environment(bootstrap_servers, guarded, simulated_feed, request):
    """Of a connector with topics and subjects of this module's own, as one of the users."""

    def environment(user, **changes):
        registry = {
            "url": guarded.url(),
            "username": user,
            "password": PASSWORDS[user],
            "ca_file": str(guarded.folder / "ca.pem"),
            **changes,
        }
        return simulated_feed.environment | {
            "KITE_NAME": "guarded",
            "KITE_TOPICS__PREFIX": f"guarded-{guarded.port}",
            "KITE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "KITE_INSTRUMENTS__0__MODE": "full",
            "KITE_INSTRUMENTS__0__INSTRUMENTS": '["NSE:INFY"]',
            **{f"KITE_REGISTRY__{name.upper()}": value for name, value in registry.items()},
        }

    return environment


def assert_no_secret(*texts):
    for text in texts:
        assert not [one for one in (*PASSWORDS.values(), WRONG_PASSWORD) if one in text]


def streams(log, environment):
    """Ticks arrive, with schemas of that registry; afterwards it ends well."""
    with connector(log, environment) as running:
        running.until_ready()
        wait_until(lambda: running.status()["accounting"]["delivered"] > 10)
        tail = subprocess.run(
            [CLI, "tail", "nse", "--from-beginning", "-n", "1"],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert json.loads(tail.stdout)["source"] == "registry", tail.stderr
        assert_no_secret(running.page("status"), running.page("metrics"), tail.stderr)
        assert running.stop() == 0
    assert_no_secret(running.log)


def ends(log, environment):
    """The start fails; what it says last."""
    with connector(log, environment) as running:
        assert running.ended() == 1, running.log
    assert "Traceback" not in running.log
    assert_no_secret(running.log)
    return running.log.splitlines()[-1]


def waits(log, environment, advice):
    """The registry may yet come; /ready says meanwhile what to do."""
    with connector(log, environment) as running:
        reason = running.until_reason(f"waiting for schema registry: .*{re.escape(advice)}")
        assert_no_secret(running.page("status"), running.page("metrics"), reason)
        assert running.stop() == 0
    assert reason.removeprefix("waiting for schema registry: ") in running.log
    assert '"exception"' not in running.log
    assert_no_secret(running.log)


def test_who_may_only_read_cannot_register(guarded, environment, tmp_path):
    told = ends(tmp_path / "log", environment(READER))
    assert re.search("ticks.nse-value: HTTP 403: .*set registry.register_schemas to false", told)
    assert {status for user, method, _, status in guarded.requests if method == "PUT"} == {403}
    # nobody has registered them yet
    told = ends(tmp_path / "log2", environment(READER, register_schemas="false"))
    assert "register it with `kite-connector schemas register`" in told


def test_who_may_write_registers_and_then_reading_is_enough(guarded, environment, tmp_path):
    streams(tmp_path / "log", environment(WRITER))
    assert {user for user, *_ in guarded.requests} <= {WRITER, READER}
    guarded.requests.clear()
    streams(tmp_path / "log2", environment(READER, register_schemas="false"))
    assert guarded.requests
    assert {(user, status) for user, _, _, status in guarded.requests} == {(READER, 200)}


def test_a_wrong_password_ends_the_start(environment, tmp_path):
    told = ends(tmp_path / "log", environment(WRITER, password=WRONG_PASSWORD))
    assert re.search("HTTP 401: .*: check registry.username and registry.password", told)


@pytest.mark.parametrize(
    ("host", "ca_file", "advice"),
    [
        ("localhost", "other.pem", "registry.ca_file must hold the authority"),
        ("127.0.0.1", "ca.pem", "registry.url must have a name that is in its certificate"),
    ],
)
def test_a_certificate_that_is_not_accepted(guarded, environment, tmp_path, host, ca_file, advice):
    changes = {"url": guarded.url(host), "ca_file": str(guarded.folder / ca_file)}
    waits(tmp_path / "log", environment(WRITER, **changes), advice)
