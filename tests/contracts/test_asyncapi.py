"""The AsyncAPI document: current, valid by the specification's own JSON Schema, and whole.

Written anew with `python -m tests.contracts.test_asyncapi`.
"""

import json
from pathlib import Path

import fastavro
import jsonschema
import pytest

from connector.cli.asyncapi import document, page
from connector.control.contract import json_schemas
from connector.kafka.topics import TopicNames, topic_specs
from connector.schemas import NAMES, load
from connector.settings.models import TopicSettings

PAGE = Path(__file__).parents[2] / "docs/asyncapi.md"
SPECIFICATION = json.loads((Path(__file__).parent / "asyncapi/asyncapi-3.0.0.json").read_text())
AGAIN = "write it anew with `python -m tests.contracts.test_asyncapi`"


def made(**topics):
    settings = TopicSettings(**topics)
    return document(settings, slots=3, bootstrap_servers="localhost:9092", version="0")


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == page(made()), AGAIN


@pytest.mark.parametrize("topics", [{}, {"prefix": "other", "tick_partitions": 60}])
def test_the_document_is_valid_by_the_specification(topics):
    jsonschema.Draft7Validator(SPECIFICATION).validate(made(**topics))


def _unknown_action(document):
    document["operations"]["apply_command"]["action"] = "answer"


def _no_channel(document):
    del document["operations"]["apply_command"]["channel"]


def _no_version(document):
    del document["info"]["version"]


def _wrong_partitions(document):
    document["channels"]["orders"]["bindings"]["kafka"]["partitions"] = 0


@pytest.mark.parametrize("spoil", [_unknown_action, _no_channel, _no_version, _wrong_partitions])
def test_the_specification_refuses_what_is_wrong(spoil):
    wrong = made()
    spoil(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SPECIFICATION).validate(wrong)


def references(part):
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_leads_somewhere():
    whole = made()
    found = set(references(whole))
    assert {"#/channels/replies", "#/components/messages/tick"} <= found
    for reference in found:
        at = whole
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
        assert at


def test_every_topic_is_a_channel_with_its_schema():
    settings = TopicSettings(latest=True, backfill=True)
    whole = made(latest=True)
    specs = {spec.name: spec for spec in topic_specs(settings, slots=3)}
    assert {channel["address"] for channel in whole["channels"].values()} == set(specs)
    for channel in whole["channels"].values():
        assert channel["bindings"]["kafka"]["partitions"] == specs[channel["address"]].partitions
    messages = whole["components"]["messages"]
    for name in NAMES:
        assert messages[name]["payload"]["schema"] == load(name)
        fastavro.parse_schema(messages[name]["payload"]["schema"])
    for name in ("command", "reply", "subscription"):
        there = f"#/components/messages/{name}/payload/schema/$defs/"
        text = json.dumps(messages[name]["payload"]["schema"]).replace(there, "#/$defs/")
        assert json.loads(text) == json.loads(json_schemas()[f"{name}.json"])
    assert whole["channels"]["replies"]["address"] == TopicNames("kite").replies


if __name__ == "__main__":
    PAGE.write_text(page(made()), "utf-8")
