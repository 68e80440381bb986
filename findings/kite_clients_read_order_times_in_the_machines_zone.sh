#!/usr/bin/env bash
# Kite's own clients kiteconnect 3.5.1 (Maven) and kiteconnect 5.3.0 (npm), in the time zones UTC, as an image has it,
# and Asia/Kolkata: an order update, or GET /orders, with the order_timestamp "2021-02-08 15:10:55"; in Java
# beside a tick of that very second (1612777255 on the wire).
# Expected: Kite's times are India's, so both are 09:40:55 UTC, wherever the program runs, as the tick's is.
# Seen: the text is read in the machine's zone. With UTC the order is at 15:10:55 UTC, five and a half hours later than
# the tick of its second; only a machine on India's time has it right. TZ=Asia/Kolkata (-Duser.timezone) mends it.
# Node's client turns two of an order's three times into a Date, and leaves exchange_update_timestamp as text.
# Needs Node 18 or newer, Java 17 or newer, and Maven.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
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

cat > "$work/Client.java" <<'JAVA'
import com.zerodhatech.ticker.KiteTicker;
import java.nio.ByteBuffer;

public class Client {
    public static void main(String[] arguments) throws Exception {
        String order = """
            {"type": "order", "data": {"order_id": "1", "status": "COMPLETE", "order_timestamp": "2021-02-08 15:10:55"}}""";
        byte[] index = ByteBuffer.allocate(36).putShort((short) 1).putShort((short) 32).putInt(256265)
            .putInt(2500000).putInt(2510000).putInt(2490000).putInt(2495000).putInt(2480000).putInt(20000)
            .putInt(1612777255).array();
        KiteTicker ticker = new KiteTicker("token", "key");
        ticker.setOnOrderUpdateListener(got -> System.out.print(got.orderTimestamp.toInstant()));
        ticker.setOnTickerArrivalListener(got -> System.out.println(" " + got.get(0).getTickTimestamp().toInstant()));
        ticker.getWebsocketAdapter().onTextMessage(null, order);
        ticker.getWebsocketAdapter().onBinaryMessage(null, index);
        System.exit(0);
    }
}
JAVA
cat > "$work/client.js" <<'JS'
const { KiteConnect } = require('kiteconnect')
const time = '2021-02-08 15:10:55'
const order = { order_id: '1', status: 'COMPLETE', order_timestamp: time, exchange_update_timestamp: time }
const server = require('http').createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ status: 'success', data: [order] }))
}).listen(0, '127.0.0.1', async () => {
  const kite = new KiteConnect({ api_key: 'key', access_token: 'token', root: `http://127.0.0.1:${server.address().port}` })
  const [got] = await kite.getOrders()
  console.log(got.order_timestamp.toISOString(), typeof got.exchange_update_timestamp)
  process.exit(0)
})
JS
java() { (cd "$work" && command java "-Duser.timezone=$1" -cp "$work/jars/*" Client.java 2>/dev/null); }
node() { (cd "$work" && TZ=$1 timeout 60 node client.js); }
utc=$(java UTC); india=$(java Asia/Kolkata); node_utc=$(node UTC); node_india=$(node Asia/Kolkata)
echo "Java, order and tick: UTC $utc, Asia/Kolkata $india"
echo "Node, order: UTC $node_utc, Asia/Kolkata $node_india"
[ "$utc" = "2021-02-08T15:10:55Z 2021-02-08T09:40:55Z" ] || { echo "changed: Java"; exit 1; }
[ "$india" = "2021-02-08T09:40:55Z 2021-02-08T09:40:55Z" ] || { echo "changed: Java, India"; exit 1; }
[ "$node_utc" = "2021-02-08T15:10:55.000Z string" ] || { echo "changed: Node"; exit 1; }
[ "$node_india" = "2021-02-08T09:40:55.000Z string" ] || { echo "changed: Node, India"; exit 1; }
echo "as described"
