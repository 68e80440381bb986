import contextlib
import logging
import os
from pathlib import Path

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from connector.errors import SettingsError
from connector.files import MAX_PEM_BYTES
from connector.kafka.config import (
    PREFETCH_KIB,
    ClientLog,
    check_properties,
    client_properties,
    overridden,
    refused_properties,
)
from connector.settings.models import KafkaSettings
from tests.support.certificates import Authority


def test_plain():
    properties = client_properties(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert properties["bootstrap.servers"] == "a:1,b:2"
    assert properties["security.protocol"] == "PLAINTEXT"
    assert not any(name.startswith(("sasl.", "ssl.")) for name in properties)


def test_what_is_said_of_fetching_goes_to_consumers_alone():
    kafka = KafkaSettings(client={"fetch.wait.max.ms": 7})
    assert client_properties(kafka, **{"group.id": "g"})["fetch.wait.max.ms"] == 7
    producing = client_properties(kafka)
    assert "fetch.wait.max.ms" not in producing
    assert overridden(kafka, producing) == []
    # a broker answers when there is something to read: nobody else needs a short wait
    assert client_properties(KafkaSettings(), **{"group.id": "g"})["fetch.wait.max.ms"] == 500


def test_a_consumer_fetches_little_ahead():
    properties = client_properties(KafkaSettings(), **{"group.id": "g"})
    assert properties["queued.max.messages.kbytes"] == PREFETCH_KIB
    assert properties["fetch.max.bytes"] == PREFETCH_KIB * 1024
    assert properties["fetch.queue.backoff.ms"] == 10, "else a second once that much is there"


def test_sasl_over_tls_is_verified():
    kafka = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password="geheim",
        ssl_ca_file=Path("ca.pem"),
        client={"enable.ssl.certificate.verification": False},
    )
    properties = client_properties(kafka)
    assert properties["sasl.mechanism"] == "SCRAM-SHA-512"
    assert properties["sasl.username"] == "u"
    assert properties["sasl.password"] == "geheim"
    assert properties["ssl.ca.location"] == "ca.pem"
    assert properties["enable.ssl.certificate.verification"] is True
    assert properties["ssl.endpoint.identification.algorithm"] == "https"
    assert overridden(kafka, properties) == ["enable.ssl.certificate.verification"]


def test_mutual_tls():
    kafka = KafkaSettings(
        security_protocol="SSL",
        ssl_certificate_file=Path("cert.pem"),
        ssl_key_file=Path("key.pem"),
        ssl_key_password="geheim",
    )
    properties = client_properties(kafka)
    assert properties["ssl.certificate.location"] == "cert.pem"
    assert properties["ssl.key.location"] == "key.pem"
    assert properties["ssl.key.password"] == "geheim"
    assert "ssl.ca.location" not in properties


def test_the_user_changes_defaults_and_the_client_its_own():
    kafka = KafkaSettings(
        client={"socket.keepalive.enable": False, "acks": "1", "bootstrap.servers": "x"}
    )
    properties = client_properties(kafka, acks="all")
    assert properties["socket.keepalive.enable"] is False
    assert properties["acks"] == "all"
    assert properties["bootstrap.servers"] == "localhost:9092"
    assert overridden(kafka, properties) == ["acks", "bootstrap.servers"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("no.such.property", 1, "No such configuration property"),
        ("socket.timeout.ms", "long", "Invalid value"),
    ],
)
def test_what_librdkafka_refuses_is_a_wrong_setting(name, value, reason):
    kafka = KafkaSettings(security_protocol="SSL")
    properties = client_properties(kafka, **{name: value})
    with pytest.raises(SettingsError, match=f"kafka: .*{reason}"), refused_properties(kafka):
        Producer(properties)


def test_of_a_wrong_value_that_may_be_a_secret_the_beginning_is_repeated():
    kafka = KafkaSettings(client={"compression.codec": "a3Vq9Lx0Zr7Tb2Nf5Wc8"})
    with pytest.raises(SettingsError, match='Invalid value "a3Vq9Lx0Zr7T…"'):
        check_properties(kafka)


