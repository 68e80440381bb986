"""The REST client against the simulated REST API: two sides written from one documentation."""

import contextlib
import gzip
import traceback
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web

from connector.errors import FeedUnreachableError, RestError, RestTokenError
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.rest import KiteRest, login_url
from connector.simulator import SimulatedAccount, SimulatorConfig, SimulatorServer
from tests.loopback.test_socket import proxy_server
from tests.support.feed_client import client as socket

CONFIG = SimulatorConfig(
    stepped=True,
    instruments=500,
    connect_messages=False,
    accounts=(SimulatedAccount(redirect_url="http://127.0.0.1:9/done?a=b"),),
)
GOOD = {"Authorization": "token simulated_key:simulated_token"}
ORDER = {
    "exchange": "NSE",
    "tradingsymbol": "INFY",
    "transaction_type": "BUY",
    "order_type": "LIMIT",
    "price": "1",
    "product": "CNC",
    "quantity": "10",
}


@pytest.fixture
async def server():
    async with SimulatorServer(CONFIG) as server:
        yield server


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


@contextlib.asynccontextmanager
async def rest(server, **details):
    async with KiteRest(server.rest_url, api_key="simulated_key", attempts=1, **details) as client:
        yield client


async def log_in(server, http):
    url = login_url("simulated_key", server.rest_url)
    async with http.get(url, allow_redirects=False) as page:
        assert page.status == 302
        target = urlsplit(page.headers["Location"])
    query = parse_qs(target.query)
    assert (target.netloc, target.path, query["a"]) == ("127.0.0.1:9", "/done", ["b"])
    assert (query["status"], query["action"]) == (["success"], ["login"])
    return query["request_token"][0]


async def test_a_login_from_the_page_to_the_socket(server, http):
    server.expire_token()
    request_token = await log_in(server, http)
    async with rest(server) as client:
        session = await client.exchange(request_token, "simulated_secret")
        assert session.user_id == "SIM001"
        with pytest.raises(RestTokenError):  # good once
            await client.exchange(request_token, "simulated_secret")
    async with socket(server, access_token=session.access_token.get_secret_value()):
        assert server.open_sockets() == 1


async def test_a_login_with_a_wrong_secret(server, http):
    async with rest(server) as client:
        with pytest.raises(RestTokenError):
            await client.exchange(await log_in(server, http), "guess")
        with pytest.raises(RestError) as caught:
            await client.exchange("", "simulated_secret")
    assert caught.value.error_type == "InputException"


async def test_the_login_page_knows_its_apps(server, http):
    async with http.get(login_url("nobody", server.rest_url), allow_redirects=False) as page:
        assert page.status == 400


async def test_the_list_of_instruments(server):
    async with rest(server) as client:
        whole = await client.instruments()
        names = InstrumentMaster.from_csv(whole.csv)
        assert (len(names), names.skipped) == (500, 0)
        assert names.token("NSE:INFY") == 408065
        assert names.token("NSE:NIFTY 50") == 256265
        for listing in server.universe.listings:
            instrument = names.get(listing.instrument_token)
            assert instrument.symbol == f"{listing.exchange}:{listing.tradingsymbol}"
            assert instrument.expiry == listing.expiry
        assert await client.instruments(etag=whole.etag) is None
        one = InstrumentMaster.from_csv((await client.instruments("NSE")).csv)
        assert {instrument.exchange for instrument in one} == {"NSE"}
        with pytest.raises(RestError):
            await client.instruments("NYSE")


@pytest.mark.parametrize("name", ["list.csv", "list.csv.gz"])
async def test_another_list_may_be_served(tmp_path, name):
    text = "instrument_token,tradingsymbol,exchange\n1,A,NSE\n2,B,BSE\n"
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    config = CONFIG.model_copy(update={"instruments_file": tmp_path / name})
    async with SimulatorServer(config) as server, rest(server) as client:
        assert (await client.instruments()).csv == text
        assert (await client.instruments("BSE")).csv == text.replace("1,A,NSE\n", "")


async def test_the_list_is_gzipped_on_the_wire(server):
    url = f"{server.rest_url}/instruments"
    async with aiohttp.ClientSession(auto_decompress=False) as plain, plain.get(url) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.content_type == "text/csv"
        assert (await answer.read())[:2] == b"\x1f\x8b"


async def test_an_expired_session(server):
    server.expire_token()
    async with rest(server, access_token="simulated_token") as client:
        with pytest.raises(RestTokenError) as caught:
            await client.instruments()
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("headers", "status", "error_type"),
    [
        ({}, 400, "InputException"),
        ({"Authorization": "token simulated_key"}, 400, "InputException"),
        ({"Authorization": "Bearer a:b"}, 400, "InputException"),
        ({"Authorization": "token simulated_key:old"}, 403, "TokenException"),
    ],
)
async def test_kites_form_of_errors(server, http, headers, status, error_type):
    for path in ("/orders", "/user/profile"):
        async with http.get(server.rest_url + path, headers=headers) as answer:
            body = await answer.json()
        assert (answer.status, body["status"], body["error_type"]) == (status, "error", error_type)
        assert body["message"]


async def test_unknown_routes_have_kites_form_too(server, http):
    async with http.get(f"{server.rest_url}/nothing") as answer:
        assert (await answer.json())["error_type"] == "GeneralException"
    async with http.get(f"{server.rest_url}/user/profile", headers=GOOD) as answer:
        assert (await answer.json())["data"]["user_id"] == "SIM001"


