import ast
import json
import re

import fastavro
import pytest

from connector import schemas
from connector.cli.downstream import flink_ddl, flink_tables, spark_reader, topic_pattern
from connector.kafka.registry import topic_schemas
from connector.kafka.topics import TopicNames


def ddl(**more):
    return flink_ddl(topic_pattern("tick"), "broker:9092", "http://registry:8081", **more)


def column(text, name):
    return re.search(rf"^  `{name}` (.*?)(?: COMMENT .*)?,$", text, re.MULTILINE)[1]


def record(*fields):
    return {"type": "record", "name": "R", "fields": list(fields)}


@pytest.mark.parametrize("prefix", ["kite", "a.b-c_d", "other"])
def test_a_pattern_matches_the_topics_of_its_schema_and_no_others(prefix):
    topics = topic_schemas(TopicNames(prefix))
    # the newest ones are in the other topics as well, and would be there twice
    assert topics.pop(TopicNames(prefix).latest) == "tick"
    for name in schemas.NAMES:
        pattern = topic_pattern(name, prefix)
        assert not re.fullmatch(pattern, TopicNames(prefix).latest)
        assert {topic for topic in topics if re.fullmatch(pattern, topic)} == {
            topic for topic, schema in topics.items() if schema == name
        }
        assert not re.fullmatch(pattern, f"{prefix}.bars")
        assert not re.fullmatch(pattern, f"{prefix}xticks.nse")


def test_a_pattern_reads_like_one_written_by_hand():
    assert topic_pattern("tick") == r"kite\.ticks\..*"
    assert topic_pattern("order_update", "my-kite") == r"my-kite\.orders"


def test_a_required_column_is_not_null_and_a_nullable_one_is_not():
    text = ddl()
    for field in schemas.load("tick")["fields"]:
        nullable = isinstance(field["type"], list)
        assert column(text, field["name"]).endswith(" NOT NULL") is not nullable, field["name"]


LEVELS = "ARRAY<ROW<`quantity` BIGINT, `price` DOUBLE, `orders` INT>>"
OHLC = ", ".join(f"`{name}` DOUBLE" for name in ("open", "high", "low", "close"))


@pytest.mark.parametrize(
    ("name", "flink_type"),
    [
        ("event_time", "TIMESTAMP(3) NOT NULL"),
        ("exchange_timestamp", "TIMESTAMP(3)"),
        ("receive_time_us", "BIGINT NOT NULL"),
        ("mode", "STRING NOT NULL"),
        ("tradable", "BOOLEAN NOT NULL"),
        ("oi", "BIGINT"),
        ("slot", "INT NOT NULL"),
        ("ohlc", f"ROW<{OHLC}>"),
        ("depth", f"ROW<`buy` {LEVELS}, `sell` {LEVELS}>"),
    ],
)
def test_column_types(name, flink_type):
    assert column(ddl(), name) == flink_type


def test_nothing_is_not_null_below_what_may_be_null():
    for name in schemas.NAMES:
        text = flink_ddl("x", "broker:9092", "http://registry:8081", schema_name=name)
        for field in schemas.load(name)["fields"]:
            if isinstance(field["type"], list):
                assert "NOT NULL" not in column(text, field["name"])
    # where all of it is there, it says so
    events = flink_ddl("x", "b:1", "http://r:1", schema_name="connection_event")
    assert column(events, "tokens") == "ARRAY<BIGINT NOT NULL> NOT NULL"


def test_documentation_becomes_comments_with_quotes_doubled():
    text = ddl(schema=record({"name": "event_time", "type": "long", "doc": "Kite's own; time"}))
    assert "`event_time` BIGINT NOT NULL COMMENT 'Kite''s own; time'," in text


def test_table_options():
    text = ddl(table="t", watermark_seconds=7, idle_timeout_seconds=30)
    assert text.startswith("CREATE TABLE `t` (\n  `token_key` STRING COMMENT")
    assert "WATERMARK FOR `event_time` AS `event_time` - INTERVAL '7' SECOND\n" in text
    assert r"'topic-pattern' = 'kite\.ticks\..*'" in text
    assert "'properties.bootstrap.servers' = 'broker:9092'" in text
    assert "'value.avro-confluent.url' = 'http://registry:8081'" in text
    assert "'value.fields-include' = 'EXCEPT_KEY'" in text
    assert "'scan.watermark.idle-timeout' = '30 s'" in text


