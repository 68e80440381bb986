# ruff: noqa: E501
"""Reads ticks of the Kite connector into Spark Structured Streaming.

Made from the Avro schema by `kite-connector schemas spark`: do not edit.
"""

import json
import re
import urllib.request

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.avro.functions import from_avro

BOOTSTRAP_SERVERS = "localhost:9094"
REGISTRY_URL = "http://localhost:8081/apis/ccompat/v7"
TOPIC_PATTERN = "kite\\.ticks\\..*"
SCHEMA = r"""{"type": "record", "name": "Tick", "namespace": "kite", "fields": [
  {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "receive_time_us", "type": "long"},
  {"name": "instrument_token", "type": "long"},
  {"name": "exchange", "type": "string"},
  {"name": "tradingsymbol", "type": ["null", "string"], "default": null},
  {"name": "mode", "type": "string"},
  {"name": "tradable", "type": "boolean"},
  {"name": "last_price", "type": "double"},
  {"name": "last_traded_quantity", "type": ["null", "long"], "default": null},
  {"name": "average_traded_price", "type": ["null", "double"], "default": null},
  {"name": "volume_traded", "type": ["null", "long"], "default": null},
  {"name": "total_buy_quantity", "type": ["null", "long"], "default": null},
  {"name": "total_sell_quantity", "type": ["null", "long"], "default": null},
  {"name": "ohlc", "type": ["null", {"type": "record", "name": "OHLC", "fields": [{"name": "open", "type": "double"}, {"name": "high", "type": "double"}, {"name": "low", "type": "double"}, {"name": "close", "type": "double"}]}], "default": null},
  {"name": "last_trade_time", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
  {"name": "exchange_timestamp", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
  {"name": "oi", "type": ["null", "long"], "default": null},
  {"name": "oi_day_high", "type": ["null", "long"], "default": null},
  {"name": "oi_day_low", "type": ["null", "long"], "default": null},
  {"name": "depth", "type": ["null", {"type": "record", "name": "Depth", "fields": [{"name": "buy", "type": {"type": "array", "items": {"type": "record", "name": "DepthItem", "fields": [{"name": "quantity", "type": "long"}, {"name": "price", "type": "double"}, {"name": "orders", "type": "int"}]}}}, {"name": "sell", "type": {"type": "array", "items": "DepthItem"}}]}], "default": null},
  {"name": "slot", "type": "int"},
  {"name": "session_id", "type": "long"},
  {"name": "sequence", "type": "long"},
  {"name": "snapshot", "type": "boolean"},
  {"name": "best_bid_price", "type": ["null", "double"], "default": null},
  {"name": "best_bid_quantity", "type": ["null", "long"], "default": null},
  {"name": "best_ask_price", "type": ["null", "double"], "default": null},
  {"name": "best_ask_quantity", "type": ["null", "long"], "default": null}
]}"""


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
