"""What another server answers over HTTP, read within bounds; and why it did not.

Bytes on the wire, bytes unpacked and the end of an answer are checked: neither a drip nor a flood
nor a small gzip of something huge may cost more than it is worth, and half of an answer must not be
taken for all of it.
"""

from __future__ import annotations

import errno
import os
import ssl
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import aiohttp

CHUNK_BYTES: Final = 64 * 1024
MAX_MEMBERS: Final = 2000
"""A stream of gzip may have so many members: whoever packs in blocks makes one each 64 KiB."""
MAX_ETAG_CHARACTERS: Final = 200
"""An ETag of more characters is not kept."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip"})


class BodyError(Exception):
    """The body of an answer is too long, cut off, or not the gzip that it says it is."""


class Gunzip:
    """Unpacks a stream of gzip, of one or more members, up to a bound.

    Args:
        max_bytes: unpacked; more is an error.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes  # of the bound
        self._max_bytes = max_bytes
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False  # something came: no bytes at all are no gzip that is cut off
        self._members = 1

    def feed(self, chunk: bytes) -> bytes:
        """What a piece of the stream unpacks to.

        Raises:
            BodyError: it is more than the bound, has too many members, or is not gzip.
        """
        parts = []
        while chunk:
            if self._member.eof:
                self._members += 1
                if self._members > MAX_MEMBERS:
                    raise BodyError(f"gzip of more than {MAX_MEMBERS} members")
                self._member = zlib.decompressobj(_GZIP)
            self._begun = True
            try:
                # one more than is allowed: a bomb is known by that byte, not by all of it
                part = self._member.decompress(chunk, self._left + 1)
            except zlib.error as error:
                raise BodyError("its gzip is damaged") from error
            self._left -= len(part)
            if self._left < 0:
                raise BodyError(f"an answer of more than {self._max_bytes} bytes")
            parts.append(part)
            # what stands behind a member's end: the next one
            chunk = self._member.unused_data
        return b"".join(parts)

    def end(self) -> None:
        """Check that the stream is whole.

        Raises:
            BodyError: it is not whole.
        """
        if self._begun and not self._member.eof:
            raise BodyError("the answer is cut off")


async def read_body(
    response: aiohttp.ClientResponse,
    *,
    max_bytes: int,
    max_wire_bytes: int | None = None,
) -> bytes:
    """The body, unpacked where it is gzip, whether by the transfer or by itself.

    For a session that does not unpack by itself (`auto_decompress=False`). How long it may take is
    the caller's affair: one deadline around all of a request.

    Args:
        response: whose body is to be read.
        max_bytes: unpacked.
        max_wire_bytes: as it comes; `max_bytes` when not given.

    Raises:
        BodyError: there is more of it, its gzip is damaged or has no end, or it is packed in
            another way, which nobody asked for.
        aiohttp.ClientPayloadError: the connection broke before the end that the transfer states.
    """
    packed = response.headers.get("Content-Encoding", "").strip().lower()
    if packed not in _ENCODINGS:
        raise BodyError(f"an answer packed as {packed!r}, which was not asked for")
    gzipped = "gzip" in packed
    most = max_bytes if max_wire_bytes is None else max_wire_bytes
    unpacked: Gunzip | None = None
    parts: list[bytes] = []
    wire = size = 0
    first = True
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        # also without the header: a list may be kept packed, and handed on as it is
        if first and (gzipped or chunk[:2] == _GZIP_MAGIC):
            unpacked = Gunzip(max_bytes)
        first = False
        wire += len(chunk)
        if wire > most:
            raise BodyError(f"an answer of more than {most} bytes")
        part = chunk if unpacked is None else unpacked.feed(chunk)
        size += len(part)
        if size > max_bytes:
            raise BodyError(f"an answer of more than {max_bytes} bytes")
        parts.append(part)
    if unpacked is not None:
        unpacked.end()
    return b"".join(parts)


def usable_etag(told: object) -> str | None:
    """An ETag as it may be sent back; None where it is none that a server could read.

    A control character in one would make each later question a failure before it is sent.
    """
    if not isinstance(told, str) or not 0 < len(told) <= MAX_ETAG_CHARACTERS:
        return None
    return told if told.isascii() and told.isprintable() else None


def failure_reason(error: Exception) -> str:
    """The cause in a few words; aiohttp's own texts have addresses, and say little else."""
    import aiohttp

    from connector.kite.proxy import ProxyError

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its TLS certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _tls_reason(error.os_error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    if isinstance(error, ProxyError):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio's own text has the address, and says "Connect call failed" for every cause
        number = error.os_error.errno or 0
        known = number in errno.errorcode  # a failed look-up of the name has numbers of its own
        if isinstance(error.os_error, ConnectionResetError):  # amid the handshake without a number
            return os.strerror(errno.ECONNRESET)
        return os.strerror(number) if known else error.os_error.strerror or "no connection"
    if isinstance(error, aiohttp.ClientOSError):  # on a connection that stood
        cause = error.__cause__
        return _tls_reason(cause) if isinstance(cause, ssl.SSLError) else _errno_reason(error)
    if isinstance(error, BodyError):
        return str(error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer is cut off"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed without an answer"
    if isinstance(error, aiohttp.ClientResponseError):  # of a status that is none, TLS, another
        return "what came is no answer of HTTP: is something else listening there?"
    return type(error).__name__


_TLS_REASONS: Final = {
    "WRONG_VERSION_NUMBER": "what listens there speaks no TLS",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a client's certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it and this machine have no version of TLS in common",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses the handshake: no cipher in common, or it asks "
    "for a client's certificate",
}


def _tls_reason(error: BaseException) -> str:
    """Why TLS failed; the number is OpenSSL's, and would be read as another of the system's."""
    told = getattr(error, "reason", None) or "refused"
    return f"no TLS connection: {_TLS_REASONS.get(told, told)}"


def _errno_reason(error: OSError) -> str:
    number = error.errno or 0
    return os.strerror(number) if number in errno.errorcode else "the connection broke"
