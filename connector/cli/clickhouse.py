"""What ClickHouse needs to read the topics, made from the Avro schemas: queues, tables, bars.

Pure: text in, text out. ClickHouse reads wrongly and silently what is declared wrongly (a price as
Decimal, a time as DateTime64(6), a nullable number that is not Nullable), so the columns are never
written by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder
from connector.cli.downstream import Dialect, quoted
from connector.kafka.registry import topic_schemas
from connector.kafka.topics import TopicNames

CLICKHOUSE: Final = Dialect(
    "ClickHouse",
    {
        "boolean": "Bool",
        "int": "Int32",
        "long": "Int64",
        "float": "Float32",
        "double": "Float64",
        "string": "String",
    },
    time="DateTime64(3, 'UTC')",
    record="Tuple({})",
    array="Array({})",
    nullable="Nullable({})",
)
"""Its `columns` are what the tables have of a record."""


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    order: tuple[str, ...]  # rows that agree in these are one row
    day: str | None  # the column whose days are the partitions
    newest: str = ""  # the column by which the newest of such rows is kept


_WIDE_FROM_BYTES: Final = 256 * 1024 * 1024
"""Parts of a table that are smaller are one file each, not several for each column: to make and
delete those is a good part of what an INSERT of some hundred thousand ticks costs."""
_TABLES: Final = {
    "tick": _Table(
        "ticks",
        ("instrument_token", "event_time", "slot", "session_id", "sequence"),
        "event_time",
    ),
    "order_update": _Table(
        "orders", ("order_id", "receive_time_us", "slot", "session_id"), "event_time"
    ),
    "connection_event": _Table("connection_events", ("slot", "time", "type", "reason"), "time"),
    "instrument": _Table("instruments", ("instrument_token",), None, "kafka_offset"),
    "candle": _Table(
        "candles", ("instrument_token", "event_time", "slot", "gap_from"), "event_time"
    ),
}
_VIEW: Final = """\
CREATE MATERIALIZED VIEW IF NOT EXISTS `%name%_from_queue` TO `%name%` AS
SELECT *, _topic AS `kafka_topic`, _partition AS `kafka_partition`, _offset AS `kafka_offset`,
  _timestamp_ms AS `kafka_time`
