import asyncio

import pytest

from connector.kite.proxy import Proxy, ProxyError, _Connect, proxy_for, proxy_options


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("http://proxy:3128", "proxy", 3128),
        ("http://proxy", "proxy", 80),
        ("proxy:3128", "proxy", 3128),
        ("http://[::1]:3128/", "::1", 3128),
    ],
)
@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_the_environment_names_it(monkeypatch, name, address, host, port):
    monkeypatch.setenv(name, address)
    assert proxy_for("ws.kite.trade") == Proxy(host, port, None)


@pytest.mark.parametrize("address", ["http://[2001:db8::1]:3128", "http://proxy:3128"])
def test_requests_go_to_the_address_that_it_names(monkeypatch, address):
    monkeypatch.setenv("https_proxy", address)
    assert proxy_options("https://api.kite.trade")["proxy"] == address


def test_none_is_none(monkeypatch):
    assert proxy_for("ws.kite.trade") is None
    monkeypatch.setenv("https_proxy", "")
    assert proxy_for("ws.kite.trade") is None
    monkeypatch.setenv("https_proxy", "http://proxy")
    monkeypatch.setenv("no_proxy", "other,.kite.trade")
    assert proxy_for("ws.kite.trade") is None


def test_its_password_is_masked(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:SE%40CRET@proxy:1")
    proxy = proxy_for("ws.kite.trade")
    assert "SE" not in repr(proxy).replace("SecretStr", "")
    assert proxy.authorization.get_secret_value() == "bWU6U0VAQ1JFVA=="


ODD = [
    "socks5://me:SECRET@proxy:1", "socks5h://proxy", "https://proxy:1", "http://", "http://[::1",
    "http://proxy:SECRET", "http://proxy:99999", "://", "proxy with SECRET:1",
    "http://me:SECRET@proxy..example:80", f"http://{'x' * 64}:80",
    "http://me:SECRET\udcff@proxy:1",
]  # fmt: skip


@pytest.mark.parametrize("address", ODD)
@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_another_kind_is_refused_with_the_variables_name(monkeypatch, name, address):
    monkeypatch.setenv(name, address)
    with pytest.raises(ProxyError, match=f"^{name}: ") as caught:
        proxy_for("ws.kite.trade")
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_for_everything_is_used_where_none_is_for_tls(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert proxy_for("ws.kite.trade") == Proxy("all", 1, None)
    monkeypatch.setenv("https_proxy", "http://tls:2")
    assert proxy_for("ws.kite.trade") == Proxy("tls", 2, None)


def test_one_that_is_not_needed_is_not_looked_at(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1")
    monkeypatch.setenv("no_proxy", "kite.trade")
    assert proxy_for("ws.kite.trade") is None


class Transport(asyncio.Transport):
    written = b""

    def write(self, data):
        self.written += data


def asked(answer, *, host="feed"):
    transport = Transport()
    protocol = _Connect(Proxy("proxy", 1, None), host, 443)
    protocol.connection_made(transport)
    for byte in answer:
        protocol.data_received(bytes([byte]))
    return protocol, transport


async def test_the_request():
    _, transport = asked(b"")
    assert transport.written == b"CONNECT feed:443 HTTP/1.1\r\nHost: feed:443\r\n\r\n"
    _, transport = asked(b"", host="::1")
    assert transport.written.startswith(b"CONNECT [::1]:443 ")


async def test_a_good_answer():
    protocol, _ = asked(b"HTTP/1.0 200 OK\r\nVia: x\r\n")
    assert not protocol.answered.done()
    protocol.data_received(b"\r\n")
    await protocol.answered
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 403 No\r\n\r\n", b"SSH-2.0\r\n\r\n", b"\xff\r\n\r\n", b"x" * 20_000]
)
async def test_a_bad_answer(answer):
    protocol, _ = asked(answer)
    with pytest.raises(ProxyError, match="proxy:1 answers"):
        await protocol.answered


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
async def test_no_answer(error):
    protocol, _ = asked(b"HTTP/1.1 200")
    protocol.connection_lost(error)
    with pytest.raises(ProxyError, match="hung up"):
        await protocol.answered
