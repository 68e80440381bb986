"""Who the connector says it is, to a real broker that wants to know; and what it says when refused.

What each of them may do is tested in test_rights_on_kafka.py.
"""

import contextlib
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connector.errors import ConnectorError
from connector.kafka import clients
from connector.kafka.config import ClientLog
from connector.kafka.delivery import new_producer
from connector.kafka.logins import Logins
from connector.kafka.reader import Reader
from connector.testing import wait_until
from tests.integration.secured import (
    PASSWORD,
    PLAIN_USER,
    TOKEN_USER,
    documented,
    kafka_settings,
)
from tests.integration.service_process import CLI, connector, ctl
from tests.support.certificates import Authority

pytestmark = pytest.mark.integration

KEY_PASSWORD = "not-a-real-key-password"
WRONG_PASSWORD = "another-wrong-password"
# what a user may be shown; masked or not, none of these is to be found anywhere
NEW_SECRET = "not-a-real-secret-either"
SECRETS = (PASSWORD, KEY_PASSWORD, WRONG_PASSWORD, NEW_SECRET)


@pytest.fixture(scope="module")
def topics(secured):
    secured.user("security-creator", [*documented("connector"), *documented("creator")])
    wait_until(lambda: _made(secured))


def _made(secured):
    with contextlib.suppress(Exception):  # the controller may be told of the rights a little later
        return secured.make_topics("security-creator", slots=3)


def assert_no_secret(text):
    assert text
    assert not [secret for secret in SECRETS if secret in text]


def logins(secured):
    """How one says who one is → the settings; the rights are those that the page lists."""
    secured.user("scram-512", documented("connector"))
    secured.user("scram-256", documented("connector"), "SCRAM-SHA-256")
    secured.allow(PLAIN_USER, documented("connector"))
    secured.allow(TOKEN_USER, documented("connector"))
    # its name is a part of the certificate's subject
    secured.allow("certified", documented("connector"))
    return {
        "SCRAM-SHA-512": secured.sasl("scram-512"),
        "SCRAM-SHA-256": secured.sasl("scram-256", "SCRAM-SHA-256"),
        "PLAIN": secured.sasl(PLAIN_USER, "PLAIN"),
        "certificate": secured.mutual("certified", KEY_PASSWORD),
        "OAUTHBEARER": secured.oauth(),
    }


@pytest.mark.parametrize(
    "login", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "certificate", "OAUTHBEARER"]
)
def test_ticks_and_commands(secured, simulated_feed, topics, tmp_path, login):
    environment = logins(secured)[login] | simulated_feed.environment
    secured.user("security-operator", documented("operator"))
    operator = secured.sasl("security-operator") | simulated_feed.environment
    more = {"KITE_TOPICS__CREATE": "false"}
    with connector(tmp_path / "log", environment, more) as running:
        running.until_ready()
        done = ctl(operator, "subscribe", "--mode", "full", "NSE:INFY", "--json")
        assert json.loads(done.stdout)["status"] == "APPLIED", done.stderr
        wait_until(lambda: running.status()["accounting"]["delivered"] > 20)
        assert sum(exchange["ticks"] for exchange in running.status()["exchanges"]) > 0
        pages = [running.page(path) for path in ("status", "metrics", "ready")]
        assert running.stop() == 0
    assert '"dropped": {}' in running.log.splitlines()[-1]
    for text in (*pages, running.log, done.stdout):
        assert_no_secret(text)


@pytest.mark.parametrize("way", ["native", "confluent"])
def test_a_new_password_in_its_file_is_taken_by_clients_that_live(
    secured, topics, tmp_path, monkeypatch, way
):
    monkeypatch.setenv(clients.VARIABLE, way)
    secured.user("rotated", documented("connector"))
    username, password = tmp_path / "username", tmp_path / "password"
    username.write_text("rotated")
    password.write_text(WRONG_PASSWORD)
    variables = secured.sasl("rotated", sasl_password=WRONG_PASSWORD)
    files = {"sasl_username_file": username, "sasl_password_file": password}
    kafka = kafka_settings(variables).model_copy(update=files)
    said, hidden = [], []
    handlers = clients.ClientCallbacks(
        failed=lambda *report: said.append(report),
        error=lambda error: said.append(error.name()),
        statistics=lambda _: None,
        throttle=lambda _: None,
        log=ClientLog("test"),
    )
    client = new_producer(kafka, "rotated", handlers)
    logins = Logins(kafka, hidden.append)
    with contextlib.closing(client), contextlib.closing(Reader(kafka, "kite-connector", "t")) as r:
        client.produce("kite.ticks.nse", b"key", b"value", 0, None, 1)

        def delivered():
            client.poll()
            return len(client) == 0

        def refused():
            client.poll()
            return "_AUTHENTICATION" in said

        wait_until(refused)
        assert len(client) > 0
        password.write_text(f"{PASSWORD}\n")
        assert logins.look()
        assert hidden == [PASSWORD]
        wait_until(delivered)
        assert set(said) <= {"_AUTHENTICATION", "_ALL_BROKERS_DOWN", "_TRANSPORT", "_RESOLVE"}
        wait_until(lambda: _partitions(r))


