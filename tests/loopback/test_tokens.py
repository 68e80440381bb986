"""Clients fetch tokens from a real token endpoint, as kafka.oauth says."""

import asyncio

import pytest

from connector.errors import SettingsError
from connector.kafka import clients
from connector.kafka.config import ClientLog, client_properties
from connector.kafka.delivery import new_producer
from connector.kafka.diagnosis import plain
from connector.settings.models import KafkaSettings
from connector.testing import until
from tests.support.token_endpoint import TokenEndpoint

SECRET = "not-a-real-secret"


@pytest.fixture
def endpoint():
    running = TokenEndpoint({"kite": SECRET})
    yield running
    running.close()


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
    said = []
    handlers = clients.ClientCallbacks(
        failed=print,
        error=lambda error: said.append(error.str()),
        statistics=lambda _: None,
        throttle=print,
        log=ClientLog("test"),
    )
    client = new_producer(kafka(endpoint.url, scope="kafka"), "test", handlers)
    try:
        await until(lambda: (client.poll(), endpoint.requests)[1])
    finally:
        await asyncio.to_thread(client.close)
    login, form = endpoint.requests[0]
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


def test_confluent_cloud_is_told_of_cluster_and_pool():
    properties = client_properties(
        kafka("https://id.example.org/t", logical_cluster="lkc-1", identity_pool="pool-1")
    )
    assert properties["sasl.oauthbearer.extensions"] == "logicalCluster=lkc-1,identityPoolId=pool-1"
    assert "sasl.oauthbearer.extensions" not in client_properties(kafka("https://id.example.org/t"))
