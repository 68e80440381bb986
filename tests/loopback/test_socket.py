"""Opening sockets to real servers on the loopback interface."""

import asyncio
import contextlib
import json
import ssl
import traceback
from http import HTTPStatus

import pytest
from pydantic import SecretStr
from websockets.asyncio.server import serve

from connector import FeedUnreachableError, HandshakeError, TokenRejectedError
from connector.kite.feed import socket as socket_module
from connector.kite.feed.socket import open_socket
from tests.unit.kite.feed.test_socket import Listener

KEY, TOKEN = SecretStr("SECRET-K"), SecretStr("SECRET-T")


class Waiting(Listener):
    """A listener whose test waits for messages."""

    def __init__(self):
        super().__init__()
        self.changed = asyncio.Event()

    def binary_received(self, data):
        super().binary_received(data)
        self.changed.set()

    def socket_lost(self, code, reason):
        super().socket_lost(code, reason)
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def server(handler, **options):
    async with serve(handler, "127.0.0.1", 0, **options) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def tcp_server(handler):
    handled = []

    async def handle(reader, writer):
        handled.append(asyncio.current_task())
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    running = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        running.close()
        # what was accepted last reaches its handler a few turns of the event loop later
        gathered = -1
        while gathered < len(handled):
            gathered = len(handled)
            await asyncio.gather(*handled)
            for _ in range(5):
                await asyncio.sleep(0)


async def test_there_and_back():
    async def echo(connection):
        await connection.send(b"\0")
        async for message in connection:
            await connection.send(message.encode())

    listener = Waiting()
    async with server(echo) as root:
        socket = await open_socket(root, KEY, TOKEN, listener, 10)
        socket.send("hello")
        assert listener.received == []
        socket.resume()
        await listener.until(lambda listener: len(listener.received) == 2)
        assert listener.received == [b"\0", b"hello"]
        await socket.close()
        assert listener.lost == [(1000, "")]


async def test_a_refused_handshake():
    def refuse(connection, request):
        words = f"not {TOKEN.get_secret_value()}"
        return connection.respond(
            HTTPStatus.FORBIDDEN, json.dumps({"error_type": "TokenException", "message": words})
        )

    async with server(lambda _: None, process_request=refuse) as root:
        with pytest.raises(TokenRejectedError) as caught:
            await open_socket(root, KEY, TOKEN, Listener(), 10)
    assert caught.value.reason == "TokenException: not ***"
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


async def test_a_redirect_is_not_followed():
    visits = []

    def redirect(connection, request):
        visits.append(request.path)
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "ws://127.0.0.1:1/"
        return response

    async with server(lambda _: None, process_request=redirect) as root:
        with pytest.raises(HandshakeError) as caught:
            await open_socket(root, KEY, TOKEN, Listener(), 10)
    assert caught.value.status == 302
    assert len(visits) == 1


async def test_nobody_listens():
    async with tcp_server(lambda *_: None) as root:
        pass
    with pytest.raises(FeedUnreachableError) as caught:
        await open_socket(root, KEY, TOKEN, Listener(), 10)
    assert root in str(caught.value)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


async def test_a_name_that_does_not_exist():
    with pytest.raises(FeedUnreachableError):
        await open_socket("ws://does-not-exist.invalid", KEY, TOKEN, Listener(), 10)


async def test_a_host_that_no_resolver_is_asked_for():
    with pytest.raises(FeedUnreachableError, match=r"ws://feed\.\.example: .*label empty"):
        await open_socket("ws://feed..example", KEY, TOKEN, Listener(), 10)


async def test_a_server_that_never_answers():
    async def silent(reader, writer):
        await reader.read()

    async with tcp_server(silent) as root:
        with pytest.raises(FeedUnreachableError) as caught:
            await open_socket(root, KEY, TOKEN, Listener(), 0.01)
    assert caught.value.reason == "no answer within 0.01 s"


async def test_a_server_that_hangs_up():
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    async with tcp_server(hang_up) as root:
        with pytest.raises(FeedUnreachableError):
            await open_socket(root, KEY, TOKEN, Listener(), 10)


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path):
    context = self_signed(tmp_path)
    async with server(lambda _: None, ssl=context) as root:
        with pytest.raises(FeedUnreachableError, match="certificate"):
            await open_socket(root.replace("ws:", "wss:"), KEY, TOKEN, Listener(), 10)


