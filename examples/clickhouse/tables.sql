-- Made from the Avro schemas by `kite-connector schemas clickhouse`: do not edit.

CREATE TABLE IF NOT EXISTS `ticks_queue` (
  `event_time` DateTime64(3, 'UTC'),
  `receive_time_us` Int64,
  `instrument_token` Int64,
  `exchange` String,
  `tradingsymbol` Nullable(String),
  `mode` String,
  `tradable` Bool,
  `last_price` Float64,
  `last_traded_quantity` Nullable(Int64),
  `average_traded_price` Nullable(Float64),
  `volume_traded` Nullable(Int64),
  `total_buy_quantity` Nullable(Int64),
  `total_sell_quantity` Nullable(Int64),
  `ohlc` Nullable(Tuple(`open` Float64, `high` Float64, `low` Float64, `close` Float64)),
  `last_trade_time` Nullable(DateTime64(3, 'UTC')),
  `exchange_timestamp` Nullable(DateTime64(3, 'UTC')),
  `oi` Nullable(Int64),
  `oi_day_high` Nullable(Int64),
  `oi_day_low` Nullable(Int64),
  `depth` Nullable(Tuple(`buy` Array(Tuple(`quantity` Int64, `price` Float64, `orders` Int32)), `sell` Array(Tuple(`quantity` Int64, `price` Float64, `orders` Int32)))),
  `slot` Int32,
  `session_id` Int64,
  `sequence` Int64,
  `snapshot` Bool,
  `best_bid_price` Nullable(Float64),
  `best_bid_quantity` Nullable(Int64),
  `best_ask_price` Nullable(Float64),
  `best_ask_quantity` Nullable(Int64)
) ENGINE = Kafka
SETTINGS
  kafka_broker_list = 'localhost:9094',
  kafka_topic_list = 'kite.ticks.nse,kite.ticks.nfo,kite.ticks.cds,kite.ticks.bse,kite.ticks.bfo,kite.ticks.bcd,kite.ticks.mcx,kite.ticks.mcxsx,kite.ticks.indices,kite.ticks.nco',
  kafka_group_name = 'clickhouse-kite-ticks',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = 'http://localhost:8081/apis/ccompat/v7',
  input_format_avro_allow_missing_fields = 1;

CREATE TABLE IF NOT EXISTS `ticks` (
  `event_time` DateTime64(3, 'UTC'),
  `receive_time_us` Int64,
  `instrument_token` Int64,
  `exchange` String,
  `tradingsymbol` Nullable(String),
  `mode` String,
  `tradable` Bool,
  `last_price` Float64,
  `last_traded_quantity` Nullable(Int64),
  `average_traded_price` Nullable(Float64),
  `volume_traded` Nullable(Int64),
  `total_buy_quantity` Nullable(Int64),
  `total_sell_quantity` Nullable(Int64),
  `ohlc` Nullable(Tuple(`open` Float64, `high` Float64, `low` Float64, `close` Float64)),
  `last_trade_time` Nullable(DateTime64(3, 'UTC')),
  `exchange_timestamp` Nullable(DateTime64(3, 'UTC')),
  `oi` Nullable(Int64),
  `oi_day_high` Nullable(Int64),
  `oi_day_low` Nullable(Int64),
  `depth` Nullable(Tuple(`buy` Array(Tuple(`quantity` Int64, `price` Float64, `orders` Int32)), `sell` Array(Tuple(`quantity` Int64, `price` Float64, `orders` Int32)))),
  `slot` Int32,
  `session_id` Int64,
  `sequence` Int64,
  `snapshot` Bool,
  `best_bid_price` Nullable(Float64),
  `best_bid_quantity` Nullable(Int64),
  `best_ask_price` Nullable(Float64),
  `best_ask_quantity` Nullable(Int64),
  `kafka_topic` LowCardinality(String),
  `kafka_partition` UInt64,
  `kafka_offset` UInt64,
  `kafka_time` Nullable(DateTime64(3))
) ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMMDD(`event_time`, 'Asia/Kolkata')
ORDER BY (`instrument_token`, `event_time`, `slot`, `session_id`, `sequence`)
SETTINGS min_bytes_for_wide_part = 268435456;

