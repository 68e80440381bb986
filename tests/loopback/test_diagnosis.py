"""What librdkafka says, and a server whose certificate is wrong in one way or another."""

import asyncio
import contextlib
import re
import socket
import ssl
import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from connector.errors import BrokerUnreachableError
from connector.kafka.diagnosis import Complaints, certificate_fault, plain
from connector.kafka.topics import ensure_topics
from connector.settings.models import KafkaSettings, TopicSettings
from tests.support.certificates import Authority

HANDSHAKE_SECONDS = 5.0
# what librdkafka 2.16 says, and below it what is told
SAID = """
1/1 brokers are down
-> 1/1 brokers are down
127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused
 (after 0ms in state CONNECT, 1 identical error(s) suppressed)
-> 127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused
sasl_ssl://k-1:9093/bootstrap: SASL authentication error: Authentication failed: Invalid
 username or password (after 312ms in state AUTH_REQ)
-> k-1:9093: it refuses the login: Authentication failed: Invalid username or password: check
 kafka.sasl_username, kafka.sasl_password and kafka.sasl_mechanism
sasl_ssl://k-1:9093/bootstrap: SASL authentication error: {"status":"invalid_token"} (after 312ms
 in state AUTH_REQ)
-> k-1:9093: it refuses the token: {"status":"invalid_token"}: check whether it takes tokens of
 kafka.oauth.token_url (signature, issuer, audience) with kafka.oauth.scope
sasl_ssl://k-1:9093/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL
 mechanism: broker's supported mechanisms: SCRAM-SHA-512,GSSAPI (after 3ms in state AUTH)
-> k-1:9093: it does not take kafka.sasl_mechanism there; it offers: SCRAM-SHA-512,GSSAPI
sasl_ssl://k-1:9093/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Request not valid
 in current SASL state: broker's supported mechanisms:  (after 3ms in state AUTH_HANDSHAKE)
-> k-1:9093: it does not take kafka.sasl_mechanism there; it offers: nothing
ssl://[::1]:9093/7: Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required:
 SSL alert number 116 (after 1ms in state APIVERSION_QUERY)
-> [::1]:9093: it wants a client certificate that it trusts: give kafka.ssl_certificate_file and
 kafka.ssl_key_file, signed by an authority that the broker knows
ssl://k-1:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify
 failed: broker certificate could not be verified, verify that ssl.ca.location is correctly
 configured or root CA certificates are installed (install ca-certificates package) (after 11ms
 in state SSL_HANDSHAKE)
-> k-1:9093: its certificate is not accepted: kafka.ssl_ca_file must hold the authority that signed
 it, and the certificate the name by which the broker is reached
ssl://k-1:9093/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer:
 connecting to a PLAINTEXT broker listener? (after 2ms in state SSL_HANDSHAKE)
-> k-1:9093: it speaks no TLS at this port: check kafka.security_protocol and the port
k-1:8081/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase
 receive.message.max.bytes (after 3ms in state APIVERSION_QUERY)
-> k-1:8081: what answers there speaks no Kafka: check the port and kafka.security_protocol
"""
PAIRS = re.findall(r"^(.+)\n-> (.+)$", SAID.replace("\n ", " "), re.MULTILINE)


@pytest.mark.parametrize(("said", "told"), PAIRS)
def test_what_is_said_and_what_is_told(said, told):
    assert plain(said) == told


@contextlib.contextmanager
def tls_server(folder, hosts, authority):
    """Shakes hands and hangs up, in a thread: asyncio leaves a handshake open that its end cuts."""
    certificate, key = authority.server(*hosts)
    (folder / "server.pem").write_text(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")

    def hang_up():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # shut down
                return
            connection.settimeout(HANDSHAKE_SECONDS)
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("name", "host", "trusted", "fault"),
    [
        ("localhost", "localhost", True, None),
        ("localhost", "127.0.0.1", True, "mismatch.*: reach the broker by a name that its"),
        ("elsewhere.example", "localhost", True, "mismatch.*: reach the broker by a name"),
        ("localhost", "localhost", False, "issuer certificate: kafka.ssl_ca_file must hold"),
    ],
)
async def test_what_is_wrong_with_a_certificate(tmp_path, name, host, trusted, fault):
    authority = Authority("a")
    ca = tmp_path / "ca.pem"
    ca.write_text((authority if trusted else Authority("b")).certificate)
    with tls_server(tmp_path, [name], authority) as port:
        kafka = KafkaSettings(
            bootstrap_servers=f"{host}:{port}", security_protocol="SSL", ssl_ca_file=ca
        )
        address = kafka.bootstrap_servers
        found = await asyncio.to_thread(certificate_fault, kafka, address)
        if fault is None:
            assert found is None
            return
        with pytest.raises(
            BrokerUnreachableError, match=f"at {address}: its certificate .*{fault}"
        ):
            await ensure_topics(kafka, TopicSettings(), slots=3, timeout_seconds=0.5)


async def test_an_expired_certificate_needs_a_new_one(tmp_path):
    authority = Authority("a", expired=True)
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.certificate)
    with tls_server(tmp_path, ["localhost"], authority) as port:
        kafka = KafkaSettings(security_protocol="SSL", ssl_ca_file=ca)
        found = await asyncio.to_thread(certificate_fault, kafka, f"localhost:{port}")
    assert found == "certificate has expired: the broker needs a new one"


def test_nobody_there_is_no_fault_of_a_certificate():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert certificate_fault(KafkaSettings(security_protocol="SSL"), address) is None


class Client:
    """Its poll serves what is waiting."""

    def __init__(self, complaints, *errors):
        self.poll = lambda _: [complaints(error) for error in errors]


def unreachable(*errors):
    complaints = Complaints(KafkaSettings(bootstrap_servers="k:1"))
    raised = KafkaException(KafkaError(KafkaError._TRANSPORT, "Local: Broker transport failure"))
    return str(complaints.unreachable(raised, Client(complaints, *errors)))


def test_the_reason_is_what_was_complained_of_last():
    down = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
    refused = KafkaError(KafkaError._TRANSPORT, "k:1/bootstrap: refused (after 0ms in state CONN)")
    assert unreachable(refused, down) == "no Kafka broker answers at k:1: refused"
    other = KafkaError(KafkaError._TRANSPORT, "k:2/2: refused (after 0ms in state CONN)")
    assert unreachable(other, down) == "no Kafka broker answers at k:1: k:2: refused"
    # "localhost" is two addresses, and the broker listens at one of them
    denied = KafkaError(KafkaError._AUTHENTICATION, "k:1/bootstrap: SASL authentication error: no")
    assert "check kafka.sasl_username" in unreachable(denied, refused, down)
    assert "check kafka.sasl_username" in unreachable(refused, denied, down)
    assert "kafka.security_protocol" in unreachable(down)
    assert unreachable().endswith("Local: Broker transport failure")
