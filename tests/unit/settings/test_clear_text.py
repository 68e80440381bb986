import pytest

from connector.settings.clear_text import clear_text, is_public
from connector.settings.models import Settings

ACCOUNT = {"api_key": "k"}
SASL = {"sasl_username": "u", "sasl_password": "p"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "127.0.0.1", "127.1", "0x7f000001", "::1", "[fe80::1%eth0]", "10.1.2.3",
        "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1", "100.64.0.1", "fd00::1",
        "::ffff:10.0.0.1", "0.0.0.0", "simulator", "kafka.data.svc", "kafka.data.svc.cluster.local",
        "kafka.data.svc.cluster.local.", "KAFKA.internal", "nas.home.arpa", "broker.corp",
    ],
)  # fmt: skip
def test_hosts_of_private_networks(host):
    assert not is_public(host)


@pytest.mark.parametrize(
    "host",
    [
        "ws.kite.trade", "8.8.8.8", "134744072", "172.32.0.1", "100.128.0.1", "2606:4700::1",
        "::ffff:8.8.8.8", "203.0.113.5", "localhost.example.com", "internal.example.com",
        "not-internal.com", "10.0.0.1.example.com",
    ],
)  # fmt: skip
def test_hosts_that_anybody_may_be(host):
    assert is_public(host)


@pytest.mark.parametrize(
    ("changes", "setting", "public"),
    [
        ({"feed": {"root": "ws://127.0.0.1:1"}}, "feed.root", False),
        ({"feed": {"root": "ws://ws.kite.trade"}}, "feed.root", True),
        ({"feed": {"rest": "http://api.kite.trade"}}, "feed.rest", True),
        ({"feed": {"login": "http://kite.zerodha.com"}}, "feed.login", True),
        (
            {"kafka": {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", **SASL}},
            "kafka.security_protocol", False,
        ),
        (
            {
                "kafka": {
                    "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", **SASL,
                    "bootstrap_servers": "kafka:9092,kafka.example.com:9092",
                }
            },
            "kafka.security_protocol", True,
        ),
        (
            {"registry": {"url": "http://r", "username": "u", "password": "p"}},
            "registry.url", False,
        ),
        (
            {"registry": {"url": "http://r.example.com", "username": "u", "password": "p"}},
            "registry.url", True,
        ),
    ],
)  # fmt: skip
def test_a_secret_without_encryption_is_found(changes, setting, public):
    (found,) = clear_text(Settings(accounts=[ACCOUNT], **changes))
    assert (found.setting, found.public) == (setting, public)
    assert found.host in str(found)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"registry": {"url": "http://r.example.com"}},
        {"registry": {"url": "https://r.example.com", "username": "u", "password": "p"}},
        {
            "kafka": {
                "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", **SASL,
                "bootstrap_servers": "kafka.example.com:9092",
            }
        },
        {"kafka": {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", **SASL}},
    ],
)  # fmt: skip
def test_where_no_secret_is_to_be_seen_nothing_is_told(changes):
    assert list(clear_text(Settings(accounts=[ACCOUNT], **changes))) == []
