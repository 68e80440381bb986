#!/usr/bin/env bash
# fastavro 1.13.1, reading older records with a newer schema whose appended fields have defaults.
# Expected: a default is a value of the field's type, as if it had been written: a datetime for
# timestamp-millis, a Decimal for decimal, bytes for bytes (the text of the schema stands for bytes).
# Seen: the text or number of the schema's JSON as it stands: the int 0 for the datetime, the str of one
# character for the Decimal, and a str for the bytes, while records of the newer schema in the same topic
# have datetime, Decimal and bytes. So one field has two types, by the age of the record.
# hamba/avro 2.31.0 (Go), tried apart, gives values of the field's type on the same input.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check fastavro==1.13.1
"$work/venv/bin/python" - <<'PY'
import io
from datetime import datetime, timezone
from decimal import Decimal
import fastavro

old_fields = [{"name": "token", "type": "long"}]
new_fields = old_fields + [
    {"name": "seen", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "default": "\u0001"},
    {"name": "raw", "type": "bytes", "default": "\u00ff"},
]
schema = lambda fields: fastavro.parse_schema({"type": "record", "name": "Tick", "fields": fields})
old, new = schema(old_fields), schema(new_fields)

def read(writer, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, writer, record)
    return fastavro.schemaless_reader(io.BytesIO(out.getvalue()), writer, new)

epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
meant = {"token": 408065, "seen": epoch, "price": Decimal("0.01"), "raw": b"\xff"}
newer, older = read(new, meant), read(old, {"token": 408065})
print("fastavro", fastavro.__version__)
print("written with the newer schema:", newer)
print("written with the older one:   ", older)
assert newer == meant
assert older == {"token": 408065, "seen": 0, "price": "\u0001", "raw": "\u00ff"}, "changed"
PY
echo "as described"
