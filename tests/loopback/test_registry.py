import base64
import json
import os
import socket

import pytest
from aiohttp import web

from connector import schemas
from connector.errors import (
    RegistryError,
    RegistryUnreachableError,
    SchemaIncompatibleError,
    SettingsError,
)
from connector.files import MAX_PEM_BYTES
from connector.kafka.registry import (
    check_schemas,
    register_schemas,
    topic_schemas,
    unused_topics,
)
from connector.kafka.registry_client import registry_client
from connector.kafka.topics import TopicNames
from connector.settings.models import RegistrySettings, TopicSettings

NAMES = TopicNames("kite")


def test_every_avro_topic_has_a_schema():
    assert topic_schemas(NAMES) == {
        **dict.fromkeys(NAMES.all_ticks().values(), "tick"),
        "kite.orders": "order_update",
        "kite.events": "connection_event",
        "kite.instruments": "instrument",
        "kite.latest": "tick",
        "kite.backfill.1m": "candle",
    }


@pytest.mark.parametrize(("latest", "backfill"), [(True, False), (False, True)])
async def test_a_topic_that_the_settings_do_not_have_needs_no_schema(registry, latest, backfill):
    given = RegistrySettings(url=registry.url)
    without = unused_topics(NAMES, TopicSettings(latest=latest, backfill=backfill))
    ids = await register_schemas(given, NAMES, without=without)
    assert (NAMES.latest in ids, NAMES.backfill in ids) == (latest, backfill)
    states = await check_schemas(given, NAMES, without=without)
    assert {status.topic for status in states} == set(ids)


async def test_schemas_are_registered_under_their_topics(registry):
    settings = RegistrySettings(url=registry.url)
    ids = await register_schemas(settings, NAMES)
    assert set(ids) == set(topic_schemas(NAMES))
    assert registry.subjects == {f"{topic}-value": [number] for topic, number in ids.items()}
    assert await register_schemas(settings, NAMES) == ids
    assert {status.state for status in await check_schemas(settings, NAMES)} == {"registered"}


async def test_looking_up_only(registry):
    only = RegistrySettings(url=registry.url, register_schemas=False)
    with pytest.raises(RegistryError, match=r"kite\.ticks\.nse-value: the schema is not reg"):
        await register_schemas(only, NAMES)
    assert registry.subjects == {}
    ids = await register_schemas(RegistrySettings(url=registry.url), NAMES)
    assert await register_schemas(only, NAMES) == ids


async def test_a_schema_that_differs_in_words_alone_is_the_registered_one(registry):
    """Some registries take another doc for another schema; no reader does."""
    other = TopicNames("other")
    worded = schemas.load("order_update")
    worded["doc"] = worded["fields"][0]["doc"] = "Words of another release."
    worded["fields"][0]["aliases"] = ["time"]
    settings = RegistrySettings(url=registry.url)
    async with registry_client(settings) as client:
        worded_id = await client.register_schema("other.orders-value", json.dumps(worded))
        await client.register_schema("other.orders-value", '"string"')
    (status,) = [s for s in await check_schemas(settings, other) if s.topic == other.orders]
    assert status.state == "registered"
    assert (status.schema_id, status.version, status.versions) == (worded_id, 1, (1, 2))


async def test_looking_up_finds_a_schema_that_differs_in_words_alone(registry):
    settings = RegistrySettings(url=registry.url)
    ids = {}
    async with registry_client(settings) as client:
        for topic, name in topic_schemas(NAMES).items():
            worded = {**schemas.load(name), "doc": "Words of another release."}
            ids[topic] = await client.register_schema(f"{topic}-value", json.dumps(worded))
    only = settings.model_copy(update={"register_schemas": False})
    assert await register_schemas(only, NAMES) == ids


async def test_checking_changes_nothing(registry):
    settings = RegistrySettings(url=registry.url)
    assert {status.state for status in await check_schemas(settings, NAMES)} == {"missing"}
    assert registry.subjects == {}


async def test_compatibility_is_set_before_the_first_schema(answering):
    asked = []

    async def handler(request):
        asked.append((request.method, request.path))
        if request.path.startswith("/config"):
            if request.method == "GET":
                return web.json_response({"error_code": 40408, "message": "none"}, status=404)
            return web.json_response(await request.json())
        return web.json_response({"id": 7})

    url = await answering(handler)
    ids = await register_schemas(RegistrySettings(url=url), NAMES)
    assert set(ids.values()) == {7}
    assert asked[:3] == [
        ("GET", "/config/kite.ticks.nse-value"),
        ("PUT", "/config/kite.ticks.nse-value"),
        ("POST", "/subjects/kite.ticks.nse-value/versions"),
    ]


