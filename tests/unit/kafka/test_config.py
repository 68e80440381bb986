import logging
from pathlib import Path

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from connector.errors import SettingsError
from connector.kafka.config import (
    ClientLog,
    client_properties,
    overridden,
    refused_properties,
)
from connector.settings import KafkaSettings


def test_plain():
    properties = client_properties(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert properties["bootstrap.servers"] == "a:1,b:2"
    assert properties["security.protocol"] == "PLAINTEXT"
    assert not any(name.startswith(("sasl.", "ssl.")) for name in properties)


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
        ("ssl.ca.location", "no-such-file.pem", "ssl.ca.location failed"),
    ],
)
def test_what_librdkafka_refuses_is_a_wrong_setting(name, value, reason):
    properties = client_properties(KafkaSettings(security_protocol="SSL"), **{name: value})
    with pytest.raises(SettingsError, match=f"kafka: .*{reason}"), refused_properties():
        Producer(properties)


def test_what_librdkafka_repeats_is_for_debugging_only():
    with capture_logs() as lines:
        log = ClientLog("c")
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#producer-1", "Connection refused")
        log.log(logging.WARNING, "%s [%s] %s", "CONFWARN", "rdkafka#producer-1", "no effect")
        log.log(logging.CRITICAL, "%s [%s] %s", "FATAL", "rdkafka#producer-1", "fenced")
    assert [(line["log_level"], line["facility"], line["line"]) for line in lines] == [
        ("debug", "FAIL", "Connection refused"),
        ("warning", "CONFWARN", "no effect"),
        ("warning", "FATAL", "fenced"),
    ]
    assert all(line["client"] == "c" for line in lines)
