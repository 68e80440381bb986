"""A registry, or what stands in its place, answers in every way that it should not."""

import asyncio
import base64
import gzip
import random
import sys

import pytest
from aiohttp import web

from connector.errors import (
    RegistryError,
    RegistryUnreachableError,
    SchemaIncompatibleError,
)
from connector.kafka.registry import schema_by_id
from connector.kafka.registry_client import (
    MAX_ANSWER_BYTES,
    MAX_SCHEMA_ID,
    RegistryClient,
    registry_client,
)
from connector.redaction import MAX_FOREIGN_CHARS
from connector.settings.models import RegistrySettings
from tests.support.token_endpoint import TokenEndpoint

PASSWORD = "not-a-real-password"
PAIR = base64.b64encode(f"registrar:{PASSWORD}".encode()).decode()


@pytest.fixture
def registry(answering):
    """A server that answers each request by a function of it; gives its settings."""

    async def start(handler, **settings):
        if not callable(handler):
            fixed = handler

            async def handler(request):
                status, body, headers = (*fixed, {})[:3]
                return web.Response(status=status, body=body, headers=headers)

        return RegistrySettings(url=await answering(handler), **settings)

    return start


async def refused(settings, method="register_schema", arguments=("s-value", '"int"'), **details):
    with pytest.raises(RegistryError) as caught:
        async with RegistryClient(settings, **details) as client:
            await getattr(client, method)(*arguments)
    return caught.value


@pytest.mark.parametrize(
    "status", [408, 425, 429, 500, 502, 503, 504, 301, 302, 307, 400, 401, 403, 404, 409, 418, 200]
)
async def test_a_page_is_no_registrys_answer_and_is_waited_for(registry, status):
    page = b"<html><h1>Come back later</h1></html>"
    for method in ("register_schema", "lookup_schema"):
        error = await refused(await registry((status, page)), method)
        assert type(error) is RegistryUnreachableError
        assert f"HTTP {status}" in str(error)
        assert "Come back later" in str(error)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_registry_may_say_how_long_to_leave_it_alone(registry, status):
    document = b'{"error_code": 50001, "message": "later"}'
    for body in (document, b"<h1>later</h1>", b"x" * (MAX_ANSWER_BYTES + 1)):
        error = await refused(await registry((status, body, {"Retry-After": "8"})))
        assert type(error) is RegistryUnreachableError
        assert error.retry_after_seconds == 8
    assert (await refused(await registry((status, document)))).retry_after_seconds == 0


async def test_a_new_password_in_its_file_is_taken_by_the_next_client(registry, tmp_path):
    logins = []

    async def handler(request):
        logins.append(base64.b64decode(request.headers["Authorization"].split()[1]).decode())
        return web.json_response({"id": 7})

    file = tmp_path / "password"
    settings = await registry(handler, username="kite", password="first", password_file=file)
    for content in ("first", "second"):
        file.write_text(content)
        async with RegistryClient(settings) as client:
            await client.lookup_schema("s-value", '"int"')
    assert logins == ["kite:first", "kite:second"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_a_registry_that_says_not_now_is_waited_for(registry, status):
    body = b'{"error_code": 42900, "message": "not now"}'
    error = await refused(await registry((status, body)))
    assert (error.retryable, error.reason) == (True, f"HTTP {status}: not now")


@pytest.mark.parametrize(
    ("status", "kind"), [(400, RegistryError), (409, SchemaIncompatibleError), (422, RegistryError)]
)
async def test_what_a_registry_refuses_for_good_is_an_error(registry, status, kind):
    body = b'{"error_code": 42201, "message": "no schema"}'
    error = await refused(await registry((status, body)))
    assert (type(error), error.retryable, "no schema" in error.reason) == (kind, False, True)


@pytest.mark.parametrize(
    "schema_id",
    ["-1", "0", '"7"', str(MAX_SCHEMA_ID + 1), str(2**40), "true", "null", "7.0", "[7]", "1e3"],
)
async def test_an_id_that_cannot_be_framed_is_none(registry, schema_id):
    error = await refused(await registry((200, f'{{"id": {schema_id}}}'.encode())))
    assert (type(error), error.retryable) == (RegistryUnreachableError, True)
    assert "is registry.url right?" in error.reason


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{}", b"null", b"nonsense", b"[" * 50_000, b"\xff\xfe", b'{"id":']
)
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("register_schema", ("s", '"int"')),
        ("lookup_schema", ("s", '"int"')),
        ("is_compatible", ("s", '"int"')),
        ("get_compatibility", ("s",)),
        ("get_schema", (7,)),
    ],
)
async def test_other_json_is_no_registrys_answer(registry, method, arguments, body):
    error = await refused(await registry((200, body)), method, arguments)
    assert error.retryable


@pytest.mark.parametrize(
    "body", [b"{}", b'["1"]', b"[true]", b"[0]", b"[1.5]", b"[" + b"1," * 20_000 + b"1]"]
)
async def test_versions_are_numbers(registry, body):
    assert (await refused(await registry((200, body)), "get_versions", ("s",))).retryable


async def test_the_largest_id_is_one(registry):
    settings = await registry((200, b'{"id": %d}' % MAX_SCHEMA_ID))
    async with RegistryClient(settings) as client:
        assert await client.register_schema("s", '"int"') == MAX_SCHEMA_ID


