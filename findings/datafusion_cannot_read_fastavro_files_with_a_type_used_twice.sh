# datafusion 55.0.0 (PyPI; its Avro reader is the crate arrow-avro) and a file that fastavro 1.13.1 wrote by a
# schema out of parse_schema, as fastavro's documents do it. A record type of the schema is used twice, as for
# the bids and the offers of a book.
# Expected: the file is read, as avro 1.12.2 (Apache's Python package) reads it: parse_schema writes names out in
# full, {"name": "kite.Item"} and later "kite.Item", which the specification says is the same as a namespace.
# Seen: "Failed to resolve kite.Item", for the whole file. With the same type under "namespace" and "name", that
# is, when the schema goes to fastavro as it was, the file is read; and a type used once is no trouble.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  datafusion==55.0.0 fastavro==1.13.1 avro==1.12.2
cd "$work" && venv/bin/python - <<'PY'
from importlib.metadata import version

import datafusion
import fastavro
from avro.datafile import DataFileReader
from avro.io import DatumReader

item = {"type": "record", "name": "Item", "fields": [{"name": "price", "type": "double"}]}
schema = {
    "type": "record",
    "name": "Book",
    "namespace": "kite",
    "fields": [
        {"name": "buy", "type": {"type": "array", "items": item}},
        {"name": "sell", "type": {"type": "array", "items": "Item"}},
    ],
}
book = {"buy": [{"price": 1573.1}], "sell": [{"price": 1573.2}]}
with open("given.avro", "wb") as file:
    fastavro.writer(file, schema, [book])
with open("parsed.avro", "wb") as file:
    fastavro.writer(file, fastavro.parse_schema(schema), [book])

def read(path):
    try:
        (batch,) = datafusion.SessionContext().read_avro(path).collect()
    except Exception as error:
        return str(error)
    return batch.to_pylist()

seen = {path: read(path) for path in ("given.avro", "parsed.avro")}
with DataFileReader(open("parsed.avro", "rb"), DatumReader()) as reader:
    by_avro = list(reader)
print("datafusion", version("datafusion"), seen, "avro", version("avro"), by_avro)
assert seen["given.avro"] == by_avro == [book], "changed"
assert "Failed to resolve kite.Item" in seen["parsed.avro"], "changed"
PY
echo "as described"
