"""On the status server, whose pages they ask for."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import yaml

from connector.kite.web import http_server as status_http
from connector.kite.web.http_server import EventStream, HttpServer, Response
from connector.service.http import StatusServer
from connector.settings.models import HttpSettings
from connector.testing import until
from tests.support.stack import raw_settings, stack
from tests.support.status import service_status

ANY_PORT = HttpSettings(port=0)


def address(server):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return host, int(port)


@contextlib.asynccontextmanager
async def clients():
    """Opens raw connections, and closes them all in the end."""
    writers = []

    async def connect(server):
        reader, writer = await asyncio.open_connection(*address(server))
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
    for writer in writers:
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def descriptors_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def head(reader):
    """The status of an answer whose body is read as well."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    (length,) = [line.split()[1] for line in lines if line.lower().startswith(b"content-length:")]
    await reader.readexactly(int(length))
    return int(lines[0].split()[1])


async def test_half_open_requests_crowd_nobody_out():
    async with StatusServer(ANY_PORT, service_status) as server, clients() as connect:
        server.max_connections = 8
        crowd = [await connect(server) for _ in range(100)]
        for _, writer in crowd:
            with contextlib.suppress(OSError):
                writer.write(b"GET /live HTTP/1.1\r\nX: ")
        await until(lambda: 0 < server.open_connections <= 8)
        for _ in range(3):
            reader, writer = await connect(server)
            writer.write(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await head(reader) == 200
        assert server.open_connections <= 8
    assert server.open_connections == 0


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ("HEAD_SECONDS", b""),
        ("HEAD_SECONDS", b"GET /live HT"),
        ("IDLE_SECONDS", b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("HEAD_SECONDS", b"GET /live HTTP/1.1\r\nHost: x\r\n\r\nGET /li"),
        ("LINGER_SECONDS", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
    ],
)
async def test_whoever_keeps_it_waiting_is_cut(monkeypatch, limit, sent):
    monkeypatch.setattr(status_http, limit, 0.05)
    async with StatusServer(ANY_PORT, service_status) as server, clients() as connect:
        reader, writer = await connect(server)
        writer.write(sent)
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(65536):
                pass
        await until(lambda: server.open_connections == 0)


async def test_a_head_that_drips_is_cut_all_the_same(monkeypatch):
    monkeypatch.setattr(status_http, "HEAD_SECONDS", 0.1)
    async with StatusServer(ANY_PORT, service_status) as server, clients() as connect:
        _, writer = await connect(server)
        writer.write(b"GET /live HTTP/1.1\r\n")
        await until(lambda: server.open_connections == 1)
        with contextlib.suppress(OSError):
            while server.open_connections:
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)


async def test_a_reader_that_does_not_read_is_cut(monkeypatch):
    monkeypatch.setattr(status_http, "ANSWER_SECONDS", 0.1)
    large = service_status(unresolved=tuple(f"NSE:X{n}: no room" for n in range(300_000)))
    monkeypatch.setattr("connector.service.status.MAX_UNRESOLVED_SHOWN", 300_000)
    async with StatusServer(ANY_PORT, lambda: large) as server, clients() as connect:
        _, writer = await connect(server)
        writer.write(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.open_connections == 1)
        await until(lambda: server.open_connections == 0)


async def test_a_request_by_an_old_client_is_answered_and_closed():
    async with StatusServer(ANY_PORT, service_status) as server, clients() as connect:
        reader, writer = await connect(server)
        writer.write(b"GET /live HTTP/1.0\r\n\r\n")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://x/live", 200),
        ("HTTP://x:80/live?a=1", 200),
        ("http://x/nope", 404),
        ("ftp://x/live", 404),
    ],
)
async def test_a_whole_url_as_a_proxy_sends_it_is_its_path(target, status):
    async with StatusServer(ANY_PORT, service_status) as server, clients() as connect:
        reader, writer = await connect(server)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert await head(reader) == status


async def test_a_flood_of_requests_on_one_connection_stops_nobody_else(get):
    async with StatusServer(ANY_PORT, service_status) as server, clients() as connect:
        reader, writer = await connect(server)
        flood = asyncio.create_task(asyncio.sleep(0))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        for _ in range(5):
            assert (await get(f"{server.url}/live"))[0] == 200
        assert await head(reader) == 200
        await flood


async def test_head_has_the_length_and_no_body(get):
    async with StatusServer(ANY_PORT, service_status) as server, aiohttp.ClientSession() as http:
        async with http.head(f"{server.url}/status") as response:
            assert response.status == 200
            assert int(response.headers["Content-Length"]) > 1000
            assert await response.read() == b""
        async with http.get(f"{server.url}/status") as response:
            assert len(await response.read()) > 1000


async def test_names_of_this_machine_are_all_listened_to(get):
    async with StatusServer(HttpSettings(host="localhost", port=0), service_status) as server:
        assert (await get(f"{server.url}/live"))[0] == 200


