"""The part of Kite's REST API that a feed needs: login, instruments, orders, candles of a gap.

Source: kite.trade/docs/connect/v3/user, /market-quotes, /historical and /exceptions.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import stamina
from pydantic import SecretStr

from connector.errors import FeedUnreachableError, RestError, RestTokenError, TokenMissingError
from connector.kite.access_token_syntax import usable_token
from connector.kite.clock import IST
from connector.kite.proxy import ProxyError, proxy_options
from connector.kite.retry_after import retry_after_seconds
from connector.kite.web.http import BodyError, failure_reason, read_body, usable_etag
from connector.kite.web.pace import Pace
from connector.kite.wire.answers import TOKEN_EXCEPTION, kite_error, page_words
from connector.redaction import Redactor

REST_ROOT = "https://api.kite.trade"
LOGIN_ROOT = "https://kite.zerodha.com"

_VERSION = "3"
MAX_ANSWER_BYTES: Final = 2**20
MAX_ORDERS_BYTES: Final = 16 * 2**20
"""The orders of a day may have so many bytes: some ten thousand of them."""
MAX_CANDLES_BYTES: Final = 2 * 2**20
"""The candles of one answer may have so many bytes: more than 20 000 minutes."""
MAX_LIST_BYTES: Final = 24 * 2**20
"""The list of instruments may have so many bytes, unpacked: it has about 9 MiB, and a list of this
size fits into the memory that the chart allows."""
MAX_LIST_WIRE_BYTES: Final = 12 * 2**20
"""The list may have so many bytes as it comes: gzip has about 3 MiB."""
LIST_SECONDS: Final = 60.0
"""All of the list must have come after so long, however it drips."""
MAX_ORDERS: Final = 20_000
"""An answer may have so many orders; Kite takes some thousands of a user in a day."""
PATIENT_SECONDS: Final = 10.0
"""Where Kite asks to be left alone for longer, a call fails at once; the next one waits."""
_LONGEST_PAUSE_SECONDS = 10.0  # between tries of one call


_T = TypeVar("_T")


class KiteSession(NamedTuple):
    """What a login ends with. The token ends the next morning, 06:45 to 07:30 IST."""

    user_id: str
    user_name: str
    access_token: SecretStr
    login_time: str


class InstrumentDump(NamedTuple):
    """The list of instruments as Kite made it; see `connector.kite.web.instrument_csv`."""

    csv: str
    etag: str | None


class _Answer(NamedTuple):
    status: int
    etag: str | None
    body: bytes
    location: str
    """The server that a redirect leads to; empty without one."""


def login_url(
    api_key: SecretStr | str,
    root: str = LOGIN_ROOT,
    redirect_params: Mapping[str, str] | None = None,
) -> str:
    """Where a human logs in; Kite then redirects to the app's own URL with a request_token.

    Args:
        api_key: the app's.
        root: of the login page.
        redirect_params: what the redirect shall bring back besides.
    """
    query = {"v": _VERSION, "api_key": _plain(api_key)}
    if redirect_params:
        query["redirect_params"] = urlencode(redirect_params)
    return f"{root.rstrip('/')}/connect/login?{urlencode(query)}"


class KiteRest:
    """A client of the REST API; `async with` opens and closes it.

    What is temporary (no connection, time-outs, 429 and 5xx) is tried again where that cannot do
    harm. Secrets go into headers and bodies only, and are struck out of whatever Kite answers
    before it can reach an error.

    Args:
        root: of the API.
        api_key: for calls that need a session.
        access_token: the same; `exchange` makes one.
        timeout_seconds: for one try, to the last byte; the list gets at least `LIST_SECONDS`.
        attempts: tries in all.
        retry_seconds: the first pause between tries, doubled with each and with jitter.
        pace: of all calls with this api_key; None: as they come. Whatever it is, Kite's
            Retry-After is obeyed.
    """

    def __init__(
        self,
        root: str = REST_ROOT,
        *,
        api_key: SecretStr | str | None = None,
        access_token: SecretStr | str | None = None,
        timeout_seconds: float = 15.0,
        attempts: int = 4,
        retry_seconds: float = 0.5,
        pace: Pace | None = None,
    ) -> None:
        self.root = root.rstrip("/")
        self._api_key = _secret(api_key)
        self._access_token = _secret(access_token)
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._retry_seconds = retry_seconds
        self._pace = pace or Pace(0.0)
        # None: not open, or closed
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # not auto_decompress: the body is inflated here, bounded and checked for its end
        self._http = aiohttp.ClientSession(
            headers={
                "X-Kite-Version": _VERSION,
                "User-Agent": "kite-connector",
                # the list is 9 MiB of text, and 3 packed
                "Accept-Encoding": "gzip",
            },
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; harmless when that is done already."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def exchange(
        self, request_token: SecretStr | str, api_secret: SecretStr | str
    ) -> KiteSession:
        """Turn the request_token of a login into the day's access_token.

        The token is used from here on, too. A request_token is good once, so that this is tried
        again only where Kite was not reached at all.

        Raises:
            RestTokenError: the request_token is used, too old, or of another app.
            RestError: any other error that Kite answers with.
            FeedUnreachableError: no connection, or no answer in time.
        """
        if self._api_key is None:
            raise ValueError("exchange needs an api_key")
        key = self._api_key.get_secret_value()
        request, secret = _plain(request_token), _plain(api_secret)
        form = {
            "api_key": key,
            "request_token": request,
            # proves the api_secret without sending it (kite.trade, user, "Login flow")
            "checksum": hashlib.sha256((key + request + secret).encode()).hexdigest(),
        }
        answer = await self._retried(
            lambda: self._send("POST", "/session/token", form=form, hide=(key, request, secret)),
            _not_reached,
        )
        data = _data(answer, dict)
        # Kite names the app that has the session; a token of another one is of no use to this one
        if data.get("api_key", key) != key:
            raise RestError(
                answer.status,
                "DataException",
                "the session is of another api_key, and its access_token was not kept: does "
                "feed.rest lead to Kite, and does nothing on the way give answers of its own? Then "
                "log in again",
            )
        token = data.get("access_token")
        if not isinstance(token, str) or not token:
            raise RestError(answer.status, "DataException", "the answer has no access_token")
        try:
            # before it takes the place of a good one, in a file that services watch
            token = usable_token(token.encode(errors="replace"))
        except ValueError as error:
            reason = f"the access_token of the answer {error}"
            raise RestError(answer.status, "DataException", reason) from error
        self._access_token = SecretStr(token)  # of all calls from here on
        shown = Redactor(key, request, secret, token).foreign  # all three go to a terminal
        return KiteSession(
            user_id=shown(str(data.get("user_id", ""))),
            user_name=shown(str(data.get("user_name", ""))),
            access_token=self._access_token,
            login_time=shown(str(data.get("login_time", ""))),
        )

    async def instruments(
        self, exchange: str | None = None, *, etag: str | None = None
    ) -> InstrumentDump | None:
        """Fetch the list of instruments, of all exchanges or of one.

        Args:
            exchange: NSE, NFO, MCX …; None for all.
            etag: of the list that is there already.

        Returns:
            None where the list is still the one of `etag`.

        Raises:
            RestTokenError: the session is over.
            RestError: any other error that Kite answers with.
            FeedUnreachableError: no connection, no answer in time, or one that is cut off.
        """
        path = "/instruments" if exchange is None else f"/instruments/{quote(exchange, safe='')}"
        # a list that has not changed since is not sent again
        headers = {} if etag is None else {"If-None-Match": etag}
        answer = await self._retried(
            lambda: self._send(
                "GET",
                path,
                headers=headers,
                timeout_seconds=max(self._timeout_seconds, LIST_SECONDS),
                max_bytes=MAX_LIST_BYTES,
                max_wire_bytes=MAX_LIST_WIRE_BYTES,
            ),
            _temporary,
        )
        if answer.status == 304:
            if etag is None:
                # of something on the way, which keeps a list for somebody else
                raise RestError(
                    304, "DataException", "not changed, but nothing was there", foreign=True
                )
            return None
        # a damaged character is its row's matter, not that of all others
        return InstrumentDump(answer.body.decode(errors="replace"), answer.etag)

    async def orders(self) -> list[Any]:
        """Fetch the orders of the day, each as it is now.

        Source: kite.trade/docs/connect/v3/orders, "Retrieving orders".

        Returns:
            What should be objects, as Kite made them: nothing of them is checked.

        Raises:
            TokenMissingError: there is no access_token.
            RestTokenError: the session is over.
            RestError: any other error that Kite answers with, or more than `MAX_ORDERS`.
            FeedUnreachableError: no connection, no answer in time, or one that is cut off.
        """
        self._check_token()
        answer = await self._retried(
            lambda: self._send("GET", "/orders", max_bytes=MAX_ORDERS_BYTES), _temporary
        )
        orders = _data(answer, list)
        if len(orders) > MAX_ORDERS:
            raise RestError(answer.status, "DataException", f"more than {MAX_ORDERS} orders")
        return orders

    async def candles(
        self, instrument_token: int, first_minute: int, last_minute: int
    ) -> list[Any]:
        """Fetch an instrument's minute candles with their open interest.

        Args:
            instrument_token: one that lives today.
            first_minute: in minutes since 1970.
            last_minute: the same; at most 60 days later.

        Returns:
            What should be rows, for `parse_candles`: nothing of them is checked.

        Raises:
            TokenMissingError: there is no access_token.
            RestTokenError: the session is over.
            RestError: any other error that Kite answers with; 403: the plan has no such right.
            FeedUnreachableError: no connection, no answer in time, or one that is cut off.
        """
        self._check_token()
        first, last = (
            datetime.fromtimestamp(minute * 60, IST) for minute in (first_minute, last_minute)
        )
        query = urlencode(
            # to its last second: the minute that begins there is asked for too
            {"from": f"{first:%Y-%m-%d %H:%M:00}", "to": f"{last:%Y-%m-%d %H:%M:59}", "oi": "1"}
        )
        path = f"/instruments/historical/{instrument_token}/minute?{query}"
        answer = await self._retried(
            lambda: self._send("GET", path, max_bytes=MAX_CANDLES_BYTES), _temporary
        )
        candles = _data(answer, dict).get("candles")
        if not isinstance(candles, list):
            raise RestError(answer.status, "DataException", "the answer has no candles")
        return candles

    def _check_token(self) -> None:
        """Ask nothing without a token: Kite calls that a wrong request, not a missing login."""
        if self._access_token is None:
            raise TokenMissingError

    async def _retried(
        self, send: Callable[[], Any], again: Callable[[Exception], bool]
    ) -> _Answer:
        def at_once(error: Exception) -> bool:
            # whoever has called is told the reason, and not that nothing came within their time
            asked_seconds = getattr(error, "retry_after_seconds", 0.0)
            return asked_seconds <= PATIENT_SECONDS and again(error)

        async for attempt in stamina.retry_context(
            on=at_once,
            attempts=self._attempts,
            timeout=None,
            wait_initial=self._retry_seconds,
            wait_max=_LONGEST_PAUSE_SECONDS,
            # replicas that start together ask for the list together
            wait_jitter=self._retry_seconds,
        ):
            with attempt:
                answer: _Answer = await send()
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        hide: tuple[str, ...] = (),
        timeout_seconds: float | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        max_wire_bytes: int | None = None,
    ) -> _Answer:
        """One try. `hide` are secrets of this call, to be struck out of Kite's own words."""
        if self._http is None:
            raise RuntimeError("the REST client is not open: use `async with`")
        headers = dict(headers or {})
        if self._api_key is not None and self._access_token is not None:
            secrets = self._api_key.get_secret_value(), self._access_token.get_secret_value()
            headers["Authorization"] = f"token {secrets[0]}:{secrets[1]}"
            hide += secrets
        redactor = Redactor(*hide)
        # outside the deadline: to wait for a turn is no fault of Kite's
        await self._pace.turn()
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.request(
                    method,
                    self.root + path,
                    data=form,
                    headers=headers,
                    # a redirect would take the secrets along to wherever it leads
                    allow_redirects=False,
                    **proxy_options(self.root),
                ) as response,
            ):
                asked_seconds = retry_after_seconds(response.status, response.headers)
                if asked_seconds:
                    self._pace.hold(asked_seconds)
                body = await read_body(response, max_bytes=max_bytes, max_wire_bytes=max_wire_bytes)
                etag = usable_etag(response.headers.get("ETag"))
                answer = _Answer(response.status, etag, body, _leads_to(response))
        except TimeoutError as error:
            raise FeedUnreachableError(self.root, f"no answer in {seconds:g} s") from error
        # ValueError: a host's name that cannot be looked up, say
        except (aiohttp.ClientError, BodyError, ProxyError, ValueError) as error:
            raise FeedUnreachableError(
                self.root, redactor.foreign(failure_reason(error))
            ) from error
        # 304 answers an etag; redirects and all else are no answers of the API
        if answer.status not in {200, 304}:
            refused = _kite_error(answer, redactor)
            refused.retry_after_seconds = asked_seconds
            raise refused
        return answer