CREATE MATERIALIZED VIEW IF NOT EXISTS `ticks_from_queue` TO `ticks` AS
SELECT *, _topic AS `kafka_topic`, _partition AS `kafka_partition`, _offset AS `kafka_offset`,
  _timestamp_ms AS `kafka_time`
FROM `ticks_queue`;

CREATE TABLE IF NOT EXISTS `orders_queue` (
  `event_time` DateTime64(3, 'UTC'),
  `receive_time_us` Int64,
  `order_id` String,
  `status` String,
  `transaction_type` Nullable(String),
  `validity` Nullable(String),
  `tradingsymbol` Nullable(String),
  `exchange` Nullable(String),
  `instrument_token` Nullable(Int64),
  `exchange_order_id` Nullable(String),
  `parent_order_id` Nullable(String),
  `user_id` Nullable(String),
  `order_type` Nullable(String),
  `product` Nullable(String),
  `variety` Nullable(String),
  `status_message` Nullable(String),
  `tag` Nullable(String),
  `quantity` Nullable(Int64),
  `filled_quantity` Nullable(Int64),
  `pending_quantity` Nullable(Int64),
  `cancelled_quantity` Nullable(Int64),
  `price` Nullable(Float64),
  `trigger_price` Nullable(Float64),
  `average_price` Nullable(Float64),
  `order_timestamp` Nullable(DateTime64(3, 'UTC')),
  `exchange_timestamp` Nullable(DateTime64(3, 'UTC')),
  `payload` String,
  `slot` Int32,
  `session_id` Int64,
  `algo_id` Nullable(String),
  `guid` Nullable(String),
  `market_protection` Nullable(Float64),
  `exchange_update_timestamp` Nullable(DateTime64(3, 'UTC')),
  `placed_by` Nullable(String),
  `disclosed_quantity` Nullable(Int64),
  `status_message_raw` Nullable(String),
  `meta` Nullable(String),
  `source` Nullable(String)
) ENGINE = Kafka
SETTINGS
  kafka_broker_list = 'localhost:9094',
  kafka_topic_list = 'kite.orders',
  kafka_group_name = 'clickhouse-kite-orders',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = 'http://localhost:8081/apis/ccompat/v7',
  input_format_avro_allow_missing_fields = 1;

CREATE TABLE IF NOT EXISTS `orders` (
  `event_time` DateTime64(3, 'UTC'),
  `receive_time_us` Int64,
  `order_id` String,
  `status` String,
  `transaction_type` Nullable(String),
  `validity` Nullable(String),
  `tradingsymbol` Nullable(String),
  `exchange` Nullable(String),
  `instrument_token` Nullable(Int64),
  `exchange_order_id` Nullable(String),
  `parent_order_id` Nullable(String),
  `user_id` Nullable(String),
  `order_type` Nullable(String),
  `product` Nullable(String),
  `variety` Nullable(String),
  `status_message` Nullable(String),
  `tag` Nullable(String),
  `quantity` Nullable(Int64),
  `filled_quantity` Nullable(Int64),
  `pending_quantity` Nullable(Int64),
  `cancelled_quantity` Nullable(Int64),
  `price` Nullable(Float64),
  `trigger_price` Nullable(Float64),
  `average_price` Nullable(Float64),
  `order_timestamp` Nullable(DateTime64(3, 'UTC')),
  `exchange_timestamp` Nullable(DateTime64(3, 'UTC')),
  `payload` String,
  `slot` Int32,
  `session_id` Int64,
  `algo_id` Nullable(String),
  `guid` Nullable(String),
  `market_protection` Nullable(Float64),
  `exchange_update_timestamp` Nullable(DateTime64(3, 'UTC')),
  `placed_by` Nullable(String),
  `disclosed_quantity` Nullable(Int64),
  `status_message_raw` Nullable(String),
  `meta` Nullable(String),
  `source` Nullable(String),
  `kafka_topic` LowCardinality(String),
  `kafka_partition` UInt64,
  `kafka_offset` UInt64,
  `kafka_time` Nullable(DateTime64(3))
) ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMMDD(`event_time`, 'Asia/Kolkata')
ORDER BY (`order_id`, `receive_time_us`, `slot`, `session_id`)
SETTINGS min_bytes_for_wide_part = 268435456;

