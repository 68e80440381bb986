"""Which secrets the settings would send unencrypted, and over whose network.

A name is not looked up: it counts as of this machine or of a private network by its form. Over
those, as to a simulator or a registry in the same cluster, it is a warning; to a public host it
ends the start, unless `allow_insecure` says that it is meant.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple
from urllib.parse import urlsplit

from connector.settings.models import Settings

# RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and what clusters and offices use
_PRIVATE_ENDS = (
    "localhost", "local", "internal", "intranet", "lan", "corp", "home", "private", "svc", "test",
    "example", "invalid", "home.arpa",
)  # fmt: skip
# this machine, its link, RFC 1918, RFC 6598 (carriers, overlay networks), RFC 4193
_PRIVATE_NETWORKS = [
    ipaddress.IPv6Network(network)
    for network in (
        "::ffff:127.0.0.0/104", "::ffff:0.0.0.0/128", "::ffff:10.0.0.0/104",
        "::ffff:172.16.0.0/108", "::ffff:192.168.0.0/112", "::ffff:169.254.0.0/112",
        "::ffff:100.64.0.0/106", "::1/128", "::/128", "fe80::/10", "fc00::/7",
    )
]  # fmt: skip


class ClearText(NamedTuple):
    """A secret that would go out unencrypted."""

    setting: str
    secret: str
    host: str
    public: bool

    def __str__(self) -> str:
        return f"sends {self.secret} unencrypted to {self.host}"


def clear_text(settings: Settings) -> Iterator[ClearText]:
    """Return every secret that a network would see."""
    feed = settings.feed
    for name, secret in [
        ("root", "the access_token"), ("rest", "the access_token"), ("login", "your password"),
    ]:  # fmt: skip
        parts = urlsplit(getattr(feed, name))
        if parts.scheme in {"ws", "http"}:
            yield _to(f"feed.{name}", secret, parts.hostname or "")
    kafka = settings.kafka
    told = {"PLAIN": "kafka.sasl_password", "OAUTHBEARER": "the token"}
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism in told:
        hosts = [server.rpartition(":")[0] for server in kafka.bootstrap_servers.split(",")]
        public = [host for host in hosts if is_public(host)]
        # one line: the worst of the hosts. SCRAM is not among them, as it never sends the password
        yield _to("kafka.security_protocol", told[kafka.sasl_mechanism], (public or hosts)[0])
    registry = urlsplit(settings.registry.url)
    for name, secret in [("password", "registry.password"), ("oauth.token_url", "the token")]:
        if registry.scheme == "http" and attrgetter(name)(settings.registry) is not None:
            yield _to("registry.url", secret, registry.hostname or "")
    for section, oauth in [("kafka", kafka.oauth), ("registry", settings.registry.oauth)]:
        endpoint = urlsplit(oauth.token_url or "")
        if endpoint.scheme == "http":
            name = f"{section}.oauth"
            yield _to(f"{name}.token_url", f"{name}.client_secret", endpoint.hostname or "")


def _to(setting: str, secret: str, host: str) -> ClearText:
    return ClearText(setting, secret, host, is_public(host))


def is_public(host: str) -> bool:
    """Whether a host is, by its address or the form of its name, on no private network."""
    host = host.strip("[]").rstrip(".").lower()
    address = _address(host)
    if address is not None:
        return not any(address in network for network in _PRIVATE_NETWORKS)
    labels = host.split(".")
    return len(labels) > 1 and not any(f".{host}".endswith(f".{end}") for end in _PRIVATE_ENDS)


def _address(host: str) -> ipaddress.IPv6Address | None:
    """A host that is an address, those of IPv4 mapped; None for a name."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address):
            return address
        return _mapped(address.packed)
    with contextlib.suppress(OSError, UnicodeEncodeError):
        return _mapped(socket.inet_aton(host))  # 127.1, 0x7f000001: resolvers know those as well
    return None


def _mapped(packed: bytes) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(bytes(10) + b"\xff\xff" + packed)
