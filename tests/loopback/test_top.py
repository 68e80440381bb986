"""`top` over a status server, and over servers that are none."""

import asyncio

import pytest

from connector.cli import top, top_kafka
from connector.kite.web.http_server import HttpServer, Response
from connector.service.http import StatusServer
from connector.settings.models import HttpSettings
from connector.simulator import SimulatorConfig
from tests.support.stack import service, stack
from tests.support.status import service_status


async def looked(capsys, *urls):
    answered = await top.watch([top.status_url(url) for url in urls], 0.5, 1, asyncio.Event())
    return answered, capsys.readouterr().out


async def test_what_flows_is_a_line_a_look(capsys):
    async with StatusServer(HttpSettings(port=0), service_status) as server:
        answered, line = await looked(capsys, server.url)
    assert answered
    assert "1 of 1 ready, 1 of 2 connected" in line


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Response(200, "application/json", b"{}"), "not the status of a kite-connector"),
        (Response(200, "application/json", b"[" * 100_000), "not the status of a kite-connector"),
        (Response(404, "text/plain", b"?"), "HTTP 404"),
        (Response(200, "application/json", b" " * 2000), "an answer of more than 1000 bytes"),
    ],
)
async def test_what_is_no_status_is_said(capsys, monkeypatch, answer, words):
    monkeypatch.setattr(top, "MAX_STATUS_BYTES", 200_000 if len(answer.body) > 2000 else 1000)
    async with HttpServer("127.0.0.1", 0, lambda request: answer) as server:
        answered, line = await looked(capsys, server.url)
    assert not answered
    assert words in line


async def test_nobody_there(capsys, monkeypatch):
    async with HttpServer("127.0.0.1", 0, lambda request: Response(200, "", b"")) as server:
        url = server.url
    answered, line = await looked(capsys, url)
    assert not answered
    assert "Connection refused" in line


async def test_where_no_replica_is_reached_kafka_tells_of_the_slots(capsys):
    """Also to somebody who has the brokers alone, and no account."""
    config = SimulatorConfig(instruments=60, updates_per_second=4.0)
    async with stack(config, cluster={"enabled": True}) as around, service(around):
        nobody = around.changed(
            accounts=[{"api_key": "none"}], feed={}, instruments=[], registry={}
        )

        async def line():
            assert await top_kafka.watch(nobody, 0.5, 1, asyncio.Event())
            return capsys.readouterr().out.splitlines()[-1]

        async with asyncio.timeout(180):
            # its owner writes it once a second
            while "3 of 3 slots stream, of 1 replica, 5 instruments" not in await line():
                pass


async def test_where_no_broker_answers_that_is_said(capsys):
    async with stack(cluster={"enabled": True}) as around:
        around.broker.set_down()
        assert not await top_kafka.watch(around.settings, 0.5, 1, asyncio.Event())
    said = capsys.readouterr().out
    assert said.startswith("no slot is known; kafka: no Kafka broker answers at")
