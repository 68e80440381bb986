"""The daily login: from what the browser comes back with to the file that the service watches.

A human logs in at `connector.kite.web.rest.login_url`; Kite then redirects the browser to the
app's own URL with a `request_token`, which is good once and for some minutes. No error and no page
of this module ever has a token in it.

Source: kite.trade/docs/connect/v3/user, "Login flow".
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qs

from pydantic import SecretStr

from connector.errors import LoginError, PortInUseError, RestTokenError
from connector.files import beside
from connector.kite.web.http_server import HttpRequest, HttpServer, Response
from connector.kite.web.rest import LOGIN_ROOT, KiteRest, KiteSession, login_url

LOOPBACK: Final = "127.0.0.1"
MAX_PARAMETERS: Final = 50
"""An address may have so many parameters; Kite's redirect has four or five."""
_STATE: Final = "state"
_TEXT: Final = "text/plain; charset=utf-8"
_BARE_TOKEN = re.compile(r"[A-Za-z0-9_-]{4,128}")


def request_token_of(text: str) -> SecretStr:
    """The request_token in what a human pastes: the token alone, or the URL of the redirect.

    Raises:
        LoginError: there is none, or the redirect tells of a login that failed.
    """
    text = text.strip().strip("'\"<>")
    if _BARE_TOKEN.fullmatch(text):
        return SecretStr(text)
    if not text:
        raise LoginError(
            "no request_token was given: log in at the address that `kite-connector login --url` "
            "prints"
        )
    return _of_query(_parameters(text.partition("#")[0].rpartition("?")[2]))


def _of_query(query: Mapping[str, str]) -> SecretStr:
    """Return the request_token among a redirect's parameters."""
    token = query.get("request_token", "")
    if query.get("status", "success") != "success":
        raise LoginError("Kite's redirect says that the login did not succeed: log in once more")
    if not _BARE_TOKEN.fullmatch(token):
        raise LoginError(
            "there is no request_token in that: paste the whole address that the browser shows "
            "after the login, or what stands behind request_token= in it"
        )
    return SecretStr(token)


async def log_in(
    rest_root: str,
    api_key: SecretStr,
    api_secret: SecretStr,
    request_token: SecretStr,
) -> KiteSession:
    """Exchange a request_token for the day's session.

    Raises:
        LoginError: Kite refuses the request_token or the api_secret; the text says what to do.
        RestError: any other error that Kite answers with.
        FeedUnreachableError: no connection, or no answer in time.
    """
    async with KiteRest(rest_root, api_key=api_key) as rest:
        try:
            return await rest.exchange(request_token, api_secret)
        except RestTokenError as error:
            if "checksum" in error.message.lower():
                advice = "the api_secret is not the one that belongs to this api_key"
            elif "api_key" in error.message.lower():
                advice = "Kite does not know this api_key"
            else:
                advice = (
                    "a request_token is good once and for a few minutes only: open the login "
                    "page again"
                )
            raise LoginError(f"{advice} (Kite says: {error.message})") from error


def check_writable(path: Path) -> None:
    """Find out that a token could not be written while the login has not used one up.

    Raises:
        LoginError: the file cannot be replaced.
    """
    try:
        with beside(path) as file:
            _keep_owner(file.fileno(), path)
    except OSError as error:
        raise _not_written(path, error) from error


def write_token(path: Path, token: SecretStr) -> None:
    """Put the token into the file, in one step: whoever watches it never sees half of it.

    The file is readable by its owner alone (0600), who stays the same as before.

    Raises:
        LoginError: the file cannot be written; the old one is as it was.
    """
    # through a link: what it points to is where somebody wants the token to be
    target = path.resolve()
    try:
        with beside(path) as file:
            _keep_owner(file.fileno(), path)
            file.write(token.get_secret_value().encode() + b"\n")
            file.flush()
            # before the rename: after a power cut the name must not stand for an empty file
            os.fsync(file.fileno())
            Path(file.name).replace(target)
    except OSError as error:
        raise _not_written(path, error) from error


def _keep_owner(number: int, path: Path) -> None:
    """Give the file to the owner of the one before: a token of root's is of no use to a service."""
    try:
        before = path.stat()
    except FileNotFoundError:
        return
    if before.st_uid != os.fstat(number).st_uid:
        os.fchown(number, before.st_uid, before.st_gid)


def _not_written(path: Path, error: OSError) -> LoginError:
    if error.errno == errno.EROFS:
        reason = "it is on a read-only volume: a mounted Secret changes where the Secret is kept"
    else:
        reason = error.strerror or type(error).__name__
    return LoginError(f"the token file {path} cannot be written: {reason}")


class LoginReceiver:
    """Listens on the loopback interface for the redirect that ends one login; an `async with`.

    The app's redirect URL at developers.kite.trade has to be `redirect_url`. A redirect counts only
    when it brings back the random word that `login_url` sent along: any page in the browser can
    call a local port.

    Args:
        port: 0 is any free one.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._state = secrets.token_urlsafe(16)  # goes to Kite and has to come back
        # parameters of the first redirect that brought it
        self._redirect: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._server = HttpServer(LOOPBACK, port, self._redirected)

    async def __aenter__(self) -> Self:
        try:
            await self._server.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError("--listen", LOOPBACK, self._port) from error
            raise LoginError(f"cannot listen on port {self._port}: {error.strerror}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        # an answer is with the kernel before whoever waits for the redirect goes on
        await self._server.close()

    @property
    def redirect_url(self) -> str:
        """The URL to which Kite has to redirect."""
        return f"{self._server.url}/"

    def login_url(self, api_key: SecretStr, root: str = LOGIN_ROOT) -> str:
        """The URL at which the human logs in."""
        return login_url(api_key, root, {_STATE: self._state})

    async def request_token(self, timeout_seconds: float) -> SecretStr:
        """Wait for the redirect.

        Raises:
            LoginError: it did not come in time, or tells of a login that failed.
        """
        try:
            query = await asyncio.wait_for(asyncio.shield(self._redirect), timeout_seconds)
        except TimeoutError:
            raise LoginError(f"nobody logged in within {timeout_seconds:g} s") from None
        return _of_query(query)

    def _redirected(self, request: HttpRequest) -> Response:
        """Any path: Kite adds its parameters to whatever address the app has."""
        query = _parameters(request.query)
        # in constant time, as secrets are compared
        if not hmac.compare_digest(query.get(_STATE, "").encode(), self._state.encode()):
            return Response(404, _TEXT, b"Not the redirect that is waited for.\n")
        if not self._redirect.done():
            self._redirect.set_result(query)
        text = b"Back to the terminal: the login goes on there. This page may be closed.\n"
        # neither kept by the browser nor sent on to any other site
        headers = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))
        return Response(200, _TEXT, text, headers)


def _parameters(query: str) -> dict[str, str]:
    """Of an address, the last one of each name; none where there are far too many."""
    try:
        found = parse_qs(query, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in found.items()}
