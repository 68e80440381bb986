"""Why a request of aiohttp's had no answer that could be used: short, and without its URL."""

from __future__ import annotations

import errno
import os

import aiohttp

from connector.http_body import BodyError
from connector.kite.proxy import ProxyError


def failure_reason(error: Exception) -> str:
    """The cause in a few words; aiohttp's own texts have addresses, and say little else."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its TLS certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        # its number is OpenSSL's, and would be read as another error of the system
        return f"no TLS connection: {getattr(error.os_error, 'reason', None) or 'refused'}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    if isinstance(error, ProxyError):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio's own text has the address, and says "Connect call failed" for every cause
        number = error.os_error.errno or 0
        known = number in errno.errorcode  # a failed look-up of the name has numbers of its own
        return os.strerror(number) if known else error.os_error.strerror or "no connection"
    if isinstance(error, BodyError):
        return str(error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer is cut off"
    return type(error).__name__