FROM `%name%_queue`;
"""
# what bars are made of besides, and the book where there is no `depth`
_OF_BARS: Final = (
    "receive_time_us", "exchange", "tradingsymbol", "last_price", "volume_traded", "snapshot",
    "best_bid_price", "best_ask_price",
)  # fmt: skip
_BOOK: Final = {
    "%why%": "; from depth, which version 1 has too, and\n"
    "  -- whose arrays are empty, not null, where it is null",
    "%bid%": "if(`depth` IS NULL, NULL, `depth`.`buy`[1].`price`)",
    "%ask%": "if(`depth` IS NULL, NULL, `depth`.`sell`[1].`price`)",
}
_TOP_OF_BOOK: Final = {"%why%": "", "%bid%": "`best_bid_price`", "%ask%": "`best_ask_price`"}
_BARS: Final = """\
-- Bars of one minute, which a repeated tick leaves as they are: read them from `bars`.
CREATE TABLE IF NOT EXISTS `bar_states` (
  `instrument_token` Int64,
  `bar_start` DateTime64(3, 'UTC'),
  `exchange` SimpleAggregateFunction(any, String),
  `tradingsymbol` SimpleAggregateFunction(any, Nullable(String)),
  `open` AggregateFunction(argMin, Float64, UInt256),
  `high` SimpleAggregateFunction(max, Float64),
  `low` SimpleAggregateFunction(min, Float64),
  `close` AggregateFunction(argMax, Tuple(Float64, Nullable(Float64), Nullable(Float64)), UInt256),
  `first_volume` SimpleAggregateFunction(min, Nullable(Int64)),
  `cumulative_volume` SimpleAggregateFunction(max, Nullable(Int64)),
  `ticks` AggregateFunction(uniqExact, Int32, Int64, Int64)
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(`bar_start`, 'Asia/Kolkata')
ORDER BY (`instrument_token`, `bar_start`);

CREATE MATERIALIZED VIEW IF NOT EXISTS `bars_from_ticks` TO `bar_states` AS
WITH
  -- by event_time, receive_time_us, sequence: numbers are compared faster than tuples
  bitOr(
    bitShiftLeft(toUInt256(toUnixTimestamp64Milli(`event_time`)), 128),
    bitOr(bitShiftLeft(toUInt256(`receive_time_us`), 64), toUInt256(`sequence`))
  ) AS `place`
SELECT
  `instrument_token`,
  CAST(toStartOfMinute(`event_time`), 'DateTime64(3, \\'UTC\\')') AS `bar_start`,
  any(`exchange`) AS `exchange`,
  any(`tradingsymbol`) AS `tradingsymbol`,
  argMinState(`last_price`, `place`) AS `open`,
  max(`last_price`) AS `high`,
  min(`last_price`) AS `low`,
  -- in a tuple, since argMax passes over what is null%why%
  argMaxState((
      `last_price`,
      %bid%,
      %ask%
    ), `place`) AS `close`,
  min(`volume_traded`) AS `first_volume`,
  max(`volume_traded`) AS `cumulative_volume`,
  uniqExactState(`slot`, `session_id`, `sequence`) AS `ticks`
FROM `ticks`
WHERE NOT `snapshot`
GROUP BY `instrument_token`, `bar_start`;

CREATE VIEW IF NOT EXISTS `bars` AS
SELECT
  * EXCEPT (`closing`, `first_volume`, `before`, `is_first`),
  `closing`.1 AS `close`,
  `closing`.2 AS `bid`,
  `closing`.3 AS `ask`,
  `cumulative_volume` - if(`is_first` OR `before` IS NULL, `first_volume`, `before`) AS `volume`
FROM (
  SELECT
    *,
    lagInFrame(`cumulative_volume`) OVER `day` AS `before`,
    row_number() OVER `day` = 1 AS `is_first`
  FROM (
    SELECT
      `instrument_token`, `bar_start`, any(`exchange`) AS `exchange`,
      any(`tradingsymbol`) AS `tradingsymbol`, argMinMerge(`open`) AS `open`,
      max(`high`) AS `high`, min(`low`) AS `low`, argMaxMerge(`close`) AS `closing`,
      min(`first_volume`) AS `first_volume`, max(`cumulative_volume`) AS `cumulative_volume`,
      uniqExactMerge(`ticks`) AS `ticks`
    FROM `bar_states`
    GROUP BY `instrument_token`, `bar_start`
  )
  WINDOW `day` AS (
    PARTITION BY `instrument_token`, toDate(`bar_start`, 'Asia/Kolkata') ORDER BY `bar_start`
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  )
);
"""


def clickhouse_tables(
    bootstrap_servers: str,
    registry_url: str,
    *,
    prefix: str = "kite",
    settings: Mapping[str, str | int] | None = None,
    columns: Collection[str] | None = None,
    ticks_by_inserts: bool = False,
) -> str:
    """A ClickHouse SQL script: for each schema a queue, a table and the view between them; bars.

    A queue is a table of the Kafka engine, which hands a record out once to its consumer group. A
    statement ends with a semicolon at the end of a line.

    Args:
        bootstrap_servers: as seen from ClickHouse.
        registry_url: as seen from ClickHouse, with the path of Confluent's API where it has one.
        prefix: of the topics.
        settings: further settings of the queues, over those made here.
        columns: of the ticks, besides those that a row's identity and the bars need; None for all.
            Bars have their book from `best_bid_price` and `best_ask_price` where `depth` is not in
            it.
        ticks_by_inserts: without the queue of ticks: somebody else reads them, and puts them into
            their table.

    Raises:
        KeyError: a column that ticks have not.
    """
    names = TopicNames(prefix)
    topics = topic_schemas(names)
    del topics[names.latest]  # its ticks are in the others
    parts = ["-- Made from the Avro schemas by `kite-connector schemas clickhouse`: do not edit.\n"]
    chosen = {name: CLICKHOUSE.columns(schemas.load(name)) for name in _TABLES}
    if columns is not None:
        chosen["tick"] = _narrowed(chosen["tick"], columns)
    for name, table in _TABLES.items():
        kafka: dict[str, str | int] = {
            "kafka_broker_list": bootstrap_servers,
            "kafka_topic_list": ",".join(topic for topic, kind in topics.items() if kind == name),
            "kafka_group_name": f"clickhouse-{prefix}-{table.name}",
            "kafka_format": "AvroConfluent",
            "format_avro_schema_registry_url": registry_url,
            # what a record of an older version lacks is null
            "input_format_avro_allow_missing_fields": 1,
            **(settings or {}),
        }
        stored = _stored(table, chosen[name])
        if name == "tick" and ticks_by_inserts:
            parts.append(stored)
            continue
        queue = _queue(f"{table.name}_queue", chosen[name], kafka)
        parts += [queue, stored, _VIEW.replace("%name%", table.name)]
    bars = _BARS
    for place, text in (_BOOK if "depth" in chosen["tick"] else _TOP_OF_BOOK).items():
        bars = bars.replace(place, text)
    return "\n".join([*parts, bars])


def _narrowed(every: Mapping[str, str], columns: Collection[str]) -> dict[str, str]:
    for name in columns:
        if name not in every:
            raise KeyError(name)
    wanted = {*columns, *_TABLES["tick"].order, *_OF_BARS}
    return {name: kind for name, kind in every.items() if name in wanted}


def _queue(name: str, columns: Mapping[str, str], kafka: Mapping[str, str | int]) -> str:
    given = ",\n  ".join(
        f"{setting} = {value if isinstance(value, int) else _literal(value)}"
        for setting, value in kafka.items()
    )
    return (
        f"CREATE TABLE IF NOT EXISTS `{name}` (\n  {_columns(columns)}\n"
        f") ENGINE = Kafka\nSETTINGS\n  {given};\n"
    )


def _stored(table: _Table, columns: Mapping[str, str]) -> str:
    stored = {
        **columns,
        "kafka_topic": "LowCardinality(String)",
        "kafka_partition": "UInt64",
        "kafka_offset": "UInt64",
        "kafka_time": "Nullable(DateTime64(3))",
    }
    by_day = (
        "" if table.day is None else f"\nPARTITION BY toYYYYMMDD(`{table.day}`, 'Asia/Kolkata')"
    )
    order = ", ".join(map(quoted, table.order))
    return (
        f"CREATE TABLE IF NOT EXISTS `{table.name}` (\n  {_columns(stored)}\n"
        f") ENGINE = ReplacingMergeTree({table.newest}){by_day}\nORDER BY ({order})\n"
        f"SETTINGS min_bytes_for_wide_part = {_WIDE_FROM_BYTES};\n"
    )


def _columns(columns: Mapping[str, str]) -> str:
    return ",\n  ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