def _partitions(reader):
    with contextlib.suppress(ConnectorError):
        return reader.partitions("kite.control")


@pytest.fixture
def new_certificate(secured):
    """The settings of a client with a certificate, and what renews that, under another name."""
    for user in ("certified-before", "certified-after"):
        secured.allow(user, documented("connector"))
    environment = secured.mutual("certified-before")
    files = [Path(environment[f"KITE_KAFKA__SSL_{one}_FILE"]) for one in ("CERTIFICATE", "KEY")]

    def renew(running):
        files[1].write_text("half of it")
        wait_until(lambda: "kafka_files_refused" in running.log)
        assert running.status()["ready"]
        for file, content in zip(files, secured.authority.client("certified-after"), strict=True):
            file.write_text(content)

    return environment, renew, lambda: of_every_client() <= secured.decisions("certified-after")[0]


def of_every_client():
    """A right of each client that a service has: producer, member, reader of orders, and leader."""
    return {
        right
        for right in documented("connector")
        if (right.name, right.operation)
        in {
            ("kite.ticks.", "Write"),
            ("kite-connector:kite", "Read"),
            ("kite.orders", "Read"),
            ("kite.control", "Read"),
            ("kite.control.replies", "Write"),
        }
        or right.resource == "transactional id"
    }


@pytest.fixture
def new_secret(secured, tmp_path):
    """The settings of a client with tokens, and what gives it another secret."""
    secured.allow(TOKEN_USER, documented("connector"))
    file = tmp_path / "client_secret"
    file.write_text(PASSWORD)
    environment = secured.oauth(client_secret_file=str(file))
    del environment["KITE_KAFKA__OAUTH__CLIENT_SECRET"]
    tokens = secured.tokens

    def renew(_):
        tokens.clients[TOKEN_USER] = NEW_SECRET
        file.write_text(NEW_SECRET)

    def used():
        """By the one that tries it, the producer, the member, the readers and the leader."""
        return [login for login, _ in tokens.requests].count(f"{TOKEN_USER}:{NEW_SECRET}") >= 6

    yield environment, renew, used
    tokens.clients[TOKEN_USER] = PASSWORD


@pytest.mark.parametrize("what", ["new_certificate", "new_secret"])
def test_renewed_files_are_taken_without_a_restart_or_a_closed_socket(
    secured, simulated_feed, topics, tmp_path, request, what
):
    environment, renew, used = request.getfixturevalue(what)
    secured.user("security-operator", documented("operator"))
    operator = secured.sasl("security-operator")
    more = {"KITE_TOPICS__CREATE": "false", "KITE_CLUSTER__INSTANCE": "place-1"}
    with connector(tmp_path / "log", environment, simulated_feed.environment, more) as running:
        running.until_ready()

        def subscribe(name):
            done = ctl(operator, "subscribe", "--mode", "full", name, "--json")
            assert json.loads(done.stdout)["status"] == "APPLIED", done.stderr

        def delivered():
            return running.status()["accounting"]["delivered"]

        subscribe("NSE:INFY")
        wait_until(lambda: delivered() > 20)
        renew(running)
        wait_until(lambda: "kafka_files_renewed" in running.log)
        wait_until(lambda: "slot_resumed" in running.log)
        subscribe("NSE:SBIN")
        wait_until(used)
        seen = delivered()
        wait_until(lambda: delivered() > seen + 20)
        status = running.status()
        assert [one["connects"] for one in status["connections"]] == [1, 1, 1]
        assert status["ready"]
        assert running.stop() == 0
    assert '"dropped": {}' in running.log.splitlines()[-1]
    assert_no_secret(running.log)


