"""The topics as an AsyncAPI 3 document, made from the schemas, the topics' specs and the models.

Pure. The application that it describes is the connector: it sends what others read, and receives
commands. Avro and JSON Schemas are taken in whole, so that the document stands alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder
from connector.kafka.registry import topic_schemas
from connector.kafka.topics import TopicNames, TopicSpec, topic_specs
from connector.settings.topics import TopicSettings

VERSION: Final = "3.0.0"
_AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
_JSON_SCHEMA: Final = "application/schema+json;version=draft-2020-12"
_BINDING: Final = "0.5.0"
_INSTRUMENT_KEY: Final = "The instrument token as decimal text."
_TEXT: Final = {"type": "string"}

# of each topic that is none of ticks: its name among TopicNames, the schema, the key, what it holds
_CHANNELS: Final = {
    "orders": ("order_update", "The order_id.", "One record an order update."),
    "events": (
        "connection_event",
        "The slot as decimal text.",
        "What a consumer has to know of what it could not receive, and counts of ticks.",
    ),
    "control": ("command", "Any text.", "Commands, which change what is subscribed."),
    "replies": ("reply", "The id of the command.", "The reply to each command."),
    "subscriptions": (
        "subscription",
        "The instrument token as decimal text; keys that begin with @ are the connector's own.",
        "What is wanted of an instrument and by whom; no value where nothing is.",
    ),
    "instruments": (
        "instrument",
        _INSTRUMENT_KEY,
        "The day's list of instruments; no value where a token means nothing any more.",
    ),
    "latest": (
        "tick",
        _INSTRUMENT_KEY,
        "The newest tick of each instrument; only where asked for.",
    ),
    "backfill": (
        "candle",
        _INSTRUMENT_KEY,
        "Minute candles for the time of a gap; only where asked for.",
    ),
    "deadletter": (
        "dead_letter",
        "The topic that the bytes were meant for.",
        "Bytes that could not become a record; the schema describes key, value and headers.",
    ),
}
_OPERATIONS: Final = {
    "orders": "Each update of an order is written once.",
    "events": "Edges in the lives of connections, gaps, losses, and counts of ticks.",
    "replies": "Each command is answered once, in the transaction of its effect.",
    "subscriptions": "The state of the subscriptions changes, in the transaction of a reply.",
    "instruments": "What differs from the list before is written each morning.",
    "latest": "The newest tick of each instrument is written once an interval.",
    "backfill": "Candles of the instruments of a gap are written when it has ended.",
    "deadletter": "What cannot become a record is kept here.",
}
_INTRODUCTION: Final = (
    "The topics and the control request and reply as AsyncAPI 3, for code generators and "
    "catalogues: `kite-connector schemas asyncapi > asyncapi.json`, with your prefix, partitions "
    "and brokers. It is made from the schemas and models, and checked against the specification's "
    "own JSON Schema; this page is made of it. What a reader may rely on is in [Topics and "
    "schemas](topics.md)."
)
_GENERATORS: Final = (
    "Generators that were tried (@asyncapi/parser 3.6.6 with avro-schema-parser 3.1.0, Modelina "
    "5.10.1) take the document without an error, and lose some of it: the items of `depth.sell`, "
    "a type that is used twice, are any value; a time is a plain integer, of milliseconds; all "
    "fields of a record are optional; command, reply and subscription are classes without a name, "
    "`AnonymousSchema_…`. For Avro generate from the schemas in the registry."
)


def document(
    topics: TopicSettings, *, slots: int, bootstrap_servers: str, version: str
) -> dict[str, Any]:
    """Return the document, as JSON has it.

    Args:
        topics: names and shape; those that are off by default are described, too.
        slots: connections, summed over the api_keys: the partitions of one topic.
        bootstrap_servers: where the brokers are.
        version: of the connector.
    """
    names = TopicNames(topics.prefix)
    described = topics.model_copy(update={"latest": True, "backfill": True})
    specs = {spec.name: spec for spec in topic_specs(described, slots=slots)}
    channels, operations = {}, {}
    for exchange, topic in names.all_ticks().items():
        channel = f"ticks_{exchange.name.lower()}"
        channels[channel] = _channel(
            specs[topic], "tick", f"Every tick of the exchange {exchange.name}."
        )
        operations[f"write_{channel}"] = _operation(
            "send", channel, f"Each packet of an instrument of {exchange.name} is one record."
        )
    for channel, (message, _, summary) in _CHANNELS.items():
        channels[channel] = _channel(specs[getattr(names, channel)], message, summary)
        if channel in _OPERATIONS:
            operations[f"write_{channel}"] = _operation("send", channel, _OPERATIONS[channel])
    operations["apply_command"] = {
        **_operation("receive", "control", "A command is validated, applied and answered."),
        "reply": {
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": "#/channels/replies/messages/reply"}],
        },
    }
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Kite connector",
            "version": version,
            "description": "Zerodha Kite Connect market data in Apache Kafka, and the control of "
            "what is subscribed.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/vnd.apache.avro",
        "servers": {"kafka": {"host": bootstrap_servers, "protocol": "kafka"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": dict(_messages(names))},
    }


def _channel(spec: TopicSpec, message: str, summary: str) -> dict[str, Any]:
    return {
        "address": spec.name,
        "summary": summary,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": spec.name,
                "partitions": spec.partitions,
                "topicConfiguration": _configuration(spec),
                "bindingVersion": _BINDING,
            }
        },
    }


def _configuration(spec: TopicSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"cleanup.policy": spec.config["cleanup.policy"].split(",")}
    for name in ("retention.ms", "max.message.bytes"):
        if name in spec.config:
            found[name] = int(spec.config[name])
    return found


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _messages(names: TopicNames) -> Iterator[tuple[str, dict[str, Any]]]:
    keys = {message: key for message, key, _ in _CHANNELS.values()}
    avro = set(topic_schemas(names).values())
    for message, key in sorted(keys.items()):
        schema = schemas.load(message)
        bindings = {"key": {**_TEXT, "description": key}, "bindingVersion": _BINDING}
        made: dict[str, Any] = {"name": message, "title": message.replace("_", " ").capitalize()}
        if message in avro:
            bindings |= {
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "TopicNameStrategy",
            }
            made |= {"contentType": "application/vnd.apache.avro", "summary": schema["doc"]}
            payload = {"schemaFormat": _AVRO, "schema": schema}
        else:
            content = "application/octet-stream" if message == "dead_letter" else "application/json"
            made |= {"contentType": content}
            payload = {"schemaFormat": _JSON_SCHEMA, "schema": _within(message, schema)}
        if message in {"command", "reply"}:
            made["correlationId"] = {
                "description": "A reply has the id of its command.",
                "location": "$message.payload#/id",
            }
        yield message, {**made, "bindings": {"kafka": bindings}, "payload": payload}


def _within(message: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema whose references are those of the document that it is put into."""
    there = f'"#/components/messages/{message}/payload/schema/$defs/'
    found: dict[str, Any] = json.loads(json.dumps(schema).replace('"#/$defs/', there))
    return found


