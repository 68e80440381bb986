"""ClickHouse over the tape, by chdb: the same result as every other reader's."""

import contextlib
import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from connector.cli.clickhouse import clickhouse_tables
from connector.kafka.avro_records import RecordEncoder
from connector.kite.wire.candles import Candle, Gap
from tests.integration.downstream import market
from tests.integration.downstream.checksum import agreed
from tests.integration.downstream.clickhouse import COUNTS, found
from tests.integration.downstream.engines import documented, in_environment, user_folder
from tests.integration.downstream.market import Record

pytestmark = pytest.mark.downstream


def candles_of(downstream, bar):
    """Write candles for the minute of a bar and for one without; what is to be read of them.

    One comes twice, and once more for another gap.
    """
    topic = downstream.names.backfill
    encoder = RecordEncoder(downstream.names, downstream.schema_ids)
    minute = round(datetime.fromisoformat(f"{bar.start}+00:00").timestamp()) // 60
    gap = Gap(0, 1, (minute - 90) * 60_000, minute * 60_000 + 1, "gap")
    made = [Candle(one, 1.5, 2.5, 1.0, 2.0, 7, None) for one in (minute - 90, minute)]
    other = gap._replace(from_ms=gap.to_ms - 1, cause="dropped")
    written = [(gap, made[0]), (gap, made[1]), (gap, made[1]), (other, made[1]._replace(close=9.0))]
    downstream.produce(
        Record(
            topic, b"%d" % bar.instrument_token,
            encoder.candle(candle, of, bar.instrument_token, None, number), market.START_MS,
        )
        for number, (of, candle) in enumerate(written)
    )  # fmt: skip
    return [
        {
            "instrument_token": bar.instrument_token, "bar_start": f"{_time(candle.minute)}.000",
            "open": 1.5, "high": 2.5, "low": 1, "close": 2, "volume": 7, "source": "historical",
        }
        for candle in made
    ]  # fmt: skip


def _time(minute):
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%d %H:%M:%S}"


@contextlib.contextmanager
def writing_on(downstream):
    """Write a tick of the tape again and again, each with the present time."""
    last, ended = downstream.written[-1], threading.Event()

    def write():
        while not ended.wait(0.05):
            downstream.produce([replace(last, timestamp_ms=time.time_ns() // 1_000_000)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def test_bars_nulls_and_sums_are_those_of_every_reader(new_downstream, tmp_path):
    downstream = new_downstream()
    for day in downstream.days():
        downstream.write(day)
    names = downstream.names
    downstream.create_topics(names.orders, names.events, names.instruments, names.backfill)
    bar, *_ = downstream.bars
    candles = candles_of(downstream, bar)
    tables = clickhouse_tables(
        downstream.bootstrap_servers, downstream.registry_url, prefix=downstream.prefix
    )
    folder = user_folder(tmp_path)
    scripts = folder / "examples/clickhouse"
    (scripts / "tables.sql").write_text(tables, "utf-8")
    with (scripts / "bars.sql").open("a", encoding="utf-8") as script:
        script.write((scripts / "mended.sql").read_text("utf-8"))
        script.write(f"\nSELECT {COUNTS} FROM ticks FINAL;\n")
    typed_lines = documented("docs/downstream.md", "## ClickHouse")
    printed = in_environment("clickhouse", folder, typed_lines)
    # the same again while a connector writes: repeats, which change nothing that is found
    with writing_on(downstream):
        assert in_environment("clickhouse", folder, typed_lines) == printed
    *rows, counts = [json.loads(line) for line in printed.splitlines()]
    bars = [row for row in rows if "source" not in row]
    mended = [row for row in rows if "source" in row]
    assert found(bars, counts) == agreed()

    # each minute once: a candle where there is one, with its bar or without, else the bar
    assert [row for row in mended if row["source"] == "historical"] == candles
    taken = {(row["instrument_token"], row["bar_start"]) for row in candles}
    assert [row for row in mended if row["source"] == "ticks"] == [
        {name: row[name] for name in mended[0] if name != "source"} | {"source": "ticks"}
        for row in bars
        if (row["instrument_token"], row["bar_start"]) not in taken
    ]
    assert len(mended) == len(bars) + 1


def inserted(downstream, folder, columns, asked):
    """What a script of bars prints when ticks were put in by INSERTs."""
    tables = clickhouse_tables(
        downstream.bootstrap_servers,
        downstream.registry_url,
        prefix=downstream.prefix,
        columns=columns,
    )
    scripts = user_folder(folder) / "examples/clickhouse"
    (scripts / "tables.sql").write_text(tables, "utf-8")
    with (scripts / "bars.sql").open("a", encoding="utf-8") as script:
        script.write(asked)
    make, _ = documented("docs/downstream.md", "## ClickHouse")
    _, line, _ = documented("docs/downstream.md", "An INSERT of many records")
    for default, ours in {
        "localhost:9094": downstream.bootstrap_servers,
        r"kite\.ticks": downstream.prefix + r"\.ticks",
    }.items():
        assert default in line
        line = line.replace(default, ours)
    printed = in_environment("clickhouse", folder, [make, line])
    return [json.loads(line) for line in printed.splitlines()]


def test_inserts_give_what_the_queue_gives_and_fewer_columns_the_same_bars(
    new_downstream, tmp_path
):
    downstream = new_downstream()
    for day in downstream.days():
        downstream.write(day)
    asked = f"\nSELECT {COUNTS} FROM ticks FINAL;\n"
    *bars, counts = inserted(downstream, tmp_path / "all", None, asked)
    assert found(bars, counts) == agreed()

    fewer = inserted(downstream, tmp_path / "fewer", [], "")
    book = ("bid", "ask")
    assert [{**row, **dict.fromkeys(book)} for row in fewer] == [
        {**row, **dict.fromkeys(book)} for row in bars
    ]
    # version 1 has no flat book
    assert any(row["bid"] is None for row in fewer)
    assert all(
        row[side] in (None, full[side])
        for row, full in zip(fewer, bars, strict=True)
        for side in book
    )
    assert any(row["bid"] for row in fewer)
