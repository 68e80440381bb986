"""The api_key and the day's access_token, where they come from, and how a change is noticed.

Kite flushes access tokens each morning and a human has to log in for the next one. A live socket
outlives its token, a reconnect does not: the connection then waits on `changed`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from pydantic import SecretStr
from watchfiles import awatch

from connector.files import UnusableFileError, read_bounded
from connector.kite.access_token_syntax import MAX_TOKEN_FILE_BYTES, usable_token
from connector.kite.callbacks import check_callback

# a mounted volume or a network file system may not tell of changes: look by ourselves as well
POLL_SECONDS = 5.0


class Credentials(ABC):
    """One api_key and its token; shared by all connections of the account.

    Attributes:
        api_key: the app's api_key, masked in every repr.
        name: a short name for logs and metrics, in place of the api_key.

    Raises:
        ValueError: an api_key or token that has characters which none has.
    """

    def __init__(self, api_key: str | SecretStr, name: str = "main") -> None:
        self._api_key = _secret(api_key)
        self.name = name
        self.problem = ""
        """Why there is no token, in words; empty while there is one, or nothing to say."""
        self._version = 0  # of the token; grows with each change that was noticed
        # told each secret before it is used: the mask of the log
        self._listeners: list[Callable[[SecretStr], None]] = []

    @property
    def api_key(self) -> SecretStr:
        """The app's api_key, masked in every repr."""
        return self._api_key

    def add_listener(self, listener: Callable[[SecretStr], None]) -> None:
        """Call back with the token that is there, and with each new secret before it is used.

        Raises:
            TypeError: the listener is an `async def`, or no function.
        """
        check_callback("a listener", listener)
        self._listeners.append(listener)
        self._notify(self.access_token())

    def _notify(self, token: SecretStr | None) -> None:
        if token is not None:
            for listener in self._listeners:
                listener(token)

    @abstractmethod
    def access_token(self) -> SecretStr | None:
        """Return the token as it is now; None while there is none."""

    @abstractmethod
    async def changed(self, since: int) -> None:
        """Return as soon as the token differs from the one of version `since`."""

    @property
    def version(self) -> int:
        """A number that grows with each change of the token that was noticed."""
        return self._version

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, api_key='**********')"


class StaticCredentials(Credentials):
    """A token in memory, which `set_access_token` replaces at run time.

    Args:
        api_key: the app's.
        access_token: the day's; None where there is none yet.
        name: a short name for logs and metrics, in place of the api_key.

    Raises:
        ValueError: an api_key or token that has characters which none has.
    """

    def __init__(
        self, api_key: str | SecretStr, access_token: str | SecretStr | None, name: str = "main"
    ) -> None:
        super().__init__(api_key, name)
        self._token = _token(access_token)
        self._changed = asyncio.Event()  # of the present version; a new one with each token

    def access_token(self) -> SecretStr | None:
        """Return the token as it is now; None while there is none."""
        return self._token

    def set_access_token(self, access_token: str | SecretStr) -> None:
        """Replace the token; connections that wait for one go on at once.

        Setting the same token again counts as a change: the account's plan may have been mended.
        An empty one is none. Call it from the event loop's thread.

        Raises:
            ValueError: it has characters that no token has; the one before stays.
        """
        self._token = _token(access_token)
        self._version += 1
        self._notify(self._token)
        # another event, not `clear`: who has not run yet must still see that this one was set
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()

    async def changed(self, since: int) -> None:
        """Return as soon as a token newer than version `since` is set."""
        while self._version == since:
            await self._changed.wait()


class FileCredentials(Credentials):
    """A token in a file of its own; blank lines and space around it do not count.

    The file may be written over, replaced atomically, or be part of a mounted Kubernetes Secret,
    which is swapped by a symbolic link beside it. It need not exist yet, and whatever else may
    stand in its place is no token and waited out: `problem` says what it is.

    Args:
        api_key: the app's.
        access_token_file: its path.
        name: a short name for logs and metrics, in place of the api_key.
        api_key_file: where the api_key is read again at each use; the one before stays while the
            file holds no usable one.
        poll_seconds: how often to look by itself, where the system tells of no change.

    Raises:
        ValueError: an api_key that has characters which none has.
    """

    def __init__(
        self,
        api_key: str | SecretStr,
        access_token_file: str | Path,
        name: str = "main",
        *,
        api_key_file: str | Path | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        super().__init__(api_key, name)
        self._api_key_file = None if api_key_file is None else Path(api_key_file)
        self.path = Path(access_token_file)
        self._poll_seconds = poll_seconds
        self._token = self._read()  # as it was seen last, to tell a change

    @property
    def api_key(self) -> SecretStr:
        """The app's api_key as its file has it now, masked in every repr."""
        if self._api_key_file is not None:
            # it is being replaced, or was taken away: the feed tells where the one before is wrong
            with contextlib.suppress(UnusableFileError, ValueError):
                content = read_bounded(self._api_key_file, MAX_TOKEN_FILE_BYTES)
                found = SecretStr(usable_token(content))
                if found != self._api_key:
                    self._api_key = found
                    self._notify(found)
        return self._api_key

    def access_token(self) -> SecretStr | None:
        """The token that is in the file now; None where no usable one is, see `problem`."""
        seen, problem = self._token, self.problem
        self._token = self._read()
        # another problem too: whoever waits for a token tells it
        if (self._token, self.problem) != (seen, problem):
            self._version += 1
            self._notify(self._token)
        return self._token

    async def changed(self, since: int) -> None:
        """Return as soon as the file holds another token than that of version `since`."""
        async for _ in self._signs():
            self.access_token()
            if self._version != since:
                return

    async def _signs(self) -> AsyncIterator[None]:
        """Yields at once, whenever something happens beside the file, and every few seconds."""
        yield  # it may have changed before anybody watched
        while True:
            try:
                # the folder, not the file: replacing a file or a link leaves a watched inode behind
                async for _ in awatch(
                    self.path.parent,
                    watch_filter=None,
                    recursive=False,
                    rust_timeout=int(self._poll_seconds * 1000),
                    yield_on_timeout=True,
                ):
                    yield
            except (OSError, RuntimeError):  # no such folder yet, or no more watches to be had
                await asyncio.sleep(self._poll_seconds)
                yield

    def _read(self) -> SecretStr | None:
        try:
            token = usable_token(read_bounded(self.path, MAX_TOKEN_FILE_BYTES))
        except (UnusableFileError, ValueError) as error:
            self.problem = f"no usable token in {self.path}: {error}"
            return None
        self.problem = ""
        return SecretStr(token)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, path={str(self.path)!r})"


def _plain(value: str | SecretStr | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""


def _token(value: str | SecretStr | None) -> SecretStr | None:
    return _secret(value) if value is not None and _plain(value).strip() else None


def _secret(value: str | SecretStr) -> SecretStr:
    try:
        return SecretStr(usable_token(_plain(value).encode()))
    except ValueError as error:
        raise ValueError(f"not an api_key or access_token: {error}") from None
