#!/usr/bin/env bash
# Kite's own clients kiteconnect 5.2.2 (PyPI), gokiteconnect 4.4.1 (Go), kiteconnect 5.3.0 (npm) and kiteconnect 3.5.1 (Maven),
# each given one full packet of an option that nobody has traded yet: last_trade_time is 0 on the wire.
# Expected: no time: None, null, a zero time (IsZero, as the Go client has it for an order without a time).
# Seen: Node and Java give null. Python gives a datetime of 1970-01-01 (naive, in the machine's zone), Go a time.Time of that
# second, whose IsZero() is false. So a check for None or IsZero passes, the trade counts as 56 years old, and a bar or a
# gap that goes by last_trade_time begins there. Ask whether the year is 1970, or whether volume_traded is 0.
# Needs Python 3, Node 18 or newer, Java 17 or newer, Maven and Go 1.24 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kiteconnect==5.2.2
npm install --prefix "$work" --silent --no-audit --no-fund kiteconnect@5.3.0
cat > "$work/pom.xml" <<'XML'
<project><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>kite</artifactId><version>1</version>
<dependencies><dependency>
<groupId>com.zerodhatech.kiteconnect</groupId><artifactId>kiteconnect</artifactId><version>3.5.1</version>
</dependency></dependencies></project>
XML
mvn -q -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/maven.log" 2>&1 \
  || { tail -20 "$work/maven.log"; exit 1; }
cat > "$work/frame.py" <<'PY'
import struct

quote = struct.pack(">11I", 15150594, 12345, 0, 0, 0, 10, 20, 0, 0, 0, 12345)
full = quote + struct.pack(">5I", 0, 0, 0, 0, 1785732300) + struct.pack(">IIHH", 10, 12300, 1, 0) * 10
print((struct.pack(">HH", 1, len(full)) + full).hex())
PY
frame=$(python3 "$work/frame.py")
cat > "$work/client.py" <<'PY'
import sys

from kiteconnect import KiteTicker

(tick,) = KiteTicker("key", "token")._parse_binary(bytes.fromhex(sys.argv[1]))
print(tick["last_trade_time"])
PY
cat > "$work/client.js" <<'JS'
const { KiteTicker } = require('kiteconnect')
const bytes = Buffer.from(process.argv[2], 'hex')
const frame = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
const [tick] = new KiteTicker({ api_key: 'key', access_token: 'token' }).parseBinary(frame)
console.log(tick.last_trade_time)
JS
cat > "$work/Client.java" <<'JAVA'
import com.zerodhatech.ticker.KiteTicker;
import java.util.HexFormat;

public class Client {
    public static void main(String[] arguments) throws Exception {
        KiteTicker ticker = new KiteTicker("token", "key");
        ticker.setOnTickerArrivalListener(ticks -> System.out.println(ticks.get(0).getLastTradedTime()));
        ticker.getWebsocketAdapter().onBinaryMessage(null, HexFormat.of().parseHex(arguments[0]));
        System.exit(0);
    }
}
JAVA
# its checksum is not in every mirror of the checksum database
export GONOSUMDB=github.com/zerodha
mkdir "$work/go"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/zerodha/gokiteconnect/v4/models"
	kiteticker "github.com/zerodha/gokiteconnect/v4/ticker"
)

func main() {
	frame, err := hex.DecodeString(os.Args[1])
	if err != nil {
		panic(err)
	}
	upgrader := websocket.Upgrader{}
	feed := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		socket, err := upgrader.Upgrade(writer, request, nil)
		if err != nil {
			panic(err)
		}
		socket.WriteMessage(websocket.BinaryMessage, frame)
		time.Sleep(10 * time.Second)
	}))
	ticker := kiteticker.New("key", "token")
	root, _ := url.Parse(strings.Replace(feed.URL, "http", "ws", 1))
	ticker.SetRootURL(*root)
	done := make(chan bool)
	ticker.OnTick(func(tick models.Tick) {
		fmt.Println(tick.LastTradeTime.UTC().Format(time.RFC3339), tick.LastTradeTime.IsZero())
		done <- true
	})
	go ticker.Serve()
	<-done
}
GO
(cd "$work/go" && go mod init finding && go get github.com/zerodha/gokiteconnect/v4@v4.4.1 && go mod tidy \
  && go build -o "$work/client" .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
python=$(TZ=UTC "$work/venv/bin/python" "$work/client.py" "$frame")
node=$(cd "$work" && TZ=UTC node client.js "$frame")
java=$(java -Duser.timezone=UTC -cp "$work/jars/*" "$work/Client.java" "$frame" 2>/dev/null)
go=$("$work/client" "$frame")
echo "last_trade_time, and in Go whether it is zero:"
printf '%-7s%s\n' Python "$python" Node "$node" Java "$java" Go "$go"
[ "$python" = "1970-01-01 00:00:00" ] || { echo "changed: Python"; exit 1; }
[ "$node" = "null" ] || { echo "changed: Node"; exit 1; }
[ "$java" = "null" ] || { echo "changed: Java"; exit 1; }
[ "$go" = "1970-01-01T00:00:00Z false" ] || { echo "changed: Go"; exit 1; }
echo "as described"
