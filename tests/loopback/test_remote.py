"""The calls under /simulator, which steer a simulator in another process."""

import base64
import json

import aiohttp
import pytest

from connector.simulator import SimulatorConfig, SimulatorServer
from tests.support.feed_client import ask, client, receive

CONFIG = SimulatorConfig(stepped=True, instruments=50, connect_messages=False)


class Remote:
    def __init__(self, server, http):
        self.server = server
        self.http = http

    async def __call__(self, method, path, body=None):
        url = f"{self.server.rest_url}/simulator/{path}"
        async with self.http.request(method, url, json=body) as answer:
            told = await answer.json()
        if answer.status != 200:
            return answer.status, told["message"]
        return told["data"]


@pytest.fixture
async def server():
    async with SimulatorServer(CONFIG) as server:
        yield server


@pytest.fixture
async def remote(server):
    async with aiohttp.ClientSession() as http:
        yield Remote(server, http)


async def test_health_and_state(server, remote):
    assert await remote("GET", "health") == {"ws_url": server.ws_url}
    async with client(server) as ws:
        await ask(ws, "subscribe", [408065])
        await ws.recv()
        state = await remote("GET", "state")
        assert state == json.loads(json.dumps(server.state()))
        assert state["accounts"][0]["open_sockets"] == 1
        assert state["sockets"][0]["packets"] == 1
        assert "simulated_token" not in json.dumps(state)
        assert await remote("GET", "subscriptions") == {"0": {"408065": "quote"}}


async def test_faults(server, remote):
    async with client(server):
        assert await remote("POST", "faults", {"kind": "mute", "sockets": [0]}) == {"sockets": 1}
        assert server.sockets[0].muted
        await remote("POST", "faults", {"kind": "silence"})
        await remote("DELETE", "faults/silence")
        assert (server.sockets[0].muted, server.sockets[0].connection.tap.silent) == (True, False)
        await remote("DELETE", "faults")
        assert not server.sockets[0].muted


async def test_tokens(server, remote):
    await remote("DELETE", "token")
    assert (await remote("GET", "state"))["accounts"][0]["token_good"] is False
    await remote("PUT", "token", {"access_token": "new", "api_key": "simulated_key"})
    async with client(server, access_token="new"):
        pass
    await remote("DELETE", "token?api_key=simulated_key")
    assert (await remote("GET", "state"))["accounts"][0]["token_good"] is False


async def test_market_steps_and_floods(server, remote):
    async with client(server) as ws:
        await ask(ws, "subscribe", [408065])
        await ws.recv()
        assert await remote("POST", "step", {"updates": 2}) == {"moved": [408065, 408065]}
        assert await remote("POST", "step") == {"moved": [408065]}
        await remote("POST", "market", {"open": False, "updates_per_second": 5})
        assert (server.market.open, server.updates_per_second) == (False, 5)
        assert await remote("POST", "step") == {"moved": []}
        result = await remote("POST", "flood", {"packets": 3})
        assert result["0"]["packets"] == result["0"]["frames"] == 3
        assert [len(frame) for frame in await receive(ws, 5)] == [94, 48, 48, 48, 48]


async def test_frames_messages_and_heartbeats(server, remote):
    async with client(server) as ws:
        frame = base64.b64encode(b"\x00\x00").decode()
        assert await remote("POST", "frames", {"payload": frame}) == {"sockets": 1}
        assert await remote("POST", "messages", {"message": "text"}) == {"sockets": 1}
        assert await remote("POST", "messages", {"message": {"type": "x"}, "sockets": []}) == {
            "sockets": 0
        }
        await remote("POST", "heartbeat")
        assert await receive(ws, 3) == [b"\x00\x00", "text", b"\0"]


async def test_fills(server, remote):
    form = {
        "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY",
        "order_type": "LIMIT", "price": "1", "product": "CNC", "quantity": "10",
    }  # fmt: skip
    (opened,) = server.place_order(CONFIG.accounts[0], "regular", form)
    body = {"order_id": opened["order_id"], "quantity": 4}
    assert (await remote("POST", "fills", body))["status"] == "UPDATE"
    done = await remote("POST", "fills", {"order_id": opened["order_id"], "price": 2})
    assert (done["status"], done["average_price"]) == ("COMPLETE", 1.6)
    status, _ = await remote("POST", "fills", {"order_id": "none"})
    assert status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults", {"kind": "meteor"}, 400),
        ("POST", "faults", {}, 400),
        ("DELETE", "faults/meteor", None, 404),
        ("PUT", "token", {"access_token": "x", "api_key": "nobody"}, 404),
        ("DELETE", "token?api_key=nobody", None, 404),
        ("POST", "step", {"updates": 0}, 400),
        ("POST", "step", {"more": 0}, 400),
        ("POST", "flood", {}, 400),
        ("POST", "frames", {"payload": "a"}, 400),
        ("POST", "market", [], 400),
        ("GET", "nothing", None, 404),
    ],
)
async def test_what_is_wrong_is_told(remote, method, path, body, status):
    told_status, message = await remote(method, path, body)
    assert told_status == status
    assert message
