"""A plain WebSocket client of the simulator: what arrives, nothing interpreted."""

import contextlib
import json

from websockets.asyncio.client import connect


@contextlib.asynccontextmanager
async def client(server, api_key="simulated_key", access_token="simulated_token"):
    url = f"{server.ws_url}/?api_key={api_key}&access_token={access_token}"
    async with connect(url, ping_interval=None, compression=None, max_queue=None) as ws:
        yield ws


async def ask(ws, action, value):
    await ws.send(json.dumps({"a": action, "v": value}))


async def receive(ws, count):
    return [await ws.recv() for _ in range(count)]
