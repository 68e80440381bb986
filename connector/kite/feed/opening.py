"""One try to open a socket, with the access_token as it is now: whatever fails is a FeedError."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import SecretStr

from connector.errors import FeedError, FeedUnreachableError, TokenMissingError
from connector.kite.callbacks import check_callback
from connector.kite.feed.credentials import Credentials
from connector.kite.feed.event_reporter import EventReporter
from connector.kite.feed.socket import FeedSocket, SocketListener, check_root

ROOT: Final = "wss://ws.kite.trade"
"""The WebSocket root of Kite's feed."""

Opener = Callable[[str, SecretStr, SecretStr, SocketListener, float], Awaitable[FeedSocket]]
"""Opens a socket: root, api_key, access_token, listener, seconds that it may take."""


class Opening:
    """Tries to open sockets of one connection.

    Args:
        root: ws:// or wss:// and a host.
        credentials: of the account.
        opener: opens a socket.
        timeout_seconds: how long that may take.
        report: told of what should not happen.

    Raises:
        ValueError: the root is none.
        TypeError: the credentials' `access_token` is an `async def`.
    """

    def __init__(
        self,
        root: str,
        credentials: Credentials,
        opener: Opener,
        timeout_seconds: float,
        report: EventReporter,
    ) -> None:
        check_root(root)
        check_callback(f"{type(credentials).__name__}.access_token", credentials.access_token)
        self.token_version = 0
        """The credentials' version at the last try: a change since then may mean a good token."""
        self._root = root
        self._credentials = credentials
        self._opener = opener
        self._timeout_seconds = timeout_seconds
        self._report = report

    def token(self) -> SecretStr:
        """The token for the next try.

        Raises:
            TokenMissingError: there is none.
            FeedUnreachableError: nobody can say, since the credentials raised.
        """
        try:
            token = self._credentials.access_token()
        except Exception as error:  # noqa: BLE001 -- a vault that is away, say: it may come back
            self._report.defect("access_token_read_failed", error)
            raise FeedUnreachableError("the access_token's source", type(error).__name__) from None
        # after the token, since looking may be what notices a change
        self.token_version = self._credentials.version
        if token is None:
            raise TokenMissingError(self._credentials.problem)
        return token

    async def socket(self, token: SecretStr, listener: SocketListener) -> FeedSocket:
        """Open a socket with a token, for a listener.

        Raises:
            FeedError: it did not open, for whatever reason.
        """
        try:
            return await self._opener(
                self._root, self._credentials.api_key, token, listener, self._timeout_seconds
            )
        except FeedError:
            raise
        except Exception as error:  # noqa: BLE001
            # unforeseen, but no reason to leave the slot without a connection for ever
            self._report.defect("socket_open_failed", error)
            raise FeedUnreachableError(self._root, type(error).__name__) from None
