#!/usr/bin/env bash
# pandas 3.1.1 and 2.3.3 with pyarrow 26.0.1 (PyPI): bars of a minute, resample(on=…).ohlc(), of four ticks of an Arrow table, once with
# types_mapper=pandas.ArrowDtype, which keeps a long that may be null a long, and once with the price as float64 or Float64.
# Expected: open 1500.0, high 1500.3, low 1499.9, close 1500.1, whichever of the types the price has, as first, max, min and last of
# the same groups give it.
# Seen: ohlc() of an ArrowDtype column is a ValueError, "Mask must be 1D array", which names neither column nor type; float64 and Float64
# work, and so does agg(["first", "max", "min", "last"]) of all three. Of volumes (int64) the same. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/bars.py" <<'PY'
from datetime import datetime, timedelta, timezone

import pandas
import pyarrow

opened = datetime(2026, 8, 3, 3, 45, tzinfo=timezone.utc)
times = pyarrow.array([opened + timedelta(seconds=second) for second in range(4)], pyarrow.timestamp("ms", "UTC"))
ticks = pyarrow.table({"event_time": times, "last_price": [1500.0, 1500.3, 1499.9, 1500.1], "volume": [1, 2, 3, 4]})
frame = ticks.to_pandas(types_mapper=pandas.ArrowDtype)

def bars(frame, column, how):
    grouped = frame.resample("1min", on="event_time")[column]
    try:
        return (grouped.ohlc() if how == "ohlc" else grouped.agg(how)).to_numpy().tolist()
    except ValueError as error:
        return str(error)

print(pandas.__version__)
print(bars(frame, "last_price", "ohlc"), bars(frame, "volume", "ohlc"))
for price in ("float64", "Float64"):
    print(bars(frame.astype({"last_price": price}), "last_price", "ohlc"))
print(bars(frame, "last_price", ["first", "max", "min", "last"]))
PY
right='[[1500.0, 1500.3, 1499.9, 1500.1]]'
for pandas in 3.1.1 2.3.3; do
  python3 -m venv "$work/$pandas"
  "$work/$pandas/bin/pip" install --quiet --disable-pip-version-check "pandas==$pandas" pyarrow==26.0.1
  seen=$("$work/$pandas/bin/python" "$work/bars.py")
  echo "$seen"
  [ "$seen" = "$pandas
Mask must be 1D array Mask must be 1D array
$right
$right
$right" ] || { echo "changed"; exit 1; }
done
echo "as described"
