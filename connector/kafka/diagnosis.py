"""What a Kafka client complains of, said so that one knows which setting to look at.

librdkafka names properties of its own, says the same again at each try with another duration, and
takes a wrong authority and a wrong name for one and the same error.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError as Code
from confluent_kafka import KafkaException

from connector.errors import BrokerUnreachableError, FencedError, KafkaError, ProducerExpiredError
from connector.files import MAX_PEM_BYTES, check_file
from connector.settings.models import KafkaSettings

PROBE_SECONDS: Final = 2.0  # to connect and shake hands, once, where a certificate was refused
# an address as sasl_ssl://kafka-1:9093/bootstrap, what is wrong, and how long that took
_COMPLAINT: Final = re.compile(
    r"^(?:\w+://)?(?P<address>[^\s/]+:\d+)/(?:bootstrap|\d+): "
    r"(?P<what>.*?)(?: \(after \d+ms [^)]*.*)?$",
    re.DOTALL,
)
_CERTIFICATE: Final = "certificate verify failed"
_CERTIFICATE_ADVICE: Final = (
    "kafka.ssl_ca_file must hold the authority that signed it, and the certificate the name by "
    "which the broker is reached"
)
# librdkafka's and OpenSSL's words → ours; the first that fits counts, so the special come first
_KNOWN: Final = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in [
        (_CERTIFICATE, f"its certificate is not accepted: {_CERTIFICATE_ADVICE}"),
        (
            (
                "alert (?:certificate required|bad certificate|certificate unknown|unknown ca|"
                "handshake failure)"
            ),
            (
                "it wants a client certificate that it trusts: give kafka.ssl_certificate_file and "
                "kafka.ssl_key_file, signed by an authority that the broker knows"
            ),
        ),
        (
            # RFC 7628, 3.2.2
            r'SASL authentication error: (?P<said>\{.*"status": ?"[a-z_]+".*\})',
            (
                "it refuses the token: {said}: check whether it takes tokens of "
                "kafka.oauth.token_url (signature, issuer, audience) with kafka.oauth.scope"
            ),
        ),
        (
            "SASL authentication error: (?P<said>.*)",
            (
                "it refuses the login: {said}: check kafka.sasl_username, kafka.sasl_password and "
                "kafka.sasl_mechanism"
            ),
        ),
        (
            "Failed to acquire SASL OAUTHBEARER token: (?P<said>.*)",
            (
                "there is no token for it: {said}: check kafka.oauth.token_url, "
                "kafka.oauth.client_id and kafka.oauth.client_secret"
            ),
        ),
        (
            r"mechanism handshake failed: .*broker's supported mechanisms: ?(?P<said>[\w,-]*)",
            "it does not take kafka.sasl_mechanism there; it offers: {said}",
        ),
        (
            "connecting to a PLAINTEXT broker listener|Disconnected: SSL connection closed",
            "it speaks no TLS at this port: check kafka.security_protocol and the port",
        ),
        (
            # the letters of HTTP, or a TLS alert, read as a length
            r"Invalid response size \d+",
            "what answers there speaks no Kafka: check the port and kafka.security_protocol",
        ),
    ]
)
_SILENT: Final = (
    "it closes the connection without a word: check whether kafka.security_protocol is what the "
    "broker expects at this port"
)
_PASSING: Final = frozenset({"_TRANSPORT", "_RESOLVE", "_TIMED_OUT", "_ALL_BROKERS_DOWN"})
# somebody else has this transactional.id or group.instance.id now: not to be tried again
_FENCED: Final = {
    Code._FENCED,  # noqa: SLF001 - librdkafka's own name
    Code.INVALID_PRODUCER_EPOCH,
    Code.PRODUCER_FENCED,
    Code.FENCED_INSTANCE_ID,
}
# brokers forget an idle producer (transactional.id.expiration.ms, producer.id.expiration.ms)
_EXPIRED_PRODUCER: Final = {Code.INVALID_PRODUCER_ID_MAPPING, Code.UNKNOWN_PRODUCER_ID}
# of OpenSSL's verification: X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH, _CERT_HAS_EXPIRED
_OTHER_NAME: Final = frozenset({62, 64})
_EXPIRED: Final = 10


def passing(error: Any) -> bool:
    """Whether what a consumer was told of ends by itself: librdkafka goes on trying.

    Its own `retriable()` says nothing here: it is meant for transactional calls.
    """
    return error.name() in _PASSING


def translated(error: KafkaException, bootstrap_servers: str) -> KafkaError:
    """Return our error for one of librdkafka's: whether to try again is a fact of its class.

    Args:
        error: what a call raised.
        bootstrap_servers: the brokers that were called.
    """
    code = error.args[0]
    if code.code() in _EXPIRED_PRODUCER:
        return ProducerExpiredError(code.str())
    if code.code() in _FENCED:
        return FencedError(code.str())
    if code.name() in _PASSING or code.retriable():
        return BrokerUnreachableError(bootstrap_servers, code.str())
    return KafkaError(code.str())


class _Polled(Protocol):
    """A client whose callbacks come from its `poll`."""

    def poll(self, timeout: float, /) -> Any:
        """Serve the callbacks of the client."""


def plain(text: str) -> str:
    """One of librdkafka's texts without what differs at each try, and with what to do about it."""
    found = _COMPLAINT.match(text)
    what = found["what"] if found else text
    for pattern, meaning in _KNOWN:
        known = pattern.search(what)
        if known:
            said = known.groupdict().get("said") or "nothing"
            what = meaning.format(said=said.rstrip(": "))
            break
    return f"{found['address']}: {what}" if found else what