CREATE MATERIALIZED VIEW IF NOT EXISTS `orders_from_queue` TO `orders` AS
SELECT *, _topic AS `kafka_topic`, _partition AS `kafka_partition`, _offset AS `kafka_offset`,
  _timestamp_ms AS `kafka_time`
FROM `orders_queue`;

CREATE TABLE IF NOT EXISTS `connection_events_queue` (
  `slot` Int32,
  `account` Nullable(String),
  `type` String,
  `time` DateTime64(3, 'UTC'),
  `session_id` Nullable(Int64),
  `state` Nullable(String),
  `reason` String,
  `gap_from` Nullable(DateTime64(3, 'UTC')),
  `gap_to` Nullable(DateTime64(3, 'UTC')),
  `instruments` Nullable(Int64),
  `tokens` Array(Int64),
  `count` Nullable(Tuple(`first_sequence` Int64, `last_sequence` Int64, `session_ended` Bool, `partitions` Array(Tuple(`exchange` String, `partition` Int32, `ticks` Int64))))
) ENGINE = Kafka
SETTINGS
  kafka_broker_list = 'localhost:9094',
  kafka_topic_list = 'kite.events',
  kafka_group_name = 'clickhouse-kite-connection_events',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = 'http://localhost:8081/apis/ccompat/v7',
  input_format_avro_allow_missing_fields = 1;

CREATE TABLE IF NOT EXISTS `connection_events` (
  `slot` Int32,
  `account` Nullable(String),
  `type` String,
  `time` DateTime64(3, 'UTC'),
  `session_id` Nullable(Int64),
  `state` Nullable(String),
  `reason` String,
  `gap_from` Nullable(DateTime64(3, 'UTC')),
  `gap_to` Nullable(DateTime64(3, 'UTC')),
  `instruments` Nullable(Int64),
  `tokens` Array(Int64),
  `count` Nullable(Tuple(`first_sequence` Int64, `last_sequence` Int64, `session_ended` Bool, `partitions` Array(Tuple(`exchange` String, `partition` Int32, `ticks` Int64)))),
  `kafka_topic` LowCardinality(String),
  `kafka_partition` UInt64,
  `kafka_offset` UInt64,
  `kafka_time` Nullable(DateTime64(3))
) ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMMDD(`time`, 'Asia/Kolkata')
ORDER BY (`slot`, `time`, `type`, `reason`)
SETTINGS min_bytes_for_wide_part = 268435456;

CREATE MATERIALIZED VIEW IF NOT EXISTS `connection_events_from_queue` TO `connection_events` AS
SELECT *, _topic AS `kafka_topic`, _partition AS `kafka_partition`, _offset AS `kafka_offset`,
  _timestamp_ms AS `kafka_time`
FROM `connection_events_queue`;

CREATE TABLE IF NOT EXISTS `instruments_queue` (
  `instrument_token` Int64,
  `exchange_token` Int64,
  `tradingsymbol` String,
  `name` Nullable(String),
  `last_price` Float64,
  `expiry` Nullable(String),
  `strike` Float64,
  `tick_size` Float64,
  `lot_size` Int64,
  `instrument_type` String,
  `segment` String,
  `exchange` String
) ENGINE = Kafka
SETTINGS
  kafka_broker_list = 'localhost:9094',
  kafka_topic_list = 'kite.instruments',
  kafka_group_name = 'clickhouse-kite-instruments',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = 'http://localhost:8081/apis/ccompat/v7',
  input_format_avro_allow_missing_fields = 1;

