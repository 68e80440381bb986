#!/usr/bin/env bash
# kiteconnect 5.3.0 (npm, Kite's own client for Node) and kiteconnect 5.2.2 (PyPI, for Python): getHistoricalData with oi of two minutes, in
# the first of which the open interest is 0, as it is before a contract's first trade, and for every share.
# Expected: oi 0 in the first candle, 1200 in the second, since it was asked for and Kite sent it.
# Seen: Python has both. In Node the first candle has no oi at all, as if it had not been asked for: candle.oi is undefined, so a sum over
# candles is NaN, and whoever takes "no oi" for "not sent" keeps an older one. candle.oi ?? 0 mends it, where oi was asked for.
# Needs Node 18 or newer and Python 3.
set -euo pipefail
work=$(mktemp -d); server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" || true; } 2>/dev/null; rm -rf "$work"' EXIT
npm install --prefix "$work" --silent --no-audit --no-fund kiteconnect@5.3.0
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kiteconnect==5.2.2
cat > "$work/rest.py" <<'PY'
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

candles = [
    ["2026-08-03T09:15:00+0530", 120.5, 121.0, 120.0, 120.9, 150, 0],
    ["2026-08-03T09:16:00+0530", 120.9, 122.0, 120.9, 121.4, 300, 1200],
]

class Rest(BaseHTTPRequestHandler):
    def do_GET(self):
        assert "oi=1" in self.path or "oi=true" in self.path, self.path
        body = json.dumps({"status": "success", "data": {"candles": candles}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

server = HTTPServer(("127.0.0.1", 0), Rest)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
PY
python3 "$work/rest.py" >"$work/address" & server=$!
for _ in $(seq 50); do [ -s "$work/address" ] && break; sleep 0.1; done
cat > "$work/candles.js" <<'JS'
const { KiteConnect } = require('kiteconnect')
const kite = new KiteConnect({ api_key: 'key', access_token: 'token', root: process.argv[2] })
kite.getHistoricalData(15150594, 'minute', '2026-08-03 09:15:00', '2026-08-03 09:16:00', false, true)
  .then(candles => console.log(candles.map(candle => candle.oi)))
JS
cat > "$work/candles.py" <<'PY'
import sys
from kiteconnect import KiteConnect

kite = KiteConnect("key", "token", root=sys.argv[1])
span = "2026-08-03 09:15:00", "2026-08-03 09:16:00"
print([candle["oi"] for candle in kite.historical_data(15150594, *span, "minute", oi=True)])
PY
address=$(cat "$work/address")
node=$(cd "$work" && timeout 60 node candles.js "$address")
python=$(timeout 60 "$work/venv/bin/python" "$work/candles.py" "$address")
echo "open interest of the two candles: Node $node, Python $python"
[ "$node" = "[ undefined, 1200 ]" ] || { echo "changed: Node"; exit 1; }
[ "$python" = "[0, 1200]" ] || { echo "changed: Python"; exit 1; }
echo "as described"
