# duckdb 1.5.5 with duckdb-extension-avro 1.5.5 (PyPI): two Avro files, as a sink leaves them on both sides of a
# schema change: the second one has a nullable field more, with the default null.
# Expected: read together, the older rows have null in the new column, whatever the order of the files, as after
# Avro's schema resolution, or as DuckDB does for Parquet with union_by_name.
# Seen: the first file decides. With the older one first the new column is not there, without a word, and its
# values are lost; with the newer one first it is an error, whose hint, "try setting union_by_name=True",
# ends in "'union_by_name' not implemented for Avro reader yet". One read_avro for each version, joined by
# UNION ALL BY NAME, has all of it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  duckdb==1.5.5 duckdb-extension-avro==1.5.5 fastavro==1.13.1
cd "$work" && venv/bin/python - <<'PY'
from pathlib import Path

import duckdb
import duckdb_extension_avro
import fastavro

token = {"name": "instrument_token", "type": "long"}
bid = {"name": "best_bid_price", "type": ["null", "double"], "default": None}
for name, fields, tick in (
    ("1", [token], {"instrument_token": 408065}),
    ("2", [token, bid], {"instrument_token": 408065, "best_bid_price": 1573.15}),
):
    with open(f"{name}.avro", "wb") as file:
        fastavro.writer(file, {"type": "record", "name": "Tick", "fields": fields}, [tick])

database = duckdb.connect()
(extension,) = Path(duckdb_extension_avro.__file__).parent.rglob("*.duckdb_extension")
database.execute(f"LOAD '{extension}'")

def read(query):
    try:
        return database.execute(query).fetchall()
    except duckdb.Error as error:
        return str(error)

older_first = read("FROM read_avro(['1.avro', '2.avro'])")
newer_first = read("FROM read_avro(['2.avro', '1.avro'])")
as_hinted = read("FROM read_avro(['2.avro', '1.avro'], union_by_name = true)")
joined = read("FROM read_avro('1.avro') UNION ALL BY NAME FROM read_avro('2.avro')")
print("duckdb", duckdb.__version__, "older first", older_first, "joined", joined)
print("newer first:", newer_first.splitlines()[-1], "| then:", as_hinted.splitlines()[0])
assert older_first == [(408065,), (408065,)], "changed"
assert "try setting union_by_name=True" in newer_first, "changed"
assert "'union_by_name' not implemented for Avro reader" in as_hinted, "changed"
assert joined == [(408065, None), (408065, 1573.15)], "changed"
PY
echo "as described"
