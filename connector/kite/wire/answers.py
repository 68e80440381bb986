"""Whose HTTP answer it is: Kite's own, or that of something on the way to it. Pure.

A gateway, a proxy, a captive portal or a filter answers with any status and a page of its own. Such
a refusal says nothing of the access_token. Source of Kite's form: kite.trade/docs/connect/v3, page
exceptions.
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

from connector.kite.wire.messages import json_object

TOKEN_EXCEPTION: Final = "TokenException"  # noqa: S105 -- Kite's word for a token that is no good
MAX_READ_BYTES: Final = 8 * 2**10
"""So many bytes of a page are read; what is behind them is not looked at."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"

# what a browser does not show; without its end it goes on to the end of what was read
_UNSEEN = re.compile(r"(?is)<(script|style|svg)\b.*?(</\1\s*>|$)|<!--.*?(-->|$)")
_TAG = re.compile(r"<[a-zA-Z/!?][^<>]{0,500}>")


class KiteError(NamedTuple):
    """An error in Kite's own form; both texts are foreign words, not yet redacted."""

    error_type: str
    message: str


def kite_error(body: bytes) -> KiteError | None:
    """The error of an answer, or None where it is not Kite's; whoever reads it bounds it."""
    told = json_object(body)
    error_type, message = told.get("error_type"), told.get("message")
    if not isinstance(error_type, str) or not error_type:
        return None
    return KiteError(error_type, message if isinstance(message, str) else "")


def plain_body(body: bytes) -> bytes:
    """A body, unpacked where it is gzip although nobody asked for that, up to `MAX_READ_BYTES`.

    Of damaged gzip it says only that: its bytes tell nothing to anybody.
    """
    if not body.startswith(_GZIP_MAGIC):
        return body
    try:
        return zlib.decompressobj(_GZIP).decompress(body, MAX_READ_BYTES)
    except zlib.error:
        return b"an answer in damaged gzip"


def page_words(body: bytes, phrase: str = "") -> str:
    """The words of a page without its markup, not yet redacted; "" where it says nothing.

    Args:
        body: of the answer, maybe a page of HTML.
        phrase: the status line's own; a page that only repeats it says nothing.
    """
    text = body[:MAX_READ_BYTES].decode(errors="replace")
    text = _TAG.sub(" ", _UNSEEN.sub(" ", text))
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()
    said = " ".join(words)
    return "" if said.lower().rstrip(".") == phrase.lower() else said
