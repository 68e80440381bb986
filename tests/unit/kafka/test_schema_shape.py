"""Schemas of others, before anything is read by them."""

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import schemas
from connector.kafka.registry import topic_schemas
from connector.kafka.schema_shape import MAX_DEPTH, MAX_PARTS, check_shape
from connector.kafka.topics import TopicNames


def record(name, *types):
    fields = [{"name": f"f{number}", "type": one} for number, one in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def array(items):
    return {"type": "array", "items": items}


def nested(depth):
    schema = "long"
    for _ in range(depth):
        schema = array(schema)
    return schema


def doubling(levels):
    schema = record("r0", "long")
    for level in range(1, levels):
        schema = record(f"r{level}", schema, f"r{level - 1}")
    return schema


@pytest.mark.parametrize("name", sorted(set(topic_schemas(TopicNames()).values())))
def test_our_own_schemas_are_good(name):
    check_shape(fastavro.parse_schema(schemas.load(name)))


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        ["null", "long"],
        {"type": "long", "logicalType": "timestamp-millis"},
        record("r", {"type": "enum", "name": "e", "symbols": ["A"]}, ["null", "e"], array("e")),
        record("r", {"type": "fixed", "name": "f", "size": 4}, {"type": "map", "values": "f"}),
        nested(MAX_DEPTH),
        doubling(9),
        array(record("r", "string", "double")),
    ],
    ids=str,
)
def test_what_is_bounded_by_its_bytes_is_good(schema):
    check_shape(fastavro.parse_schema(schema))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (record("r", ["null", "r"]), "holds itself"),
        (record("r", array("r")), "holds itself"),
        (record("r", {"type": "map", "values": ["null", record("s", ["null", "r"])]}), "itself"),
        (nested(MAX_DEPTH + 1), "deep"),
        (doubling(10), f"more than {MAX_PARTS} parts"),
        (record("r", *["null"] * (MAX_PARTS + 1)), f"more than {MAX_PARTS} parts"),
        (array("null"), "too few bytes"),
        (array(record("r")), "too few bytes"),
        (array({"type": "fixed", "name": "f", "size": 0}), "too few bytes"),
        (array(record("r", "long", *["null"] * 9)), "too few bytes"),
        ({"type": "map", "values": record("r", *["null"] * 9)}, "too few bytes"),
    ],
)
def test_what_a_few_bytes_could_blow_up_is_refused(schema, reason):
    parsed = fastavro.parse_schema(schema)
    with pytest.raises(ValueError, match=reason):
        check_shape(parsed)


json_values = st.recursive(
    st.none() | st.integers() | st.sampled_from(["long", "record", "array", "r", "null"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "items", "fields", "name", "size"]), inner)
    ),
    max_leaves=10,
)


@given(json_values)
def test_whatever_it_is_given_it_ends_with_one_of_the_errors_of_what_is_no_schema(schema):
    try:
        check_shape(schema)
    except (ValueError, LookupError, TypeError):
        return
