"""Flink SQL over the topics: bars equal to Python's, before and after the schema moves on."""

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from connector.cli.downstream import flink_ddl, flink_tables, topic_pattern
from connector.kafka.avro_records import RecordEncoder
from connector.kite.web.instrument_csv import Instrument
from tests.integration.downstream import market
from tests.integration.downstream.bars import Bar
from tests.integration.downstream.checksum import NULLABLE, agreed, result
from tests.integration.downstream.engines import EXAMPLES, documented, typed, user_folder
from tests.integration.downstream.market import Record

pytestmark = [pytest.mark.integration, pytest.mark.downstream]

BARS_SQL = (EXAMPLES / "flink/bars.sql").read_text("utf-8")
BOUNDED = {"scan.bounded.mode": "latest-offset"}
NAMED_SQL = """
CREATE TABLE named (
  token_key STRING NOT NULL, tradingsymbol STRING, expiry STRING, lot_size BIGINT,
  PRIMARY KEY (token_key) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '%topic%', 'properties.bootstrap.servers' = '%servers%',
  'key.format' = 'raw', 'value.format' = 'json'
);
INSERT INTO named SELECT token_key, tradingsymbol, expiry, lot_size FROM instruments;
"""
# what is not read is at least accepted
EXPLAIN_SQL = "".join(
    f"EXPLAIN SELECT * FROM {table};\n" for table in ("orders", "connection_events", "candles")
)
COUNTED = {name: f"`{name}`" for name in NULLABLE} | {
    "ohlc.open": "ohlc.`open`",
    "depth.buy[1].price": "depth.buy[1].price",
}
COUNTS_SQL = """
CREATE TABLE counts (
  exchange STRING, ticks BIGINT, volume BIGINT, %declared%, PRIMARY KEY (exchange) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '%topic%', 'properties.bootstrap.servers' = '%servers%',
  'key.format' = 'raw', 'value.format' = 'json'
);
INSERT INTO counts
SELECT exchange, COUNT(*), SUM(volume_traded), %counted%
FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY slot, session_id, `sequence` ORDER BY event_time
  ) AS copy FROM ticks
)
WHERE copy = 1
GROUP BY exchange;
"""
PHASES_SQL = """
CREATE TABLE phases (market_phase STRING, instrument_token BIGINT NOT NULL) WITH (
  'connector' = 'kafka', 'topic' = '%topic%', 'properties.bootstrap.servers' = '%servers%',
  'format' = 'json'
);
INSERT INTO phases SELECT market_phase, instrument_token FROM newer_ticks;
"""


def run_sql(folder: Path, tables: str, jobs: str) -> None:
    """What docs/downstream.md tells to type, over these tables and jobs."""
    folder.mkdir()
    here = user_folder(folder)
    (here / "examples/flink/tables.sql").write_text(tables, "utf-8")
    (here / "examples/flink/bars.sql").write_text(jobs, "utf-8")
    typed(here, documented("docs/downstream.md", "## Flink"))


def run_bars(downstream, folder: Path, topic: str, *more: str) -> list[Bar]:
    """The example as it is, but for addresses, the topics' prefix, and that it ends."""
    downstream.create_topics(topic)
    tables = flink_tables(
        downstream.bootstrap_servers,
        downstream.registry_url,
        prefix=downstream.prefix,
        options=BOUNDED,
    )
    assert BARS_SQL.count("'kite.bars.1m'") == 1
    bars = BARS_SQL.replace("'kite.bars.1m'", f"'{topic}'").replace(
        "localhost:9094", downstream.bootstrap_servers
    )
    run_sql(folder, tables + EXPLAIN_SQL, "\n".join([bars, *more]))
    made = downstream.read(topic)
    # in a compacted topic a key that two bars have would leave one of them
    assert len({key for key, _ in made}) == len(made)
    return sorted(bar_of(json.loads(value)) for _, value in made)


def bar_of(row: dict) -> Bar:
    return Bar(
        start=row["bar_start"], **{name: row[name] for name in Bar._fields if name != "start"}
    )