def test_a_partition_that_waits_for_its_turn_is_not_soon_taken_for_an_empty_one():
    # after 10 s of a slow start, Flink 2.3.0 dropped all ticks of one of six partitions as late
    assert "'scan.watermark.idle-timeout' = '60 s'" in ddl()


def test_a_compacted_topic_is_a_table_whose_last_record_counts():
    text = flink_ddl("x", "broker:9092", "http://registry:8081", schema_name="instrument")
    assert text.startswith(
        "CREATE TABLE `instruments` (\n  `token_key` STRING NOT NULL COMMENT 'The key"
    )
    statement = re.sub(r"^ *--.*\n", "", text, flags=re.MULTILINE)
    assert "  PRIMARY KEY (`token_key`) NOT ENFORCED\n)" in statement
    assert "'connector' = 'upsert-kafka'" in statement
    for absent in ("WATERMARK", "scan.", "key.fields'"):
        assert absent not in statement


def test_further_options_come_over_those_made():
    text = ddl(
        options={
            "scan.bounded.mode": "latest-offset",
            "scan.startup.mode": "timestamp",
            "scan.watermark.idle-timeout": None,
            "properties.sasl.jaas.config": "user='me'",
        }
    )
    assert "'scan.bounded.mode' = 'latest-offset'" in text
    assert "'scan.startup.mode' = 'timestamp'" in text
    assert "idle-timeout" not in text
    assert "'properties.sasl.jaas.config' = 'user=''me'''\n);\n" in text


def test_a_statement_ends_only_where_a_semicolon_ends_a_line():
    # so scripts are split, by examples/flink's RunSql too
    text = flink_tables("broker:9092", "http://registry:8081", prefix="other")
    assert len(re.findall(r";$", text, re.MULTILINE)) == len(schemas.NAMES)
    assert re.findall(r"^CREATE TABLE `(\w+)`", text, re.MULTILINE) == [
        "ticks",
        "orders",
        "connection_events",
        "instruments",
        "candles",
    ]
    assert "'other\\.events'" in text


@pytest.mark.parametrize(
    ("avro", "reason"),
    [
        (["null", "string", "long"], "a union of other than null and one type"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "no type of Flink SQL for 'enum'"),
        ({"type": "long", "logicalType": "timestamp-micros"}, "timestamp-micros"),
        ({"type": "map", "values": "long"}, "no type of Flink SQL for 'map'"),
    ],
)
def test_what_flink_would_read_wrongly_is_refused(avro, reason):
    with pytest.raises(ValueError, match=reason):
        ddl(schema=record({"name": "event_time", "type": avro}))


def test_options_go_to_every_table():
    text = flink_tables("broker:9092", "http://registry:8081", options={"a": "b"})
    assert text.count("'a' = 'b'") == len(schemas.NAMES)


def test_an_unknown_schema_is_refused():
    with pytest.raises(KeyError):
        flink_ddl("x", "b", "r", schema_name="command")


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_spark_reader_is_python_with_the_whole_schema(name):
    text = spark_reader(
        topic_pattern(name), 'broker:"9092"', "http://registry:8081", schema_name=name
    )
    constants = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign)
    }
    assert constants["BOOTSTRAP_SERVERS"] == 'broker:"9092"'
    assert constants["REGISTRY_URL"] == "http://registry:8081"
    assert constants["TOPIC_PATTERN"] == topic_pattern(name)
    bare = fastavro.schema.to_parsing_canonical_form
    assert bare(json.loads(constants["SCHEMA"])) == bare(schemas.load(name))
    assert '"doc"' not in constants["SCHEMA"]


def test_the_spark_reader_keeps_defaults_which_resolution_needs():
    text = spark_reader(topic_pattern("tick"), "b", "r")
    assert '{"name": "oi", "type": ["null", "long"], "default": null}' in text