async def test_compatibility_that_is_right_or_not_wanted_is_left(answering):
    asked = []

    async def handler(request):
        asked.append((request.method, request.path.split("/")[1]))
        return web.json_response({"id": 7, "compatibilityLevel": "FULL_TRANSITIVE"})

    url = await answering(handler)
    await register_schemas(RegistrySettings(url=url), NAMES)
    assert ("GET", "config") in asked
    assert ("PUT", "config") not in asked
    asked.clear()
    await register_schemas(RegistrySettings(url=url, compatibility=None), NAMES)
    assert set(asked) == {("POST", "subjects"), ("GET", "schemas")}


async def test_every_subject_may_have_an_id_of_its_own(answering):
    numbers = iter(range(100, 200))

    async def handler(request):
        return web.json_response(
            {"id": next(numbers)}
            if request.path.startswith("/subjects")
            else {"compatibilityLevel": "FULL_TRANSITIVE"}
        )

    ids = await register_schemas(RegistrySettings(url=await answering(handler)), NAMES)
    assert list(ids.values()) == list(range(100, 100 + len(ids)))


@pytest.mark.parametrize(
    ("status", "error", "retryable"),
    [
        (409, SchemaIncompatibleError, False),
        (401, RegistryError, False),
        (403, RegistryError, False),
        (422, RegistryError, False),
        (500, RegistryUnreachableError, True),
        (503, RegistryUnreachableError, True),
    ],
)
async def test_refusals(answering, status, error, retryable):
    async def handler(request):
        if request.path.startswith("/config"):
            return web.json_response({"compatibilityLevel": "FULL_TRANSITIVE"})
        return web.json_response({"error_code": status, "message": "the reason"}, status=status)

    with pytest.raises(error, match="the reason") as caught:
        await register_schemas(RegistrySettings(url=await answering(handler)), NAMES)
    assert type(caught.value) is error
    assert caught.value.retryable is retryable
    assert caught.value.subject == "kite.ticks.nse-value"
    asked = {401: "registry.username and", 403: "registry.register_schemas to false"}.get(status)
    assert asked is None or asked in caught.value.reason


@pytest.mark.parametrize("refused", ["POST", "PUT"])
async def test_a_registry_that_takes_nothing_new_serves_what_it_has(answering, refused):
    """Read-only, as Confluent's is during a migration; or an account that may only read."""

    async def handler(request):
        if request.path.startswith("/config") and request.method == "GET":
            level = "BACKWARD" if refused == "PUT" else "FULL_TRANSITIVE"
            return web.json_response({"compatibilityLevel": level})
        if request.method == "PUT" or request.path.endswith("/versions"):
            told = {"error_code": 42205, "message": "Subject is in read-only mode"}
            return web.json_response(told, status=422)
        return web.json_response({"id": 7, "version": 1})

    ids = await register_schemas(RegistrySettings(url=await answering(handler)), NAMES)
    assert set(ids.values()) == {7}


async def test_nobody_answers():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings = RegistrySettings(url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(RegistryUnreachableError, match="refused"):
            await register_schemas(settings, NAMES)


async def test_an_incompatible_schema_is_seen_by_checking(answering):
    async def handler(request):
        if request.path.startswith("/compatibility"):
            return web.json_response({"is_compatible": "nfo" in request.path})
        if request.path.endswith("/versions"):
            return web.json_response([1, 2])
        return web.json_response({"error_code": 40403, "message": "none"}, status=404)

    statuses = await check_schemas(RegistrySettings(url=await answering(handler)), NAMES)
    states = {status.topic: status.state for status in statuses}
    assert states.pop("kite.ticks.nfo") == "compatible"
    assert set(states.values()) == {"incompatible"}
    assert statuses[0].versions == (1, 2)


async def test_credentials_are_sent_and_not_shown(answering):
    seen = set()

    async def handler(request):
        seen.add(request.headers["Authorization"])
        return web.json_response({"error_code": 401, "message": "Unauthorized"}, status=401)

    settings = RegistrySettings(url=await answering(handler), username="u", password="geheim")
    with pytest.raises(RegistryError) as caught:
        await register_schemas(settings, NAMES)
    assert seen == {"Basic " + base64.b64encode(b"u:geheim").decode()}
    assert "geheim" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none", "cannot be read: No such file"),
        ("text", "no certificate in PEM"),
        ("pipe", "is a pipe, not a file"),
        ("huge", "has more than 4194304 bytes"),
    ],
)
async def test_an_authority_that_is_of_no_use_is_a_wrong_setting(tmp_path, name, reason):
    (tmp_path / "text").write_text("no PEM")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_PEM_BYTES + 1)
    settings = RegistrySettings(url="https://localhost:1", ca_file=tmp_path / name)
    with pytest.raises(SettingsError, match=rf"registry\.ca_file: \S+{name} .*{reason}"):
        await register_schemas(settings, NAMES)