def test_bars_are_equal_before_and_after_the_schema_moves_on(new_downstream, tmp_path):
    downstream = new_downstream()
    first_day, second_day = downstream.days()
    downstream.write(first_day)
    before = run_bars(downstream, tmp_path / "before", f"{downstream.prefix}.bars-before")
    assert before == downstream.bars

    downstream.evolve()
    downstream.write(downstream.half_in_newer_schema(second_day))
    phases = f"{downstream.prefix}.phases"
    downstream.create_topics(phases)
    # a job of the newer schema besides: it reads the older ticks too
    newer = flink_ddl(
        topic_pattern("tick", downstream.prefix),
        downstream.bootstrap_servers,
        downstream.registry_url,
        schema=market.newer_schema(),
        table="newer_ticks",
        options=BOUNDED,
    )
    script = PHASES_SQL.replace("%topic%", phases).replace(
        "%servers%", downstream.bootstrap_servers
    )
    after = run_bars(
        downstream, tmp_path / "after", f"{downstream.prefix}.bars-after", newer, script
    )
    assert after == downstream.bars
    assert len(after) > len(before)

    read = [json.loads(value) for _, value in downstream.read(phases)]
    assert Counter((row["market_phase"], row["instrument_token"]) for row in read) == Counter(
        (tick.get("market_phase"), tick["instrument_token"]) for tick in downstream.ticks
    )


def test_nulls_and_sums_are_those_of_every_reader(new_downstream, tmp_path):
    downstream = new_downstream()
    for day in downstream.days():
        downstream.write(day)
    topic = f"{downstream.prefix}.counts"
    downstream.create_topics(topic)
    names = [f"no_{number}" for number in range(len(COUNTED))]
    counted = [f"COUNT(*) FILTER (WHERE {column} IS NULL)" for column in COUNTED.values()]
    script = (
        COUNTS_SQL.replace("%topic%", topic)
        .replace("%servers%", downstream.bootstrap_servers)
        .replace("%declared%", ", ".join(f"{name} BIGINT" for name in names))
        .replace("%counted%", ", ".join(counted))
    )
    bars = run_bars(downstream, tmp_path / "counts", f"{downstream.prefix}.bars", script)
    last = {key: json.loads(value) for key, value in downstream.read(topic) if value}
    found = result(
        ticks=sum(row["ticks"] for row in last.values()),
        volume=sum(row["volume"] or 0 for row in last.values()),
        nulls={
            column: sum(row[name] for row in last.values())
            for column, name in zip(COUNTED, names, strict=True)
        },
        made=bars,
    )
    assert found == agreed()


def test_instruments_are_a_table_that_tombstones_delete_from(new_downstream, tmp_path):
    downstream = new_downstream()
    topic, named = downstream.names.instruments, f"{downstream.prefix}.named"
    downstream.create_topics(topic, named)
    encoder = RecordEncoder(downstream.names, downstream.schema_ids)
    infy = Instrument(408065, 1594, "INFY", "INFOSYS", 0.0, None, 0.0, 0.1, 1, "EQ", "NSE", "NSE")
    future = infy._replace(instrument_token=10242, expiry=date(2026, 1, 27))
    gone = infy._replace(instrument_token=777)
    values = [
        (infy._replace(lot_size=5), True),
        (future, True),
        (gone, True),
        (infy, True),
        (gone, False),
    ]
    downstream.produce(
        Record(
            topic,
            str(row.instrument_token).encode(),
            encoder.instrument(row) if there else None,
            market.START_MS,
        )
        for row, there in values
    )
    tables = flink_tables(
        downstream.bootstrap_servers,
        downstream.registry_url,
        prefix=downstream.prefix,
        options=BOUNDED,
    )
    script = NAMED_SQL.replace("%topic%", named).replace("%servers%", downstream.bootstrap_servers)
    run_sql(tmp_path / "named", tables, script)
    last = {key.decode(): value and json.loads(value) for key, value in downstream.read(named)}
    assert {key: row for key, row in last.items() if row is not None} == {
        "408065": {"token_key": "408065", "tradingsymbol": "INFY", "expiry": None, "lot_size": 1},
        "10242": {
            "token_key": "10242",
            "tradingsymbol": "INFY",
            "expiry": "2026-01-27",
            "lot_size": 1,
        },
    }
