#!/usr/bin/env bash
# fastavro 1.13.1: older records read with a newer schema, whose appended field is an array with the default [].
# Expected: each record has an empty list of its own, as records have that were written with the field, and as
# avro 1.12.2 (Apache's Python package) gives on the same input.
# Seen: all of them have the same list, which is the default inside the schema that was given. Who appends to
# one record's list (or map) changes those of all records read before and afterwards, and the schema's
# default: the third of three older records, never touched, reads [408065, 256265].
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check fastavro==1.13.1 avro==1.12.2
"$work/venv/bin/python" - <<'PY'
import copy, io, json
from importlib.metadata import version
import avro.io, avro.schema, fastavro

old_fields = [{"name": "type", "type": "string"}]
new_fields = old_fields + [{"name": "tokens", "type": {"type": "array", "items": "long"}, "default": []}]
old, new = ({"type": "record", "name": "Event", "fields": fields} for fields in (old_fields, new_fields))

def written(schema, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return out.getvalue()

def fastavro_reader(writer):
    parsed = [fastavro.parse_schema(copy.deepcopy(schema)) for schema in (writer, new)]
    return lambda body: fastavro.schemaless_reader(io.BytesIO(body), *parsed)

def avro_reader(writer):
    reader = avro.io.DatumReader(*(avro.schema.parse(json.dumps(schema)) for schema in (writer, new)))
    return lambda body: reader.read(avro.io.BinaryDecoder(io.BytesIO(body)))

def three_records(read, body):
    """What three equal records hold after a token was added to the first and one to the second."""
    first, second = read(body), read(body)
    first["tokens"].append(408065)
    second["tokens"].append(256265)
    return [record["tokens"] for record in (first, second, read(body))]

older, newer = written(old, {"type": "gap"}), written(new, {"type": "gap", "tokens": []})
own, shared = [[408065], [256265], []], [[408065, 256265]] * 3
for name, reader, expected in (("fastavro", fastavro_reader, shared), ("avro", avro_reader, own)):
    seen_older, seen_newer = three_records(reader(old), older), three_records(reader(new), newer)
    print(name, version(name), "older records:", seen_older, "newer ones:", seen_newer)
    assert seen_newer == own
    assert seen_older == expected, "changed"
PY
echo "as described"