def _kite_error(answer: _Answer, redactor: Redactor) -> RestError:
    """Kite's own error, or the first words of a page that something on the way sent."""
    told = kite_error(answer.body)
    if told is None:
        words = answer.location or page_words(answer.body) or "an answer without a word"
        return RestError(answer.status, "GeneralException", redactor.foreign(words), foreign=True)
    kind = RestTokenError if told.error_type == TOKEN_EXCEPTION else RestError
    error_type = redactor.foreign(told.error_type, 60)
    return kind(answer.status, error_type, redactor.foreign(told.message))


def _leads_to(response: aiohttp.ClientResponse) -> str:
    """Where a redirect leads, without its query: that may repeat what was sent."""
    location = response.headers.get("Location", "")
    if not 300 <= response.status < 400 or not location:
        return ""
    try:
        parts = urlsplit(location)
    except ValueError:  # an IPv6 address without its end
        return "it leads to no address"
    return f"it leads to {parts.scheme}://{parts.netloc}" if parts.netloc else "it leads to itself"


def _data(answer: _Answer, kind: type[_T]) -> _T:
    try:
        data = json.loads(answer.body)["data"]
    except (ValueError, TypeError, KeyError, RecursionError):
        data = None
    if not isinstance(data, kind):
        raise RestError(answer.status, "DataException", "the answer is not one of Kite's")
    return data


def _temporary(error: Exception) -> bool:
    """Whether a call that changes nothing may be tried again."""
    return isinstance(error, FeedUnreachableError) or (
        isinstance(error, RestError) and error.temporary
    )


def _not_reached(error: Exception) -> bool:
    """Whether Kite certainly has not acted on a call."""
    if isinstance(error, FeedUnreachableError):
        # not after the connect: the token may be used up although no answer came
        return isinstance(error.__cause__, aiohttp.ClientConnectorError)
    # a gateway that refuses a request has not let it through; one that gives up on it may have
    return isinstance(error, RestError) and (
        error.status == 429 or (error.foreign and error.status < 500)
    )


def _plain(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _secret(value: SecretStr | str | None) -> SecretStr | None:
    return SecretStr(value) if isinstance(value, str) else value