def test_properties_are_checked_without_a_broker_together_and_each_by_itself():
    for name, value in (("no.such.property", 1), ("linger.ms", 10**9)):
        with pytest.raises(SettingsError, match="kafka: "):
            check_properties(KafkaSettings(client={name: value}))
    # the connector sets these two itself; the file is another machine's
    odd = {"enable.idempotence": True, "acks": 0, "ssl.ca.location": "/none", "debug": "all"}
    check_properties(KafkaSettings(client=odd))
    # the second alone would be less than the connector's default of the first
    check_properties(
        KafkaSettings(client={"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50})
    )
    with pytest.raises(SettingsError, match=r"reconnect\.backoff\.max\.ms"):
        check_properties(KafkaSettings(client={"reconnect.backoff.max.ms": 50}))


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("ssl_ca_file", "kafka.ssl_ca_file"),
        ("ssl_certificate_file", "kafka.ssl_certificate_file"),
        ("ssl_key_file", "kafka.ssl_key_file"),
        ("ssl.crl.location", "kafka.client.ssl.crl.location"),
        ("ssl.ca.location", "kafka.ssl_ca_file"),
    ],
)
def test_librdkafka_is_given_no_pipe_and_no_huge_file(tmp_path, setting, named):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_PEM_BYTES + 1)
    for name, reason in [
        ("pipe", "is a pipe, not a file"),
        ("huge", "has more than 4194304 bytes"),
    ]:
        path = tmp_path / name
        given = {"client": {setting: str(path)}} if "." in setting else {setting: path}
        if setting in ("ssl_certificate_file", "ssl_key_file"):
            given = {
                "ssl_certificate_file": tmp_path / "none",
                "ssl_key_file": tmp_path / "none",
                **given,
            }
        kafka = KafkaSettings(security_protocol="SSL", **given)
        with pytest.raises(SettingsError) as caught:
            client_properties(kafka)
        assert str(caught.value).endswith(f"{named}: {path} {reason}")


def test_authorities_may_be_a_folder(tmp_path):
    kafka = KafkaSettings(security_protocol="SSL", ssl_ca_file=tmp_path)
    assert client_properties(kafka)["ssl.ca.location"] == str(tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"ssl_ca_file": "none"}, r"ssl_ca_file: \S+none cannot be read: No such file"),
        ({"ssl_ca_file": "text"}, r"ssl_ca_file: \S+text holds no certificate in PEM"),
        ({"ssl_certificate_file": "text"}, "ssl_certificate_file: .* no certificate in PEM"),
        ({"ssl_key_file": "none"}, r"ssl_key_file: \S+none cannot be read: No such file"),
        ({"ssl_key_file": "text"}, "ssl_key_file: .* no private key in PEM that ssl_key_password"),
        ({"ssl_key_file": "locked"}, "ssl_key_file: .* no private key in PEM that ssl_key_pass"),
        ({"ssl_key_file": "other"}, r"ssl_key_file: \S+other is not the key of ssl_certificate_"),
    ],
)
def test_a_file_that_is_of_no_use_is_named_by_its_setting(tmp_path, files, reason):
    authority = Authority("a")
    certificate, key = authority.client("c")
    contents = {
        "ca": authority.certificate,
        "certificate": certificate,
        "key": key,
        "text": "no PEM",
        "locked": authority.client("c", "not-a-real-password")[1],
        "other": authority.client("c")[1],
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    good = {"ssl_ca_file": "ca", "ssl_certificate_file": "certificate", "ssl_key_file": "key"}
    for changes in (files, {}):
        kafka = KafkaSettings(
            security_protocol="SSL",
            ssl_key_password="a-wrong-password",
            **{name: tmp_path / file for name, file in {**good, **changes}.items()},
        )
        expected = (
            pytest.raises(SettingsError, match=f"kafka.{reason}")
            if changes
            else contextlib.nullcontext()
        )
        with expected as caught, refused_properties(kafka):
            Producer(client_properties(kafka))
        assert "a-wrong-password" not in str(caught and caught.value)


def test_what_librdkafka_repeats_is_for_debugging_only():
    with capture_logs() as lines:
        log = ClientLog("c")
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#producer-1", "Connection refused")
        log.log(logging.WARNING, "%s [%s] %s", "CONFWARN", "rdkafka#producer-1", "no effect")
        log.log(logging.CRITICAL, "%s [%s] %s", "FATAL", "rdkafka#producer-1", "fenced")
        gapless = "Local: Gap-less ordering would not be guaranteed if proceeding: Produce…"
        log.log(logging.CRITICAL, "%s [%s] %s", "FATAL", "rdkafka#producer-1", gapless)
    assert [(line["log_level"], line["facility"], line["line"]) for line in lines] == [
        ("debug", "FAIL", "Connection refused"),
        ("warning", "CONFWARN", "no effect"),
        ("warning", "FATAL", "fenced"),
        ("debug", "FATAL", gapless),
    ]
    assert all(line["client"] == "c" for line in lines)


def test_a_reader_that_begins_with_the_first_record_there_is_has_missed_nothing():
    with capture_logs() as lines:
        for begun in (0, 7):
            line = f"t [0]: offset reset (at offset {begun} (leader epoch 0)) to BEGINNING"
            ClientLog("test").log(logging.WARNING, "", "OFFSET", "", line)
    assert [line["log_level"] for line in lines] == ["debug", "warning"]