def test_whoever_is_refused_waits_and_says_what_to_do(secured, simulated_feed, tmp_path):
    stranger = Authority("somebody else")
    certificate, key = stranger.client("certified", KEY_PASSWORD)
    without_certificate = secured.mutual("certified")
    for name in ("CERTIFICATE", "KEY"):
        del without_certificate[f"KITE_KAFKA__SSL_{name}_FILE"]
    sasl, address, mutual = secured.sasl, secured.sasl_servers, secured.mutual_servers
    login = f"at {address}: it refuses the login: .*: check kafka.sasl_username, kafka.sasl_pass"
    client_certificate = f"at {mutual}: it wants a client certificate that it trusts: give kafka.ss"
    cases = {
        "password": (sasl("scram-512", sasl_password=WRONG_PASSWORD), login),
        "mechanism": (sasl(PLAIN_USER, "SCRAM-SHA-256"), login),
        "authority": (
            sasl("scram-512", ssl_ca_file=str(secured.write("b.pem", stranger.certificate))),
            f"at {address}: its certificate is not accepted: .*: kafka.ssl_ca_file must hold",
        ),
        "name": (
            sasl("scram-512", bootstrap_servers=secured.misnamed_servers),
            f"at {secured.misnamed_servers}: its certificate is not accepted: .*mismatch.*: reach",
        ),
        "no certificate": (without_certificate, client_certificate),
        "certificate": (
            secured.mutual("certified")
            | {
                "KITE_KAFKA__SSL_CERTIFICATE_FILE": str(secured.write("s.pem", certificate)),
                "KITE_KAFKA__SSL_KEY_FILE": str(secured.write("s.key", key)),
                "KITE_KAFKA__SSL_KEY_PASSWORD": KEY_PASSWORD,
            },
            client_certificate,
        ),
        "no token": (
            secured.oauth(client_secret=WRONG_PASSWORD),
            f"at {address}: there is no token for it: .*: check kafka.oauth.token_url, kafka.oaut",
        ),
        "token": (
            secured.oauth(client_id="astray"),
            f"at {address}: it refuses the token: .*invalid_token.*: check whether it takes tokens",
        ),
        "no TLS": (
            {"KITE_KAFKA__BOOTSTRAP_SERVERS": address},
            f"at {address}: it closes the connection without a word: check whether kafka.secur",
        ),
    }
    with contextlib.ExitStack() as stack:
        # all at once: each waits its time-out out, mostly
        operators = stack.enter_context(ThreadPoolExecutor(1))
        refused = operators.submit(ctl, cases["password"][0], "list")
        running = {
            case: stack.enter_context(
                connector(tmp_path / case, environment, simulated_feed.environment)
            )
            for case, (environment, _) in cases.items()
        }
        for case, (_, reason) in cases.items():
            one = running[case]
            one.until_reason(f"waiting for Kafka: no Kafka broker answers {reason}")
            pages = [one.page(path) for path in ("status", "metrics", "ready", "live")]
            for text in (*pages, one.log):
                assert_no_secret(text)
        done = refused.result()
        assert done.returncode == 1
        assert re.search(login, done.stderr)
        assert len(done.stderr.splitlines()) == 1
        assert_no_secret(done.stderr)
        for one in running.values():
            one.process.terminate()
        for case, one in running.items():
            assert one.ended() == 0, case
            lines = [json.loads(line) for line in one.log.splitlines()]
            assert not [line for line in lines if "exception" in line]
            # said once, however often it was tried
            said = [
                (line["message"], line.get("setting"), line["reason"])
                for line in lines
                if line["level"] == "warning" and "reason" in line
            ]
            # of the simulated feed, which has no TLS: its two addresses
            said = [one for one in said if one[0] != "secret_in_clear_text"]
            assert len(said) == len(set(said)) <= 4, said
            assert any(re.search(cases[case][1], reason) for _, _, reason in said)


@pytest.mark.parametrize(
    ("setting", "content", "reason"),
    [
        ("CA", None, "kafka.ssl_ca_file: .* cannot be read: No such file"),
        ("CERTIFICATE", "no PEM", "kafka.ssl_certificate_file: .* holds no certificate in PEM"),
        ("KEY", "locked", "kafka.ssl_key_file: .* no private key in PEM that ssl_key_password"),
    ],
)
@pytest.mark.parametrize("command", [["run"], ["ctl", "list"]], ids=["run", "ctl"])
def test_a_file_that_is_of_no_use_stops_the_start(
    secured, simulated_feed, tmp_path, setting, content, reason, command
):
    environment = secured.mutual("certified") | simulated_feed.environment
    file = tmp_path / "file"
    if content is not None:
        locked = secured.authority.client("certified", KEY_PASSWORD)[1]
        file.write_text(locked if content == "locked" else content)
    environment |= {
        f"KITE_KAFKA__SSL_{setting}_FILE": str(file),
        "KITE_KAFKA__SSL_KEY_PASSWORD": WRONG_PASSWORD,
    }
    done = subprocess.run(
        [CLI, *command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert re.search(reason, done.stderr)
    assert "Traceback" not in done.stderr
    assert_no_secret(done.stderr)
