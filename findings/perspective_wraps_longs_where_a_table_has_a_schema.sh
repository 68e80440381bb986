#!/usr/bin/env bash
# perspective-python 5.6.1 with pyarrow 26.0.1 (PyPI; live tables and charts, which market data is shown with): an Arrow table with two
# int64 columns, a volume of 2 685 000 000 (options reach that) and a time in microseconds, given to table() itself, and as an
# update to a table that was made of the schema that the first one tells, as one makes a table before the first data come.
# Expected: the same numbers in both; or an error, where a column is too narrow for what comes.
# Seen: table() of the Arrow data keeps 64 bits. Its schema() calls both columns "integer", and a table of that schema has 32 bits: the
# volume is -1609967296, the time 862563648, and sums and filters go by these, without an error. The same with rows in place of
# Arrow. "float" in the schema has both right, up to 2^53. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check perspective-python==5.6.1 pyarrow==26.0.1
cat > "$work/live.py" <<'PY'
import io

import perspective
import pyarrow

ticks = pyarrow.table({
    "volume_traded": pyarrow.array([2_685_000_000], pyarrow.int64()),
    "receive_time_us": pyarrow.array([1_785_732_300_123_456], pyarrow.int64()),
})
stream = io.BytesIO()
with pyarrow.ipc.new_stream(stream, ticks.schema) as writer:
    writer.write_table(ticks)
client = perspective.Server().new_local_client()

def shown(name, table):
    (row,) = table.view().to_json()
    filtered = table.view(filter=[["volume_traded", ">", 0]]).num_rows()
    print(name, int(row["volume_traded"]), int(row["receive_time_us"]), filtered)

first = client.table(stream.getvalue())
assert first.schema() == {"volume_traded": "integer", "receive_time_us": "integer"}, "changed: schema"
shown("table of the data:", first)
for name, schema in ("integer", first.schema()), ("float", dict.fromkeys(first.schema(), "float")):
    second = client.table(schema)
    second.update(stream.getvalue())
    shown(f"table of a schema, {name}:", second)
third = client.table(first.schema())
third.update(ticks.to_pylist())
shown("the same, rows:", third)
PY
seen=$("$work/venv/bin/python" "$work/live.py")
echo "volume, time, rows with a volume above 0:"
echo "$seen"
[ "$seen" = "table of the data: 2685000000 1785732300123456 1
table of a schema, integer: -1609967296 862563648 0
table of a schema, float: 2685000000 1785732300123456 1
the same, rows: -1609967296 862563648 0" ] || { echo "changed"; exit 1; }
echo "as described"
