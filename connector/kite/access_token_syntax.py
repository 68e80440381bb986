"""What an access_token or api_key may look like, wherever it comes from.

Kite gives 32 and 16 letters and digits and promises no form. Both go into a URL and into a header,
so that a line break or a byte order mark in one would be another request, or a refusal that reads
like a wrong token.
"""

from __future__ import annotations

import codecs
import re

MAX_TOKEN_FILE_BYTES = 4096
"""A file with an access_token is read only up to so many bytes."""

# what RFC 7235 calls token68, and signs that need no quotes; signs of equality only at its end
_BODY = re.compile(rb"[A-Za-z0-9._~+/*!$-]*")
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/*!$-]+=*")
_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def usable_token(content: bytes) -> str:
    """The token in the content of a file or setting; blank lines and space around it do not count.

    Raises:
        ValueError: it is none; the reason tells nothing of the content but its kind.
    """
    if content.startswith(_BYTE_ORDER_MARKS):
        raise ValueError("begins with a byte order mark: save it as plain ASCII")
    token = content.strip(b" \t\r\n")
    if not token:
        raise ValueError("is empty")
    if lines := len(token.splitlines()) - 1:
        raise ValueError(f"has {lines + 1} lines, and a token is one")
    if len(token) > MAX_TOKEN_FILE_BYTES:
        raise ValueError(f"has more than {MAX_TOKEN_FILE_BYTES} bytes")
    if token[:1] in b"{[":
        raise ValueError("holds JSON, and the token must stand alone")
    if token[:1] == b"#":
        raise ValueError("holds a comment, and the token must stand alone")
    if not _TOKEN.fullmatch(token):
        good = _BODY.match(token)
        raise ValueError(f"holds {_name(token[good.end() if good else 0])}, which no token does")
    return token.decode("ascii")


def _name(byte: int) -> str:
    if byte > 0x7E:
        return "a character that is not ASCII"
    if byte < 0x20:
        return f"the control character 0x{byte:02x}"
    return "a space" if byte == 0x20 else f"the character {chr(byte)}"
