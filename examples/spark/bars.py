"""Bars of one minute with Spark Structured Streaming: the same as examples/flink/bars.sql.

    spark-submit --jars … bars.py --topic kite.bars.1m --checkpoint DIR    the stream
    spark-submit --jars … bars.py --topic kite.bars.1m --list              what the topic holds

A bar is written again whenever a later tick changes it: of the records with one key, which is
token@start, the last one counts. Bars hold `first_volume` and `cumulative_volume`, the day's volume
at the first and the last tick; what was traded in a bar is a difference between two bars, which a
stream in Spark cannot take: `volumes` does, in whatever reads them.
"""

import argparse

import ticks
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812

BAR = """
    exchange string, instrument_token long, tradingsymbol string,
    bar_start timestamp, bar_end timestamp, open double, high double, low double, close double,
    first_volume long, cumulative_volume long, bid double, ask double, ticks long
"""


def bars(received: DataFrame) -> DataFrame:
    """Ticks to bars, each tick once, without the snapshots, which are no news."""
    order = F.struct("event_time", "receive_time_us", "sequence")

    def at_close(value: str | Column) -> Column:
        return F.max_by(value, order)

    return (
        received.where("NOT snapshot")
        .withWatermark("event_time", "5 seconds")
        # a repeat has its tick's event time: with it the state is freed behind the watermark
        .dropDuplicates(["slot", "session_id", "sequence", "event_time"])
        .groupBy(F.window("event_time", "1 minute"), "exchange", "instrument_token")
        .agg(
            at_close("tradingsymbol").alias("tradingsymbol"),
            F.min_by("last_price", order).alias("open"),
            F.max("last_price").alias("high"),
            F.min("last_price").alias("low"),
            at_close("last_price").alias("close"),
            F.min("volume_traded").alias("first_volume"),
            F.max("volume_traded").alias("cumulative_volume"),
            # a book may be empty: the plain [0] would fail
            at_close(F.expr("try_element_at(depth.buy, 1).price")).alias("bid"),
            at_close(F.expr("try_element_at(depth.sell, 1).price")).alias("ask"),
            F.count("*").alias("ticks"),
        )
        .select("*", F.col("window.start").alias("bar_start"), F.col("window.end").alias("bar_end"))
        .drop("window")
    )


def volumes(made: DataFrame) -> DataFrame:
    """Add `volume`: since the instrument's bar before, or within the first bar of a day."""
    day = F.to_date(F.col("bar_start") + F.expr("INTERVAL '05:30' HOUR TO MINUTE"))  # in India
    before = F.lag("cumulative_volume").over(
        Window.partitionBy("instrument_token", day).orderBy("bar_start")
    )
    return made.withColumn(
        "volume", F.col("cumulative_volume") - F.coalesce(before, F.col("first_volume"))
    )


def write(made: DataFrame, bootstrap_servers: str, topic: str, checkpoint: str, *, once: bool):
    """Start the stream; `once` stops when what is there now was read."""
    records = made.select(
        F.concat_ws("@", "instrument_token", F.date_format("bar_start", "yyyy-MM-dd'T'HH:mm"))
        .cast("binary")
        .alias("key"),
        F.to_json(F.struct("*")).cast("binary").alias("value"),
    )
    writer = (
        records.writeStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("topic", topic)
        .option("checkpointLocation", checkpoint)
        # append would hold back every bar until the watermark has passed it
        .outputMode("update")
    )
    return (writer.trigger(availableNow=True) if once else writer).start()


def written(spark: SparkSession, bootstrap_servers: str, topic: str) -> DataFrame:
    """The bars that a topic of them holds, each as it was written last."""
    records = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", topic)
        .load()
    )
    last = records.groupBy("key").agg(F.max_by("value", "offset").alias("value"))
    return last.select(F.from_json(F.col("value").cast("string"), BAR).alias("bar")).select("bar.*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default=ticks.BOOTSTRAP_SERVERS)
    parser.add_argument("--registry-url", default=ticks.REGISTRY_URL)
    parser.add_argument("--topic-pattern", default=ticks.TOPIC_PATTERN)
    parser.add_argument("--topic", required=True, help="of the bars")
    parser.add_argument("--checkpoint", help="folder of the stream's progress")
    parser.add_argument("--once", action="store_true", help="stop at what is there now")
    parser.add_argument("--list", action="store_true", help="print the topic's bars as JSON")
    arguments = parser.parse_args()
    if arguments.checkpoint is None and not arguments.list:
        parser.error("the stream needs --checkpoint")
    spark = (
        SparkSession.builder.appName("kite-bars")
        # the time zone of windows and of timestamps in JSON
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    servers, topic = arguments.bootstrap_servers, arguments.topic
    if arguments.checkpoint is not None:
        received = ticks.read(spark, servers, arguments.registry_url, arguments.topic_pattern)
        stream = write(bars(received), servers, topic, arguments.checkpoint, once=arguments.once)
        stream.awaitTermination()
    if arguments.list:
        for line in volumes(written(spark, servers, topic)).toJSON().collect():
            print(line)


if __name__ == "__main__":
    main()
