"""The registry's client with tokens: a real token endpoint, and a registry that checks them."""

import json

import pytest

from connector.embedded.registry import EmbeddedRegistry
from connector.errors import RegistryError, RegistryUnreachableError, SettingsError
from connector.kafka.bearer_tokens import (
    EARLY_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_LIFETIME_SECONDS,
    MAX_TOKEN_CHARS,
    BearerTokens,
    NoTokenError,
)
from connector.kafka.https_endpoint import session
from connector.kafka.registry import check_schemas, register_schemas
from connector.kafka.registry_client import RegistryClient, registry_client
from connector.kafka.topics import TopicNames
from connector.settings.models import RegistrySettings
from connector.settings.oauth import OAuthSettings
from tests.support.certificates import Authority
from tests.support.clock import SteppedClock
from tests.support.registry_guard import RegistryGuard
from tests.support.token_endpoint import TokenEndpoint

SECRET = "not-a-real-secret"
NAMES = TopicNames("kite")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Files of an authority and of a server that it signed."""
    folder, authority = tmp_path_factory.mktemp("tls"), Authority("tests")
    ca, server = folder / "ca.pem", folder / "server.pem"
    ca.write_text(authority.certificate)
    server.write_text("".join(authority.server("localhost")))
    return ca, server


@pytest.fixture
def endpoint():
    running = TokenEndpoint({"kite": SECRET})
    yield running
    running.close()


@pytest.fixture
async def guarded(tls, endpoint):
    """A registry that takes this endpoint's tokens only."""
    async with EmbeddedRegistry() as registry:
        guard = RegistryGuard(registry.url, tls[1], subject_of=endpoint.subject_of)
        yield guard
        guard.close()


def oauth(endpoint, **changes):
    return {"token_url": endpoint.url, "client_id": "kite", "client_secret": SECRET, **changes}


def settings(guard, endpoint, tls, **changes):
    return RegistrySettings(url=guard.url(), ca_file=tls[0], oauth=oauth(endpoint, **changes))


async def test_schemas_are_registered_with_one_token(guarded, endpoint, tls):
    ids = await register_schemas(settings(guarded, endpoint, tls, scope="registry"), NAMES)
    assert ids
    assert endpoint.requests == [
        (f"kite:{SECRET}", {"grant_type": "client_credentials", "scope": "registry"})
    ]
    assert {(user, status) for user, _, _, status in guarded.requests} <= {
        ("kite", 200), ("kite", 404),
    }  # fmt: skip
    states = await check_schemas(settings(guarded, endpoint, tls), NAMES)
    assert {status.state for status in states} == {"registered"}


async def test_an_endpoint_behind_tls_is_trusted_by_its_own_authority(guarded, tls):
    secure = TokenEndpoint({"kite": SECRET}, tls[1])
    try:
        given = RegistrySettings(
            url=guarded.url(), ca_file=tls[0], oauth=oauth(secure, ca_file=tls[0])
        )
        # the guard knows no tokens of this endpoint; what counts is that it was reached
        with pytest.raises(RegistryError, match="HTTP 401"):
            await register_schemas(given, NAMES)
        # the first token, one for the refused one, and one to look what is there all the same
        assert [form for _, form in secure.requests] == [{"grant_type": "client_credentials"}] * 3
        distrusting = given.model_copy(update={"oauth": OAuthSettings(**oauth(secure))})
        with pytest.raises(RegistryUnreachableError, match=r"registry\.oauth\.ca_file must hold"):
            await register_schemas(distrusting, NAMES)
    finally:
        secure.close()


async def test_a_token_that_is_refused_is_replaced_once(guarded, endpoint, tls):
    async with registry_client(settings(guarded, endpoint, tls)) as client:
        await client.get_versions("s")
        endpoint.withdrawn.add(guarded.headers[-1]["Authorization"].split()[1])
        assert await client.get_versions("s") == []
    assert [status for *_, status in guarded.requests] == [404, 401, 404]
    assert len(endpoint.requests) == 2


async def test_a_registry_that_takes_no_token_is_an_error_that_names_the_settings(
    guarded, endpoint, tls
):
    other = TokenEndpoint({"kite": SECRET})
    try:
        async with registry_client(settings(guarded, other, tls)) as client:
            with pytest.raises(RegistryError, match=r"HTTP 401: .*registry\.oauth") as caught:
                await client.get_versions("s")
    finally:
        other.close()
    assert not caught.value.retryable
    assert [status for *_, status in guarded.requests] == [401, 401]
    assert len(other.requests) == 2


async def test_confluent_cloud_is_told_of_cluster_and_pool(guarded, endpoint, tls):
    given = settings(guarded, endpoint, tls, logical_cluster="lsrc-1", identity_pool="pool-1")
    async with registry_client(given) as client:
        await client.get_versions("s")
    headers = guarded.headers[-1]
    assert headers["target-sr-cluster"] == "lsrc-1"
    assert headers["Confluent-Identity-Pool-Id"] == "pool-1"


