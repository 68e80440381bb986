"""What the AsyncAPI document says of each topic holds for what really stands there."""

import asyncio
import base64
import io
import json
from collections import Counter

import fastavro
import jsonschema
import pytest

from connector.cli.asyncapi import document
from connector.embedded.broker import EmbeddedBroker
from connector.kafka.reader import Reader
from connector.kafka.tail import written_records
from connector.settings.models import KafkaSettings, TopicSettings
from tests.loopback.test_service import place_order
from tests.support.ctl import commands
from tests.support.masters import FakeMaster
from tests.support.stack import TOPICS, delivered, service, stack

DOCUMENT = document(TopicSettings(), slots=3, bootstrap_servers="localhost:9092", version="0")
MASTER = FakeMaster({"NSE:A": 257, "NSE:NIFTY 50": 513})
PUBLISHED = [TOPICS.instruments]
OWN = b"@"  # begins a key of the connector's own, of which the document says nothing


def checked(bootstrap_servers, *channels):
    """How many records each of these channels has, each of them as the document says."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers, client=EmbeddedBroker.client)
    found = Counter()
    for channel in channels:
        (message,) = DOCUMENT["channels"][channel]["messages"]
        is_right = _check_of(message)
        with Reader(kafka, "test", "asyncapi") as reader:
            for record in reader.read_to_end(DOCUMENT["channels"][channel]["address"]):
                key, value = record.key() or b"", record.value()
                if value is not None and not key.startswith(OWN):
                    is_right(key, value, record.headers() or [])
                    found[channel] += 1
    return found


def _check_of(message):
    payload = DOCUMENT["components"]["messages"][message]["payload"]
    if "avro" in payload["schemaFormat"]:
        schema = fastavro.parse_schema(payload["schema"])

        def decoded(_key, value, _headers):
            body = io.BytesIO(value[5:])
            assert value[0] == 0
            fastavro.schemaless_reader(body, schema, None)
            assert not body.read()

        return decoded
    where = f"#/components/messages/{message}/payload/schema"
    schema = jsonschema.Draft202012Validator({**DOCUMENT, "$ref": where})

    def valid(key, value, headers):
        told = {name: content.decode() for name, content in headers}
        letter = {
            "key": key.decode(), "value": base64.b64encode(value).decode(), "headers": told,
        }  # fmt: skip
        schema.validate(letter if message == "dead_letter" else json.loads(value))

    return valid


async def test_what_a_service_writes_is_as_the_document_says():
    topics = {"replication_factor": 1, "tick_partitions": 2, "latest": True,
              "latest_interval_seconds": 0.1}  # fmt: skip
    async with stack(topics=topics, instrument_master={"load": True}) as around:
        async with asyncio.timeout(180), service(around) as running:
            place_order(around.simulator)
            await around.simulator.inject("unknown_length")
            await around.simulator.inject("garbage_text")
            await around.simulator.step(20)
            while not sum((await written_records(around.settings.kafka, PUBLISHED)).values()):
                pass  # the list goes to its topic when it is loaded, beside all else
            await delivered(running)
        found = await asyncio.to_thread(
            checked, around.broker.bootstrap_servers, "ticks_nse", "ticks_indices", "orders",
            "events", "instruments", "latest", "deadletter",
        )  # fmt: skip
    assert len(found) == 7
    assert min(found.values()) > 1


@pytest.mark.parametrize("wrong", [{"id": "x"}, {"id": 5, "status": "APPLIED"}])
def test_a_wrong_reply_is_not_as_the_document_says(wrong):
    with pytest.raises(jsonschema.ValidationError):
        _check_of("reply")(b"x", json.dumps(wrong).encode(), [])


def test_commands_and_their_replies_are_as_the_document_says(kafka, tmp_path):
    with commands(kafka, MASTER, tmp_path) as run:
        for words in (
            ["subscribe", "NSE:A", "NSE:NONE", "-w", "w", "--by", "somebody"],
            ["set-mode", "full", "NSE:A", "-w", "w"],
            ["unsubscribe", "NSE:A", "-w", "w", "--dry-run"],
            ["replace", "w", "NSE:NIFTY 50"],
            ["set-rule", "r", "-w", "rules", "--pattern", "NSE:*"],
            ["delete-rule", "r", "-w", "rules"],
            ["set-limits", "w", "--quota", "5", "--priority", "1"],
            ["subscribe", "NSE:A", "-w", "w", "--expires-at", "1"],
            ["subscribe", "NSE:A", "-w", "w", "--expected-revision", "99"],
            ["reconnect", "0"],
            ["pause", "--slot", "1"],
            ["stop", "--account", "second"],
            ["resume", "--all"],
            ["rebalance"],
            ["refresh-instruments"],
            ["status"],
            ["delete", "w"],
        ):
            assert run(*words).exit_code in (0, 4, 5), words
        found = checked(kafka.bootstrap_servers, "control", "replies", "subscriptions")
    assert found["replies"] >= found["control"] == 17
    assert found["subscriptions"] > 1
