"""Who may connect: api_keys, the day's tokens, logins, and the sockets an api_key has free.

Pure bookkeeping, told the time; the server asks it at each handshake and REST call.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from connector.simulator.config import SimulatedAccount


class RefusedError(Exception):
    """An HTTP error of Kite: what the handshake or the REST call is answered with."""

    def __init__(self, status: int, error_type: str, message: str, page: str | None = None) -> None:
        super().__init__(status, error_type, message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.page = page
        """What a gateway before Kite answers in its place."""


@dataclass(slots=True)
class _Entry:
    account: SimulatedAccount
    access_token: str | None  # the day's; None: nobody has logged in
    request_tokens: set[str] = field(default_factory=set)  # issued, and not exchanged yet
    open_sockets: int = 0
    max_open_sockets: int = 0  # ever at once: tests of hand-overs look at it
    releases: list[float] = field(default_factory=list)  # when each closed socket's slot frees


class Access:
    """The door.

    Args:
        accounts: whom it knows.
        max_sockets: sockets of an api_key before HTTP 429.
        release_seconds: for how long a closed one still counts.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        accounts: Iterable[SimulatedAccount],
        *,
        max_sockets: int,
        release_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._entries = {
            account.api_key: _Entry(account, account.access_token) for account in accounts
        }
        self._max_sockets = max_sockets
        self._release_seconds = release_seconds
        self._monotonic = monotonic
        # (status, page) of the next handshakes, in order; a page is a gateway's
        self._refuse_next: list[tuple[int, str | None]] = []
        self.refusals: Counter[int] = Counter()
        """Refused handshakes by HTTP status."""

    @property
    def api_keys(self) -> list[str]:
        """The known api_keys, in the configuration's order."""
        return list(self._entries)

    def entry(self, api_key: str | None) -> _Entry:
        """An api_key's entry; None means the first account.

        Raises:
            KeyError: nobody has that api_key.
        """
        return self._entries[self.api_keys[0] if api_key is None else api_key]

    def open_sockets(self, api_key: str | None = None) -> int:
        """Return how many sockets of an api_key are open now."""
        return self.entry(api_key).open_sockets

    def max_open_sockets(self, api_key: str | None = None) -> int:
        """Return how many sockets ever were open at once."""
        return self.entry(api_key).max_open_sockets

    def set_token(self, access_token: str, api_key: str | None = None) -> None:
        """Make this the good access_token of an api_key, and the only one."""
        self.entry(api_key).access_token = access_token

    def expire_token(self, api_key: str | None = None) -> None:
        """End an access_token until the next login; api_key None means every one."""
        for key in self.api_keys if api_key is None else [api_key]:
            self.entry(key).access_token = None

    def refuse_next(self, status: int, times: int, page: str | None = None) -> None:
        """Answer the next handshakes with an HTTP status, whoever asks; `page` is a gateway's."""
        self._refuse_next += [(status, page)] * times

    def stop_refusing(self) -> None:
        """Forget what `refuse_next` asked for."""
        self._refuse_next.clear()

    def admit(self, api_key: str, access_token: str) -> SimulatedAccount:
        """Check a handshake and take a slot; `release` gives it back.

        Raises:
            RefusedError: 403 for credentials, 429 where no slot is free, or as told.
        """
        try:
            entry = self._entry_with_room(api_key, access_token)
        except RefusedError as refused:
            self.refusals[refused.status] += 1
            raise
        entry.open_sockets += 1
        entry.max_open_sockets = max(entry.max_open_sockets, entry.open_sockets)
        return entry.account

    def _entry_with_room(self, api_key: str, access_token: str) -> _Entry:
        if self._refuse_next:
            status, page = self._refuse_next.pop(0)
            kind = "TokenException" if status == 403 else "GeneralException"
            raise RefusedError(status, kind, "Simulated refusal.", page)
        self.check(api_key, access_token)
        entry = self._entries[api_key]
        now = self._monotonic()
        entry.releases = [when for when in entry.releases if when > now]
        # Kite frees a slot some time after its socket closed: to connect at once gets 429
        if entry.open_sockets + len(entry.releases) >= self._max_sockets:
            raise RefusedError(429, "NetworkException", "Too many connections.")
        return entry

    def release(self, api_key: str) -> None:
        """Note that a socket of this api_key has closed."""
        entry = self._entries[api_key]
        entry.open_sockets -= 1
        if self._release_seconds > 0:
            entry.releases.append(self._monotonic() + self._release_seconds)

    def check(self, api_key: str, access_token: str) -> SimulatedAccount:
        """The account of good credentials.

        Raises:
            RefusedError: 403, TokenException.
        """
        # of sockets it is looked at when they connect alone: an open one outlives its token
        entry = self._entries.get(api_key)
        good = entry.access_token if entry is not None else None
        if entry is None or good is None or not hmac.compare_digest(good, access_token):
            raise RefusedError(403, "TokenException", "Incorrect `api_key` or `access_token`.")
        return entry.account

    def issue_request_token(self, api_key: str | None = None) -> str:
        """Issue the request_token with which a login in the browser ends; it is good once."""
        request_token = secrets.token_hex(16)
        self.entry(api_key).request_tokens.add(request_token)
        return request_token

    def exchange(
        self, api_key: str, request_token: str, checksum: str
    ) -> tuple[SimulatedAccount, str]:
        """Turn a request_token into the new access_token; the old one ends.

        Raises:
            RefusedError: 403, TokenException: unknown, used, or the checksum is wrong.
        """
        entry = self._entries.get(api_key)
        if entry is None:
            raise RefusedError(403, "TokenException", "Invalid `api_key`.")
        text = api_key + request_token + entry.account.api_secret
        if not hmac.compare_digest(hashlib.sha256(text.encode()).hexdigest(), checksum):
            raise RefusedError(403, "TokenException", "Invalid `checksum`.")
        if request_token not in entry.request_tokens:
            raise RefusedError(403, "TokenException", "Token is invalid or has expired.")
        entry.request_tokens.remove(request_token)
        entry.access_token = secrets.token_urlsafe(24)
        return entry.account, entry.access_token
