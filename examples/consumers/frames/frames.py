"""Ticks as Polars, pandas and DuckDB have them: read once, then bars of one minute three times.

    pip install 'confluent-kafka[schemaregistry]' fastavro polars pandas duckdb pyarrow
    python frames.py

None of the three reads our topics by itself: Polars' read_avro reads files, and DuckDB's extension
is not in its wheel. So the records are decoded with fastavro, put into one Arrow table with the
types given, never guessed, and handed to each without a copy.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import duckdb
import polars
import pyarrow
from confluent_kafka.schema_registry import SchemaRegistryClient

CONSUMER = Path(__file__).parents[1] / "python/consume.py"
LEVEL = pyarrow.list_(
    pyarrow.struct(
        [("quantity", pyarrow.int64()), ("price", pyarrow.float64()), ("orders", pyarrow.int32())]
    )
)
PLAIN = {
    "boolean": pyarrow.bool_(), "int": pyarrow.int32(), "long": pyarrow.int64(),
    "double": pyarrow.float64(), "string": pyarrow.string(),
}  # fmt: skip
BARS = """
SELECT instrument_token, time_bucket(INTERVAL 1 MINUTE, event_time) AS bar_start,
  arg_min(last_price, (event_time, receive_time_us, sequence)) AS open, max(last_price) AS high,
  min(last_price) AS low, arg_max(last_price, (event_time, receive_time_us, sequence)) AS close,
  count(*) AS ticks
FROM ticks WHERE NOT snapshot GROUP BY ALL ORDER BY ALL
"""


def arrow_type(avro: object) -> pyarrow.DataType:
    """A field's type, from the Avro schema: inferred ones differ from batch to batch."""
    if isinstance(avro, list):
        return arrow_type(next(member for member in avro if member != "null"))
    if isinstance(avro, str):
        return PLAIN[avro]
    if avro.get("logicalType") == "timestamp-millis":
        return pyarrow.timestamp("ms", "UTC")
    if avro["name"] == "Depth":
        return pyarrow.struct([("buy", LEVEL), ("sell", LEVEL)])
    return pyarrow.struct([(field["name"], arrow_type(field["type"])) for field in avro["fields"]])


def arrow_table(ticks: list[dict], schema: dict) -> pyarrow.Table:
    """The ticks as one table; a field that older records lack is null."""
    columns = [(field["name"], arrow_type(field["type"])) for field in schema["fields"]]
    return pyarrow.Table.from_pylist(ticks, schema=pyarrow.schema(columns))


def by_polars(table: pyarrow.Table) -> list[tuple]:
    order = ["event_time", "receive_time_us", "sequence"]
    bars = (
        polars.from_arrow(table)
        .filter(~polars.col("snapshot"))
        .sort(order)
        .group_by("instrument_token", polars.col("event_time").dt.truncate("1m").alias("start"))
        .agg(
            polars.col("last_price").first().alias("open"),
            polars.col("last_price").max().alias("high"),
            polars.col("last_price").min().alias("low"),
            polars.col("last_price").last().alias("close"),
            polars.len().alias("ticks"),
        )
        .sort("instrument_token", "start")
    )
    return bars.rows()


def by_pandas(table: pyarrow.Table) -> list[tuple]:
    # without types_mapper a long that may be null becomes a float, and loses digits above 2^53
    import pandas

    frame = table.to_pandas(types_mapper=pandas.ArrowDtype)
    frame = frame[~frame["snapshot"]].sort_values(["event_time", "receive_time_us", "sequence"])
    frame["start"] = frame["event_time"].dt.floor("min")
    prices = frame.groupby(["instrument_token", "start"])["last_price"]
    bars = prices.agg(["first", "max", "min", "last", "count"]).reset_index()
    return [tuple(row) for row in bars.itertuples(index=False)]


def by_duckdb(ticks: pyarrow.Table) -> list[tuple]:
    connection = duckdb.connect()
    # else its minutes and what it prints are those of this machine's zone
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("ticks", ticks)
    return connection.execute(BARS).fetchall()


def newest_schema(registry_url: str, topic: str) -> dict:
    """The last version that a topic's subject has."""
    registry = SchemaRegistryClient({"url": registry_url})
    return json.loads(registry.get_latest_version(f"{topic}-value").schema.schema_str)


def consumer_module():
    """consume.py, which decodes, and tells repeats."""
    spec = importlib.util.spec_from_file_location("consume", CONSUMER)
    module = importlib.util.module_from_spec(spec)
    sys.modules["consume"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9094")
    parser.add_argument("--registry-url", default="http://localhost:8081/apis/ccompat/v7")
    parser.add_argument("--topic-pattern", default=r"kite\.ticks\..*")
    parser.add_argument("--parquet", type=Path, help="keep the ticks in this file")
    arguments = parser.parse_args()
    consume = consumer_module()
    decoder = consume.Decoder(arguments.registry_url)
    sequences = consume.Sequences(0)
    consumer = consume.Consumer(
        {
            "bootstrap.servers": arguments.bootstrap_servers,
            "group.id": "kite-example-frames",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    ticks, topic = [], ""
    for message in consume.messages(
        consumer, arguments.topic_pattern, from_beginning=True, until_end=True
    ):
        try:
            tick = decoder.decode(message.value())
        except consume.NoTickError as error:
            print(f"passed over: {consume.place(message)}: {error}", file=sys.stderr)
            continue
        topic = message.topic()
        if sequences.new(tick["slot"], tick["session_id"], tick["sequence"]):
            ticks.append(tick)
    consumer.close()
    if not ticks:
        sys.exit("the topics hold no ticks")
    table = arrow_table(ticks, newest_schema(arguments.registry_url, topic))
    if arguments.parquet:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, arguments.parquet, compression="zstd")
    bars = by_polars(table)
    assert by_duckdb(table) == bars, "DuckDB differs"
    assert by_pandas(table) == bars, "pandas differs"
    for token, start, *rest in bars:
        print(json.dumps([token, f"{start:%Y-%m-%d %H:%M:%S}", *rest]))


if __name__ == "__main__":
    main()