async def test_a_new_secret_in_its_file_is_taken_by_the_next_token(
    guarded, endpoint, tls, tmp_path
):
    file = tmp_path / "secret"
    file.write_text(SECRET)
    client = registry_client(settings(guarded, endpoint, tls, client_secret_file=file))
    async with client:
        await client.get_versions("s")
    endpoint.clients["kite"] = "another-secret"
    file.write_text("another-secret\n")
    endpoint.withdrawn.add(guarded.headers[-1]["Authorization"].split()[1])
    async with client:
        assert await client.get_versions("s") == []
    assert [login for login, _ in endpoint.requests] == [f"kite:{SECRET}", "kite:another-secret"]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (3600, 3600 - EARLY_SECONDS),
        ("3600", 3600 - EARLY_SECONDS),
        (100, 80),
        (10**12, MAX_LIFETIME_SECONDS - EARLY_SECONDS),
        (None, 0), (0, 0), (-5, 0), ("soon", 0), ([1], 0), ("nan", 0), (10**400, 0),
    ],
)  # fmt: skip
async def test_a_token_is_kept_until_shortly_before_it_ends(endpoint, told, seconds):
    clock = SteppedClock()
    tokens = BearerTokens(
        OAuthSettings(**oauth(endpoint)), "registry.oauth", monotonic=clock.monotonic
    )
    body = {"access_token": "first", "token_type": "bearer", "expires_in": told}
    endpoint.answer = (200, json.dumps(body).encode(), JSON)
    async with session() as http:
        assert await tokens.get(http, timeout_seconds=5) == "first"
        endpoint.answer = (200, b'{"access_token": "second"}', JSON)
        if seconds:
            clock.seconds += seconds - 0.1
            assert await tokens.get(http, timeout_seconds=5) == "first"
            clock.seconds += 0.2
        assert await tokens.get(http, timeout_seconds=5) == "second"
        assert len(endpoint.requests) == 2


def refusal(error, **more):
    return json.dumps({"error": error, **more}).encode()


@pytest.mark.parametrize(
    ("status", "body", "retryable", "told"),
    [
        (401, refusal("invalid_client", error_description="who?"), False,
         "invalid_client who?: check registry.oauth.client_id and registry.oauth.client_secret"),
        (400, refusal("invalid_scope"), False, "invalid_scope: check registry.oauth.scope"),
        (400, refusal("invalid_client", error_description="x" * 2000), False,
         "…: check registry.oauth.client_id and registry.oauth.client_secret"),
        (400, refusal("temporarily_unavailable"), True, "HTTP 400: "),
        (400, refusal("server_error"), True, "HTTP 400: "),
        (404, b"<html>" + b"none " * 500, True, "is registry.oauth.token_url right?"),
        (400, refusal("unauthorized_client"), False, "check registry.oauth.client_id, and what"),
        (404, b"<html>none</html>", True, "is registry.oauth.token_url right?"),
        (429, refusal("slow_down"), True, "HTTP 429"),
        (503, b"<html>later</html>", True, "HTTP 503: <html>later"),
        (200, b"<html>welcome</html>", True, "no bearer token: <html>welcome"),
        (200, b"[]", True, "is registry.oauth.token_url right?"),
        (200, b'{"access_token": 7}', True, "no bearer token: is registry"),
        (200, b'{"access_token": "a b"}', True, "no bearer token: is registry"),
        (200, b'{"access_token": "a", "token_type": "mac"}', True, "no bearer token: is registry"),
        (200, b"[" * 50_000, True, "no bearer token"),
        (200, b"x" * (MAX_ANSWER_BYTES + 1), True, f"more than {MAX_ANSWER_BYTES} bytes"),
        (200, json.dumps({"access_token": "x" * (MAX_TOKEN_CHARS + 1)}).encode(), True,
         "no bearer token: is registry"),
        (307, b"", True, "it leads to https://elsewhere.example"),
    ],
)  # fmt: skip
async def test_whoever_gets_no_token_is_told_which_setting_to_look_at(
    endpoint, status, body, retryable, told
):
    headers = {"Location": "https://elsewhere.example/t"} if status == 307 else JSON
    endpoint.answer = (status, body, headers)
    given = RegistrySettings(url="http://127.0.0.1:1", oauth=oauth(endpoint))
    with pytest.raises(RegistryError) as caught:
        async with RegistryClient(given) as client:
            await client.get_versions("s")
    assert caught.value.retryable is retryable
    assert "no token from registry.oauth.token_url: " in str(caught.value)
    assert told in str(caught.value)


async def test_an_endpoint_may_say_how_long_to_leave_it_alone(endpoint):
    endpoint.answer = (429, refusal("slow_down"), {**JSON, "Retry-After": "9"})
    given = RegistrySettings(url="http://127.0.0.1:1", oauth=oauth(endpoint))
    with pytest.raises(RegistryUnreachableError) as caught:
        async with RegistryClient(given) as client:
            await client.get_versions("s")
    assert caught.value.retry_after_seconds == 9


async def test_nobody_at_the_endpoint_is_waited_for(endpoint):
    endpoint.close()
    tokens = BearerTokens(OAuthSettings(**oauth(endpoint)), "registry.oauth")
    async with session() as http:
        with pytest.raises(NoTokenError, match="refused") as caught:
            await tokens.get(http, timeout_seconds=5)
    assert caught.value.retryable


@pytest.mark.parametrize("form", ['{"error": "%s"}', '{"error": "x", "error_description": "%s"}',
                                  "<html>%s</html>"])  # fmt: skip
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_no_error_has_the_secret(endpoint, form, status):
    endpoint.answer = (status, (form % SECRET).encode(), JSON)
    given = RegistrySettings(url="http://127.0.0.1:1", oauth=oauth(endpoint))
    assert SECRET not in repr(given)
    with pytest.raises(RegistryError) as caught:
        async with RegistryClient(given) as client:
            await client.get_versions("s")
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_an_authority_that_is_no_file_is_a_wrong_setting(tmp_path):
    given = {
        "token_url": "https://id.example.org/t", "client_id": "kite", "client_secret": SECRET,
        "ca_file": tmp_path,
    }  # fmt: skip
    with pytest.raises(SettingsError, match=r"registry\.oauth\.ca_file: .* is a directory"):
        RegistryClient(RegistrySettings(oauth=given))
