# duckdb 1.5.5 with duckdb-extension-avro 1.5.5 (PyPI), session time zone Asia/Kolkata: one tick of 09:15 in India
# (03:45 UTC) out of an Avro file, as timestamp-millis (an instant) and as local-timestamp-millis (a time of
# the clock on the wall), beside the same instant out of a Parquet file of pyarrow 26.0.1.
# Expected: the instant is a TIMESTAMP WITH TIME ZONE, as it is from Parquet, and the local time a TIMESTAMP.
# Seen: both are TIMESTAMP, so nothing tells them apart, and the instant counts as the wall clock's 03:45 of the
# session's zone: compared with an instant, or with now(), it is five and a half hours too early, with no
# error. A decimal(10, 2) of the same file is a BLOB of its bytes. `SET TimeZone='UTC'` makes comparisons right.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  duckdb==1.5.5 duckdb-extension-avro==1.5.5 fastavro==1.13.1 pyarrow==26.0.1 pytz
cd "$work" && venv/bin/python - <<'PY'
import datetime
import decimal
from pathlib import Path

import duckdb
import duckdb_extension_avro
import fastavro
import pyarrow
from pyarrow import parquet

instant = datetime.datetime(2026, 8, 3, 3, 45, tzinfo=datetime.UTC)
fields = {
    "instant": {"type": "long", "logicalType": "timestamp-millis"},
    "local": {"type": "long", "logicalType": "local-timestamp-millis"},
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
}
schema = {"type": "record", "name": "Tick", "fields": [{"name": n, "type": t} for n, t in fields.items()]}
tick = {"instant": instant, "local": datetime.datetime(2026, 8, 3, 9, 15), "price": decimal.Decimal("1573.15")}
with open("ticks.avro", "wb") as file:
    fastavro.writer(file, schema, [tick])
times = pyarrow.array([instant], pyarrow.timestamp("ms", tz="UTC"))
parquet.write_table(pyarrow.table({"instant": times}), "ticks.parquet")

database = duckdb.connect()
(extension,) = Path(duckdb_extension_avro.__file__).parent.rglob("*.duckdb_extension")
database.execute(f"LOAD '{extension}'")
database.execute("SET TimeZone = 'Asia/Kolkata'")

def asked(what, file):
    return database.execute(f"SELECT {what} FROM read_{file.split('.')[1]}('{file}')").fetchone()

after_nine = "instant >= TIMESTAMPTZ '2026-08-03 09:00:00+05:30'"
avro = asked(f"typeof(instant), typeof(local), typeof(price), {after_nine}", "ticks.avro")
in_parquet = asked(f"typeof(instant), {after_nine}", "ticks.parquet")
database.execute("SET TimeZone = 'UTC'")
(in_utc,) = asked(after_nine, "ticks.avro")
print("duckdb", duckdb.__version__, "Avro", avro, "Parquet", in_parquet, "Avro in a session of UTC", in_utc)
assert avro == ("TIMESTAMP", "TIMESTAMP", "BLOB", False), "changed"
assert in_parquet == ("TIMESTAMP WITH TIME ZONE", True) and in_utc is True, "changed"
PY
echo "as described"
