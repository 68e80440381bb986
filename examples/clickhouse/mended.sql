-- The bars, with Kite's candles in place of those that a gap touches: see "Bars and Kite's candles" in
-- docs/downstream.md. A candle that was fetched twice, or for two gaps, counts once.
SELECT * FROM (
  SELECT instrument_token, bar_start, open, high, low, close, volume, 'ticks' AS source
  FROM bars
  WHERE (instrument_token, bar_start) NOT IN (SELECT instrument_token, event_time FROM candles)
  UNION ALL
  SELECT instrument_token, event_time AS bar_start, open, high, low, close, volume, source
  FROM (SELECT * FROM candles ORDER BY receive_time_us LIMIT 1 BY instrument_token, event_time)
)
ORDER BY instrument_token, bar_start;
