"""A feed and a REST API that repeat the access_token wherever they can: it gets nowhere."""

import contextlib
import itertools
import json
from urllib.parse import parse_qs, urlsplit

import aiohttp
import structlog
from aiohttp import web
from websockets.asyncio.server import serve
from websockets.http11 import Response

from connector.testing import until
from tests.support.echoes import ECHOES, TOKEN, shown_of
from tests.support.stack import TOPICS, service, stack


class EchoingFeed:
    """Answers each connect in another way, and each way in another encoding."""

    def __init__(self):
        self.refused = self.closed = 0
        self.orders = set()
        self._echoes = itertools.cycle(ECHOES.values())
        self._turns = itertools.cycle(["close", "refuse", "forbid"])

    def answer(self, connection, request):
        assert parse_qs(urlsplit(request.path).query)["access_token"] == [TOKEN]
        turn = next(self._turns)
        if turn == "close":
            return None
        self.refused += 1
        # 500 alone: what the feed refuses for good is another test's matter
        body = f"{'x' * (290 if turn == 'forbid' else 0)}{next(self._echoes)}".encode()
        return Response(500, f"No {TOKEN}", connection.protocol.accept(request).headers, body)

    async def talk(self, connection):
        number = str(self.closed)
        self.orders.add(number)
        order = {"order_id": number, "status": "OPEN", "status_message": next(self._echoes)}
        await connection.send(json.dumps({"type": "order", "data": order}))
        await connection.send(json.dumps({"type": "error", "data": f"no: {next(self._echoes)}"}))
        await connection.send(json.dumps({"type": next(self._echoes), "data": TOKEN}))
        reason = next(self._echoes).encode()[:120].decode(errors="ignore")
        await connection.close(1011, reason)
        self.closed += 1


@contextlib.asynccontextmanager
async def rest_api():
    echoes = itertools.cycle(ECHOES.values())

    async def instruments(request):
        assert request.headers["Authorization"].endswith(TOKEN)
        message = f"you sent {next(echoes)} {request.headers['Authorization']}"
        body = {"status": "error", "error_type": f"Input{TOKEN}", "message": message}
        return web.json_response(body, status=400)

    application = web.Application()
    application.router.add_get("/instruments", instruments)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_no_page_log_or_topic_has_the_token():
    feed = EchoingFeed()
    accounts = [{"api_key": "simulated_key", "access_token": TOKEN, "connections": 1}]
    pages = []
    async with (
        serve(feed.talk, "127.0.0.1", 0, process_request=feed.answer) as server,
        rest_api() as rest,
        stack(accounts=accounts, instruments=[{"mode": "full", "instruments": [408065]}]) as around,
    ):
        port = server.sockets[0].getsockname()[1]
        settings = around.changed(feed={"root": f"ws://127.0.0.1:{port}", "rest": rest})
        with structlog.testing.capture_logs() as lines:
            async with (
                service(around, settings, ready=False) as running,
                aiohttp.ClientSession() as http,
            ):
                while feed.closed < len(ECHOES) or feed.refused < 2 * len(ECHOES):
                    seen = feed.closed + feed.refused
                    await until(lambda seen=seen: feed.closed + feed.refused > seen)
                    pages.append(json.dumps(running.status().as_json(), default=str))
                for page in ("status", "ready", "metrics"):
                    async with http.get(f"{running.http.url}/{page}") as response:
                        pages.append(await response.text())
                await until(lambda: running.status().orders >= len(ECHOES))
                sent = set(feed.orders)
                await until(lambda: running.status().orders >= len(sent))
            records = await around.records(TOPICS.orders, TOPICS.events, TOPICS.deadletter)
    reasons = [record.value["reason"] for record in records[TOPICS.events]]
    assert any("***" in (reason or "") for reason in reasons)
    payloads = [json.loads(record.value["payload"]) for record in records[TOPICS.orders]]
    # the feed goes on while the service stops
    assert sent <= {payload["order_id"] for payload in payloads} <= feed.orders
    assert all("***" in payload["status_message"] for payload in payloads)
    for text in [
        *pages,
        *map(str, lines),
        *(str(each.value) for each in itertools.chain(*records.values())),
    ]:
        assert shown_of(text) < 8, text
    assert any("feed_error" in str(line) or "***" in str(line) for line in lines)
