-- Bars of one minute, with the volume traded in each: what docs/downstream.md calls a bar.
SELECT * FROM bars ORDER BY instrument_token, bar_start;
