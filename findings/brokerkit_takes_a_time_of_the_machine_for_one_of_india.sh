#!/usr/bin/env bash
# brokerkit-zerodha 1.0.3 (PyPI, puts Kite behind one interface with five other brokers) on kiteconnect 5.2.2 (Kite's own client):
# a full packet of NIFTY 50 of 2026-08-03 04:45 UTC, 10:15 in India, as Kite's client reads it and feed_to_tick hands it on, on
# a machine that runs on UTC, as a container does, and on one that runs on India's time.
# Expected: an aware timestamp, 10:15+05:30, on both.
# Seen: on UTC it is 04:45+05:30, the day before at 23:15 UTC, without an error: the client makes a naive time in the machine's
# zone of the packet's seconds, and brokerkit takes every naive time for India's. Only where the two are the same is it
# right. A candle that is made of these ticks begins five and a half hours early. TZ=Asia/Kolkata mends it.
# Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check brokerkit-zerodha==1.0.3 brokerkit-core==1.0.3 kiteconnect==5.2.2
cat > "$work/tick.py" <<'PY'
import struct
from datetime import UTC

from brokerkit_zerodha.mapper import feed_to_tick, parse_master_row
from kiteconnect import KiteTicker

row = {
    "instrument_token": "256265", "exchange_token": "1001", "tradingsymbol": "NIFTY 50", "name": "NIFTY 50",
    "last_price": "0", "expiry": "", "strike": "0", "tick_size": "0", "lot_size": "0", "instrument_type": "EQ",
    "segment": "INDICES", "exchange": "NSE",
}
packet = struct.pack(">8I", 256265, 2431240, 2440000, 2420000, 2425000, 2428500, 0, 1785732300)
(read,) = KiteTicker("key", "token")._parse_binary(struct.pack(">HH", 1, len(packet)) + packet)
tick = feed_to_tick(parse_master_row(row), read)
print(read["exchange_timestamp"].isoformat(), tick.timestamp.isoformat(), tick.timestamp.astimezone(UTC).isoformat())
PY
utc=$(TZ=UTC "$work/venv/bin/python" "$work/tick.py")
india=$(TZ=Asia/Kolkata "$work/venv/bin/python" "$work/tick.py")
echo "kiteconnect, brokerkit, the same in UTC"
printf '%-14s%s\n' UTC "$utc" Asia/Kolkata "$india"
[ "$utc" = "2026-08-03T04:45:00 2026-08-03T04:45:00+05:30 2026-08-02T23:15:00+00:00" ] || { echo "changed: UTC"; exit 1; }
[ "$india" = "2026-08-03T10:15:00 2026-08-03T10:15:00+05:30 2026-08-03T04:45:00+00:00" ] || { echo "changed: India"; exit 1; }
echo "as described"
