import asyncio
import gzip
import json
import zlib
from types import SimpleNamespace

import aiohttp
import pytest
import stamina

from connector.errors import (
    FeedUnreachableError,
    RestError,
    RestTokenError,
    TokenMissingError,
)
from connector.kite.web.pace import Pace
from connector.kite.web.rest import (
    MAX_ANSWER_BYTES,
    MAX_CANDLES_BYTES,
    MAX_ORDERS,
    KiteRest,
    login_url,
)
from connector.testing import FakeClock
from tests.support.echoes import ECHOES, TOKEN, shown_of

GZIPPED = gzip.compress(b"list", mtime=0)
SECRETS = ("the-secret", "the-request-token", "the-access-token")


class FakeHttp:
    """Answers in the order given: (status, body[, headers]) or an exception."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []
        self.closed = False

    def request(self, method, url, **details):
        self.calls.append(SimpleNamespace(method=method, url=url, **details))
        return FakeExchange(self.answers.pop(0))

    async def close(self):
        self.closed = True


class FakeExchange:
    def __init__(self, answer):
        self.answer = answer

    async def __aenter__(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        status, body, *rest = self.answer
        return SimpleNamespace(
            status=status, headers=rest[0] if rest else {}, content=FakeContent(body)
        )

    async def __aexit__(self, *_):
        pass


class FakeContent:
    def __init__(self, body):
        self.body = body if isinstance(body, list) else [body]

    async def iter_chunked(self, _):
        for chunk in self.body:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


def client(*answers, access_token="the-access-token"):
    rest = KiteRest("https://api.example/", api_key="the-key", access_token=access_token)
    rest._http = FakeHttp(*answers)
    return rest


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=4):
        yield


def error(error_type, message="no"):
    return json.dumps({"status": "error", "error_type": error_type, "message": message}).encode()


LOGGED_IN = json.dumps(
    {"status": "success", "data": {"user_id": "AB1234", "access_token": "new-token"}}
).encode()


def refused():
    key = SimpleNamespace(host="api.example", port=443, ssl=True)
    return aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, "Connection refused"))


def test_the_login_page():
    assert login_url("a&b") == "https://kite.zerodha.com/connect/login?v=3&api_key=a%26b"
    assert login_url("k", "http://localhost:1/").startswith("http://localhost:1/connect/login?")


async def test_a_login():
    rest = client((200, LOGGED_IN), (200, b"x"), access_token=None)
    session = await rest.exchange("the-request-token", "the-secret")
    assert (session.user_id, session.access_token.get_secret_value()) == ("AB1234", "new-token")
    assert "new-token" not in repr(session)
    call = rest._http.calls[0]
    assert (call.method, call.url) == ("POST", "https://api.example/session/token")
    # printf the-keythe-request-tokenthe-secret | sha256sum
    assert call.data == {
        "api_key": "the-key",
        "request_token": "the-request-token",
        "checksum": "807c1844859deaeb4a4322c591ea075922ff9c0a3dbfe900522f3af1bbd625bd",
    }
    assert call.allow_redirects is False
    await rest.instruments()
    assert rest._http.calls[1].headers["Authorization"] == "token the-key:new-token"


async def test_a_login_is_tried_again_only_where_kite_was_not_reached():
    rest = client(refused(), (429, error("NetworkException")), (200, LOGGED_IN))
    await rest.exchange("r", "s")
    for failure in (TimeoutError(), aiohttp.ServerDisconnectedError(), (502, b"<html>")):
        rest = client(failure, (200, LOGGED_IN))
        with pytest.raises((FeedUnreachableError, RestError)):
            await rest.exchange("r", "s")
        assert len(rest._http.calls) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_kite_is_left_alone_for_as_long_as_it_asks(status):
    busy = (status, error("NetworkException"), {"Retry-After": "7"})
    rest = client(busy, (200, b"list"), busy, (200, b"list"))
    paused = []

    async def sleep(seconds):
        paused.append(round(seconds))
        clock.now += seconds

    clock = FakeClock()
    rest._pace = Pace(0.0, monotonic=clock, sleep=sleep)
    await rest.instruments()
    assert paused == [7]
    # all calls of an api_key have one pace, whoever makes them
    other = client((200, b"list"), access_token="another")
    with pytest.raises(RestError):
        await rest._send("GET", "/instruments")
    other._pace = rest._pace
    await other.instruments()
    assert paused == [7, 7]


async def test_a_call_fails_with_kites_words_where_it_asks_for_more_than_a_moment():
    """A command that waits for the list gives up after a minute, and would not know why."""
    busy = (503, error("NetworkException"), {"Retry-After": "60"})
    rest = client(busy, (200, b"list"))
    with pytest.raises(RestError, match="HTTP 503 NetworkException") as caught:
        await rest.instruments()
    assert caught.value.retry_after_seconds == 60
    assert len(rest._http.calls) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 5000, b"[]", b'{"data":[]}', b'{"data":{}}', b'{"data":{"access_token":""}}'],
)
async def test_a_login_without_a_token(body):
    with pytest.raises(RestError) as caught:
        await client((200, body)).exchange("r", "s")
    assert caught.value.error_type == "DataException"


@pytest.mark.parametrize("other", ["another-key", "the-key ", "", None, 7, ["the-key"]])
async def test_a_login_of_another_api_key_is_refused(other):
    """As something on the way gives it that keeps answers: the token would replace a good one."""
    data = {"access_token": "new-token", "user_id": "AB1234", "api_key": other}
    rest = client((200, json.dumps({"data": data}).encode()), (200, b"x"))
    with pytest.raises(RestError) as caught:
        await rest.exchange("r", "s")
    told = str(caught.value)
    assert "the session is of another api_key" in told
    assert "log in again" in told
    assert not [secret for secret in ("another-key", "new-token", "the-key") if secret in told]
    # whoever goes on has the token that was there
    await rest.instruments()
    assert rest._http.calls[1].headers["Authorization"] == "token the-key:the-access-token"


async def test_a_login_of_this_api_key():
    data = {"access_token": "new-token", "user_id": "AB1234", "api_key": "the-key"}
    session = await client((200, json.dumps({"data": data}).encode())).exchange("r", "s")
    assert session.access_token.get_secret_value() == "new-token"


async def test_who_logged_in_can_be_shown():
    data = {"access_token": TOKEN, "user_id": "AB\x1b[2J", "user_name": f"\ud800\u202eA {TOKEN}",
            "login_time": "x" * 5000}  # fmt: skip
    session = await client((200, json.dumps({"data": data}).encode())).exchange("r", "s")
    assert (session.user_id, session.user_name) == ("AB [2J", "A ***")
    assert len(session.login_time) == 300


async def test_a_login_needs_an_api_key():
    with pytest.raises(ValueError, match="api_key"):
        await KiteRest().exchange("r", "s")


async def test_kites_errors():
    for status, error_type, kind in (
        (403, "TokenException", RestTokenError),
        (400, "InputException", RestError),
    ):
        with pytest.raises(kind) as caught:
            await client((status, error(error_type, "told"))).instruments()
        told = caught.value
        assert (told.status, told.error_type, told.message) == (status, error_type, "told")
        assert type(told) is kind


@pytest.mark.parametrize("status", [301, 401, 403, 404, 407, 451, 502])
async def test_of_a_gateways_page_the_words_are_told_and_it_is_asked_again(status):
    page = b"<html><title>Access denied</title><p>you are the-access-token</p></html>"
    with pytest.raises(RestError) as caught:
        await client(*[(status, page)] * 4).instruments()
    assert type(caught.value) is RestError
    assert caught.value.foreign
    assert "html" not in str(caught.value)
    assert "Access denied you are ***" in str(caught.value)
    rest = client((status, page), (200, b"a,b"))
    assert (await rest.instruments()).csv == "a,b"


@pytest.mark.parametrize(("status", "tries"), [(403, 4), (407, 4), (502, 1)])
async def test_a_login_is_tried_again_where_a_gateway_refused_it(status, tries):
    """One that gave up on Kite may have let it through, and a request_token is good once."""
    rest = client(*[(status, b"<html>Blocked</html>")] * 4)
    with pytest.raises(RestError, match="Blocked"):
        await rest.exchange("the-request-token", "the-secret")
    assert len(rest._http.calls) == tries


async def test_no_error_has_a_secret():
    echo = "you sent " + " ".join(SECRETS)
    rest = client((400, error("InputException", echo)))
    with pytest.raises(RestError) as caught:
        await rest.exchange("the-request-token", "the-secret")
    assert not any(secret in f"{caught.value!r} {caught.value}" for secret in SECRETS)
    assert caught.value.message == "you sent *** *** ***"


@pytest.mark.parametrize("padding", [0, 280])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
async def test_an_error_that_repeats_the_token_is_redacted_before_it_is_cut(echo, padding):
    answer = error(f"Input{TOKEN}", f"{'x' * padding}: {echo} {'y' * 10**6}")
    with pytest.raises(RestError) as caught:
        await client((400, answer), access_token=TOKEN).instruments()
    assert shown_of(f"{caught.value!r} {caught.value}") < 8
    assert len(caught.value.message) <= 300


async def test_what_is_temporary_is_tried_again():
    rest = client(
        refused(), TimeoutError(), (503, b""), (200, gzip.compress(b"list"), {"ETag": "e"})
    )
    assert await rest.instruments() == ("list", "e")


async def test_it_gives_up_in_the_end():
    with pytest.raises(FeedUnreachableError) as caught:
        await client(*[refused()] * 4).instruments()
    assert str(caught.value) == "cannot reach the feed at https://api.example: Connection refused"
    rest = client((400, error("InputException")), (200, b""))
    with pytest.raises(RestError):
        await rest.instruments()
    assert len(rest._http.calls) == 1


async def test_the_list_of_one_exchange_and_its_etag():
    rest = client((304, b"", {"ETag": "e"}))
    assert await rest.instruments("N/E", etag="e") is None
    (call,) = rest._http.calls
    assert call.url == "https://api.example/instruments/N%2FE"
    assert call.headers["If-None-Match"] == "e"


async def test_not_changed_is_no_list_where_there_was_none():
    with pytest.raises(RestError, match="something on the way to Kite answered HTTP 304"):
        await client((304, b"", {"ETag": "e"})).instruments()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"list", {}),
        (GZIPPED, {}),
        (GZIPPED, {"Content-Encoding": "gzip"}),
        ([GZIPPED[:1], GZIPPED[1:]], {"Content-Encoding": "GZIP"}),
    ],
)
async def test_the_list_may_be_gzipped(body, headers):
    assert (await client((200, body, headers)).instruments()).csv == "list"


@pytest.mark.parametrize(
    "body",
    [
        GZIPPED[:-1],
        [GZIPPED[:10], aiohttp.ClientPayloadError("Response is not complete")],
        GZIPPED[:10] + b"\xff" * 20,
    ],
)
async def test_a_list_that_is_cut_off_or_damaged_is_not_taken(body):
    with pytest.raises(FeedUnreachableError):
        await client(*[(200, body, {"Content-Encoding": "gzip"})] * 4).instruments()


async def test_an_endless_list_is_not_taken(monkeypatch):
    monkeypatch.setattr("connector.kite.web.rest.MAX_LIST_BYTES", 1000)
    bomb = zlib.compress(bytes(10**7), wbits=31)
    with pytest.raises(FeedUnreachableError, match="more than 1000 bytes"):
        await client(*[(200, bomb, {"Content-Encoding": "gzip"})] * 4).instruments()
    monkeypatch.setattr("connector.kite.web.rest.MAX_LIST_WIRE_BYTES", 500)
    with pytest.raises(FeedUnreachableError, match="more than 500 bytes"):
        await client(*[(200, bytes(600))] * 4).instruments()


async def test_an_answer_that_is_far_too_long_is_none():
    with pytest.raises(FeedUnreachableError, match=f"more than {MAX_ANSWER_BYTES} bytes"):
        await client((200, [b" " * 2**16] * 17)).exchange("r", "s")


def candles(rows):
    return json.dumps({"status": "success", "data": {"candles": rows}}).encode()


async def test_candles_are_asked_for_by_indias_minutes_with_open_interest():
    rest = client((200, candles([["2026-01-30T10:50:00+0530", 1, 2, 3, 4, 5, 6]])))
    minute = 29_495_840  # 2026-01-30 10:50 in India
    assert await rest.candles(408065, minute, minute + 9) == [
        ["2026-01-30T10:50:00+0530", 1, 2, 3, 4, 5, 6]
    ]
    (call,) = rest._http.calls
    assert call.url == (
        "https://api.example/instruments/historical/408065/minute?"
        "from=2026-01-30+10%3A50%3A00&to=2026-01-30+10%3A59%3A59&oi=1"
    )


@pytest.mark.parametrize("body", [b"{}", b'{"data": []}', b'{"data": {"candles": {}}}', b"<html>"])
async def test_an_answer_without_candles_is_none_of_kites(body):
    with pytest.raises(RestError, match="DataException"):
        await client((200, body)).candles(408065, 1, 2)


async def test_candles_that_are_far_too_long_are_none():
    rest = client(*[(200, [b" " * 2**20] * 3)] * 4)
    assert MAX_CANDLES_BYTES < 3 * 2**20
    with pytest.raises(FeedUnreachableError, match="bytes"):
        await rest.candles(408065, 1, 2)


async def test_without_a_token_nothing_is_asked_that_needs_one():
    rest = client(access_token=None)
    for ask in (rest.orders, lambda: rest.candles(408065, 1, 2)):
        with pytest.raises(TokenMissingError):
            await ask()
    assert rest._http.calls == []


async def test_each_try_waits_for_its_turn():
    rest, turns = client((503, b"busy"), (200, candles([]))), []

    class Pace:
        async def turn(self):
            turns.append(len(rest._http.calls))

    rest._pace = Pace()
    await rest.candles(408065, 1, 2)
    assert turns == [0, 1]


async def test_orders_of_a_day_that_are_far_too_long_are_none(monkeypatch):
    monkeypatch.setattr("connector.kite.web.rest.MAX_ORDERS_BYTES", 1000)
    with pytest.raises(FeedUnreachableError, match="more than 1000 bytes"):
        await client(*[(200, bytes(1001))] * 4).orders()


async def test_more_orders_than_a_day_can_have_are_none():
    data = ",".join("1" * (MAX_ORDERS + 1))
    with pytest.raises(RestError, match="more than 20000 orders"):
        await client((200, f'{{"data": [{data}]}}'.encode())).orders()


@pytest.mark.parametrize("data", ["{}", '{"data": null}', '{"data": {"1": []}}', "[]", "x"])
async def test_orders_that_are_no_list_are_none(data):
    with pytest.raises(RestError, match="not one of Kite's"):
        await client((200, data.encode())).orders()


async def test_a_list_that_drips_has_one_deadline(monkeypatch):
    monkeypatch.setattr("connector.kite.web.rest.LIST_SECONDS", 0.01)
    ends = asyncio.Event()

    class Drip(FakeContent):
        async def iter_chunked(self, _):
            while not ends.is_set():
                await asyncio.sleep(0)
                yield b"x"

    monkeypatch.setattr("tests.unit.kite.web.test_rest.FakeContent", Drip)
    rest = client(*[(200, b"")] * 4)
    rest._timeout_seconds = 0.0
    with pytest.raises(FeedUnreachableError, match=r"no answer in 0\.01 s"):
        await rest.instruments()


async def test_a_damaged_character_does_not_cost_the_list():
    assert (await client((200, b"a\xffb")).instruments()).csv == "a\ufffdb"


async def test_an_untrusted_certificate_is_named():
    key = SimpleNamespace(host="api.example", port=443, is_ssl=True)
    failure = aiohttp.ClientConnectorCertificateError(key, ValueError("self-signed"))
    with pytest.raises(FeedUnreachableError, match="certificate is not trusted"):
        await client(*[failure] * 4).instruments()


async def test_it_has_to_be_open():
    with pytest.raises(RuntimeError, match="async with"):
        await KiteRest().instruments()
    async with KiteRest() as rest:
        http = rest._http
        assert http.headers["X-Kite-Version"] == "3"
        await rest.close()
    assert http.closed


class TestProxy:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch):
        for name in ("https_proxy", "no_proxy", "http_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv("http_proxy", "http://for-clear-text:1")

    async def asked(self, root="https://api.example"):
        rest = client((200, b"csv"))
        rest.root = root
        await rest.instruments()
        (call,) = rest._http.calls
        return vars(call)

    async def test_that_of_the_environment_is_used(self, monkeypatch):
        monkeypatch.setenv("https_proxy", "http://me:word@proxy.example:3128")
        call = await self.asked()
        assert call["proxy"] == "http://proxy.example:3128"
        assert call["proxy_headers"] == {"Proxy-Authorization": "Basic bWU6d29yZA=="}
        monkeypatch.setenv("https_proxy", "proxy.example:3128")
        assert (await self.asked())["proxy_headers"] == {}

    async def test_not_where_the_environment_says_so_and_not_in_clear_text(self, monkeypatch):
        assert "proxy" not in await self.asked()
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        assert "proxy" not in await self.asked("http://api.example")
        monkeypatch.setenv("no_proxy", "api.example")
        assert "proxy" not in await self.asked()

    async def test_one_of_an_unknown_kind_is_named_without_its_password(self, monkeypatch):
        monkeypatch.setenv("https_proxy", "socks5://me:word@proxy.example:1")
        with pytest.raises(FeedUnreachableError, match="https_proxy: socks5 scheme") as caught:
            await client(*[(200, b"")] * 4).instruments()
        assert "word" not in str(caught.value)