async def test_in_this_process():
    ids = await register_schemas(RegistrySettings(url="mock://tests"), NAMES)
    assert set(ids) == set(topic_schemas(NAMES))
    statuses = await check_schemas(RegistrySettings(url="mock://tests"), NAMES)
    assert {status.state for status in statuses} <= {"missing", "registered"}


@pytest.mark.parametrize("seen_at_once", [True, False])
async def test_replicas_that_start_together(answering, seen_at_once):
    """The second to set a subject's compatibility, or to register, is refused by some registries:
    what the first one did counts, at once or at the next try."""
    reads, compatibility, registered = {}, set(), set()

    async def handler(request):
        subject = request.path.split("/")[2]
        if request.path.startswith("/config/"):
            if request.method == "PUT":
                compatibility.add(subject)
                return web.json_response({"error_code": 409, "message": "exists"}, status=409)
            reads[subject] = reads.get(subject, 0) + 1
            if subject in compatibility and (seen_at_once or reads[subject] > 2):
                return web.json_response({"compatibilityLevel": "FULL_TRANSITIVE"})
            return web.json_response({"error_code": 40401, "message": "none"}, status=404)
        if request.path.endswith("/versions") and subject not in registered:
            registered.add(subject)
            return web.json_response({"error_code": 409, "message": "exists"}, status=409)
        answer = {"id": 7, "subject": subject, "version": 1, "schema": '"int"'}
        if request.path.startswith("/schemas"):
            return web.json_response({"error_code": 40403, "message": "none"}, status=404)
        return web.json_response(answer)

    settings = RegistrySettings(url=await answering(handler))
    if not seen_at_once:
        for topic in topic_schemas(NAMES):
            with pytest.raises(RegistryUnreachableError, match=topic):
                await register_schemas(settings, NAMES)
    assert set((await register_schemas(settings, NAMES)).values()) == {7}


def by_id(answering, of_id):
    """A registry that gives each schema the id 7, and under it what is given."""

    async def handler(request):
        if request.path.startswith("/schemas/ids/"):
            return of_id if isinstance(of_id, web.Response) else web.json_response(of_id)
        return web.json_response({"id": 7, "compatibilityLevel": "FULL_TRANSITIVE"})

    return answering(handler)


def tick_in_other_words():
    """As registries write it: other order, no words, the namespace in each name."""
    tick = schemas.without_words(schemas.load("tick"))
    name = f"{tick.pop('namespace')}.{tick.pop('name')}"
    return json.dumps({"fields": tick.pop("fields"), "name": name, **tick})


ONE = [topic for topic in topic_schemas(NAMES) if topic != "kite.ticks.nse"]


@pytest.mark.parametrize(
    "schema", ['"string"', schemas.text("candle"), "no JSON", "[" * 9999, '{"type": "record"}']
)
async def test_an_id_under_which_another_schema_is_is_never_written(answering, schema):
    settings = RegistrySettings(url=await by_id(answering, {"schema": schema}))
    with pytest.raises(RegistryError, match="another one under it") as caught:
        await register_schemas(settings, NAMES, without=ONE)
    assert not caught.value.retryable
    assert "id 7" in caught.value.reason


@pytest.mark.parametrize("schema", [schemas.text("tick"), tick_in_other_words()])
async def test_the_same_schema_in_another_form_is_the_same(answering, schema):
    settings = RegistrySettings(url=await by_id(answering, {"schema": schema}))
    assert await register_schemas(settings, NAMES, without=ONE) == {"kite.ticks.nse": 7}


@pytest.mark.parametrize("status", [401, 403, 404, 500, 200])
async def test_an_id_that_nobody_tells_about_is_believed(answering, status):
    """An account may write and not read by id; a gateway may let other paths through alone."""
    answer = web.Response(status=status, body=b"<html>no</html>")
    settings = RegistrySettings(url=await by_id(answering, answer))
    assert await register_schemas(settings, NAMES, without=ONE) == {"kite.ticks.nse": 7}
