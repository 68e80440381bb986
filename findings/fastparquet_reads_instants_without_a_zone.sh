#!/usr/bin/env bash
# fastparquet 2026.9.0 and pyarrow 26.0.1, the two engines of read_parquet in pandas 2.3.3 (PyPI): a file that pyarrow wrote of an
# Arrow table, with a time in UTC, the same time in India's zone, and a volume that is null in the second row.
# Expected: the same frame from both: times with their zones, since the file says that they are instants (isAdjustedToUTC).
# Seen: pyarrow gives UTC and Asia/Kolkata. fastparquet gives both without a zone, as UTC's 04:45, with no warning, so the time
# that was India's is five and a half hours off as a wall clock's, and one cannot be compared with an aware time. A file
# that was written from a pandas frame has its zones in pandas' own metadata, and there fastparquet gives them too.
# And rows filtered by the volume, ("volume_traded", ">", 1) with row_filter=True, end in a ValueError at the null.
# dt.tz_localize("UTC") mends the times. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==2.3.3 pyarrow==26.0.1
cat > "$work/read.py" <<'PY'
import datetime
import sys

import fastparquet
import pandas
import pyarrow
import pyarrow.parquet

folder = sys.argv[1]
traded = [datetime.datetime(2026, 8, 3, 4, 45, tzinfo=datetime.UTC)] * 2
table = pyarrow.table(
    {
        "utc": pyarrow.array(traded, pyarrow.timestamp("ms", "UTC")),
        "india": pyarrow.array(traded, pyarrow.timestamp("ms", "Asia/Kolkata")),
        "volume_traded": pyarrow.array([5, None], pyarrow.int64()),
    }
)
pyarrow.parquet.write_table(table, f"{folder}/arrow.parquet")
table.to_pandas().to_parquet(f"{folder}/pandas.parquet", engine="pyarrow")
for name in ("arrow", "pandas"):
    for engine in ("pyarrow", "fastparquet"):
        row = pandas.read_parquet(f"{folder}/{name}.parquet", engine=engine).iloc[0]
        print(name, engine, row["utc"].isoformat(), row["india"].isoformat())
file = fastparquet.ParquetFile(f"{folder}/arrow.parquet")
try:
    print(len(file.to_pandas(filters=[("volume_traded", ">", 1)], row_filter=True)))
except ValueError:
    print("ValueError")
PY
seen=$("$work/venv/bin/python" -W ignore "$work/read.py" "$work")
echo "$seen"
[ "$seen" = "arrow pyarrow 2026-08-03T04:45:00+00:00 2026-08-03T10:15:00+05:30
arrow fastparquet 2026-08-03T04:45:00 2026-08-03T04:45:00
pandas pyarrow 2026-08-03T04:45:00+00:00 2026-08-03T10:15:00+05:30
pandas fastparquet 2026-08-03T04:45:00+00:00 2026-08-03T10:15:00+05:30
ValueError" ] || { echo "changed"; exit 1; }
echo "as described"
