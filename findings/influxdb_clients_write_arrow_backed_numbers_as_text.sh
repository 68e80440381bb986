#!/usr/bin/env bash
# influxdb-client 1.50.0 and influxdb3-python 0.21.0 (PyPI) with pandas 3.1.1 and pyarrow 26.0.1: the lines that their write API makes of
# a frame of one tick, an Arrow table's, once with types_mapper=pandas.ArrowDtype, which keeps a long that may be null a long, and once
# with pandas' own type for that (Int64).
# Expected: the same lines from both frames: 2685000000i, 1573.15, False.
# Seen: of ArrowDtype every column becomes text, in both clients: volume_traded="2685000000", last_price="1573.15", snapshot="False", without
# an error. A field keeps the type that it was first written with, so a table that begins so has no number in it, and nothing to add
# up or compare. Of Int64 they make numbers. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  influxdb-client==1.50.0 influxdb3-python==0.21.0 pandas==3.1.1 pyarrow==26.0.1
cat > "$work/lines.py" <<'PY'
from datetime import datetime, timezone

import pandas
import pyarrow
from influxdb_client.client.write.dataframe_serializer import DataframeSerializer
from influxdb_client.client.write_api import PointSettings
from influxdb_client_3.write_client.client.write import dataframe_serializer
from influxdb_client_3.write_client.client.write_api import PointSettings as PointSettings3

table = pyarrow.table({
    "event_time": pyarrow.array([datetime(2026, 8, 3, 4, 45, tzinfo=timezone.utc)], pyarrow.timestamp("ms", "UTC")),
    "volume_traded": pyarrow.array([2_685_000_000], pyarrow.int64()),
    "last_price": pyarrow.array([1573.15]),
    "snapshot": pyarrow.array([False]),
})
mappers = {"ArrowDtype": pandas.ArrowDtype, "Int64": {pyarrow.int64(): pandas.Int64Dtype()}.get}
clients = {
    "influxdb-client": (DataframeSerializer, PointSettings),
    "influxdb3-python": (dataframe_serializer.DataframeSerializer, PointSettings3),
}
for types, mapper in mappers.items():
    frame = table.to_pandas(types_mapper=mapper).set_index("event_time")
    for name, (serializer, settings) in clients.items():
        (line,) = serializer(frame, settings(), data_frame_measurement_name="ticks").serialize()
        print(f"{name}, {types}: {line}")
PY
seen=$("$work/venv/bin/python" "$work/lines.py" 2>/dev/null)
echo "$seen"
[ "$seen" = 'influxdb-client, ArrowDtype: ticks last_price="1573.15",snapshot="False",volume_traded="2685000000" 1785732300000000000
influxdb3-python, ArrowDtype: ticks last_price="1573.15",snapshot="False",volume_traded="2685000000" 1785732300000000000
influxdb-client, Int64: ticks last_price=1573.15,snapshot=False,volume_traded=2685000000i 1785732300000000000
influxdb3-python, Int64: ticks last_price=1573.15,snapshot=False,volume_traded=2685000000i 1785732300000000000' ] \
  || { echo "changed"; exit 1; }
echo "as described"
