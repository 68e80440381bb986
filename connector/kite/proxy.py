"""A way out through an HTTP proxy, where the environment says that there is one.

`https_proxy`, else `all_proxy`, and `no_proxy`, in small or capital letters, as everywhere. Only
for `wss`: a token does not go in clear text through somebody else's machine, and `ws` is for the
simulator.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import SecretStr

from connector.redaction import one_line

# of a proxy's answer, before it counts as garbage
MAX_ANSWER_BYTES = 16 * 2**10
_NO_HOST = re.compile(r"[\s\x00-\x1f]")


class Proxy(NamedTuple):
    """The proxy's address, and the credentials that it wants."""

    host: str
    port: int
    authorization: SecretStr | None


class ProxyError(OSError):
    """The proxy gives no way through; an OSError as any other cause of having no connection."""


def proxy_for(host: str) -> Proxy | None:
    """The environment's proxy for a TLS connection to a host; None where it says to go directly.

    Raises:
        ProxyError: it names one that is not of the kind `http://host:port`.
    """
    found = getproxies()
    # small letters win over capital ones, as everywhere: urllib sees to it
    for name in ("https", "all"):
        if found.get(name):
            return None if proxy_bypass(host) else _parsed(_variable(name), found[name])
    return None


def proxy_options(url: str) -> dict[str, Any]:
    """How a request of aiohttp's to a URL goes through the environment's proxy, if it is HTTPS.

    Not by aiohttp's `trust_env`, which would also send what ~/.netrc has for the host.

    Raises:
        ProxyError: as `proxy_for`.
    """
    parts = urlsplit(url)
    proxy = proxy_for(parts.hostname or "") if parts.scheme == "https" else None
    if proxy is None:
        return {}
    headers = {}
    if proxy.authorization is not None:
        headers["Proxy-Authorization"] = f"Basic {proxy.authorization.get_secret_value()}"
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host  # an address of IPv6
    return {"proxy": f"http://{host}:{proxy.port}", "proxy_headers": headers}


def _variable(name: str) -> str:
    """Return the variable as it is written in the environment."""
    wanted = f"{name}_proxy"
    return next((each for each in os.environ if each.lower() == wanted), wanted)


def _parsed(variable: str, address: str) -> Proxy:
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = parts.port or 80
        (parts.hostname or "").encode("idna")  # a name that no resolver is asked for
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    except ValueError:  # UnicodeError is one
        raise ProxyError(f"{variable}: not an address; only http://host:port is known") from None
    if parts.scheme != "http" or not parts.hostname or _NO_HOST.search(parts.hostname):
        # not the address itself: it may hold a password
        scheme = one_line(parts.scheme)[:10] or "no"
        raise ProxyError(f"{variable}: {scheme} scheme; only http://host:port is known")
    authorization = None
    if parts.username is not None:
        authorization = SecretStr(base64.b64encode(pair).decode())
    return Proxy(parts.hostname, port, authorization)


async def open_tunnel(proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    """A transport that leads through the proxy to a host; its protocol is still to be set.

    Raises:
        OSError: the proxy cannot be reached, or refuses.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: _Connect(proxy, host, port), proxy.host, proxy.port
    )
    try:
        await protocol.answered
    except BaseException:  # a time-out of the caller too: there is no second owner
        transport.abort()
        raise
    return transport


class _Connect(asyncio.Protocol):
    """Asks for a tunnel and reads the answer's head, which is all there is before TLS begins."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        # resolved with the proxy's consent; else with why there is no way through
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proxy = proxy
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._answer = b""  # what has come of its head, bounded

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        lines = [f"CONNECT {self._target} HTTP/1.1", f"Host: {self._target}"]
        if self._proxy.authorization is not None:
            secret = self._proxy.authorization.get_secret_value()
            lines.append(f"Proxy-Authorization: Basic {secret}")
        cast(asyncio.Transport, transport).write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        # TLS is begun by us, so nothing of it can stand behind the head
        if b"\r\n\r\n" not in self._answer and len(self._answer) < MAX_ANSWER_BYTES:
            return
        status = one_line(self._answer.partition(b"\r\n")[0].decode(errors="replace")[:100])
        words = status.split(" ", 2)
        if words[0].startswith("HTTP/") and len(words) > 1 and words[1] == "200":
            self._end(None)
        else:
            self._end(f"answers {status!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"hung up{f': {exc}' if exc else ''}")

    def _end(self, complaint: str | None) -> None:
        if self.answered.done():
            return
        if complaint is None:
            self.answered.set_result(None)
        else:
            where = f"{self._proxy.host}:{self._proxy.port}"
            self.answered.set_exception(ProxyError(f"the proxy {where} {complaint}"))
