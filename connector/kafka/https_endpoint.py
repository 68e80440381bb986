"""A server over HTTP that a setting names: a schema registry, a token endpoint.

Each request has one deadline to the last byte of its answer, what is read has a bound also when it
is unpacked, and a redirect is told and not followed: it would take a secret along to wherever it
leads.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import aiohttp

from connector.errors import SettingsError
from connector.files import MAX_PEM_BYTES, UnusableFileError, check_file
from connector.kite.proxy import ProxyError, proxy_options
from connector.kite.retry_after import retry_after_seconds
from connector.kite.web.http import BodyError, failure_reason, read_body
from connector.redaction import one_line


class HttpAnswer(NamedTuple):
    """What a server sent back, whatever its status."""

    status: int
    body: bytes
    location: str
    """Where a redirect leads; empty without one."""
    retry_after_seconds: float
    """How long it asks to be left alone."""


class NoAnswerError(Exception):
    """There was none, or none that was whole and within its bound; the text says why.

    It may hold words of the other side's, which have to be redacted and cut.
    """

    def __init__(self, reason: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds
        """How long the other side asks to be left alone."""


class HttpsEndpoint:
    """Asks one server, and names the settings where it cannot.

    Args:
        url: where it is, http:// or https://.
        url_setting: the name of the setting that `url` is from.
        ca_file: whom to trust, PEM; None: the system's authorities.
        ca_setting: the name of that setting.

    Raises:
        SettingsError: `ca_file` is of no use.
    """

    def __init__(self, url: str, url_setting: str, ca_file: Path | None, ca_setting: str) -> None:
        self._url = url
        self._url_setting = url_setting
        self._ca_setting = ca_setting
        self._tls = _trusting(ca_file, ca_setting) if url.startswith("https:") else None

    async def ask(
        self,
        http: aiohttp.ClientSession,
        method: str,
        path: str = "",
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        max_bytes: int,
        timeout_seconds: float,
    ) -> HttpAnswer:
        """Send a request and read the whole of its answer, whatever its status.

        Args:
            http: a session that does not unpack by itself.
            method: GET, POST, PUT.
            path: behind the URL.
            headers: of the request.
            body: of the request.
            max_bytes: of the answer, unpacked.
            timeout_seconds: to the answer's last byte.

        Raises:
            NoAnswerError: nobody answered in time, or with too much.
        """
        status, wait_seconds = 0, 0.0
        try:
            async with (
                # one deadline around all of it, the last byte of the body too
                asyncio.timeout(timeout_seconds),
                http.request(
                    method,
                    self._url + path,
                    data=body,
                    headers=headers,
                    # True is aiohttp's default, which verifies; for http:// it means nothing
                    ssl=self._tls or True,
                    allow_redirects=False,
                    **proxy_options(self._url),
                ) as response,
            ):
                status = response.status
                wait_seconds = retry_after_seconds(status, response.headers)
                data = await read_body(response, max_bytes=max_bytes)
                location = response.headers.get("Location", "") if 300 <= status < 400 else ""
        except TimeoutError as exc:
            told = f"no answer in {timeout_seconds:g} s"
            raise NoAnswerError(told, retry_after_seconds=wait_seconds) from exc
        # ValueError: a host that no resolver is asked for, a header that cannot be sent
        except (aiohttp.ClientError, BodyError, ProxyError, ValueError) as exc:
            reason = failure_reason(exc) + self._advice(exc)
            told = f"HTTP {status}: {reason}" if status else reason
            raise NoAnswerError(told, retry_after_seconds=wait_seconds) from exc
        return HttpAnswer(status, data, location, wait_seconds)

    def _advice(self, error: Exception) -> str:
        """What to do about TLS, and certificates that were refused; nothing for all else."""
        if isinstance(error, aiohttp.ServerDisconnectedError) and self._tls is None:
            return f": if it speaks TLS, {self._url_setting} begins with https://"
        if getattr(error.__cause__, "reason", None) == "WRONG_VERSION_NUMBER":
            return f": {self._url_setting} begins with http:// then"
        if not isinstance(error, aiohttp.ClientConnectorCertificateError):
            return ""
        reason = one_line(str(error.certificate_error))
        if "mismatch" in reason:
            return f": {self._url_setting} must have a name that is in its certificate"
        if "expired" in reason:
            return ": it has expired, the server needs a new one"
        return f": {self._ca_setting} must hold the authority that signed it"


def session() -> aiohttp.ClientSession:
    """Return a session for `HttpsEndpoint`: it bounds what is unpacked, and the time, itself."""
    return aiohttp.ClientSession(
        headers={"User-Agent": "kite-connector", "Accept-Encoding": "gzip"},
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def _trusting(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    try:
        if ca_file is not None:
            check_file(ca_file, MAX_PEM_BYTES)
        return ssl.create_default_context(cafile=ca_file)
    except UnusableFileError as exc:
        raise SettingsError.of(setting, f"{ca_file} {exc}") from exc
    except ssl.SSLError as exc:
        raise SettingsError.of(setting, f"{ca_file} holds no certificate in PEM") from exc
    except OSError as exc:
        raise SettingsError.of(setting, f"{ca_file} cannot be read: {exc.strerror}") from exc
