import pytest

from connector.errors import PortInUseError, SettingsError
from connector.service.http import StatusServer
from connector.settings.models import HttpSettings
from tests.support.status import service_status

ANY_PORT = HttpSettings(port=0)


async def test_alive_and_ready(get):
    async with StatusServer(ANY_PORT, service_status) as server:
        assert (await get(f"{server.url}/live"))[0] == 200
        status, text, _ = await get(f"{server.url}/ready")
        assert (status, text) == (200, '{"ready": true, "phase": "running", "reasons": []}')


async def test_alive_and_not_ready(get):
    waiting = service_status(not_ready=("main: waiting for a new access_token",))
    async with StatusServer(ANY_PORT, lambda: waiting) as server:
        assert (await get(f"{server.url}/live"))[0] == 200
        status, text, content_type = await get(f"{server.url}/ready")
        assert status == 503
        assert "waiting for a new access_token" in text
        assert content_type == "application/json"


async def test_metrics_and_status(get):
    async with StatusServer(ANY_PORT, service_status) as server:
        status, text, content_type = await get(f"{server.url}/metrics")
        assert (status, content_type) == (200, "text/plain")
        assert "kite_connector_ready 1.0" in text
        status, text, content_type = await get(f"{server.url}/status")
        assert (status, content_type) == (200, "application/json")
        assert '"version": "1.2.3"' in text
        assert "/status" in (await get(server.url))[1]
        assert (await get(f"{server.url}/other"))[0] == 404


async def test_a_taken_port_names_the_setting():
    async with StatusServer(ANY_PORT, service_status) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(PortInUseError) as caught:
            await StatusServer(HttpSettings(port=port), service_status).start()
        assert str(caught.value).startswith(f"http.port: port {port} on 127.0.0.1 is in use")


async def test_a_host_of_another_machine():
    with pytest.raises(SettingsError, match=r"http\.host"):
        await StatusServer(HttpSettings(host="192.0.2.1", port=0), service_status).start()


async def test_closing_twice_is_harmless():
    server = StatusServer(ANY_PORT, service_status)
    await server.start()
    await server.close()
    await server.close()