def _is_known(text: str) -> bool:
    return any(pattern.search(text) for pattern, _ in _KNOWN)


class Complaints:
    """A client's `error_cb` that keeps what was said last, for the error that is raised later.

    Args:
        kafka: the settings that the client was made with.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._last: str | None = None  # librdkafka's text, of the complaint that tells most
        self._address: str | None = None  # that it is about, as host:port
        self._silent = False  # all brokers are down, and librdkafka did not say why

    def __call__(self, error: Any) -> None:
        """Note a complaint: the callback of the client."""
        text = error.str()
        if error.name() == "_ALL_BROKERS_DOWN":
            self._silent = True
            return
        if self._last is not None and _is_known(self._last) and not _is_known(text):
            # the same broker at an address where it does not listen, of IPv6 say: tells less
            return
        self._last = text
        found = _COMPLAINT.match(text)
        self._address = found["address"] if found else None

    def unreachable(self, error: KafkaException, client: _Polled) -> BrokerUnreachableError:
        """The error to raise where a call failed; blocks while it looks at a certificate.

        Args:
            error: what the call raised, which seldom says why.
            client: whose error it is.
        """
        # the callback's calls wait for it: AdminClient and consumers have no thread for them
        client.poll(0)
        return BrokerUnreachableError(self._kafka.bootstrap_servers, self._reason(error))

    def _reason(self, error: KafkaException) -> str:
        if self._last is None:
            return _SILENT if self._silent else str(error.args[0].str())
        if _CERTIFICATE in self._last and self._address is not None:
            fault = certificate_fault(self._kafka, self._address)
            if fault is not None:
                return self._addressed(f"{self._address}: its certificate is not accepted: {fault}")
        return self._addressed(plain(self._last))

    def _addressed(self, reason: str) -> str:
        # the error names the address itself where there is only one
        return reason.removeprefix(f"{self._kafka.bootstrap_servers}: ")


def certificate_fault(kafka: KafkaSettings, address: str) -> str | None:
    """Why a broker's certificate is refused, and what to do; None where that cannot be told.

    Makes one connection, which ends with the handshake.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        if kafka.ssl_ca_file is not None:
            check_file(kafka.ssl_ca_file, MAX_PEM_BYTES)
        context = ssl.create_default_context(cafile=kafka.ssl_ca_file)
        # as librdkafka does, whatever this Python's default is
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with (
            socket.create_connection((host, int(port)), PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as exc:
        said = exc.verify_message.rstrip(".")
        if exc.verify_code in _OTHER_NAME:
            return f"{said}: reach the broker by a name that its certificate has"
        if exc.verify_code == _EXPIRED:
            return f"{said}: the broker needs a new one"
        return f"{said}: kafka.ssl_ca_file must hold the authority that signed it"
    except (OSError, ValueError):
        return None