@contextlib.asynccontextmanager
async def limited_process(file, descriptors):
    """A `kite-connector run` that may open so many files, and the lines of its log."""
    command = f"ulimit -n {descriptors}; exec {sys.executable} -m connector.cli run --config {file}"
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, stderr=asyncio.subprocess.PIPE
    )
    lines = []

    async def read():
        async for line in process.stderr:
            lines.append(json.loads(line))  # noqa: PERF401 - looked at while it grows

    reading = asyncio.create_task(read())
    try:
        yield process, lines
        process.terminate()
        assert await process.wait() == 0
        await reading
    finally:
        reading.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_process_with_few_descriptors_survives_a_crowd(tmp_path):
    """A real process that may open 256 files, 400 half-open requests, and a feed that breaks."""
    async with stack() as around, clients() as connect:
        file = tmp_path / "settings.yaml"
        file.write_text(
            yaml.safe_dump(raw_settings(around.simulator, around.broker, around.registry))
        )
        async with limited_process(file, 256) as (process, lines):
            await until(lambda: around.simulator.open_sockets() == 3)
            await until(lambda: any("status" in line for line in lines))
            (status,) = [line["status"] for line in lines if "status" in line]
            server = SimpleNamespace(url=status.removesuffix("/status"))
            for _ in range(400):
                _, writer = await connect(server)
                writer.write(b"GET /status HTTP/1.1\r\n")
            async with aiohttp.ClientSession() as http:
                for _ in range(3):
                    async with http.get(f"{server.url}/live") as response:
                        assert response.status == 200
                await around.simulator.inject("abort", sockets=[0, 1, 2])
                connects = []
                while connects != [2, 2, 2]:
                    async with http.get(f"{server.url}/status") as response:
                        connections = (await response.json())["connections"]
                        connects = [connection["connects"] for connection in connections]
            await until(lambda: around.simulator.open_sockets() == 3)
            assert 0 < descriptors_of(process.pid) < 200
        assert not [line for line in lines if line["level"] == "error"]


class Streaming(HttpServer):
    """Streams to whoever asks for /stream, takes a POST at /post, and works for /late."""

    def __init__(self):
        self.streams = []
        self.asked = []
        super().__init__("127.0.0.1", 0, self.answer_to, posts=("/post",))

    def answer_to(self, request):
        self.asked.append(request)
        if request.path == "/stream":
            return EventStream("text/event-stream", self.opened)
        if request.path == "/late":
            return self.work()
        return Response(200, "text/plain", request.body or b"none")

    async def work(self):
        await asyncio.sleep(0)
        return Response(200, "text/plain", b"done")

    def opened(self, connection):
        self.streams.append(connection)
        return lambda: self.streams.remove(connection)


async def test_a_stream_goes_on_until_its_reader_leaves():
    async with Streaming() as server, aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/stream") as response:
            assert response.content_type == "text/event-stream"
            for number in range(3):
                assert server.streams[0].push(b"data: %d\n\n" % number)
                assert await response.content.readuntil(b"\n\n") == b"data: %d\n\n" % number
            response.close()
        await until(lambda: not server.streams)


async def test_whoever_does_not_read_a_stream_misses_parts_and_is_cut(monkeypatch):
    monkeypatch.setattr(status_http, "ANSWER_SECONDS", 0.2)
    async with Streaming() as server, clients() as connect:
        reader, writer = await connect(server)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.streams)
        reader._transport.pause_reading()
        stream, part = server.streams[0], b"x" * 2**20
        pushed = sum(stream.push(part) for _ in range(100))
        assert pushed < 100
        await until(lambda: not server.streams)


async def test_whoever_speaks_during_a_stream_is_cut():
    async with Streaming() as server, clients() as connect:
        _, writer = await connect(server)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.streams)
        writer.write(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: not server.streams)
        assert [request.path for request in server.asked] == ["/stream"]


async def test_a_stream_makes_room_in_a_crowd():
    async with Streaming() as server, clients() as connect:
        server.max_connections = 8
        for _ in range(20):
            _, writer = await connect(server)
            with contextlib.suppress(OSError):
                writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        reader, writer = await connect(server)
        writer.write(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await head(reader) == 200
        assert len(server.streams) <= 8


async def test_an_answer_may_be_worked_for(get):
    async with Streaming() as server:
        assert (await get(f"{server.url}/late"))[:2] == (200, "done")


async def test_work_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(status_http, "WORK_SECONDS", 0.05)
    ended = asyncio.Event()

    async def work(server):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(Streaming, "work", work)
    async with Streaming() as server, clients() as connect:
        reader, writer = await connect(server)
        writer.write(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await ended.wait()


@pytest.mark.parametrize("size", [0, 1, 70_000, status_http.MAX_BODY_BYTES])
async def test_a_body_is_taken_where_one_is_asked_for(size):
    body = b"b" * size
    async with Streaming() as server, aiohttp.ClientSession() as session:
        async with session.post(f"{server.url}/post", data=body) as response:
            assert (response.status, await response.read()) == (200, body or b"none")
        assert server.asked[0].method == "POST"
        async with session.post(f"{server.url}/other", data=body) as response:
            assert response.status == 405


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: %d\r\n\r\n" % (status_http.MAX_BODY_BYTES + 1),
        b"Transfer-Encoding: chunked\r\n\r\n" + 5 * (b"10000\r\n%s\r\n" % (b"x" * 0x10000)),
    ],
)
async def test_a_body_has_a_bound_however_it_comes(sent):
    async with Streaming() as server, clients() as connect:
        reader, writer = await connect(server)
        writer.write(b"POST /post HTTP/1.1\r\nHost: x\r\n" + sent)
        assert await head(reader) == 413
        assert server.asked == []
