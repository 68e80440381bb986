#!/usr/bin/env bash
# avro 1.12.2 (Apache's Python package): a Decimal with fewer places than the schema's scale, such as
# Decimal("1573.5") for a price of scale 2.
# Expected: the unscaled number by the schema's scale, 157350, as fastavro (and hamba/avro in Go) writes; or an
# error, as for a Decimal with more places than the scale.
# Seen: the Decimal's own digits are written, 15735, for bytes and for fixed. No error; every reader, avro
# itself too, gets 157.35: a tenth, and of Decimal("1573") a hundredth. Only who pads each price to the
# scale (quantize) writes what was meant.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check avro==1.12.2 fastavro==1.13.1
"$work/venv/bin/python" - <<'PY'
import io, json
from decimal import Decimal
from importlib.metadata import version
import avro.io, avro.schema, fastavro

kinds = {
    "bytes": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    "fixed": {"type": "fixed", "name": "Price", "size": 8, "logicalType": "decimal", "precision": 12, "scale": 2},
}

def by_avro(schema, price):
    out = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(schema))).write(price, avro.io.BinaryEncoder(out))
    return out.getvalue()

def by_fastavro(schema, price):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), price)
    return out.getvalue()

print("avro", version("avro"), "fastavro", version("fastavro"))
for kind, schema in kinds.items():
    parsed = avro.schema.parse(json.dumps(schema))
    for text, seen_price in (("1573.15", "1573.15"), ("1573.5", "157.35"), ("1573", "15.73"), ("-0.5", "-0.05")):
        price = Decimal(text)
        written = by_avro(schema, price)
        back = avro.io.DatumReader(parsed).read(avro.io.BinaryDecoder(io.BytesIO(written)))
        other = fastavro.schemaless_reader(io.BytesIO(written), fastavro.parse_schema(dict(schema)), None)
        right = fastavro.schemaless_reader(
            io.BytesIO(by_fastavro(schema, price)), fastavro.parse_schema(dict(schema)), None
        )
        padded = by_avro(schema, price.quantize(Decimal("0.01")))
        print(f"{kind}: {text} written by avro is read by avro as {back}, by fastavro as {other}; by fastavro {right}")
        assert right == price
        assert back == other == Decimal(seen_price), "changed"
        assert padded == by_fastavro(schema, price)
try:
    by_avro(kinds["bytes"], Decimal("1573.155"))
except Exception as error:
    print("one place too many:", type(error).__name__)
else:
    raise AssertionError("changed: a place too many is no error now")
PY
echo "as described"