def page(made: dict[str, Any]) -> str:
    """Return the document as a page of Markdown, for people."""
    lines = [
        "# AsyncAPI",
        "",
        _INTRODUCTION,
        "",
        _GENERATORS,
        "",
        "| channel | topic | message | format | partitions | cleanup | |",
        "|---|---|---|---|---|---|---|",
    ]
    messages = made["components"]["messages"]
    for name, channel in made["channels"].items():
        (message,) = channel["messages"]
        kafka = channel["bindings"]["kafka"]
        content = messages[message]["contentType"].removeprefix("application/")
        policy = ", ".join(kafka["topicConfiguration"]["cleanup.policy"])
        lines.append(
            f"| {name} | `{channel['address']}` | {message} | {content} | {kafka['partitions']} "
            f"| {policy} | {channel['summary']} |"
        )
    lines += ["", "| operation | the connector | channel | |", "|---|---|---|---|"]
    for name, operation in made["operations"].items():
        channel = _last(operation["channel"])
        if reply := operation.get("reply"):
            channel += f", reply on {_last(reply['channel'])}"
        does = {"send": "writes", "receive": "reads"}[operation["action"]]
        lines.append(f"| {name} | {does} | {channel} | {operation['summary']} |")
    lines += ["", "| message | key | fields |", "|---|---|---|"]
    for name, message in messages.items():
        schema = message["payload"]["schema"]
        fields = [field["name"] for field in schema.get("fields", ())] or list(
            schema.get("properties", ())
        )
        listed = ", ".join(f"`{field}`" for field in fields) or "one of several; see the schema"
        lines.append(
            f"| {name} | {message['bindings']['kafka']['key']['description']} | {listed} |"
        )
    return "\n".join(lines) + "\n"


def _last(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]
