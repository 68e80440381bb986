#!/usr/bin/env bash
# arcticdb 6.28.2 with pandas 2.3.3 (PyPI; a store of frames that is used for market data): a frame is written and read back,
# with one time, 2026-08-03 10:15 in India, as its index and as a column in India's zone, and as a column in UTC.
# Expected: what was written; or an error, as for a column of Int64 or of pandas.ArrowDtype.
# Seen: the index comes back in India's zone, 10:15+05:30. Both columns come back without a zone, as UTC's 04:45, without a
# word: the column that had been India's shows another time than the index of its own row, five and a half hours
# off, and can no longer be compared with it. Of two columns in two zones nothing tells which was which.
# dt.tz_localize("UTC") after each read mends it. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check arcticdb==6.28.2 pandas==2.3.3 pyarrow==26.0.1
cat > "$work/zone.py" <<'PY'
import sys

import arcticdb
import pandas

time = pandas.to_datetime(["2026-08-03 04:45:00"], utc=True)
india = time.tz_convert("Asia/Kolkata")
written = pandas.DataFrame({"last_trade_time": india, "exchange_timestamp": time}, index=india.rename("event_time"))
library = arcticdb.Arctic("lmdb://" + sys.argv[1]).create_library("ticks")
library.write("INFY", written)
read = library.read("INFY").data
for name, frame in (("written", written), ("read", read)):
    row = frame.iloc[0]
    print(name, frame.index[0].isoformat(), row["last_trade_time"].isoformat(), row["exchange_timestamp"].isoformat())
mended = read["last_trade_time"].dt.tz_localize("UTC")
print("mended", mended.iloc[0] == read.index[0])
for kind, column in (("Int64", pandas.array([1], "Int64")), ("arrow", pandas.array([1], "int64[pyarrow]"))):
    try:
        library.write(kind, pandas.DataFrame({"oi": column}, index=india))
        print(kind, "written")
    except Exception:  # ArcticDB's, of several classes
        print(kind, "refused")
PY
seen=$("$work/venv/bin/python" "$work/zone.py" "$work/store" 2>/dev/null)
echo "$seen"
[ "$seen" = "written 2026-08-03T10:15:00+05:30 2026-08-03T10:15:00+05:30 2026-08-03T04:45:00+00:00
read 2026-08-03T10:15:00+05:30 2026-08-03T04:45:00 2026-08-03T04:45:00
mended True
Int64 refused
arrow refused" ] || { echo "changed"; exit 1; }
echo "as described"
