import asyncio
import json

import aiohttp
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

FIRST = '{"type": "record", "name": "A", "fields": []}'
SECOND = '{"type": "record", "name": "B", "fields": []}'


@pytest.fixture
async def ask(registry):
    """Call a method of confluent-kafka's client, each time a new one: it caches."""

    async def ask(method, *arguments):
        def call():
            with SchemaRegistryClient({"url": registry.url, "max.retries": 0}) as client:
                return getattr(client, method)(*arguments)

        return await asyncio.to_thread(call)

    return ask


async def refused(ask, method, *arguments):
    with pytest.raises(SchemaRegistryError) as caught:
        await ask(method, *arguments)
    return caught.value.http_status_code, caught.value.error_code


async def test_confluents_client_registers_and_reads(ask, registry):
    first = await ask("register_schema", "a-value", Schema(FIRST, "AVRO"))
    second = await ask("register_schema", "a-value", Schema(SECOND, "AVRO"))
    assert (first, second) == (1, 2)
    assert await ask("get_subjects") == ["a-value"]
    assert await ask("get_versions", "a-value") == [1, 2]
    assert (await ask("get_schema", 2)).schema_str == SECOND
    latest = await ask("get_latest_version", "a-value")
    assert (latest.version, latest.schema_id, latest.subject) == (2, 2, "a-value")
    assert (await ask("get_version", "a-value", 1)).schema_id == 1
    found = await ask("lookup_schema", "a-value", Schema(FIRST, "AVRO"))
    assert (found.version, found.schema_id) == (1, 1)
    assert await ask("test_compatibility_all_versions", "a-value", Schema(FIRST, "AVRO"))
    assert await ask("get_schema_types") == ["AVRO"]
    assert registry.subjects == {"a-value": [1, 2]}


async def test_equal_schemas_have_one_id(ask):
    spaced = json.dumps(json.loads(FIRST), indent=4)
    assert await ask("register_schema", "a-value", Schema(FIRST, "AVRO")) == 1
    assert await ask("register_schema", "b-value", Schema(spaced, "AVRO")) == 1
    assert await ask("register_schema", "a-value", Schema(spaced, "AVRO")) == 1
    assert await ask("get_versions", "a-value") == [1]


async def test_what_is_not_there(ask):
    await ask("register_schema", "a-value", Schema(FIRST, "AVRO"))
    assert await refused(ask, "get_versions", "b-value") == (404, 40401)
    assert await refused(ask, "get_version", "a-value", 2) == (404, 40402)
    assert await refused(ask, "get_schema", 2) == (404, 40403)
    assert await refused(ask, "lookup_schema", "a-value", Schema(SECOND, "AVRO")) == (404, 40403)
    assert await refused(ask, "lookup_schema", "b-value", Schema(FIRST, "AVRO")) == (404, 40401)


async def test_compatibility_is_remembered(ask):
    assert await ask("get_compatibility") == "NONE"
    await ask("set_compatibility", "a-value", "FULL_TRANSITIVE")
    assert await ask("get_compatibility", "a-value") == "FULL_TRANSITIVE"
    await ask("set_compatibility", None, "BACKWARD")
    assert await ask("get_compatibility", "b-value") == "BACKWARD"


DEEP = "[" * 50_000


@pytest.mark.parametrize(
    "body",
    [
        "no json", "[]", "{}", '{"schema": 1}', '{"schema": "no json"}',
        DEEP, f'{{"schema": "{DEEP}"}}',
    ],
    ids=["text", "list", "empty", "number", "text in it", "deep", "deep in it"],
)  # fmt: skip
async def test_what_is_no_schema(registry, body):
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{registry.url}/subjects/a/versions", data=body) as response,
    ):
        assert response.status == 422
        assert (await response.json(content_type=None))["error_code"] == 42201


async def test_other_paths_are_told_in_its_own_form(registry):
    async with aiohttp.ClientSession() as session, session.get(f"{registry.url}/x") as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["error_code"] == 404


async def test_schemas_outlive_a_restart_of_the_server(registry, ask):
    await ask("register_schema", "a-value", Schema(FIRST, "AVRO"))
    await registry.close()
    with pytest.raises(RuntimeError, match="not running"):
        _ = registry.url
    await registry.start()
    assert await ask("get_versions", "a-value") == [1]
