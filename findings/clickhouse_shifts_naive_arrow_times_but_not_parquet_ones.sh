#!/usr/bin/env bash
# chdb 4.4.0 (ClickHouse 26.9) in the time zone Asia/Kolkata: one pyarrow 26.0.1 table, with a time without a zone
# and a time of day, asked directly and out of the Parquet file that pyarrow writes of it.
# Expected: the same types and values both ways, and of a time without a zone what it says, 09:15:00, as DuckDB
# 2.0.1 gives both ways.
# Seen: directly it is a DateTime64 without a zone, which is shown in the session's: 14:45:00. From Parquet it is a
# DateTime64 of UTC, 09:15:00. A comparison or a toStartOfDay goes by the shown time, so bars differ by the way
# the table came. The time of day is a Time64 directly, and from Parquet a DateTime64 in 1970.
# A time with zone UTC is equal both ways. Needs Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check chdb==4.4.0 pyarrow==26.0.1 duckdb==2.0.1 pandas==3.1.1
(cd "$work" && TZ=Asia/Kolkata timeout 180 venv/bin/python - <<'PY'
from datetime import datetime, time, timezone
from importlib.metadata import version
import chdb, duckdb, pyarrow, pyarrow.parquet

opening = datetime(2026, 1, 2, 9, 15)
ticks = pyarrow.table({
    "naive": pyarrow.array([opening], pyarrow.timestamp("ms")),
    "utc": pyarrow.array([opening.replace(tzinfo=timezone.utc)], pyarrow.timestamp("ms", "UTC")),
    "time_of_day": pyarrow.array([opening.time()], pyarrow.time64("us")),
})
pyarrow.parquet.write_table(ticks, "ticks.parquet")

def in_clickhouse(source):
    """Each column as text, and the hour of the time without a zone."""
    columns = ", ".join(f"toString({name})" for name in (*ticks.column_names, "toStartOfHour(naive)"))
    return str(chdb.query(f"SELECT {columns} FROM {source} FORMAT TSV")).strip().split("\t")

print(*(f"{name} {version(name)}" for name in ("chdb", "pyarrow", "duckdb")))
directly, parquet = in_clickhouse("Python(ticks)"), in_clickhouse("file('ticks.parquet')")
print("directly:    ", directly)
print("from Parquet:", parquet)
for source in ("ticks", "'ticks.parquet'"):
    rows = duckdb.sql(f"SELECT naive, time_of_day FROM {source}").fetchall()
    print("DuckDB from", source, rows)
    assert rows == [(opening, time(9, 15))]
utc = "2026-01-02 09:15:00.000"
assert directly == ["2026-01-02 14:45:00.000", utc, "09:15:00.000000", "2026-01-02 14:00:00"], "changed"
assert parquet == [utc, utc, "1970-01-01 09:15:00.000000", "2026-01-02 09:00:00"], "changed"
PY
)
echo "as described"
