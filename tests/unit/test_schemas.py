"""The schemas are contracts: what was ever shipped stays readable, in both directions.

tests/golden has every version of each. A new one is added beside the others, never in their place.
"""

import io
import itertools
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import jsonschema
import pytest
from fastavro.validation import validate

import connector.schemas as schemas
from connector.codec import Transcoder
from tests.support.packets import NSE, full, index, ltp, quote
from tests.support.ticks import SCHEMA_IDS, TOPICS, ticks

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.glob("*.avsc"))

WORDS = {"null", "boolean", "int", "long", "double", "string", "record", "array", "DepthItem"}
AT = datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
VALUES = {
    "connection_event": [
        {"slot": 0, "type": "connected", "time": AT},
        {
            "slot": 1, "account": "main", "type": "gap", "time": AT, "session_id": 5,
            "state": "connected", "reason": "silent", "gap_from": AT, "gap_to": AT,
            "instruments": 3, "tokens": [408065],
        },
        {
            "slot": 1, "type": "count", "time": AT, "session_id": 5,
            "count": {
                "first_sequence": 1, "last_sequence": 2, "session_ended": True,
                "partitions": [{"exchange": "NSE", "partition": 4, "ticks": 2}],
            },
        },
    ],
    "order_update": [
        {
            "event_time": AT, "receive_time_us": 5, "order_id": "1", "status": "COMPLETE",
            "price": 5.25, "exchange_timestamp": AT, "payload": "{}", "slot": 0, "session_id": 1,
            "market_protection": -1.0, "exchange_update_timestamp": AT, "meta": "{}",
        },
    ],
    "instrument": [
        {
            "instrument_token": 256265, "exchange_token": 1001, "tradingsymbol": "NIFTY 50",
            "last_price": 0.0, "strike": 0.0, "tick_size": 0.0, "lot_size": 0,
            "instrument_type": "EQ", "segment": "INDICES", "exchange": "NSE",
        },
        {
            "instrument_token": 12345602, "exchange_token": 48225, "tradingsymbol": "NIFTY26JAN",
            "name": "NIFTY", "last_price": 1.5, "expiry": "2026-01-29", "strike": 25_000.0,
            "tick_size": 0.05, "lot_size": 75, "instrument_type": "CE", "segment": "NFO-OPT",
            "exchange": "NFO",
        },
    ],
    "candle": [
        {
            "event_time": AT, "receive_time_us": 5, "instrument_token": 408065, "exchange": "NSE",
            "open": 1.5, "high": 2.5, "low": 1.0, "close": 2.0, "volume": 7, "slot": 1,
            "gap_from": AT, "gap_to": AT, "cause": "gap", "source": "historical",
        },
        {
            "event_time": AT, "receive_time_us": 5, "instrument_token": 12345602,
            "exchange": "NFO", "tradingsymbol": "NIFTY26JAN", "open": 1.5, "high": 2.5, "low": 1.0,
            "close": 2.0, "volume": 0, "oi": 5, "slot": 1, "session_id": 7, "gap_from": AT,
            "gap_to": AT, "cause": "dropped", "source": "historical",
        },
    ],
    "tick": ticks(
        Transcoder(TOPICS, SCHEMA_IDS, 0),
        ltp(NSE), quote(NSE), full(NSE), index(256265, exchange_timestamp=5),
    ),
}  # fmt: skip


def golden(version):
    return json.loads((GOLDEN / version).read_text())


def name_of(version):
    return version.split(".")[0]


def versions_of(name):
    found = [version for version in VERSIONS if name_of(version) == name]
    return sorted(found, key=lambda version: int(version.split(".")[1].removeprefix("v")))


def changed(was, now):
    """What is not just a nullable field appended to the top: field by field, in words."""
    was, now = schemas.without_words(was), schemas.without_words(now)
    old, new = was.pop("fields"), now.pop("fields")
    problems = [] if was == now else ["the record itself"]
    problems += [
        field["name"]
        for field, other in itertools.zip_longest(old, new[: len(old)])
        if field != other
    ]
    for field in new[len(old) :]:
        members = field["type"]
        if not isinstance(members, list) or len(members) != 2 or members[0] != "null":
            problems.append(f"{field['name']} is not nullable")
        elif field.get("default", "none") is not None:
            problems.append(f"{field['name']} has no default null")
    return problems


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_last_golden_version_is_the_schema(name):
    newest = golden(versions_of(name)[-1])
    assert schemas.without_words(newest) == schemas.without_words(schemas.load(name))


@pytest.mark.parametrize("version", VERSIONS)
def test_only_nullable_fields_were_appended(version):
    assert changed(golden(version), schemas.load(name_of(version))) == []


def changed_tick(change):
    schema = schemas.load("tick")
    fields = {field["name"]: field for field in schema["fields"]}
    change(schema, fields)
    return schema


def _micros(_, fields):
    fields["event_time"]["type"]["logicalType"] = "timestamp-micros"


