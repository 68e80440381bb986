-- Bars of one minute from the table `ticks` (ticks.sql), written as JSON into a topic.
--
-- open, close   last_price of the first and the last tick by (event_time, receive_time_us, sequence):
--               FIRST_VALUE and LAST_VALUE would go by arrival
-- high, low     highest and lowest last_price
-- volume        traded in the bar: volume_traded at its end less volume_traded at the end of the
--               instrument's bar before it. At the first bar of a day (in India) it is counted from
--               the bar's own first tick. NULL without volume_traded (ltp mode, an index)
-- cumulative_volume  volume_traded at the bar's end: the day's volume so far
-- bid, ask      best prices of the closing tick; NULL without depth, 0 after market hours
-- ticks         number of ticks
--
-- A snapshot is what the feed had in its cache, not news: left out. A tick that was delivered twice
-- counts once. A minute without ticks has no bar.
-- Jobs of Kafka Streams and of Spark, and a view of ClickHouse, make the same bars.

CREATE TABLE bars (
  -- a bar's own, token@start as Spark's, so that the topic may be compacted: by the token alone
  -- only the last bar of each instrument would be kept
  bar_key STRING,
  exchange STRING NOT NULL,
  instrument_token BIGINT NOT NULL,
  tradingsymbol STRING,
  bar_start TIMESTAMP(3) NOT NULL,
  bar_end TIMESTAMP(3) NOT NULL,
  `open` DOUBLE NOT NULL,
  high DOUBLE NOT NULL,
  low DOUBLE NOT NULL,
  `close` DOUBLE NOT NULL,
  volume BIGINT,
  cumulative_volume BIGINT,
  bid DOUBLE,
  ask DOUBLE,
  ticks BIGINT NOT NULL
) WITH (
  'connector' = 'kafka',
  -- not below kite.ticks.: the pattern of the ticks must not match it
  'topic' = 'kite.bars.1m',
  'properties.bootstrap.servers' = 'localhost:9094',
  'key.format' = 'raw',
  'key.fields' = 'bar_key',
  'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY'
);

-- repeats of a tick have its event time, hence its window: the state lives as long as that
CREATE TEMPORARY VIEW distinct_ticks AS
SELECT * FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY window_start, window_end, slot, session_id, `sequence`
    ORDER BY event_time
  ) AS copy
  FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
  WHERE NOT `snapshot`
) WHERE copy = 1;

CREATE TEMPORARY VIEW opening AS
SELECT * FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY window_start, window_end, instrument_token
    ORDER BY event_time, receive_time_us, `sequence`
  ) AS place
  FROM distinct_ticks
) WHERE place = 1;

CREATE TEMPORARY VIEW closing AS
SELECT * FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY window_start, window_end, instrument_token
    ORDER BY event_time DESC, receive_time_us DESC, `sequence` DESC
  ) AS place
  FROM distinct_ticks
) WHERE place = 1;

CREATE TEMPORARY VIEW summary AS
SELECT window_start, window_end, window_time, instrument_token,
  MAX(last_price) AS high, MIN(last_price) AS low,
  MIN(volume_traded) AS first_volume, MAX(volume_traded) AS last_volume, COUNT(*) AS ticks
FROM distinct_ticks
GROUP BY window_start, window_end, window_time, instrument_token;

CREATE TEMPORARY VIEW whole_bars AS
SELECT s.window_start, s.window_end, s.window_time, s.instrument_token, c.exchange, c.tradingsymbol,
  o.last_price AS `open`, s.high, s.low, c.last_price AS `close`, s.first_volume, s.last_volume,
  c.depth.buy[1].price AS bid, c.depth.sell[1].price AS ask, s.ticks
FROM summary AS s
JOIN opening AS o ON s.window_start = o.window_start AND s.window_end = o.window_end
  AND s.instrument_token = o.instrument_token
JOIN closing AS c ON s.window_start = c.window_start AND s.window_end = c.window_end
  AND s.instrument_token = c.instrument_token;

INSERT INTO bars
SELECT CONCAT(CAST(instrument_token AS STRING), '@', DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm')),
  exchange, instrument_token, tradingsymbol,
  window_start, window_end, `open`, high, low, `close`,
  last_volume - COALESCE(LAG(last_volume) OVER (
    PARTITION BY instrument_token, CAST(window_start + INTERVAL '05:30' HOUR TO MINUTE AS DATE)
    ORDER BY window_time
  ), first_volume),
  last_volume, bid, ask, ticks
FROM whole_bars;
