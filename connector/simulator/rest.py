"""The REST side: login, instruments, orders and candles, with Kite's errors."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from connector.kite.clock import IST
from connector.kite.web.instrument_csv import COLUMNS
from connector.simulator.access import RefusedError
from connector.simulator.config import SimulatedAccount
from connector.simulator.universe import ListedInstrument

if TYPE_CHECKING:
    from connector.simulator.simulator import SimulatorServer

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KiteRestApi:
    """The routes that the real api.kite.trade and kite.zerodha.com have."""

    def __init__(self, server: SimulatorServer) -> None:
        self._server = server
        # made once: the list is megabytes, and many replicas ask for it at their start
        # (exchange, "" for all) and the file's version -> gzip, etag
        self._dumps: dict[tuple[str, int], tuple[bytes, str]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for an aiohttp application."""
        return [
            web.get("/connect/login", self._login),
            web.post("/session/token", self._session),
            web.get("/user/profile", self._profile),
            web.get("/instruments", self._instruments),
            web.get("/instruments/{exchange}", self._instruments),
            web.get("/instruments/historical/{token}/{interval}", self._candles),
            web.get("/orders", self._orders),
            web.get("/orders/{order_id}", self._order_history),
            web.post("/orders/{variety}", self._place_order),
            web.delete("/orders/{variety}/{order_id}", self._cancel_order),
        ]

    def _account(self, request: web.Request) -> SimulatedAccount:
        """Return the account of a call, by `Authorization: token api_key:access_token`."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        api_key, colon, access_token = credentials.partition(":")
        if scheme != "token" or not colon or not api_key or not access_token:
            raise RefusedError(400, "InputException", "Missing `api_key` or `access_token`.")
        return self._server.access.check(api_key, access_token)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        """Answer as the page where a human logs in; this one says yes at once."""
        api_key = request.query.get("api_key", "")
        if request.query.get("v") != "3" or api_key not in self._server.access.api_keys:
            raise RefusedError(400, "InputException", "Invalid `api_key` or `v`.")
        account = self._server.access.entry(api_key).account
        parts = urlsplit(account.redirect_url)
        query = [
            *parse_qsl(parts.query),
            ("action", "login"),
            ("type", "login"),
            ("status", "success"),
            ("request_token", self._server.access.issue_request_token(api_key)),
            *parse_qsl(request.query.get("redirect_params", "")),
        ]
        target = urlunsplit(parts._replace(query=urlencode(query)))
        # aiohttp's redirects are exceptions, and the error middleware must not see this as one
        return web.Response(status=302, headers={"Location": target})

    async def _session(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        given = {}
        for name in ("api_key", "request_token", "checksum"):
            value = form.get(name)
            if not isinstance(value, str) or not value:
                raise RefusedError(400, "InputException", f"Missing or empty field `{name}`.")
            given[name] = value
        account, access_token = self._server.access.exchange(**given)
        now = datetime.fromtimestamp(self._server.clock(), IST)
        return answer(
            {
                **_profile(account),
                "api_key": account.api_key,
                "access_token": access_token,
                "public_token": hashlib.sha256(access_token.encode()).hexdigest()[:32],
                "refresh_token": "",
                "enctoken": "",
                "login_time": f"{now:%Y-%m-%d %H:%M:%S}",
            }
        )

    async def _profile(self, request: web.Request) -> web.StreamResponse:
        return answer(_profile(self._account(request)))

    async def _instruments(self, request: web.Request) -> web.StreamResponse:
        # open to all, as on the real API; credentials that are given must be good all the same
        if "Authorization" in request.headers:
            self._account(request)
        exchange = request.match_info.get("exchange", "")
        file = self._server.config.instruments_file
        wanted = (exchange, file.stat().st_mtime_ns if file else 0)
        if wanted not in self._dumps:
            # those of a file that was replaced are another day's
            self._dumps = {key: dump for key, dump in self._dumps.items() if key[1] == wanted[1]}
            self._dumps[wanted] = self._dump(exchange)
        body, etag = self._dumps[wanted]
        headers = {"ETag": etag}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, content_type="text/csv", headers=headers)

    def _dump(self, exchange: str) -> tuple[bytes, str]:
        file = self._server.config.instruments_file
        if file is not None:
            data = file.read_bytes()
            text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
        else:
            text = instruments_csv(self._server.universe.listings)
        if exchange:
            text = _only(exchange, text)
        # mtime=0: equal lists have equal bytes, and so one etag
        body = gzip.compress(text.encode(), compresslevel=5, mtime=0)
        return body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'

    async def _candles(self, request: web.Request) -> web.StreamResponse:
        api_key, match = self._account(request).api_key, request.match_info
        historical = self._server.historical
        return answer(historical.answer(api_key, match["token"], match["interval"], request.query))

    async def _orders(self, request: web.Request) -> web.StreamResponse:
        return answer(self._server.orders.of_user(self._account(request).user_id))

    async def _order_history(self, request: web.Request) -> web.StreamResponse:
        account = self._account(request)
        history = self._server.orders.history.get(request.match_info["order_id"])
        if history is None or history[0]["user_id"] != account.user_id:
            raise RefusedError(404, "OrderException", "Couldn't find that `order_id`.")
        return answer(history)

    async def _place_order(self, request: web.Request) -> web.StreamResponse:
        account = self._account(request)
        form = {name: value for name, value in (await request.post()).items() if type(value) is str}
        updates = self._server.place_order(account, request.match_info["variety"], form)
        return answer({"order_id": updates[0]["order_id"]})

    async def _cancel_order(self, request: web.Request) -> web.StreamResponse:
        account = self._account(request)
        order_id = request.match_info["order_id"]
        self._server.cancel_order(account, order_id)
        return answer({"order_id": order_id})


def _only(exchange: str, text: str) -> str:
    """Return the header and the rows of one exchange."""
    rows = csv.reader(StringIO(text, newline=""))
    header = next(rows)
    column = header.index("exchange")
    found = [row for row in rows if len(row) > column and row[column] == exchange]
    if not found:
        raise RefusedError(400, "InputException", "Invalid `exchange`.")
    only = StringIO()
    csv.writer(only, lineterminator="\n").writerows([header, *found])
    return only.getvalue()


def instruments_csv(listings: Iterable[ListedInstrument]) -> str:
    """Return Kite's list with the documented columns."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for listing in listings:
        token = listing.instrument_token
        writer.writerow(
            [
                token,
                token >> 8,
                listing.tradingsymbol,
                listing.name,
                0,
                listing.expiry or "",
                f"{listing.strike:.15g}",
                f"{listing.tick_size:.15g}",
                listing.lot_size,
                listing.instrument_type,
                listing.segment,
                listing.exchange,
            ]
        )
    return text.getvalue()


def answer(data: Any) -> web.Response:
    """Return Kite's envelope of a success."""
    return web.json_response({"status": "success", "data": data})


@web.middleware
async def kite_errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Answer with Kite's envelope of an error, whatever went wrong."""
    try:
        return await handler(request)
    except RefusedError as refused:
        status, error_type, message = refused.status, refused.error_type, refused.message
    except web.HTTPException as error:
        status, error_type, message = error.status, "GeneralException", error.reason
    body = {"status": "error", "message": message, "data": None, "error_type": error_type}
    return web.json_response(body, status=status)


def _profile(account: SimulatedAccount) -> dict[str, Any]:
    return {
        "user_id": account.user_id,
        "user_type": "individual",
        "email": "trader@example.com",
        "user_name": "Simulated Trader",
        "user_shortname": "Simulated",
        "broker": "ZERODHA",
        "exchanges": ["NSE", "NFO", "BSE", "BFO", "CDS", "BCD", "MCX", "NCO"],
        "products": ["CNC", "NRML", "MIS", "MTF"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "avatar_url": None,
        "meta": {"demat_consent": "physical"},
    }