def _no_logical_type(_, fields):
    fields["last_trade_time"]["type"][1] = "long"


def _bytes(_, fields):
    fields["mode"]["type"] = "bytes"


def _swapped_union(_, fields):
    fields["oi"]["type"].reverse()


def _another_namespace(schema, _):
    schema["namespace"] = "other"


def _another_order(schema, _):
    schema["fields"][:2] = reversed(schema["fields"][:2])


def _another_name(_, fields):
    fields["slot"]["name"] = "connection"


def _appended_within(_, fields):
    # Avro allows it, and ClickHouse reads no record whose tuple has another number of fields
    added = {"name": "change", "type": ["null", "double"], "default": None}
    fields["ohlc"]["type"][1]["fields"].append(added)


def _appended_with_a_value(schema, _):
    schema["fields"].append({"name": "phase", "type": ["null", "long"]})


def _appended_and_required(schema, _):
    schema["fields"].append({"name": "phase", "type": "long", "default": 0})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_micros, "event_time"),
        (_no_logical_type, "last_trade_time"),
        (_bytes, "mode"),
        (_swapped_union, "oi"),
        (_another_namespace, "the record itself"),
        (_another_order, "event_time"),
        (_another_name, "slot"),
        (_appended_within, "ohlc"),
        (_appended_with_a_value, "phase has no default null"),
        (_appended_and_required, "phase is not nullable"),
    ],
)
def test_what_a_registry_would_let_pass_is_a_change(change, problem):
    assert problem in changed(schemas.load("tick"), changed_tick(change))


def test_words_are_no_change():
    def words(schema, fields):
        schema["doc"] = fields["oi"]["doc"] = "Other words."
        fields["oi"]["aliases"] = ["open_interest"]

    assert changed(schemas.load("tick"), changed_tick(words)) == []


def test_a_value_of_an_older_version_is_the_beginning_of_the_newer_one():
    # so whoever knows version 1 alone may read what it knows, and leave the rest
    old = fastavro.parse_schema(golden("tick.v1.avsc"))
    for value in VALUES["tick"]:
        bodies = []
        for schema in (old, fastavro.parse_schema(schemas.load("tick"))):
            written = io.BytesIO()
            fastavro.schemaless_writer(written, schema, value)
            bodies.append(written.getvalue())
        assert bodies[1].startswith(bodies[0])
        assert len(bodies[1]) > len(bodies[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_old_and_new_read_each_other(version):
    old = fastavro.parse_schema(golden(version))
    new = fastavro.parse_schema(schemas.load(name_of(version)))
    common = {field["name"] for field in old["fields"]}
    for value in VALUES[name_of(version)]:
        for writer, reader in [(old, new), (new, old)]:
            written = io.BytesIO()
            fastavro.schemaless_writer(written, writer, value)
            written.seek(0)
            read = fastavro.schemaless_reader(written, writer, reader)
            assert validate(read, reader, raise_errors=True)
            assert all(read[key] == value[key] for key in value.keys() & common)


def parts_of(schema):
    """Every schema within a schema, itself included."""
    yield schema
    if isinstance(schema, list):
        inner = schema
    elif isinstance(schema, dict):
        inner = [field["type"] for field in schema.get("fields", [])]
        inner += [schema[key] for key in ("type", "items") if key in schema]
    else:
        inner = []
    for part in inner:
        yield from parts_of(part)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_schemas_keep_to_what_flink_and_spark_can_read(name):
    schema = schemas.load(name)
    assert schema["namespace"] == "kite"
    for part in parts_of(schema):
        if isinstance(part, str):
            assert part in WORDS
        elif isinstance(part, list):
            assert len(part) == 2
            assert part[0] == "null"
        else:
            assert part.get("logicalType", "timestamp-millis") == "timestamp-millis"
            for field in part.get("fields", []):
                assert field["doc"].endswith("."), field
                if isinstance(field["type"], list):
                    assert field["default"] is None, field


def test_text_is_the_file_and_load_a_new_dict():
    assert json.loads(schemas.text("tick")) == schemas.load("tick")
    schemas.load("tick")["fields"].clear()
    assert schemas.load("tick")["fields"]
    with pytest.raises(KeyError):
        schemas.text("nothing")


def test_the_wheel_ships_every_schema():
    root = Path(__file__).parents[2]
    packaged = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = packaged["package-data"]["connector.schemas"]
    for file in (root / "schemas").iterdir():
        if file.is_file() and file.suffix != ".py":
            assert any(file.match(pattern) for pattern in patterns), file


def test_dead_letter_describes_a_record():
    schema = schemas.load("dead_letter")
    jsonschema.Draft202012Validator.check_schema(schema)
    headers = {
        "reason": "unknown_length", "slot": "0", "receive_time_us": "1", "session_id": "2",
    }  # fmt: skip
    jsonschema.validate({"key": "kite.ticks", "value": "AAA=", "headers": headers}, schema)
    del headers["reason"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"key": "kite.ticks", "value": "AAA=", "headers": headers}, schema)
