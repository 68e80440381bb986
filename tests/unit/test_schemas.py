"""The schemas are contracts: what was ever shipped stays readable, in both directions.

tests/golden has the first version of each. A new version is added beside it, never in its place.
"""

import io
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
    ],
    "order_update": [
        {
            "event_time": AT, "receive_time_us": 5, "order_id": "1", "status": "COMPLETE",
            "price": 5.25, "exchange_timestamp": AT, "payload": "{}", "slot": 0, "session_id": 1,
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
    "tick": ticks(
        Transcoder(TOPICS, SCHEMA_IDS, 0),
        ltp(NSE), quote(NSE), full(NSE), index(256265, exchange_timestamp=5),
    ),
}  # fmt: skip


def golden(version):
    return json.loads((GOLDEN / version).read_text())


def name_of(version):
    return version.split(".")[0]


def without_docs(schema):
    if isinstance(schema, dict):
        return {key: without_docs(value) for key, value in schema.items() if key != "doc"}
    if isinstance(schema, list):
        return [without_docs(item) for item in schema]
    return schema


def test_every_schema_has_a_golden_version():
    assert {name_of(version) for version in VERSIONS} == set(schemas.NAMES)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_nullable_fields_were_appended(version):
    was, now = without_docs(golden(version)), without_docs(schemas.load(name_of(version)))
    added = now["fields"][len(was["fields"]) :]
    assert now["fields"][: len(was["fields"])] == was["fields"]
    assert {key: now[key] for key in now if key != "fields"} == {
        key: was[key] for key in was if key != "fields"
    }
    for field in added:
        assert field["type"][0] == "null", field
        assert len(field["type"]) == 2, field
        assert field["default"] is None, field


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
