import socket
import ssl
from types import SimpleNamespace

import aiohttp
import pytest

from connector.http_body import BodyError
from connector.http_failure import failure_reason
from connector.kite.proxy import ProxyError

KEY = SimpleNamespace(host="secret.example", port=443, is_ssl=True, ssl=True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connect call failed")),
            "Connection refused",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")),
            "Name or service not known",
        ),
        (aiohttp.ClientConnectorError(KEY, OSError()), "no connection"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("self-signed")),
            "its TLS certificate is not trusted",
        ),
        (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "x")), "no TLS connection: refused"),
        (aiohttp.ClientHttpProxyError(None, (), status=407), "the proxy answers 407"),
        (ProxyError("the proxy hung up"), "the proxy hung up"),
        (BodyError("an answer of more than 7 bytes"), "an answer of more than 7 bytes"),
        (aiohttp.ClientPayloadError("Response payload is not completed"), "the answer is cut off"),
        (aiohttp.ServerDisconnectedError(), "ServerDisconnectedError"),
        (aiohttp.InvalidURL("http://secret.example"), "InvalidURL"),
    ],
)
def test_a_cause_is_named_without_the_address(error, reason):
    assert failure_reason(error) == reason
