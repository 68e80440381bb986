import asyncio

import pytest
import structlog

from connector.kafka import renewals
from connector.kafka.renewals import Renewals, fingerprint, refusal, standing, wanted
from connector.settings.models import KafkaSettings
from connector.testing import FakeClock
from tests.support.certificates import Authority


@pytest.fixture
def authority():
    return Authority("renewals")


@pytest.fixture
def files(tmp_path, authority):
    """The files of a client with a certificate: ca, crt, key."""
    paths = {name: tmp_path / name for name in ("ca", "crt", "key")}
    paths["ca"].write_text(authority.certificate)
    certify(paths, authority)
    return paths


def certify(files, authority):
    certificate, key = authority.client("kite")
    files["crt"].write_text(certificate)
    files["key"].write_text(key)


@pytest.fixture
def kafka(files):
    return KafkaSettings(
        bootstrap_servers="localhost:1",
        security_protocol="SSL",
        ssl_ca_file=files["ca"],
        ssl_certificate_file=files["crt"],
        ssl_key_file=files["key"],
    )


@pytest.fixture
def tokens(tmp_path):
    file = tmp_path / "secret"
    file.write_text("first")
    return KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        oauth={
            "token_url": "https://id.example.org/token",
            "client_id": "kite",
            "client_secret": "first",
            "client_secret_file": file,
        },
    )


@pytest.fixture
def brokers(monkeypatch):
    """Answers of the brokers, each to one try; without more they let everybody in."""
    answers = []
    monkeypatch.setattr(
        renewals, "refusal", lambda kafka, name: answers.pop(0) if answers else None
    )
    return answers


async def test_clients_are_outdated_once_a_broker_takes_what_the_files_hold(
    kafka, files, authority, brokers
):
    looking = Renewals(kafka, "kite", lambda _: None)
    live, other = standing(kafka), standing(kafka.model_copy(update={"bootstrap_servers": "b:1"}))
    held_apart = standing(kafka.model_copy(update={"queue_max_messages": 1000}))
    assert not await looking.look()
    certify(files, authority)
    with structlog.testing.capture_logs() as log:
        assert await looking.look()
    assert (live.outdated, held_apart.outdated, other.outdated) == (True, True, False)
    assert [(line["event"], line["clients"]) for line in log] == [("kafka_files_renewed", 2)]
    assert not standing(kafka).outdated
    assert not await looking.look()


async def test_what_brokers_refuse_is_said_once_and_tried_again_at_growing_pauses(
    kafka, files, authority, brokers
):
    clock = FakeClock()
    looking = Renewals(kafka, "kite", lambda _: None, monotonic=clock.monotonic)
    live = standing(kafka)
    certify(files, authority)
    brokers += ["no"] * 5
    tries = []
    with structlog.testing.capture_logs() as log:
        for second in range(200):
            before = len(brokers)
            await looking.look()
            if len(brokers) < before:
                tries.append(second)
            clock.now += 1
            assert not live.outdated or not brokers
    assert tries == [0, 5, 15, 35, 75]
    assert [line["event"] for line in log] == ["kafka_files_refused", "kafka_files_renewed"]
    assert live.outdated
    assert looking.refused is None


async def test_other_files_are_tried_at_once(kafka, files, authority, brokers):
    looking = Renewals(kafka, "kite", lambda _: None)
    brokers += ["no"]
    certify(files, authority)
    assert not await looking.look()
    assert not await looking.look()
    certify(files, authority)
    assert await looking.look()


async def test_files_that_are_again_as_they_were_are_not_tried(kafka, files, brokers):
    looking = Renewals(kafka, "kite", lambda _: None)
    live = standing(kafka)
    before = files["key"].read_text()
    brokers += ["no"]
    files["key"].unlink()
    assert not await looking.look()
    assert looking.refused == "no"
    files["key"].write_text(before)
    brokers += ["never asked"]
    assert not await looking.look()
    assert (brokers, looking.refused, live.outdated) == (["never asked"], None, False)


async def test_a_new_secret_is_hidden_before_anybody_uses_it(tokens, monkeypatch):
    hidden, used = [], []
    monkeypatch.setattr(renewals, "refusal", lambda kafka, name: used.append(list(hidden)))
    looking = Renewals(tokens, "kite", hidden.append)
    tokens.oauth.client_secret_file.write_text("second")
    assert await looking.look()
    assert used == [["second"]]


async def test_a_new_login_is_handed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(renewals, "POLL_SECONDS", 0)
    file = tmp_path / "password"
    file.write_text("first")
    kafka = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="kite",
        sasl_password="first", sasl_password_file=file,
    )  # fmt: skip
    hidden = asyncio.Queue()
    running = asyncio.create_task(Renewals(kafka, "kite", hidden.put_nowait).run())
    file.write_text("second")
    try:
        assert await asyncio.wait_for(hidden.get(), 20) == "second"
    finally:
        running.cancel()


@pytest.mark.parametrize("name", ["ca", "crt", "key"])
def test_each_file_counts(kafka, files, name):
    before = fingerprint(kafka)
    assert fingerprint(kafka) == before
    files[name].write_text(files[name].read_text() + "\n")
    assert fingerprint(kafka) != before


def test_what_cannot_be_read_is_something_else(kafka, files):
    before = fingerprint(kafka)
    files["crt"].unlink()
    missing = fingerprint(kafka)
    files["crt"].mkdir()
    assert len({before, missing, fingerprint(kafka)}) == 3


def test_files_of_the_users_own_properties_count(kafka, files, tmp_path):
    crl = tmp_path / "crl"
    crl.write_text("a")
    kafka = kafka.model_copy(update={"client": {"ssl.crl.location": str(crl)}})
    before = fingerprint(kafka)
    crl.write_text("b")
    assert fingerprint(kafka) != before


def test_a_login_is_no_reason_for_other_clients():
    def with_password(password):
        return KafkaSettings(
            security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="kite",
            sasl_password=password,
        )  # fmt: skip

    assert fingerprint(with_password("a")) == fingerprint(with_password("b"))


def test_a_key_that_is_not_the_certificates_is_refused_without_a_broker(kafka, files, authority):
    files["key"].write_text(authority.client("kite")[1])
    assert "is not the key of ssl_certificate_file" in refusal(kafka, "kite")


def test_brokers_that_do_not_answer_let_nobody_in(kafka, monkeypatch):
    monkeypatch.setattr(renewals, "TRY_SECONDS", 0.2)
    assert "no Kafka broker answers" in refusal(kafka, "kite")


def test_only_files_are_looked_at(kafka, tokens, tmp_path):
    assert wanted(kafka)
    assert wanted(tokens)
    assert wanted(KafkaSettings(client={"ssl.crl.location": "/crl"}))
    assert not wanted(KafkaSettings(client={"linger.ms": 5}))
