#!/usr/bin/env bash
# dataclasses-avroschema 0.71.1 with fastavro 1.13.1 (PyPI): a model that its ModelGenerator makes of a schema with a nullable
# record whose name is not written as a class is (OHLC, which becomes class Ohlc with schema_name "OHLC" beside it).
# Expected: what the model has read it can write again, as it can where the record is null.
# Seen: reading works, writing raises "provided union type name Ohlc not found in schema": the union's branch is called after
# the class, not after schema_name. Called Prices, the same record is written. Renaming the class mends it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dataclasses-avroschema==0.71.1 fastavro==1.13.1
cat > "$work/finding.py" <<'PYTHON'
import io
import sys

import fastavro
from dataclasses_avroschema import ModelGenerator


def outcome(name, prices):
    record = {"type": "record", "name": name, "fields": [{"name": "open", "type": "double"}]}
    fields = [{"name": "token", "type": "long"}, {"name": "ohlc", "type": ["null", record]}]
    schema = {"type": "record", "name": "Tick", "fields": fields}
    made = {}
    exec(ModelGenerator().render(schema=schema), made)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {"token": 1, "ohlc": prices})
    tick = made["Tick"].deserialize(out.getvalue(), writer_schema=schema)
    assert (None if tick.ohlc is None else tick.ohlc.open) == (prices and prices["open"])
    try:
        tick.serialize()
        return "written"
    except ValueError as error:
        return str(error).partition(" in schema")[0]


for name in ("Prices", "OHLC"):
    for prices in (None, {"open": 1573.15}):
        print(name, prices, outcome(name, prices), sep=": ")
PYTHON
seen=$(cd "$work" && "$work/venv/bin/python" finding.py 2>/dev/null)
echo "$seen"
[ "$seen" = "Prices: None: written
Prices: {'open': 1573.15}: written
OHLC: None: written
OHLC: {'open': 1573.15}: provided union type name Ohlc not found" ] || { echo "changed"; exit 1; }
echo "as described"
