"""Tokens of OAuth 2.0 client credentials for a server over HTTP (RFC 6749, 4.4; RFC 6750).

A token is kept until shortly before it ends, and fetched anew when somebody refuses it. The secret
goes in the header, as librdkafka sends it for the brokers: one client id serves both.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable
from typing import Any, Final, TypeGuard
from urllib.parse import urlencode

import aiohttp

from connector.kafka.https_endpoint import HttpsEndpoint, NoAnswerError
from connector.kite.wire.messages import json_object
from connector.redaction import Redactor
from connector.settings.oauth import OAuthSettings
from connector.settings.secret_files import fresh

MAX_ANSWER_BYTES: Final = 2**16
"""The token endpoint's answer may have so many bytes, unpacked."""
MAX_TOKEN_CHARS: Final = 2**14
"""A token may have so many characters: servers take no longer headers."""
MAX_LIFETIME_SECONDS: Final = 86_400.0
"""A token is kept for so long at most, whatever the endpoint says."""
EARLY_SECONDS: Final = 30.0
"""It is fetched anew so long before it ends, or a fifth of its life, whichever is shorter."""

_UNTOLD_SECONDS: Final = 300.0
"""The life of a token whose endpoint tells none."""
_OK = 200
_SERVER_ERROR = 500
_PASSING = frozenset({408, 425, 429})
"""The statuses below 500 that say: not now."""
_PASSING_ERRORS = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
"""The errors that say so, whatever their status: those of RFC 6749, 4.1.2.1 and RFC 8628."""
_MAX_WORDS_CHARS = 120
"""Of the endpoint's own words so many are told: what to do follows, and must not be cut off."""


class NoTokenError(Exception):
    """There is no token; the text says why and which setting to look at, without a secret."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable
        """Whether waiting can help."""
        self.retry_after_seconds = 0.0
        """How long the endpoint asks to be left alone."""


class BearerTokens:
    """The token of one client; for one task at a time.

    Args:
        settings: complete ones.
        section: where they stand, such as `registry.oauth`.
        monotonic: seconds of a clock that only goes forward.

    Raises:
        SettingsError: `ca_file` is of no use.
    """

    def __init__(
        self,
        settings: OAuthSettings,
        section: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._section = section
        self._monotonic = monotonic
        self._endpoint = HttpsEndpoint(
            settings.token_url or "",
            f"{section}.token_url",
            settings.ca_file,
            f"{section}.ca_file",
        )
        self._token = ""  # the last one, good or not
        self._until = -math.inf  # monotonic seconds; fetched anew from then on
        self.redactor = Redactor()
        """Takes secret and token out of what others write."""

    async def get(self, http: aiohttp.ClientSession, *, timeout_seconds: float) -> str:
        """Return a token that is good for a while yet.

        Args:
            http: a session of `https_endpoint.session`.
            timeout_seconds: for asking the endpoint.

        Raises:
            NoTokenError: there is none.
        """
        now = self._monotonic()
        if now >= self._until:
            token, seconds = await self._fetch(http, timeout_seconds)
            self.redactor.hide(token)
            # from before the request: the time that it took is part of the token's life
            self._token, self._until = token, now + seconds - min(EARLY_SECONDS, seconds / 5)
        return self._token

    def forget(self) -> None:
        """Fetch another one the next time: this one was refused."""
        self._until = -math.inf

    async def _fetch(
        self, http: aiohttp.ClientSession, timeout_seconds: float
    ) -> tuple[str, float]:
        settings = self._settings
        known = settings.client_secret.get_secret_value() if settings.client_secret else ""
        secret = fresh(known, settings.client_secret_file)
        login = base64.b64encode(f"{settings.client_id}:{secret}".encode()).decode()
        # the endpoint's answer may repeat any of these, the header in base64 too
        self.redactor = Redactor(secret, login, self._token)
        form = {"grant_type": "client_credentials"}
        if settings.scope is not None:
            form["scope"] = settings.scope
        try:
            answer = await self._endpoint.ask(
                http,
                "POST",
                headers={
                    "Accept": "application/json",
                    "Authorization": f"Basic {login}",
                    "Content-Type": "application/x-www-form-urlencoded",
                },
                body=urlencode(form).encode(),
                max_bytes=MAX_ANSWER_BYTES,
                timeout_seconds=timeout_seconds,
            )
        except NoAnswerError as exc:
            error = self._none(str(exc), retryable=True)
            error.retry_after_seconds = exc.retry_after_seconds
            raise error from exc
        status, body, location, wait_seconds = answer
        told = json_object(body)
        token = told.get("access_token")
        # RFC 6749, 5.1: token_type is required; those that leave it out mean Bearer
        if status != _OK or not _is_bearer(told) or not _is_usable(token):
            error = self._refusal(status, told, f"it leads to {location}" if location else body)
            error.retry_after_seconds = wait_seconds
            raise error
        return token, _lifetime(told.get("expires_in", _UNTOLD_SECONDS))

    def _refusal(self, status: int, told: dict[str, Any], body: str | bytes) -> NoTokenError:
        """Return the error for an answer without a token that can be used."""
        section = self._section
        code = told.get("error")
        # whatever the status: some say it with a 400
        busy = isinstance(code, str) and code in _PASSING_ERRORS
        if status >= _SERVER_ERROR or status in _PASSING or busy:
            return self._none(f"HTTP {status}: {self.redactor.foreign(body)}", retryable=True)
        if status == _OK or not isinstance(code, str):
            # what an endpoint's success holds may be a token all the same: it is not shown
            shown = "" if told else f": {self.redactor.foreign(body, _MAX_WORDS_CHARS)}"
            return self._none(
                f"HTTP {status}, and no bearer token{shown}: is {section}.token_url right?",
                retryable=True,
            )
        # RFC 6749, 5.2
        advice = {
            "invalid_scope": f"{section}.scope",
            "invalid_client": f"{section}.client_id and {section}.client_secret",
        }.get(code, f"{section}.client_id, and what this client may do")
        words = " ".join(str(told.get(name) or "") for name in ("error", "error_description"))
        shown = self.redactor.foreign(words, _MAX_WORDS_CHARS)
        return self._none(f"HTTP {status}: {shown}: check {advice}", retryable=False)

    def _none(self, reason: str, *, retryable: bool) -> NoTokenError:
        said = self.redactor.foreign(reason)
        return NoTokenError(f"no token from {self._section}.token_url: {said}", retryable=retryable)


def _is_bearer(told: dict[str, Any]) -> bool:
    kind = told.get("token_type", "Bearer")
    return isinstance(kind, str) and kind.lower() == "bearer"


def _is_usable(token: object) -> TypeGuard[str]:
    """Whether it can stand in a header as it is."""
    return (
        isinstance(token, str)
        and 0 < len(token) <= MAX_TOKEN_CHARS
        and token.isascii()
        and token.isprintable()
        and " " not in token
    )


def _lifetime(expires_in: object) -> float:
    """Seconds; none for what is no number of them, so that a token is used once. Some quote it."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return min(seconds, MAX_LIFETIME_SECONDS) if seconds > 0 else 0.0