@pytest.mark.parametrize("status", [200, 503])
async def test_a_long_answer_is_not_read_to_its_end_nor_shown(registry, status):
    error = await refused(await registry((status, b"x" * 2 * 10**6)))
    assert error.retryable
    assert f"more than {MAX_ANSWER_BYTES} bytes" in error.reason
    error = await refused(await registry((status, b"x" * 10_000)))
    assert len(error.reason) < MAX_FOREIGN_CHARS + 100


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
async def test_a_little_gzip_of_very_much_is_not_unpacked(registry, headers):
    bomb = gzip.compress(bytes(20 * 10**6))
    error = await refused(await registry((200, bomb, headers)))
    assert (error.retryable, "more than" in error.reason) == (True, True)


async def test_a_gzipped_answer_is_read(registry):
    body = gzip.compress(b'{"id": 7}')
    async with RegistryClient(await registry((200, body, {"Content-Encoding": "gzip"}))) as client:
        assert await client.register_schema("s", '"int"') == 7


async def test_an_answer_that_drips_has_one_deadline(registry):
    ends = asyncio.Event()

    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while not ends.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        return response

    settings = await registry(drip)
    try:
        error = await refused(settings, timeout_seconds=0.3)
        assert (type(error), error.reason) == (RegistryUnreachableError, "no answer in 0.3 s")
    finally:
        ends.set()


@pytest.mark.parametrize(
    "echo", [PASSWORD, PAIR, f"Authorization: Basic {PAIR}", f"a{PASSWORD}b" * 200]
)
@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("form", ['{"error_code": 1, "message": "%s"}', "<html>%s</html>"])
async def test_no_error_has_the_password_in_any_form(registry, echo, status, form):
    settings = await registry(
        (status, (form % echo).encode()), username="registrar", password=PASSWORD
    )
    error = await refused(settings)
    for secret in (PASSWORD, PAIR, PASSWORD[:12], PAIR[4:20]):
        assert secret not in f"{error} {error!r} {error.__cause__!r}"
    assert len(error.reason) < 2 * MAX_FOREIGN_CHARS


async def test_no_error_has_the_token(registry):
    seen = []

    async def echo(request):
        seen.append(request.headers["Authorization"])
        return web.Response(status=500, text=seen[-1])

    endpoint = TokenEndpoint({"kite": PASSWORD})
    try:
        oauth = {"token_url": endpoint.url, "client_id": "kite", "client_secret": PASSWORD}
        error = await refused(await registry(echo, oauth=oauth))
    finally:
        endpoint.close()
    kind, token = seen[0].split()
    assert (kind, error.retryable) == ("Bearer", True)
    shown = f"{error} {error!r} {error.__cause__!r}"
    assert "HTTP 500" in shown
    assert not any(token[at : at + 12] in shown for at in range(len(token) - 12))


async def test_a_redirect_is_told_and_takes_no_password_along(registry):
    seen = []

    async def elsewhere(request):
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"id": 7})

    other = (await registry(elsewhere)).url
    settings = await registry(
        (307, b"", {"Location": f"{other}/?p={PASSWORD}"}), username="registrar", password=PASSWORD
    )
    error = await refused(settings)
    assert error.retryable
    assert other in error.reason
    assert PASSWORD not in error.reason
    assert seen == []


async def test_a_broken_connection_is_waited_for(registry):
    async def breaks(request):
        request.transport.abort()
        return web.Response()

    assert (await refused(await registry(breaks))).retryable


async def test_a_body_that_ends_early_is_no_answer(registry):
    async def early(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"id": 7}')
        request.transport.close()
        return response

    assert (await refused(await registry(early))).retryable


@pytest.mark.parametrize("seed", range(20))
async def test_noise_is_only_ever_a_registry_error(registry, seed):
    noise = random.Random(seed)
    body = noise.randbytes(noise.randrange(2000))
    status = noise.choice([200, 204, 400, 404, 409, 500, 599])
    assert isinstance(await refused(await registry((status, body))), RegistryError)


async def test_control_characters_do_not_reach_a_terminal(registry):
    error = await refused(await registry((503, b"\x1b[2J\r\nGone\0")))
    assert str(error).isprintable()


async def test_it_has_to_be_open(registry):
    with pytest.raises(RuntimeError, match="async with"):
        await RegistryClient(RegistrySettings()).get_schema(1)


async def test_a_schema_is_found_by_its_id_from_a_thread(registry):
    settings = await registry((200, b'{"schema": "\\"int\\""}'))
    client = registry_client(settings)
    for _ in range(2):
        assert await asyncio.to_thread(schema_by_id, client, 7) == '"int"'


async def test_nothing_but_the_registrys_own_imports_is_needed():
    """What the program of confluent-kafka for registries would bring along stays out."""
    code = (
        "import sys, connector.kafka.registry, connector.kafka.tail;"
        "print([m for m in sys.modules if 'schema_registry' in m or m in ('httpx', 'authlib')])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


async def test_a_registry_in_this_process(registry):
    settings = RegistrySettings(url="mock://one")
    async with registry_client(settings) as client:
        assert await client.get_versions("s") == []
        assert await client.lookup_schema("s", '"int"') is None
        first = await client.register_schema("s", '"int"')
        assert await client.register_schema("t", '"int"') == first
        second = await client.register_schema("s", '"long"')
        assert await client.get_versions("s") == [1, 2]
        assert await client.lookup_schema("s", '"long"') == (second, 2)
        assert await client.get_schema(second) == '"long"'
        with pytest.raises(RegistryError):
            await client.get_schema(99)
    async with registry_client(RegistrySettings(url="mock://other")) as other:
        assert await other.get_versions("s") == []
    async with registry_client(settings) as again:
        assert await again.get_versions("s") == [1, 2]