CREATE TABLE IF NOT EXISTS `instruments` (
  `instrument_token` Int64,
  `exchange_token` Int64,
  `tradingsymbol` String,
  `name` Nullable(String),
  `last_price` Float64,
  `expiry` Nullable(String),
  `strike` Float64,
  `tick_size` Float64,
  `lot_size` Int64,
  `instrument_type` String,
  `segment` String,
  `exchange` String,
  `kafka_topic` LowCardinality(String),
  `kafka_partition` UInt64,
  `kafka_offset` UInt64,
  `kafka_time` Nullable(DateTime64(3))
) ENGINE = ReplacingMergeTree(kafka_offset)
ORDER BY (`instrument_token`)
SETTINGS min_bytes_for_wide_part = 268435456;

CREATE MATERIALIZED VIEW IF NOT EXISTS `instruments_from_queue` TO `instruments` AS
SELECT *, _topic AS `kafka_topic`, _partition AS `kafka_partition`, _offset AS `kafka_offset`,
  _timestamp_ms AS `kafka_time`
FROM `instruments_queue`;

CREATE TABLE IF NOT EXISTS `candles_queue` (
  `event_time` DateTime64(3, 'UTC'),
  `receive_time_us` Int64,
  `instrument_token` Int64,
  `exchange` String,
  `tradingsymbol` Nullable(String),
  `open` Float64,
  `high` Float64,
  `low` Float64,
  `close` Float64,
  `volume` Int64,
  `oi` Nullable(Int64),
  `slot` Int32,
  `session_id` Nullable(Int64),
  `gap_from` DateTime64(3, 'UTC'),
  `gap_to` DateTime64(3, 'UTC'),
  `cause` String,
  `source` String
) ENGINE = Kafka
SETTINGS
  kafka_broker_list = 'localhost:9094',
  kafka_topic_list = 'kite.backfill.1m',
  kafka_group_name = 'clickhouse-kite-candles',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = 'http://localhost:8081/apis/ccompat/v7',
  input_format_avro_allow_missing_fields = 1;

CREATE TABLE IF NOT EXISTS `candles` (
  `event_time` DateTime64(3, 'UTC'),
  `receive_time_us` Int64,
  `instrument_token` Int64,
  `exchange` String,
  `tradingsymbol` Nullable(String),
  `open` Float64,
  `high` Float64,
  `low` Float64,
  `close` Float64,
  `volume` Int64,
  `oi` Nullable(Int64),
  `slot` Int32,
  `session_id` Nullable(Int64),
  `gap_from` DateTime64(3, 'UTC'),
  `gap_to` DateTime64(3, 'UTC'),
  `cause` String,
  `source` String,
  `kafka_topic` LowCardinality(String),
  `kafka_partition` UInt64,
  `kafka_offset` UInt64,
  `kafka_time` Nullable(DateTime64(3))
) ENGINE = ReplacingMergeTree()
PARTITION BY toYYYYMMDD(`event_time`, 'Asia/Kolkata')
ORDER BY (`instrument_token`, `event_time`, `slot`, `gap_from`)
SETTINGS min_bytes_for_wide_part = 268435456;

CREATE MATERIALIZED VIEW IF NOT EXISTS `candles_from_queue` TO `candles` AS
SELECT *, _topic AS `kafka_topic`, _partition AS `kafka_partition`, _offset AS `kafka_offset`,
  _timestamp_ms AS `kafka_time`
FROM `candles_queue`;

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
  CAST(toStartOfMinute(`event_time`), 'DateTime64(3, \'UTC\')') AS `bar_start`,
  any(`exchange`) AS `exchange`,
  any(`tradingsymbol`) AS `tradingsymbol`,
  argMinState(`last_price`, `place`) AS `open`,
  max(`last_price`) AS `high`,
  min(`last_price`) AS `low`,
  -- in a tuple, since argMax passes over what is null; from depth, which version 1 has too, and
  -- whose arrays are empty, not null, where it is null
  argMaxState((
      `last_price`,
      if(`depth` IS NULL, NULL, `depth`.`buy`[1].`price`),
      if(`depth` IS NULL, NULL, `depth`.`sell`[1].`price`)
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
