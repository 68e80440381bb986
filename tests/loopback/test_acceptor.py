import asyncio
import contextlib

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from connector.errors import PortInUseError, SettingsError
from connector.simulator import SimulatedAccount, SimulatorConfig, SimulatorServer
from tests.support.feed_client import ask, client, receive

STEPPED = SimulatorConfig(
    stepped=True, instruments=50, connect_messages=False, slot_release_seconds=0
)


async def status_of(server, **credentials):
    with pytest.raises(InvalidStatus) as refused:
        async with client(server, **credentials):
            pass
    return refused.value.response.status_code


async def test_wrong_credentials_are_refused_with_403():
    async with SimulatorServer(STEPPED) as server:
        assert await status_of(server, access_token="wrong") == 403
        assert await status_of(server, api_key="nobody") == 403
        assert await status_of(server, api_key="") == 403
        assert server.access.refusals == {403: 3}
        assert server.max_open_sockets() == 0


async def test_credentials_are_url_decoded():
    account = SimulatedAccount(api_key="k&y=", access_token="t+k n%")
    config = STEPPED.model_copy(update={"accounts": (account,)})
    encoded = {"api_key": "k%26y%3D", "access_token": "t%2Bk%20n%25"}
    async with SimulatorServer(config) as server, client(server, **encoded):
        assert server.open_sockets("k&y=") == 1


async def test_a_fourth_socket_gets_429_and_the_others_stay():
    two = (SimulatedAccount(), SimulatedAccount(api_key="other"))
    config = STEPPED.model_copy(update={"accounts": two})
    async with SimulatorServer(config) as server, contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(client(server)) for _ in range(3)]
        assert await status_of(server) == 429
        await stack.enter_async_context(client(server, api_key="other"))
        assert (server.open_sockets(), server.open_sockets("other")) == (3, 1)
        await server.heartbeat()
        assert [await ws.recv() for ws in sockets] == [b"\0"] * 3
        await sockets[0].close()
        await server.until(lambda: server.open_sockets() == 2)
        async with client(server):
            assert server.max_open_sockets() == 3


async def test_a_slot_is_free_only_some_time_after_its_socket_closed():
    config = STEPPED.model_copy(update={"slot_release_seconds": 3600, "max_sockets_per_key": 1})
    async with SimulatorServer(config) as server:
        async with client(server):
            pass
        await server.until(lambda: server.open_sockets() == 0)
        assert await status_of(server) == 429


async def test_a_socket_outlives_its_token_and_a_reconnect_does_not():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        server.expire_token()
        await ask(ws, "subscribe", [408065])
        assert len(await ws.recv()) == 48
        assert await status_of(server) == 403
        server.set_token("tomorrow")
        async with client(server, access_token="tomorrow"):
            pass


async def test_handshakes_are_refused_on_demand():
    async with SimulatorServer(STEPPED) as server:
        await server.inject("refuse", status=502, count=2)
        assert [await status_of(server), await status_of(server)] == [502, 502]
        async with client(server):
            pass


async def test_a_handshake_that_breaks_off_keeps_no_slot():
    async with SimulatorServer(STEPPED) as server:
        port = int(server.ws_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /?api_key=simulated_key&access_token=simulated_token HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()
        await writer.wait_closed()
        # it is no WebSocket handshake, though the credentials are good
        await server.until(lambda: server.max_open_sockets() == 1 and server.open_sockets() == 0)


async def test_requests_may_come_as_binary_frames():
    async with SimulatorServer(STEPPED) as server, client(server) as ws:
        await ws.send(b'{"a":"subscribe","v":[408065]}')
        assert len((await receive(ws, 1))[0]) == 48


async def test_a_port_in_use_is_named():
    async with SimulatorServer(STEPPED) as server:
        for name, url in (("ws_port", server.ws_url), ("rest_port", server.rest_url)):
            config = STEPPED.model_copy(update={name: int(url.rpartition(":")[2])})
            with pytest.raises(PortInUseError) as caught:
                async with SimulatorServer(config):
                    pass
            assert caught.value.setting == name


async def test_a_host_that_is_not_this_machines_is_named():
    config = STEPPED.model_copy(update={"host": "192.0.2.1"})  # RFC 5737: nobody's
    with pytest.raises(SettingsError, match=r"  host: cannot listen on 192\.0\.2\.1: "):
        async with SimulatorServer(config):
            pass


async def test_closing_the_server_closes_sockets_with_1001_even_silent_ones():
    async with SimulatorServer(STEPPED) as server, contextlib.AsyncExitStack() as stack:
        good, silent, slow = [await stack.enter_async_context(client(server)) for _ in range(3)]
        await server.inject("silence", sockets=(1,))
        await server.inject("slow", sockets=(2,))
        await server.__aexit__(None, None, None)
        with pytest.raises(ConnectionClosed) as closed:
            await good.recv()
        assert closed.value.rcvd.code == 1001
        for ws in (silent, slow):
            with pytest.raises(ConnectionClosed):
                await ws.recv()
    with pytest.raises(RuntimeError, match="not open"):
        _ = server.ws_url
