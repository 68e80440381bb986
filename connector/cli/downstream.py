"""What readers of the topics need, made from the Avro schemas: Flink SQL tables, a Spark reader.

Pure: text in, text out. Columns are never written by hand, since both engines take a misspelt
nullable column for one that is always NULL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder

Schema: TypeAlias = Mapping[str, Any]
"""An Avro record schema, parsed."""


@dataclass(frozen=True, slots=True)
class _Source:
    table: str
    topic: str  # behind the prefix, a regular expression
    key: str  # the column of the record's key, which is decimal or plain text
    time: str | None  # the column that the watermark follows; None: the last record of a key counts


_SOURCES: Final = {
    "tick": _Source("ticks", r"ticks\..*", "token_key", "event_time"),
    "order_update": _Source("orders", "orders", "order_key", "event_time"),
    "connection_event": _Source("connection_events", "events", "slot_key", "time"),
    "instrument": _Source("instruments", "instruments", "token_key", None),
    "candle": _Source("candles", r"backfill\.1m", "token_key", "event_time"),
}
_VERSION_TIME: Final = """\
  -- a row time, for temporal joins; on a replay a deleted row takes its earlier versions along:
  -- , `vt` TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL, WATERMARK FOR `vt` AS `vt`"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a system writes the types of Avro.

    What stands behind a type that is no union with null makes a wrong column fail loudly. Below
    such a union it stands nowhere: Flink takes `ohlc.open IS NULL` for always false where `open`
    says NOT NULL, although there is no `open` where `ohlc` is null.
    """

    system: str  # for errors
    types: Mapping[str, str]  # of Avro's plain types
    time: str  # timestamp-millis, the one logical type that Flink and Spark agree on
    record: str
    array: str
    nullable: str = "{}"
    not_null: str = ""  # behind the others

    def columns(self, schema: Schema) -> dict[str, str]:
        """The columns of a record, name to type.

        Raises:
            ValueError: the schema has what the system cannot read as it is meant.
        """
        named = _named_types(schema)
        fields = schema["fields"]
        return {one["name"]: self._type(one["type"], named, self.not_null) for one in fields}

    def _type(self, avro: Any, named: Mapping[str, Schema], not_null: str) -> str:
        if isinstance(avro, list):
            members = [member for member in avro if member != "null"]
            if len(members) != 1 or len(avro) != 2:
                raise ValueError(f"a union of other than null and one type: {avro}")
            return self.nullable.format(self._type(members[0], named, ""))
        if isinstance(avro, str):
            if avro in self.types:
                return self.types[avro] + not_null
            try:
                avro = named[avro.rpartition(".")[2]]
            except KeyError:
                raise ValueError(f"no type of {self.system} for {avro!r}") from None
        logical = avro.get("logicalType")
        if logical == "timestamp-millis":
            return self.time + not_null
        if logical is not None:
            # micros read as TIMESTAMP(3) are silently wrong, and finer than that fails
            raise ValueError(f"no type of {self.system} for {logical!r}")
        kind = avro["type"]
        if kind == "record":
            fields = ", ".join(
                f"{quoted(one['name'])} {self._type(one['type'], named, not_null)}"
                for one in avro["fields"]
            )
            return self.record.format(fields) + not_null
        if kind == "array":
            return self.array.format(self._type(avro["items"], named, not_null)) + not_null
        return self._type(kind, named, not_null)


_FLINK: Final = Dialect(
    "Flink SQL",
    {
        "boolean": "BOOLEAN",
        "int": "INT",
        "long": "BIGINT",
        "float": "FLOAT",
        "double": "DOUBLE",
        "bytes": "BYTES",
        "string": "STRING",
    },
    time="TIMESTAMP(3)",
    record="ROW<{}>",
    array="ARRAY<{}>",
    not_null=" NOT NULL",
)


def topic_pattern(schema_name: str, prefix: str = "kite") -> str:
    r"""The topics whose values have this schema, as a Java and Python regular expression.

    For ticks it is `kite\.ticks\..*`: keep whatever else you make out of these names.

    Raises:
        KeyError: there is no such schema.
    """
    return re.escape(prefix).replace(r"\-", "-") + r"\." + _SOURCES[schema_name].topic


def flink_ddl(
    topic_pattern: str,
    bootstrap_servers: str,
    registry_url: str,
    *,
    schema_name: str = "tick",
    schema: Schema | None = None,
    table: str | None = None,
    watermark_seconds: int = 5,
    idle_timeout_seconds: int = 60,
    options: Mapping[str, str | None] | None = None,
) -> str:
    """CREATE TABLE of Flink SQL over the topics that match.

    A compacted topic becomes a table of `upsert-kafka`, in which a tombstone deletes the row; the
    watermark's two arguments mean nothing for it.

    Args:
        topic_pattern: a Java regular expression, such as `topic_pattern("tick")` makes it.
        bootstrap_servers: as seen from Flink.
        registry_url: as seen from Flink, with the path of Confluent's API where it has one.
        schema_name: one of `connector.schemas.NAMES`.
        schema: another version of that schema, in place of the shipped one.
        table: name of the table; `ticks`, `orders`, `connection_events`, `instruments` or `candles`
            when not given.
        watermark_seconds: how far behind the newest event time of a partition its records may be.
        idle_timeout_seconds: after it a partition without records holds the watermark no more. One
            whose records only wait for their turn counts as such, too, and then they are late and
            dropped: so longer than Flink leaves a partition alone when it has much to catch up on.
        options: further table options, over those made here; None takes one away.

    Raises:
        KeyError: there is no such schema.
        ValueError: the schema has what Flink SQL cannot read as it is meant.
    """
    source = _SOURCES[schema_name]
    schema = schemas.load(schema_name) if schema is None else schema
    types = _FLINK.columns(schema)
    compacted = source.time is None
    not_null = " NOT NULL" if compacted else ""
    columns = [f"{quoted(source.key)} STRING{not_null} COMMENT 'The key of the record'"]
    for field in schema["fields"]:
        column = f"{quoted(field['name'])} {types[field['name']]}"
        doc = field.get("doc")
        columns.append(f"{column} COMMENT {_literal(doc)}" if doc else column)
    if source.time is None:
        columns.append(f"PRIMARY KEY ({quoted(source.key)}) NOT ENFORCED\n{_VERSION_TIME}")
    else:
        time = quoted(source.time)
        columns.append(f"WATERMARK FOR {time} AS {time} - INTERVAL '{watermark_seconds}' SECOND")
    table_options: dict[str, str | None] = {
        "connector": "upsert-kafka" if compacted else "kafka",
        "topic-pattern": topic_pattern,
        "properties.bootstrap.servers": bootstrap_servers,
        # upsert-kafka reads from the beginning always, and has its key from the primary key
        "scan.startup.mode": None if compacted else "earliest-offset",
        "scan.watermark.idle-timeout": None if compacted else f"{idle_timeout_seconds} s",
        "key.format": "raw",
        "key.fields": None if compacted else source.key,
        "value.format": "avro-confluent",
        "value.avro-confluent.url": registry_url,
        # with the default ALL the key's column is silently NULL
        "value.fields-include": "EXCEPT_KEY",
        **(options or {}),
    }
    given = [
        f"{_literal(name)} = {_literal(value)}"
        for name, value in table_options.items()
        if value is not None
    ]
    return (
        f"CREATE TABLE {quoted(table or source.table)} (\n  "
        + ",\n  ".join(columns)
        + "\n) WITH (\n  "
        + ",\n  ".join(given)
        + "\n);\n"
    )


def flink_tables(
    bootstrap_servers: str,
    registry_url: str,
    *,
    prefix: str = "kite",
    options: Mapping[str, str | None] | None = None,
) -> str:
    """A Flink SQL script with a table for each schema: ticks, orders, events, and the others.

    `options` are those of `flink_ddl`, for each of the tables.
    """
    return "\n".join(
        [
            "-- Made from the Avro schemas by `kite-connector schemas flink`: do not edit.\n",
            *(
                flink_ddl(
                    topic_pattern(name, prefix),
                    bootstrap_servers,
                    registry_url,
                    schema_name=name,
                    options=options,
                )
                for name in schemas.NAMES
            ),
        ]
    )


def spark_reader(
    topic_pattern: str,
    bootstrap_servers: str,
    registry_url: str,
    *,
    schema_name: str = "tick",
    schema: Schema | None = None,
) -> str:
    """A Python module for PySpark whose `read(spark)` is the stream of decoded records.

    The arguments are those of `flink_ddl`; the addresses are defaults in the module.

    Raises:
        KeyError: there is no such schema.
    """
    schema = schemas.load(schema_name) if schema is None else schema
    return (
        _SPARK_READER.replace("%topics%", _SOURCES[schema_name].table.replace("_", " "))
        .replace("%bootstrap_servers%", _python_literal(bootstrap_servers))
        .replace("%registry_url%", _python_literal(registry_url))
        .replace("%topic_pattern%", _python_literal(topic_pattern))
        .replace("%schema%", _compact(schema))
    )


def _python_literal(text: str) -> str:
    """Return a Python string literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _named_types(schema: Any) -> dict[str, Schema]:
    """Every record of the schema by its bare name, which a later field may use instead of it."""
    found: dict[str, Schema] = {}

    def visit(part: Any) -> None:
        if isinstance(part, list):
            for member in part:
                visit(member)
        elif isinstance(part, Mapping):
            if part.get("type") == "record":
                found[part["name"]] = part
                for field in part["fields"]:
                    visit(field["type"])
            elif part.get("type") == "array":
                visit(part["items"])

    visit(schema)
    return found