async def greet(connection):
    await connection.send(b"hello")
    await connection.wait_closed()


async def greeted(root):
    """A socket to `root` has the greeting and ends politely."""
    listener = Waiting()
    socket = await open_socket(root, KEY, TOKEN, listener, 10)
    socket.resume()
    await listener.until(lambda listener: listener.received == [b"hello"])
    await socket.close()
    assert listener.lost == [(1000, "")]


@contextlib.asynccontextmanager
async def tls_feed(tmp_path, monkeypatch):
    """A feed that greets, whose certificate the client trusts; yields its URL."""
    context = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
    monkeypatch.setattr(socket_module, "_tls_context", lambda: trusting)
    async with server(greet, ssl=context) as root:
        yield root.replace("ws://127.0.0.1", "wss://localhost")


async def test_over_tls(tmp_path, monkeypatch):
    async with tls_feed(tmp_path, monkeypatch) as root:
        await greeted(root)


@contextlib.asynccontextmanager
async def proxy_server(answer=b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """Tunnels whatever it is asked for; yields its address and the heads of what it was asked."""
    heads = []

    async def pump(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def tunnel(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer)
        if b" 200 " not in answer:
            return
        _, port = heads[-1].split()[1].rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await far_writer.wait_closed()

    async with tcp_server(tunnel) as address:
        yield address.replace("ws://", "http://"), heads


class TestProxy:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch):
        for name in ("https_proxy", "no_proxy", "all_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    async def test_the_environments_proxy_is_used(self, tmp_path, monkeypatch):
        async with tls_feed(tmp_path, monkeypatch) as root, proxy_server() as (proxy, heads):
            monkeypatch.setenv("https_proxy", proxy)
            await greeted(root)
        (head,) = heads
        assert head.startswith(f"CONNECT {root.removeprefix('wss://')} HTTP/1.1\r\n")
        # what the proxy may know is the address alone
        assert "SECRET" not in head

    async def test_not_for_those_whom_no_proxy_names(self, tmp_path, monkeypatch):
        async with tls_feed(tmp_path, monkeypatch) as root, proxy_server() as (proxy, heads):
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            monkeypatch.setenv("NO_PROXY", "localhost")
            await greeted(root)
        assert heads == []

    async def test_not_for_an_unencrypted_socket(self, monkeypatch):
        async with server(greet) as root, proxy_server() as (proxy, heads):
            monkeypatch.setenv("https_proxy", proxy)
            monkeypatch.setenv("http_proxy", proxy)
            await greeted(root)
        assert heads == []

    async def test_a_proxy_that_refuses_is_named(self, monkeypatch):
        async with proxy_server(b"HTTP/1.1 407 Who are you\r\n\r\n") as (proxy, _):
            monkeypatch.setenv("https_proxy", proxy.replace("http://", "http://me:SECRET@"))
            with pytest.raises(FeedUnreachableError, match="407 Who are you") as caught:
                await open_socket("wss://feed.invalid", KEY, TOKEN, Listener(), 10)
        assert proxy.removeprefix("http://") in str(caught.value)
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))

    async def test_a_host_whose_certificate_is_not_its_own_is_refused(self, tmp_path, monkeypatch):
        async with tls_feed(tmp_path, monkeypatch) as root, proxy_server() as (proxy, _):
            monkeypatch.setenv("https_proxy", proxy)
            with pytest.raises(FeedUnreachableError, match="certificate"):
                await open_socket(
                    root.replace("localhost", "feed.invalid"), KEY, TOKEN, Listener(), 10
                )


async def test_a_cancelled_opening_leaves_no_socket():
    there, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader, writer):
        there.set()
        await reader.read()
        gone.set()

    async with tcp_server(silent) as root:
        opening = asyncio.create_task(open_socket(root, KEY, TOKEN, Listener(), 10))
        async with asyncio.timeout(60):
            await there.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(60):
            await gone.wait()


def self_signed(folder):
    """A server's TLS context with a certificate for localhost that it signed itself."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
