#!/usr/bin/env bash
# Kite's own clients kiteconnect 5.2.2 (PyPI) and gokiteconnect 4.4.1 (Go), asked for the minute candles from 2026-08-03 04:45
# UTC, given as a time with a zone: an aware datetime and a time.Time, once in UTC and once in India's zone; and,
# in Python on a machine whose zone is UTC, from the exchange_timestamp that its own ticker makes of that second.
# Expected: the same request each time, from=2026-08-03 10:15:00, since Kite reads from and to as India's time.
# Seen: the zone is dropped: what is in UTC asks for 04:45, in the night, five and a half hours too early, without an error;
# in India's zone it is right. So a tick's time has to be turned into India's zone first, and Python's own tick,
# whose time is naive and the machine's, fits only on a machine that runs on India's time.
# Needs Python 3 and Go 1.24 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export GONOSUMDB=github.com/zerodha
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kiteconnect==5.2.2
mkdir "$work/go"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"
	_ "time/tzdata"

	kiteconnect "github.com/zerodha/gokiteconnect/v4"
)

func main() {
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		fmt.Println(request.URL.Query().Get("from"))
		answer.Header().Set("Content-Type", "application/json")
		fmt.Fprint(answer, `{"status": "success", "data": {"candles": []}}`)
	}))
	kite := kiteconnect.New("key")
	kite.SetBaseURI(server.URL)
	kite.SetAccessToken("token")
	opened := time.Date(2026, 8, 3, 4, 45, 0, 0, time.UTC)
	india, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		panic(err)
	}
	for _, from := range []time.Time{opened, opened.In(india)} {
		if _, err := kite.GetHistoricalData(408065, "minute", from, from.Add(time.Minute), false, false); err != nil {
			panic(err)
		}
	}
}
GO
(cd "$work/go" && go mod init finding && go get github.com/zerodha/gokiteconnect/v4@v4.4.1 && go mod tidy \
  && go build -o "$work/program" .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
cat > "$work/candles.py" <<'PY'
import struct
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from kiteconnect import KiteConnect, KiteTicker

class Rest(BaseHTTPRequestHandler):
    def do_GET(self):
        print(parse_qs(urlsplit(self.path).query)["from"][0], flush=True)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "success", "data": {"candles": []}}')

    def log_message(self, *arguments):
        pass

server = HTTPServer(("127.0.0.1", 0), Rest)
threading.Thread(target=server.serve_forever, daemon=True).start()
opened = datetime(2026, 8, 3, 4, 45, tzinfo=timezone.utc)
index = struct.pack(">6IiI", 256265, 2500000, 2510000, 2490000, 2495000, 2480000, 20000, int(opened.timestamp()))
(tick,) = KiteTicker("key", "token")._parse_binary(struct.pack(">HH", 1, len(index)) + index)
kite = KiteConnect("key", "token", root=f"http://127.0.0.1:{server.server_port}")
for start in (opened, opened.astimezone(timezone(timedelta(hours=5, minutes=30))), tick["exchange_timestamp"]):
    kite.historical_data(408065, start, start + timedelta(minutes=1), "minute")
server.shutdown()
PY
go=$("$work/program" | paste -sd,)
python=$(TZ=UTC "$work/venv/bin/python" "$work/candles.py" | paste -sd,)
echo "Go, from in UTC and in India's zone: $go"
echo "Python, from in UTC, in India's zone, and a tick's: $python"
[ "$go" = "2026-08-03 04:45:00,2026-08-03 10:15:00" ] || { echo "changed: Go"; exit 1; }
[ "$python" = "2026-08-03 04:45:00,2026-08-03 10:15:00,2026-08-03 04:45:00" ] || { echo "changed: Python"; exit 1; }
echo "as described"
