"""Registering and checking schemas in a real registry."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from connector.errors import RegistryError, SchemaIncompatibleError
from connector.kafka.registry import (
    check_schemas,
    register_schemas,
    schema_by_id,
    subject_of,
    topic_schemas,
)
from connector.kafka.registry_client import registry_client
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Exchange
from connector.schemas import load, text
from connector.settings.models import RegistrySettings

pytestmark = pytest.mark.integration
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def settings(registry_url):
    return RegistrySettings(url=registry_url)


@pytest.fixture
def names():
    return TopicNames(f"it-{uuid.uuid4().hex[:8]}")


async def call(settings, method, *arguments):
    async with registry_client(settings) as client:
        return await getattr(client, method)(*arguments)


async def test_schemas_are_registered_with_their_compatibility(settings, names):
    assert {status.state for status in await check_schemas(settings, names)} == {"missing"}
    ids = await register_schemas(settings, names)
    for topic, name in topic_schemas(names).items():
        subject = subject_of(topic)
        assert await call(settings, "get_compatibility", subject) == "FULL_TRANSITIVE"
        found = await asyncio.to_thread(schema_by_id, registry_client(settings), ids[topic])
        assert json.loads(found) == json.loads(text(name))
    assert await register_schemas(settings, names) == ids
    looking = settings.model_copy(update={"register_schemas": False})
    assert await register_schemas(looking, names) == ids
    states = await check_schemas(settings, names)
    assert {(status.state, status.versions) for status in states} == {("registered", (1,))}
    assert {status.topic: status.schema_id for status in states} == ids


async def test_looking_up_registers_nothing(settings, names):
    looking = settings.model_copy(update={"register_schemas": False})
    with pytest.raises(RegistryError, match="not registered"):
        await register_schemas(looking, names)
    assert {status.state for status in await check_schemas(settings, names)} == {"missing"}


async def test_an_incompatible_schema_stops_with_the_reason(settings, names):
    topic = names.orders
    older = load("order_update")
    older["fields"].append({"name": "needed", "type": "string"})
    await call(settings, "set_compatibility", subject_of(topic), "FULL_TRANSITIVE")
    await call(settings, "register_schema", subject_of(topic), json.dumps(older))
    (status,) = [s for s in await check_schemas(settings, names) if s.topic == topic]
    assert status.state == "incompatible"
    with pytest.raises(SchemaIncompatibleError) as caught:
        await register_schemas(settings, names)
    assert caught.value.subject == subject_of(topic)
    assert "ncompatib" in caught.value.reason
    assert not caught.value.retryable


async def test_an_older_version_may_go_on_beside_a_newer(settings, names):
    ids = await register_schemas(settings, names)
    newer = load("tick")
    newer["fields"].append({"name": "later", "type": ["null", "long"], "default": None})
    topic = next(iter(names.all_ticks().values()))
    newer_id = await call(settings, "register_schema", subject_of(topic), json.dumps(newer))
    assert newer_id != ids[topic]
    assert await register_schemas(settings, names) == ids
    (status,) = [s for s in await check_schemas(settings, names) if s.topic == topic]
    assert (status.state, status.version, status.versions) == ("registered", 1, (1, 2))


async def test_version_2_is_registered_beside_version_1(settings, names):
    older = {"tick": names.all_ticks()[Exchange.NSE], "order_update": names.orders}
    first = {}
    for name, topic in older.items():
        subject = subject_of(topic)
        await call(settings, "set_compatibility", subject, "FULL_TRANSITIVE")
        schema = (GOLDEN / f"{name}.v1.avsc").read_text("utf-8")
        first[topic] = await call(settings, "register_schema", subject, schema)
    ids = await register_schemas(settings, names)
    states = {status.topic: status for status in await check_schemas(settings, names)}
    for topic, number in first.items():
        assert ids[topic] != number
        assert (states[topic].state, states[topic].version) == ("registered", 2)
        assert states[topic].versions == (1, 2)
        # whoever reads an older record finds the schema that it was written with
        found = await asyncio.to_thread(schema_by_id, registry_client(settings), number)
        assert "best_bid_price" not in found
        assert "algo_id" not in found
    assert states[names.events].versions == (1,)


async def test_another_doc_is_no_other_schema(settings, names):
    ids = {}
    for topic, name in topic_schemas(names).items():
        worded = load(name)
        worded["doc"] = worded["fields"][0]["doc"] = "Words of another release."
        ids[topic] = await call(settings, "register_schema", subject_of(topic), json.dumps(worded))
    states = await check_schemas(settings, names)
    assert {status.state for status in states} == {"registered"}
    looking = settings.model_copy(update={"register_schemas": False})
    assert await register_schemas(looking, names) == ids


async def test_compatibility_is_left_alone_when_asked(settings, names):
    subject = subject_of(names.orders)
    await call(settings, "set_compatibility", subject, "BACKWARD")
    await register_schemas(settings.model_copy(update={"compatibility": None}), names)
    assert await call(settings, "get_compatibility", subject) == "BACKWARD"
