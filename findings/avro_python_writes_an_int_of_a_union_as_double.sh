#!/usr/bin/env bash
# avro 1.12.2 (Apache's Python package): an int, and a bool, for a union of null, long and double.
# Expected: 5 is written as the long, the first branch that it fits, as fastavro does; True as no branch
# at all, since the union has no boolean.
# Seen: an int goes into the double, which stands last; True becomes the double 1.0. Above 2^53 digits are
# lost: 1764390000123456789 comes back as 1764390000123456768.0, with no error. With null and long
# alone, the union of most schemas, an int is written well.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check avro==1.12.2 fastavro==1.13.1
"$work/venv/bin/python" - <<'PY'
import io, json
from importlib.metadata import version
import avro.io, avro.schema, fastavro

union = ["null", "long", "double"]

def through_avro(schema, value):
    parsed, out = avro.schema.parse(json.dumps(schema)), io.BytesIO()
    avro.io.DatumWriter(parsed).write(value, avro.io.BinaryEncoder(out))
    return avro.io.DatumReader(parsed).read(avro.io.BinaryDecoder(io.BytesIO(out.getvalue())))

def through_fastavro(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return fastavro.schemaless_reader(io.BytesIO(out.getvalue()), schema, None)

print("avro", version("avro"), "fastavro", version("fastavro"))
nanoseconds = 1764390000123456789
for value in (5, nanoseconds):
    seen, right = through_avro(union, value), through_fastavro(union, value)
    print(f"{value}: avro {seen!r}, fastavro {right!r}")
    assert type(right) is int and right == value
    assert type(seen) is float, "changed: an int stays one"
assert int(through_avro(union, nanoseconds)) == 1764390000123456768
print("True:", repr(through_avro(union, True)))
assert through_avro(union, True) == 1.0 and type(through_avro(union, True)) is float
try:
    through_fastavro(union, True)
except ValueError as error:
    print("True by fastavro:", type(error).__name__)
else:
    raise AssertionError("changed: fastavro takes True")
assert type(through_avro(["null", "long"], nanoseconds)) is int
PY
echo "as described"