async def test_an_order_from_placing_to_cancelling(server, http):
    url = f"{server.rest_url}/orders"
    async with socket(server) as ws:
        async with http.post(f"{url}/regular", data=ORDER, headers=GOOD) as answer:
            order_id = (await answer.json())["data"]["order_id"]
        assert f'"order_id":"{order_id}"' in await ws.recv()
        async with http.delete(f"{url}/regular/{order_id}", headers=GOOD) as answer:
            assert answer.status == 200
        assert '"status":"CANCELLED"' in await ws.recv()
    async with http.get(url, headers=GOOD) as answer:
        (order,) = (await answer.json())["data"]
    assert (order["status"], order["instrument_token"]) == ("CANCELLED", 408065)
    async with http.get(f"{url}/{order_id}", headers=GOOD) as answer:
        history = (await answer.json())["data"]
    assert [update["status"] for update in history] == ["OPEN", "CANCELLED"]
    assert server.state()["order_updates"] == server.state()["order_copies"] == 2


@pytest.mark.parametrize(
    "change", [{"tradingsymbol": "NOBODY"}, {"tradingsymbol": "NIFTY 50"}, {"quantity": "-1"}]
)
async def test_an_order_for_what_cannot_be_traded(server, http, change):
    async with http.post(
        f"{server.rest_url}/orders/regular", data=ORDER | change, headers=GOOD
    ) as answer:
        assert (await answer.json())["error_type"] == "InputException"


async def test_the_client_lists_the_orders_of_the_day(server, http):
    async with rest(server, access_token="simulated_token") as client:
        assert await client.orders() == []
        async with http.post(f"{server.rest_url}/orders/regular", data=ORDER, headers=GOOD):
            pass
        (order,) = await client.orders()
    assert (order["status"], order["instrument_token"]) == ("OPEN", 408065)
    async with rest(server, access_token="old") as client:
        with pytest.raises(RestTokenError):
            await client.orders()


async def test_orders_that_are_not_there(server, http):
    for method, path in (("GET", "/orders/1"), ("DELETE", "/orders/regular/1")):
        async with http.request(method, server.rest_url + path, headers=GOOD) as answer:
            assert (answer.status, (await answer.json())["error_type"]) == (404, "OrderException")


async def test_nobody_there():
    async with SimulatorServer(CONFIG) as server:
        url = server.rest_url
    async with KiteRest(url, attempts=1) as client:
        with pytest.raises(FeedUnreachableError, match="refused"):
            await client.instruments()


async def test_a_port_that_speaks_no_tls_is_not_taken_for_a_matter_of_rights(server):
    root = server.rest_url.replace("http:", "https:")
    async with KiteRest(root, attempts=1) as client:
        with pytest.raises(FeedUnreachableError, match="no TLS connection"):
            await client.instruments()


async def test_a_proxy_that_refuses_is_named(monkeypatch):
    async with proxy_server(b"HTTP/1.1 407 Who are you\r\n\r\n") as (proxy, heads):
        monkeypatch.setenv("https_proxy", proxy.replace("http://", "http://me:SECRET@"))
        async with KiteRest("https://api.invalid", attempts=1) as client:
            with pytest.raises(FeedUnreachableError, match="the proxy answers 407") as caught:
                await client.instruments()
    assert heads[0].startswith("CONNECT api.invalid:443 HTTP/1.1\r\n")
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


async def test_a_host_that_no_resolver_is_asked_for():
    async with KiteRest("http://rest..example", api_key="simulated_key", attempts=1) as client:
        with pytest.raises(FeedUnreachableError, match=r"http://rest\.\.example: "):
            await client.instruments()


async def test_candles_are_those_of_the_market_within_kites_limits(server, http):
    now = server.clock()
    for price in (1500.0, 1510.0):
        await server.trade(408065, price, 5)
    minute = int(now) // 60
    async with rest(server, access_token="simulated_token") as client:
        rows = await client.candles(408065, minute, minute + 1)
        assert rows[0][1] == 1500.0
        assert rows[-1][4] == 1510.0
        assert sum(row[5] for row in rows) == 10
        for _ in range(2):
            await client.candles(408065, minute, minute)
        with pytest.raises(RestError, match="429"):
            await client.candles(408065, minute, minute)
        await server.inject("refuse_candles", status=403)
        with pytest.raises(RestError, match="403 PermissionException"):
            await client.candles(408065, minute, minute)
    async with rest(server, access_token="wrong") as client:
        with pytest.raises(RestTokenError):
            await client.candles(408065, minute, minute)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://portal.example/login?back=api_secret", "it leads to https://portal.example"),
        ("/session/token?a=api_secret", "it leads to itself"),
        ("http://[::1", "it leads to no address"),
    ],
)
async def test_a_redirect_is_told_and_not_followed(answering, location, told):
    async def handler(_request):
        return web.Response(status=302, headers={"Location": location})

    async with KiteRest(await answering(handler), api_key="k", attempts=1) as client:
        with pytest.raises(RestError) as caught:
            await client.exchange("request", "api_secret")
    assert told in str(caught.value)
    assert "api_secret" not in str(caught.value)
    assert caught.value.foreign


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("two\nlines", "has 2 lines"),
        ("a" * 5000, "has more than 4096 bytes"),
        ("a b", "holds a space"),
        ("\u20b9", "holds"),
        (" ", "is empty"),
    ],
)
async def test_a_token_that_no_service_could_use_is_no_login(answering, token, told):
    async def handler(_request):
        return web.json_response({"status": "success", "data": {"access_token": token}})

    async with KiteRest(await answering(handler), api_key="k", attempts=1) as client:
        with pytest.raises(RestError, match=told) as caught:
            await client.exchange("request", "secret")
    assert token.strip() == "" or token not in str(caught.value)