def quoted(name: str) -> str:
    """Quote a name, since any may be reserved: `mode`, `open`, `close`, `sequence` already are."""
    return "`" + name.replace("`", "``") + "`"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _compact(schema: Schema) -> str:
    """Return the schema without its documentation, as JSON with a line for each field."""
    bare = schemas.without_words(schema)
    fields = bare.pop("fields")
    head = json.dumps(bare)[:-1]
    lines = ",\n  ".join(json.dumps(field) for field in fields)
    return f'{head}, "fields": [\n  {lines}\n]}}'


_SPARK_READER: Final = '''\
# ruff: noqa: E501
"""Reads %topics% of the Kite connector into Spark Structured Streaming.

Made from the Avro schema by `kite-connector schemas spark`: do not edit.
"""

import json
import re
import urllib.request

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.avro.functions import from_avro

BOOTSTRAP_SERVERS = %bootstrap_servers%
REGISTRY_URL = %registry_url%
TOPIC_PATTERN = %topic_pattern%
SCHEMA = r"""%schema%"""


def read(
    spark: SparkSession,
    bootstrap_servers: str = BOOTSTRAP_SERVERS,
    registry_url: str = REGISTRY_URL,
    topic_pattern: str = TOPIC_PATTERN,
    schema: str = SCHEMA,
    **options: str,
) -> DataFrame:
    """The stream of records, a column for each field of the schema, and Kafka's key, topic, time.

    `options` are those of Spark's Kafka source, such as startingOffsets or maxOffsetsPerTrigger.
    """
    source = spark.readStream.format("kafka").options(
        **{
            "kafka.bootstrap.servers": bootstrap_servers,
            "subscribePattern": topic_pattern,
            "startingOffsets": "earliest",
            **options,
        }
    )
    return decode(source.load(), writer_schemas(registry_url, topic_pattern), schema)


def writer_schemas(registry_url: str, topic_pattern: str = TOPIC_PATTERN) -> dict[int, str]:
    """Every version that the registry has of these topics' schema, by its id."""
    found = {}
    for subject in _get(f"{registry_url}/subjects"):
        if subject.endswith("-value") and re.fullmatch(topic_pattern, subject[: -len("-value")]):
            for version in _get(f"{registry_url}/subjects/{subject}/versions"):
                answer = _get(f"{registry_url}/subjects/{subject}/versions/{version}")
                found[answer["id"]] = answer["schema"]
    return found


def decode(records: DataFrame, writers: dict[int, str], schema: str = SCHEMA) -> DataFrame:
    """Take the values apart: a zero byte, four bytes of schema id, then Avro.

    Each record is read with the schema it was written with, into the fields of `schema`. An id
    that is not among `writers` stops the query: started again, it knows the newer schema too.
    """
    body = F.expr("substring(value, 6)")
    schema_id = F.conv(F.hex(F.expr("substring(value, 2, 4)")), 16, 10).cast("long")
    ids_by_schema: dict[str, list[int]] = {}
    for number, writer in writers.items():
        ids_by_schema.setdefault(writer, []).append(number)
    if not ids_by_schema:
        raise LookupError("the registry has no schema for these topics yet")
    # a tombstone has no value: of its row only kafka_key is not null
    decoded = F.when(F.col("value").isNull(), F.lit(None))
    for writer, ids in ids_by_schema.items():
        value = from_avro(body, writer, {"mode": "FAILFAST", "avroSchema": schema})
        decoded = decoded.when(schema_id.isin(ids), value)
    unknown = F.raise_error(F.concat(F.lit("schema id not known at the start: "), schema_id))
    return records.select(
        decoded.otherwise(unknown).alias("record"),
        F.col("key").cast("string").alias("kafka_key"),
        F.col("topic").alias("kafka_topic"),
        F.col("timestamp").alias("kafka_time"),
    ).select("record.*", "kafka_key", "kafka_topic", "kafka_time")


def _get(url: str) -> list | dict:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
'''
