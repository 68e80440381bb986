#!/usr/bin/env bash
# Kite's own clients kiteconnect 5.3.0 (npm), kiteconnect 3.5.1 (Maven) and kiteconnect 5.2.2 (PyPI), each given
# the same quote packet: volume 2 685 000 000 (options reach that), pending buys 3 000 000 000; and a full
# packet with 40 000 orders at the best bid.
# Expected: 32-bit and 16-bit fields are unsigned, so the numbers above, in every client of one maker.
# Seen: Python has them. Node and Java read the 32-bit fields as signed: volume -1 609 967 296, buys
# -1 294 967 296, and so a price above 2^31 paise as well. Java has the 16-bit one as -25 536 orders too.
# Needs Node 18 or newer, Java 17 or newer, Maven and Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
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
quote = struct.pack(
    ">11I", 408065, 157315, 1, 157033, 2_685_000_000, 3_000_000_000, 360503, 156915, 157500, 156105, 156780
)
levels = b"".join(struct.pack(">IIHH", 10, 157300 + level, 40_000, 0) for level in range(10))
full = quote + struct.pack(">5I", 1612777254, 0, 0, 0, 1612777255) + levels
assert (len(quote), len(full)) == (44, 184)
packets = (quote, full)
print((struct.pack(">H", 2) + b"".join(struct.pack(">H", len(packet)) + packet for packet in packets)).hex())
PY
frame=$(python3 "$work/frame.py")

cat > "$work/client.py" <<'PY'
import sys
from kiteconnect import KiteTicker
quote, full = KiteTicker("key", "token")._parse_binary(bytes.fromhex(sys.argv[1]))
print(quote["volume_traded"], quote["total_buy_quantity"], full["depth"]["buy"][0]["orders"])
PY
cat > "$work/client.js" <<'JS'
const { KiteTicker } = require('kiteconnect')
const bytes = Buffer.from(process.argv[2], 'hex')
const frame = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
const [quote, full] = new KiteTicker({ api_key: 'key', access_token: 'token' }).parseBinary(frame)
console.log(quote.volume_traded, quote.total_buy_quantity, full.depth.buy[0].orders)
JS
cat > "$work/Client.java" <<'JAVA'
import com.zerodhatech.ticker.KiteTicker;
import java.util.HexFormat;

public class Client {
    public static void main(String[] arguments) throws Exception {
        KiteTicker ticker = new KiteTicker("token", "key");
        ticker.setOnTickerArrivalListener(ticks -> System.out.printf("%d %.0f %d%n",
            ticks.get(0).getVolumeTradedToday(), ticks.get(0).getTotalBuyQuantity(),
            ticks.get(1).getMarketDepth().get("buy").get(0).getOrders()));
        ticker.getWebsocketAdapter().onBinaryMessage(null, HexFormat.of().parseHex(arguments[0]));
        System.exit(0);
    }
}
JAVA
python=$("$work/venv/bin/python" "$work/client.py" "$frame")
node=$(cd "$work" && node client.js "$frame")
java=$(java -cp "$work/jars/*" "$work/Client.java" "$frame" 2>/dev/null)
echo "volume, pending buys, orders:"
printf '%-7s%s\n' Python "$python" Node "$node" Java "$java"
[ "$python" = "2685000000 3000000000 40000" ] || { echo "changed: Python"; exit 1; }
[ "$node" = "-1609967296 -1294967296 40000" ] || { echo "changed: Node"; exit 1; }
[ "$java" = "-1609967296 -1294967296 -25536" ] || { echo "changed: Java"; exit 1; }
echo "as described"
