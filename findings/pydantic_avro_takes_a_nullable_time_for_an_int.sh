#!/usr/bin/env bash
# pydantic-avro 0.13.0 with pydantic 2.14.4 and fastavro 1.13.1 (PyPI): the model that `pydantic-avro avro_to_pydantic` makes of a schema
# with one time as timestamp-millis and one in a union of null and timestamp-millis, and records of fastavro given to it.
# Expected: datetime and Optional[datetime], as the record has them, and as dataclasses-avroschema 0.71.1, tried apart, makes of it.
# Seen: datetime and Optional[int]. A record with null for the second time is taken, the next one, which has it, is a ValidationError
# ("Input should be a valid integer"): the logical type counts outside of a union alone. A date, a decimal and an array of times
# were not tried. Write Optional[datetime] into the generated model. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydantic-avro==0.13.0 pydantic==2.14.4 fastavro==1.13.1
cd "$work"
cat > tick.avsc <<'JSON'
{"type": "record", "name": "Tick", "namespace": "kite", "fields": [
  {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "last_trade_time", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null}]}
JSON
venv/bin/pydantic-avro avro_to_pydantic --asvc tick.avsc --output model.py >log 2>&1 || { tail -20 log; exit 1; }
venv/bin/python - <<'PY'
import io
import json
from datetime import datetime, timezone

import fastavro
from model import Tick
from pydantic import ValidationError

schema = fastavro.parse_schema(json.load(open("tick.avsc")))
when = datetime(2026, 8, 3, 4, 45, tzinfo=timezone.utc)

def taken(last_trade_time):
    value = io.BytesIO()
    fastavro.schemaless_writer(value, schema, {"event_time": when, "last_trade_time": last_trade_time})
    value.seek(0)
    record = fastavro.schemaless_reader(value, schema, None)
    assert record == {"event_time": when, "last_trade_time": last_trade_time}
    try:
        return Tick(**record).model_dump() == record
    except ValidationError as error:
        return error.errors()[0]["msg"]

types = {name: str(field.annotation) for name, field in Tick.model_fields.items()}
seen = taken(None), taken(when)
print(types, seen)
assert types == {"event_time": "<class 'datetime.datetime'>", "last_trade_time": "typing.Optional[int]"}, "changed"
assert seen == (True, "Input should be a valid integer"), "changed"
PY
echo "as described"
