"""Clients fetch tokens from a real token endpoint, as kafka.oauth says."""

import asyncio
import base64
import json

import pytest
from aiohttp import web

from connector.errors import SettingsError
from connector.kafka import clients
from connector.kafka.config import ClientLog, client_properties
from connector.kafka.delivery import new_producer
from connector.kafka.diagnosis import plain
from connector.settings.models import KafkaSettings
from connector.testing import until

SECRET = "not-a-real-secret"


def token(seconds):
    def part(fields):
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'sub': 'kite', 'iat': 0, 'exp': 2**33})}.x{seconds}"


@pytest.fixture
async def endpoint():
    """A token endpoint; gives its URL and the requests that came: (client's login, form)."""
    asked = []

    async def give(request):
        login = base64.b64decode(request.headers["Authorization"].split()[1]).decode()
        asked.append((login, dict(await request.post())))
        return web.json_response({"access_token": token(3600), "expires_in": 3600})

    application = web.Application()
    application.router.add_post("/token", give)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/token", asked
    await runner.cleanup()


def kafka(url, **oauth):
    given = {"token_url": url, "client_id": "kite", "client_secret": SECRET, **oauth}
    return KafkaSettings(
        bootstrap_servers="127.0.0.1:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        oauth=given,
    )


@pytest.mark.parametrize("way", ["native", "confluent"])
async def test_a_client_fetches_a_token_with_its_id_secret_and_scope(endpoint, monkeypatch, way):
    monkeypatch.setenv(clients.VARIABLE, way)
    url, asked = endpoint
    said = []
    handlers = clients.Handlers(
        failed=print,
        error=lambda error: said.append(error.str()),
        statistics=lambda _: None,
        throttle=print,
        log=ClientLog("test"),
    )
    client = new_producer(kafka(url, scope="kafka"), "test", handlers)
    try:
        await until(lambda: (client.poll(), asked)[1])
    finally:
        await asyncio.to_thread(client.close)
    login, form = asked[0]
    assert login == f"kite:{SECRET}"
    assert form == {"grant_type": "client_credentials", "scope": "kafka"}
    assert SECRET not in "".join(said)


def test_whoever_gets_no_token_is_told_which_settings_to_look_at():
    assert plain("Failed to acquire SASL OAUTHBEARER token: HTTP 401") == (
        "there is no token for it: HTTP 401: check kafka.oauth.token_url, kafka.oauth.client_id "
        "and kafka.oauth.client_secret"
    )


def test_a_new_secret_in_its_file_is_taken_by_the_next_client(tmp_path):
    file = tmp_path / "secret"
    file.write_text("second\n")
    properties = client_properties(kafka("https://id.example.org/t", client_secret_file=file))
    assert properties["sasl.oauthbearer.client.secret"] == "second"
    assert "sasl.password" not in properties


def test_an_authority_that_is_no_file_is_a_wrong_setting(tmp_path):
    with pytest.raises(SettingsError, match=r"kafka\.oauth\.ca_file: .* is a directory"):
        client_properties(kafka("https://id.example.org/t", ca_file=tmp_path))
