"""The files of the operators' page, as they are in the package, with the headers that guard them.

The page loads nothing from elsewhere, runs no script but its own files, makes no HTML out of text
(trusted types, where the browser has them), and cannot be put into a frame.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from connector.kite.web.http_server import Response

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
_FOLDER: Final = "page"
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
INDEX: Final = "index.html"


@cache
def _answers() -> dict[str, Response]:
    """Return the answer of each path; read once."""
    answers = {}
    for file in (files("connector.service") / _FOLDER).iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == INDEX else f"/page/{file.name}"
            answers[path] = Response(200, kind, file.read_bytes(), HEADERS)
    return answers


def answer(path: str) -> Response | None:
    """Return the file of a path; None where there is none."""
    return _answers().get(path)
